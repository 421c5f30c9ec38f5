"""Whether a process has seen enough of the nodes to plan: before that it would take them for silent.

The leading planner waits for it, and so does whoever answers with an inventory: a preview that was
made from less would show less than is done.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from pvc_gitops.controllers.answers import Recall, Said, fresh_storage, storage_of
from pvc_gitops.controllers.beats import read_beats
from pvc_gitops.controllers.observe import Observed, lease_s, of_one_moment, read_applied
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.spec import Node
from pvc_gitops.world.ports import World

GATHERING_S: Final = 60.0  # a machine that boots slower than its companions by more is a fault
LOOK_EVERY_S: Final = 1.0  # as often as nodes show a sign of life
ANSWER_WITHIN_S: Final = 20.0  # then whoever asks sees what is known, and which nodes are not


def is_gathered(watch: NodeWatch, observed: Observed, now_s: float) -> bool:
    """Has `watch` seen every node that counts?

    Before the first plan of a cluster that includes declared nodes that may still be starting: guests
    that are placed on the first two of three nodes stay there, against what their groups say.
    """
    inv = observed.inventory
    if not watch.is_settled(now_s, lease_s(dict(inv.applied))):
        return False
    if observed.target is not None:
        return True
    if watch.since_s is not None and now_s - watch.since_s > GATHERING_S:
        return True
    return _declared(inv) <= {
        name for name, facts in inv.nodes.items() if facts.state is NodeState.ONLINE
    }


def _declared(inv: Inventory) -> set[NodeName]:
    return {
        NodeName(record.name)
        for record in inv.applied.values()
        if record.kind is Kind.NODE and not Node.from_spec(record.name, record.spec).is_retired
    }


def gathered(world: World, recall: Recall) -> Generator[Said, None, Observed | None]:
    """The inventory as the leader would plan from it, as far as ANSWER_WITHIN_S reach; None before the
    cluster is founded. Raises StoreError."""
    # Records that changed since the last look at Ceph would seem to contradict it.
    yield from fresh_storage(world, recall)
    until_s = world.clock.monotonic_s() + ANSWER_WITHIN_S
    seen = yield from watched(world, recall)
    while True:
        watch = recall().watch if world.me.is_coordinator else seen
        now_s = world.clock.monotonic_s()
        observed = of_one_moment(world, watch, storage_of(recall))
        if observed is None or not world.me.is_coordinator or now_s > until_s:
            return observed
        if is_gathered(watch, observed, now_s):
            return observed
        yield None


def watched(world: World, recall: Recall) -> Generator[Said, None, NodeWatch]:
    """The heartbeats as this node's agent has seen them, once it has looked for long enough to tell who
    is silent: an agent that has just begun would call everybody unknown. One that is no coordinator does
    not look all the time (each look reads every node): it looks now. Raises StoreError."""
    watch, lease = NodeWatch(), lease_s(read_applied(world.store))
    until_s = world.clock.monotonic_s() + ANSWER_WITHIN_S
    while True:
        now_s = world.clock.monotonic_s()
        if world.me.is_coordinator:
            watch = recall().watch
        else:
            watch = watch.observe(now_s, read_beats(world.store))
        if watch.is_settled(now_s, lease) or now_s > until_s:
            return watch
        while world.clock.monotonic_s() < now_s + LOOK_EVERY_S:
            yield None
