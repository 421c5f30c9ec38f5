"""Where the guests of dead nodes go: as a set, by the division that N-1 was proven with (D9, section 8).

Tier by tier: those of the next tier are placed when all of this one run, or could not be helped. What
does not fit waits with what is missing, the lowest tier first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.pack import pack

TIER_PATIENCE_S: Final = 60.0  # for a tier whose guests do not come up


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A guest whose owner is proven dead."""

    guest: Guest
    owner: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A guest that was recovered lately and does not run yet."""

    name: VmName
    tier: int
    since_s: float  # for how long
    is_given_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Who goes where now, and who waits for what."""

    places: Mapping[VmName, NodeName]
    waiting: Mapping[VmName, str]


def recover(board: Board, lost: Sequence[Lost], coming: Iterable[Coming]) -> Recovery:
    """Divide the lost guests among the survivors.

    Args:
        board: survivors that take guests, and who is on them; left as it is.
        lost: who has no place, of any tier.
        coming: who was placed before and is not up yet.
    """
    kept, left_out = _as_many_tiers(board, lost)
    held = [each.tier for each in coming if not _is_done_with(each)]
    first = min([*held, *(each.guest.tier for each in lost if each.guest.name in kept)], default=0)
    places = {
        each.guest.name: kept[each.guest.name]
        for each in lost
        if each.guest.name in kept and each.guest.tier <= first
    }
    waiting = {
        each.guest.name: left_out.get(each.guest.name, f"waits until tier {first} is up")
        for each in lost
        if each.guest.name not in places
    }
    return Recovery(places=places, waiting=waiting)


def _is_done_with(coming: Coming) -> bool:
    return coming.is_given_up or coming.since_s >= TIER_PATIENCE_S


def _as_many_tiers(
    board: Board, lost: Sequence[Lost]
) -> tuple[Mapping[VmName, NodeName], Mapping[VmName, str]]:
    """Places for the most important tiers that fit together; of the first that does not, for as many
    as fit. The places of one tier leave room for those before it."""
    kept: dict[VmName, NodeName] = {}
    left_out: dict[VmName, str] = {}
    for tier in sorted({each.guest.tier for each in lost}):
        asked = [each.guest for each in lost if each.guest.tier <= tier]
        packing = pack(board, [g for g in asked if g.name not in left_out], last=kept, is_even=True)
        kept = dict(packing.places) if not packing.homeless else _fixed(board, asked, kept)
        for guest in asked:
            if guest.name not in kept and guest.name not in left_out:
                left_out[guest.name] = packing.why or f"no node takes its {guest.memory_mib} MiB"
    return kept, left_out


def _fixed(
    board: Board, asked: Sequence[Guest], kept: Mapping[VmName, NodeName]
) -> dict[VmName, NodeName]:
    """The earlier tiers as they are, and of this one whoever still finds room."""
    trial = board.copy()
    for guest in asked:
        if guest.name in kept:
            trial.put(guest, kept[guest.name])
    packing = pack(trial, [guest for guest in asked if guest.name not in kept], is_even=True)
    return {**kept, **packing.places}
