"""After everything was off: who boots slower than the others is waited for (DESIGN section 8). Pure.

That a quorum was formed from nothing is seen without comparing clocks. Whoever leads keeps a roll of
the coordinators' boots; where none of those that are here now stands in it as it is, all of them were
off. And a candidate that found no store for a while knows that its own view begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.model.ha import Roll
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass

# Longer than any election; a switch that reboots, or a majority of coordinators that lost its power.
DARK_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Since when a candidate has had a store without a longer break, on its own clock."""

    since_s: float | None = None
    looked_s: float | None = None
    was_dark: bool = False  # it had one before

    def look(self, now_s: float) -> Light:
        """The store is here now."""
        is_new = self.looked_s is None or now_s - self.looked_s > DARK_S
        if not is_new:
            return Light(since_s=self.since_s, looked_s=now_s, was_dark=self.was_dark)
        return Light(since_s=now_s, looked_s=now_s, was_dark=self.looked_s is not None)


def is_cold(roll: Roll | None, boots: Mapping[NodeName, str]) -> bool:
    """Were all coordinators that are here now off since somebody led?

    Args:
        roll: as the last leader wrote it; None: nobody has led yet.
        boots: the boot ids of the coordinators that are heard now.
    """
    return roll is None or not any(roll.boots.get(name) == boot for name, boot in boots.items())


def is_waited_for(
    moved_at_s: float | None, light: Light, now_s: float, *, grace_s: float, is_cold: bool
) -> bool:
    """Is a silent node one that may only be slower to boot?

    Args:
        moved_at_s: when its counter was last seen to move; None: not yet.
        light: of this candidate.
        now_s: now, on this candidate's clock.
        grace_s: how long absent nodes are waited for.
        is_cold: whether all coordinators were off.
    """
    if light.since_s is None or not (is_cold or light.was_dark):
        return False
    was_heard = moved_at_s is not None and moved_at_s >= light.since_s
    return not was_heard and now_s < light.since_s + grace_s
