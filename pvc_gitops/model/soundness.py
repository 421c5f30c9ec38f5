"""What of a node at work does not work, by its own report. Pure.

It is shown, and takes nothing away: a node is `degraded` while there is a reason, and each decision looks
at the fact that concerns it. Whether it could be fenced is told apart (`controllers.ready`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import NodeFacts, NodeState, StorageReach
from pvc_gitops.model.node_states import NodeEvent, after
from pvc_gitops.model.values import replace

# What is said of one guest or one step is no failing of its node.
_OF_OTHERS: Final = ("guest ", "step ")


def everywhere(nodes: Iterable[NodeFacts]) -> frozenset[str]:
    """What all of several nodes at work say: not one of them has failed, but what they share."""
    found = [set(each.faults) for each in nodes if each.state is NodeState.ONLINE]
    return frozenset(set.intersection(*found)) if len(found) > 1 else frozenset()


def by_storage(
    nodes: Mapping[NodeName, NodeFacts], by: Container[StorageReach]
) -> frozenset[NodeName]:
    """Who is online and says one of `by` of its storage. Nobody where Ceph answers none of them: then it
    is Ceph that is away, and no place is better than another."""
    online = {name: facts for name, facts in nodes.items() if facts.state is NodeState.ONLINE}
    if all(facts.storage is not StorageReach.ANSWERS for facts in online.values()):
        return frozenset()
    return frozenset(name for name, facts in online.items() if facts.storage in by)


def failings(facts: NodeFacts, common: frozenset[str]) -> tuple[str, ...]:
    """Sentences of its last report; none where nothing of its own has failed. `common`: what all have."""
    return tuple(
        fault for fault in facts.faults if fault not in common and not fault.startswith(_OF_OTHERS)
    )


def judged(nodes: Mapping[NodeName, NodeFacts]) -> dict[NodeName, NodeFacts]:
    """The nodes as they are shown: who is online and has a failing of its own is degraded."""
    common = everywhere(nodes.values())
    found = {}
    for name, facts in nodes.items():
        is_sound = facts.state is not NodeState.ONLINE or not failings(facts, common)
        state = facts.state if is_sound else after(facts.state, NodeEvent.IMPAIRED)
        found[name] = facts if is_sound else replace(facts, state=state)
    return found
