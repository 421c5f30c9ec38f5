"""Nodes are judged by counters seen moving on one's own clock."""

from __future__ import annotations

from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.records import Heartbeat, IncarnationRecord

LEASE_S = 6.0


def life(left=False):
    return IncarnationRecord(
        id="a.0",
        boot_id="a",
        started_at_s=0,
        lease_s=LEASE_S,
        is_revoked=False,
        watchdog=None,
        storage_addresses=(),
        guests_left=not left,
    )


def looking(*looks):
    """Each look: the moment and hv1's counter."""
    watch = NodeWatch()
    for now_s, counter in looks:
        watch = watch.observe(now_s, {"hv1": Heartbeat(counter=counter, incarnation="a.0")})
    return watch


def test_a_node_is_unknown_until_its_counter_was_seen_to_move():
    assert looking((0, 5)).state("hv1", life(), 0, LEASE_S) is NodeState.UNKNOWN
    assert looking((0, 5), (1, 6)).state("hv1", life(), 1, LEASE_S) is NodeState.ONLINE


def test_a_node_is_unknown_a_lease_and_a_second_after_its_counter_stood_still():
    watch = looking((0, 5), (1, 6), *((float(t), 6) for t in range(2, 9)))
    assert watch.state("hv1", life(), 8.0, LEASE_S) is NodeState.ONLINE
    assert watch.state("hv1", life(), 8.1, LEASE_S) is NodeState.UNKNOWN


def test_ones_own_blindness_is_forgiven():
    watch = looking((0, 5), (1, 6), (61, 6))
    assert watch.state("hv1", life(), 61, LEASE_S) is NodeState.ONLINE
    watch = watch.observe(63, {"hv1": Heartbeat(counter=6, incarnation="a.0")})
    assert watch.state("hv1", life(), 68.1, LEASE_S) is NodeState.UNKNOWN


def test_left_and_absent_are_told_by_the_record():
    assert looking((0, 1)).state("hv1", None, 0, LEASE_S) is NodeState.ABSENT
    assert looking((0, 1), (1, 2)).state("hv1", life(left=True), 1, LEASE_S) is NodeState.LEFT


def test_nothing_is_planned_before_everybody_was_seen_or_time_is_over():
    assert not NodeWatch().is_settled(0, LEASE_S)
    assert not looking((0, 5)).is_settled(1, LEASE_S)
    assert looking((0, 5), (2, 6)).is_settled(2, LEASE_S)
    assert looking((0, 5), (2, 5), (4, 5), (6, 5), (8, 5)).is_settled(8, LEASE_S)
    assert not NodeWatch().observe(0, {}).is_settled(1, LEASE_S)  # nobody there is no majority


def test_a_node_that_joins_while_we_look_is_not_silent_since_we_began():
    watch = looking((0, 5), (1, 6), *((float(t), 6 + t) for t in range(2, 60)))
    beats = {name: Heartbeat(counter=0, incarnation="b.0") for name in ("hv1", "hv2")}
    watch = watch.observe(60.0, beats)
    assert watch.still_since_s("hv2") == 60.0
    assert watch.still_since_s("hv3") == 0.0  # never seen, for as long as we have looked
    assert watch.observe(61.0, beats).still_since_s("hv2") == 60.0
    assert watch.observe(70.0, beats).still_since_s("hv2") == 70.0  # its own blindness is forgiven
