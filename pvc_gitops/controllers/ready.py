"""A candidate for HA tries all the time what a fence would need, from where it stands (section 8).

One trial at a time, each a job with an end, pressing no button; spread over the period, so that
candidates do not meet at one BMC. What was found is one small record a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.controllers.beats import read_incarnations
from pvc_gitops.controllers.fence_acts import identify
from pvc_gitops.controllers.records import read, read_all, write
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import BmcError, PoolError
from pvc_gitops.ha.readiness import (
    AFTER_TROUBLE_S,
    BLOCKLIST_EVERY_S,
    STALE_S,
    assess,
    blocklist_troubles,
    first_after_s,
    next_after_s,
)
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName, address
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.readiness import FenceReadiness, Readiness, Trial
from pvc_gitops.model.records import Applied
from pvc_gitops.model.spec import Bmc, Node
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import World

LOOK_EVERY_S: Final = 10.0  # for nodes that are new, or whose documents changed
JOB: Final = "ha.ready"
BLOCKLIST_JOB: Final = "ha.ready-blocklist"
# Of the block for documentation (RFC 5737): nobody's client; gone by itself if we die in between.
PROBE: Final = "192.0.2.1:0/1"
PROBE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyMemory:
    """Whom to try when, on this process's clock. An empty one tries everybody anew."""

    due_at_s: float = 0.0
    next_at_s: Mapping[NodeName, float] = field(default_factory=dict)
    numbers: Mapping[NodeName, int] = field(default_factory=dict)
    busy: NodeName | None = None
    blocklist_at_s: float = 0.0
    is_probing: bool = False
    found: Readiness = Readiness()
    written: Readiness | None = None
    written_at_s: int = 0


def tick(world: World, memory: ReadyMemory, watch: NodeWatch) -> ReadyMemory:
    """Take up what ended, begin what is due, write down what is new. Raises StoreError."""
    now_s = world.clock.monotonic_s()
    memory = _collected(world, memory, now_s)
    memory = _written(world, memory)
    if now_s < memory.due_at_s or memory.busy is not None:
        return memory
    memory = _probing(world, replace(memory, due_at_s=now_s + LOOK_EVERY_S), now_s)
    nodes = _nodes(world)
    first = {name: now_s + first_after_s(world.me.node, name) for name in nodes}
    next_at_s = {name: memory.next_at_s.get(name, first[name]) for name in nodes}
    trials = {name: each for name, each in memory.found.trials.items() if name in nodes}
    memory = replace(memory, next_at_s=next_at_s, found=replace(memory.found, trials=trials))
    due = [name for name, at_s in sorted(next_at_s.items()) if at_s <= now_s]
    # A BMC that is being used to fence has other things to do.
    due = [name for name in due if world.store.read(paths.fence(name)) is None]
    if not due:
        soonest_s = min(next_at_s.values(), default=memory.due_at_s)
        return replace(memory, due_at_s=min(memory.due_at_s, max(now_s, soonest_s)))
    node = due[0]
    bmc = nodes[node]
    incarnation = read_incarnations(world.store)[node]
    state = watch.state(node, incarnation, now_s, incarnation.lease_s)
    is_online = state is NodeState.ONLINE
    world.jobs.start(f"{JOB} {node}", lambda _: try_out(world, node, bmc, is_online=is_online))
    return replace(memory, busy=node, due_at_s=now_s)


def try_out(world: World, node: NodeName, bmc: Bmc | None, *, is_online: bool) -> Trial:
    """Everything that a fence by this BMC begins with, but the button.

    Args:
        world: of a process on the candidate's node.
        node: whose BMC.
        bmc: of its document.
        is_online: whether the node was heard within the lease: its power must then read ON.
    """
    at_s = world.clock.now_s()
    hindrance = world.machines.hindrance(node, bmc)
    if bmc is None and hindrance:
        return Trial(at_s=at_s, trouble=hindrance, is_declared=False)
    if hindrance:
        return Trial(at_s=at_s, trouble=hindrance)
    try:
        identify(world, node, bmc)
        is_on = world.machines.is_on(node, bmc)
    except BmcError as error:
        return Trial(at_s=at_s, trouble=f"its BMC cannot be used: {error.reason}")
    if is_online and not is_on:
        return Trial(
            at_s=at_s, trouble="its BMC says off, and the node is at work: it is disbelieved"
        )
    return Trial(at_s=at_s)


def _probe(world: World) -> str:
    """Why the blocklist cannot be written; "" where it can."""
    try:
        world.pools.block(PROBE, PROBE_S)
        world.pools.unblock(PROBE)
    except PoolError as error:
        return error.reason
    return ""


def _probing(world: World, memory: ReadyMemory, now_s: float) -> ReadyMemory:
    if memory.is_probing or now_s < memory.blocklist_at_s:
        return memory
    world.jobs.start(BLOCKLIST_JOB, lambda _: _probe(world))
    return replace(memory, is_probing=True)


def _collected(world: World, memory: ReadyMemory, now_s: float) -> ReadyMemory:
    if memory.is_probing:
        job = world.jobs.state(BLOCKLIST_JOB)
        if job is not None and job.is_done:
            world.jobs.forget(BLOCKLIST_JOB)
            if job.error is not None:
                raise job.error
            why: str = job.value
            pause_s = AFTER_TROUBLE_S if why else BLOCKLIST_EVERY_S
            found = replace(memory.found, blocklist=why, blocklist_at_s=world.clock.now_s())
            memory = replace(memory, found=found, is_probing=False, blocklist_at_s=now_s + pause_s)
    node = memory.busy
    if node is None:
        return memory
    job = world.jobs.state(f"{JOB} {node}")
    if job is None or not job.is_done:
        return memory
    world.jobs.forget(f"{JOB} {node}")
    if job.error is not None:
        raise job.error
    trial: Trial = job.value
    number = memory.numbers.get(node, 0) + 1
    after_s = next_after_s(world.me.node, node, number, is_well=not trial.trouble)
    before = memory.found.trials.get(node)
    if trial.trouble != ("" if before is None else before.trouble):
        world.journal.event("fence_readiness", of=node, trouble=trial.trouble or "none")
    return replace(
        memory,
        busy=None,
        found=replace(memory.found, trials={**memory.found.trials, node: trial}),
        numbers={**memory.numbers, node: number},
        next_at_s={**memory.next_at_s, node: now_s + after_s},
    )


def _written(world: World, memory: ReadyMemory) -> ReadyMemory:
    """What is new at once, mere ages seldom."""
    found, now_s = memory.found, world.clock.now_s()
    if not found.trials and found.blocklist_at_s is None:
        return memory
    is_same = memory.written is not None and _words(found) == _words(memory.written)
    if is_same and now_s < memory.written_at_s + STALE_S // 2:
        return memory
    write(world.store, paths.ready(world.me.node), found)
    return replace(memory, written=found, written_at_s=now_s)


def _words(found: Readiness) -> tuple[object, ...]:
    return (found.blocklist, {name: each.trouble for name, each in found.trials.items()})


def _nodes(world: World) -> dict[NodeName, Bmc | None]:
    """The nodes that ever joined and are declared, with their BMCs."""
    documents = {
        NodeName(each.name): each
        for each in read_all(world.store, paths.OWNED, Applied).values()
        if each.address.startswith("node/")
    }
    return {
        name: Node.from_spec(documents[name].name, documents[name].spec).bmc
        for name in read_incarnations(world.store)
        if name in documents
    }


# --- what people see --------------------------------------------------------------------------------


def recorded(world: World) -> dict[NodeName, Readiness]:
    """What the candidates wrote down, by where they run. Raises StoreError."""
    return {NodeName(n): each for n, each in read_all(world.store, paths.READY, Readiness).items()}


def alarms(
    rows: Iterable[FenceReadiness], found: Mapping[NodeName, Readiness]
) -> Iterator[tuple[str, str, str]]:
    """What needs a person: subject, what, command. The same trouble of several nodes is said once."""
    by_trouble: dict[str, list[NodeName]] = {}
    for row in rows:
        for trouble in row.troubles:
            by_trouble.setdefault(trouble, []).append(row.node)
    for trouble, names in by_trouble.items():
        yield "fencing", f"{', '.join(names)}: {trouble}", "pvc node fence-check"
    for trouble in blocklist_troubles(found):
        yield "fencing", trouble, "pvc node fence-check"


def everybody(world: World, found: Mapping[NodeName, Readiness]) -> tuple[FenceReadiness, ...]:
    """All nodes as fencing would find them, by what candidates wrote down. Raises StoreError."""
    rows = []
    for name, incarnation in read_incarnations(world.store).items():
        document = read(world.store, paths.applied(address("node", name)), Applied)
        if document is None:
            continue
        has_bmc = any(
            each.trials[name].is_declared for each in found.values() if name in each.trials
        ) or (Node.from_spec(document.name, document.spec).bmc is not None)
        rows.append(assess(name, incarnation, found, has_bmc=has_bmc, now_s=world.clock.now_s()))
    return tuple(rows)
