"""Which nodes are alive, by their counters seen moving on one's own clock (DESIGN section 8).

Nothing here compares clocks. A watcher that was itself blind forgives all nodes the time it did not
look. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.model.ha import Fence, Proof
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.node_states import Standing, state_of
from pvc_gitops.model.records import Heartbeat, IncarnationRecord
from pvc_gitops.model.values import dataclass, replace

# A node is unknown L + 1 s after its counter last moved.
GRACE_S: Final = 1.0
# Looking this seldom is normal; a longer gap is blindness of our own.
GAP_MAX_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A node's counter, and when it was last seen to move. None: not yet while we look."""

    beat: Heartbeat
    moved_at_s: float | None
    first_at_s: float  # a node that joins while we look is not silent since we began to look


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWatch:
    """What one process has seen of all heartbeats."""

    since_s: float | None = None
    looked_at_s: float | None = None
    seen: Mapping[NodeName, Seen] = field(default_factory=dict)

    def observe(self, now_s: float, beats: Mapping[NodeName, Heartbeat]) -> NodeWatch:
        """Take one look at all counters."""
        gap_s = 0.0 if self.looked_at_s is None else now_s - self.looked_at_s
        blind_s = gap_s if gap_s > GAP_MAX_S else 0.0
        return NodeWatch(
            since_s=now_s if self.since_s is None else self.since_s + blind_s,
            looked_at_s=now_s,
            seen={
                name: _look(self.seen.get(name), beat, now_s, blind_s)
                for name, beat in beats.items()
            },
        )

    def still_since_s(self, name: NodeName) -> float | None:
        """Since when a node's counter stands still, as far as we have looked; None: we have not."""
        seen = self.seen.get(name)
        if seen is None:
            return self.since_s
        return seen.first_at_s if seen.moved_at_s is None else seen.moved_at_s

    def is_settled(self, now_s: float, lease_s: float) -> bool:
        """Has it looked for long enough that a counter which has not moved means something?"""
        if self.since_s is None:
            return False
        all_moved = all(seen.moved_at_s is not None for seen in self.seen.values())
        return (bool(self.seen) and all_moved) or now_s - self.since_s > lease_s + GRACE_S

    def state(
        self,
        name: NodeName,
        incarnation: IncarnationRecord | None,
        now_s: float,
        lease_s: float,
        *,
        fence: Fence | None = None,
        proof: Proof | None = None,
    ) -> NodeState:
        """Of one node, by its table. All but the lease and the time is what stands in the store."""
        return state_of(
            Standing(
                has_joined=incarnation is not None,
                has_left=incarnation is not None and not incarnation.guests_left,
                is_silent=self.is_silent(name, now_s, lease_s),
                is_fenced=fence is not None,
                is_proven_dead=fence is not None
                and proof is not None
                and proof.incarnation == fence.incarnation,
            )
        )

    def is_silent(self, name: NodeName, now_s: float, lease_s: float) -> bool:
        """Has its counter stood still for as long as a lease, or was it never seen to move?"""
        seen = self.seen.get(name)
        if seen is None or seen.moved_at_s is None:
            return True
        return now_s - seen.moved_at_s > lease_s + GRACE_S


def _look(before: Seen | None, beat: Heartbeat, now_s: float, blind_s: float) -> Seen:
    if before is None:
        return Seen(beat=beat, moved_at_s=None, first_at_s=now_s)
    if before.beat != beat:
        return replace(before, beat=beat, moved_at_s=now_s)
    if blind_s == 0.0:
        return before
    moved_at_s = None if before.moved_at_s is None else before.moved_at_s + blind_s
    return replace(before, moved_at_s=moved_at_s, first_at_s=before.first_at_s + blind_s)
