"""Which guests are waited for before another one starts (DESIGN section 8): tiers, dependencies. Pure.

Everything has an end: whoever does not come up keeps the others waiting for a while only, since a guest
that should run, runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pvc_gitops.model.ids import VmName
from pvc_gitops.model.values import dataclass

# For those who do not come up, besides the time that they declare to need until they are ready.
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A guest that should run, as far as others wait for it."""

    tier: int  # as `tiers` has it
    depends_on: tuple[VmName, ...]
    is_counted_on: bool  # it runs, and is ready or late
    is_coming: bool  # it will be, or fail, without anybody's doing
    ready_s: float  # that it declares to need until it is ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Why a guest does not start yet, and how long that may go on."""

    why: str
    patience_s: float


def held_by(name: VmName, crowd: Mapping[VmName, Peer], *, is_return: bool) -> Held | None:
    """Whom a guest waits for; None where it may start.

    Args:
        name: the guest.
        crowd: all guests that should run, with this one.
        is_return: whether it ran before its node began anew. Only then its tier counts: a guest that
            crashed, or is new, is no reason to look at all others.
    """
    me = crowd[name]
    missing = [other for other in me.depends_on if _is_awaited(crowd.get(other))]
    if is_return:
        earlier = (o for o, peer in crowd.items() if peer.tier < me.tier and _is_awaited(peer))
        missing += [other for other in sorted(earlier) if other not in missing]
    if not missing:
        return None
    first = missing[0]
    because = "" if first in me.depends_on else f" of tier {crowd[first].tier}"
    others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
    return Held(
        why=f"waits for {first}{because}{others}",
        patience_s=PATIENCE_S + max(crowd[other].ready_s for other in missing),
    )


def _is_awaited(peer: Peer | None) -> bool:
    return peer is not None and peer.is_coming and not peer.is_counted_on


def tiers(
    declared: Mapping[VmName, int], depends_on: Mapping[VmName, Iterable[VmName]]
) -> dict[VmName, int]:
    """Whom others wait for starts no later than they: the tiers to go by, from those declared."""
    found = dict(declared)
    todo = sorted(declared, key=lambda name: (declared[name], name))
    while todo:
        name = todo.pop(0)
        for other in depends_on.get(name, ()):
            if other in found and found[other] > found[name]:
                found[other] = found[name]
                todo.append(other)
    return found
