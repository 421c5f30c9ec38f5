"""Where the guests of dead nodes go: as a set, by the division that N-1 was proven with (D9, section 8).

Tier by tier: those of the next tier are placed when all of this one are up and ready, or could not be
helped. What does not fit waits with what is missing, the lowest tier first. And guests that their owners,
alive, gave up go to another node, one by one, where there is room besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.fit import FitFailure, fit, sentence
from pvc_gitops.scheduler.pack import pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A guest whose owner is proven dead."""

    guest: Guest
    owner: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A guest that its owner, alive, has failed to keep up. `tried`: those that did so before."""

    guest: Guest
    owner: NodeName
    tried: tuple[NodeName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """A guest that is on its way up, and not counted on yet."""

    name: VmName
    tier: int
    since_s: float  # for how long
    patience_s: float  # for how long others wait for it
    is_given_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Who goes where now, and who waits for what."""

    places: Mapping[VmName, NodeName]
    waiting: Mapping[VmName, str]


def recover(
    board: Board,
    lost: Sequence[Lost],
    coming: Iterable[Coming],
    given_up: Sequence[GivenUp] = (),
) -> Recovery:
    """Divide the lost guests among the survivors.

    Args:
        board: survivors that take guests, and who is on them; left as it is.
        lost: who has no place, of any tier.
        coming: who was placed before and is not up yet.
        given_up: who is to go elsewhere, if somebody takes it. They stand on the board.
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
    trial = _with(board, [each.guest for each in lost], kept)
    for failed in sorted(given_up, key=lambda each: (each.guest.tier, each.guest.name)):
        found = _elsewhere(trial, failed)
        if isinstance(found, str):
            waiting[failed.guest.name] = found
        else:
            places[failed.guest.name] = found.place
    return Recovery(places=places, waiting=waiting)


def _is_done_with(coming: Coming) -> bool:
    return coming.is_given_up or coming.since_s >= coming.patience_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    place: NodeName


def _elsewhere(trial: Board, failed: GivenUp) -> _Found | str:
    """A place on a node that has not tried it yet; on any other where all have. Put there on `trial`."""
    guest, others = failed.guest, [node for node in trial.hosts if node != failed.owner]
    if guest.is_strict and guest.nodes:
        others = [node for node in others if node in guest.nodes]
    fresh = [node for node in others if node not in failed.tried]
    if not others:
        return "no other node may take it"
    if failed.owner in trial.hosts:
        trial.take(guest, failed.owner)
    asked = replace(guest, nodes=frozenset(fresh or others), is_strict=True)
    place = pack(trial, [asked], is_even=True).places.get(guest.name)
    why = missing(trial, asked) if place is None else ""
    home = failed.owner if place is None else place
    if home in trial.hosts:
        trial.put(guest, home)
    return _Found(place=place) if place is not None else why


def missing(board: Board, guest: Guest) -> str:
    """Why no node takes it: the nearest miss first. "" where one would."""
    found: list[tuple[float, NodeName, str]] = []
    for node in board.hosts:
        failure = fit(board, node, guest)
        if failure is None:
            return ""
        if failure is FitFailure.MEMORY:
            short_mib = guest.memory_mib - max(0, board.free_mib[node])
            found.append((short_mib, node, f"{short_mib} MiB short on {node}"))
        elif failure is not FitFailure.NODE_LIMIT:
            text = sentence(failure, board, node, guest)
            found.append((float("inf"), node, f"{node}: {text}"))
    if not found:
        allowed = ", ".join(sorted(guest.nodes))
        return (
            f"none of the nodes that may take it is there: {allowed}"
            if allowed
            else "no node is there"
        )
    return f"no room: {', '.join(text for _, _, text in sorted(found))}"


def _with(board: Board, guests: Iterable[Guest], places: Mapping[VmName, NodeName]) -> Board:
    """A copy with some more on it."""
    trial = board.copy()
    for guest in guests:
        if guest.name in places:
            trial.put(guest, places[guest.name])
    return trial


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
                left_out[guest.name] = packing.why
    full = _with(board, [each.guest for each in lost], kept)
    for each in lost:
        if each.guest.name in left_out:
            left_out[each.guest.name] = missing(full, each.guest) or left_out[each.guest.name]
    return kept, left_out


def _fixed(
    board: Board, asked: Sequence[Guest], kept: Mapping[VmName, NodeName]
) -> dict[VmName, NodeName]:
    """The earlier tiers as they are, and of this one whoever still finds room."""
    trial = _with(board, asked, kept)
    packing = pack(trial, [guest for guest in asked if guest.name not in kept], is_even=True)
    return {**kept, **packing.places}
