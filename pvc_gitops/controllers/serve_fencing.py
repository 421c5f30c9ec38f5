"""What an agent answers about fencing: how every node would be found, tried anew where it can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pvc_gitops.controllers import ready
from pvc_gitops.controllers.answers import Recall, Refusal, Said, Value
from pvc_gitops.controllers.beats import read_incarnations
from pvc_gitops.controllers.records import read
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName, address
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.readiness import Readiness
from pvc_gitops.model.records import Applied
from pvc_gitops.model.spec import Node
from pvc_gitops.model.values import replace
from pvc_gitops.world.ports import World
from pvc_gitops.world.protocol import Question

JOB: Final = "fence-check"


def _fence_check(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """All nodes by what candidates wrote down; the one that is named is tried by this node now."""
    found = ready.recorded(world)
    name = question.args.get("node")
    if name is not None:
        node = NodeName(str(name))
        document = read(world.store, paths.applied(address("node", node)), Applied)
        incarnation = read_incarnations(world.store).get(node)
        if document is None or incarnation is None:
            yield Refusal(
                code="no-node", message=f"no node {node} has joined", hint="pvc status shows them"
            )
            return
        if not world.me.is_coordinator:
            yield Refusal(
                code="not-here",
                message=f"{world.me.node} is no coordinator: it fences nobody",
                hint="--host ssh://pvc@COORDINATOR",
            )
            return
        now_s = world.clock.monotonic_s()
        state = recall().watch.state(node, incarnation, now_s, incarnation.lease_s)
        bmc = Node.from_spec(document.name, document.spec).bmc
        key = f"{JOB} {node}"
        is_online = state is NodeState.ONLINE
        world.jobs.start(key, lambda _: ready.try_out(world, node, bmc, is_online=is_online))
        while (job := world.jobs.state(key)) is not None and not job.is_done:
            yield None
        world.jobs.forget(key)
        if job is not None and job.error is not None:
            raise job.error
        if job is not None:
            mine = found.get(world.me.node, Readiness())
            mine = replace(mine, trials={**mine.trials, node: job.value})
            found = {**found, world.me.node: mine}
    rows = ready.everybody(world, found)
    yield Value(value=[row for row in rows if name is None or row.node == name])


HANDLERS: Final[Mapping[str, Callable[[Question, World, Recall], Iterator[Said]]]] = {
    "fence-check": _fence_check,
}
