"""Carrying out what `ha.fencing` decides about one node. What takes time is a job of its own: a BMC that
hangs keeps nobody else waiting, and dies with this process."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from pvc_gitops.controllers import fence_acts, ledger
from pvc_gitops.controllers.fence_acts import Machine
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read, version_of
from pvc_gitops.errors import WorldError
from pvc_gitops.ha.fencing import (
    Act,
    Block,
    BmcState,
    Cycle,
    NodeView,
    PowerOn,
    Prove,
    Release,
    Revoke,
    Wait,
    is_dead,
)
from pvc_gitops.model import node_states, paths
from pvc_gitops.model.ha import Fence, Proof, ProofKind
from pvc_gitops.model.ids import NodeName, address
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.node_states import NodeEvent
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Delete, Leadership, World

RETRY_S: Final = 5.0  # a BMC or monitor that failed is asked again
RETRY_ON_S: Final = 60.0  # nobody waits for a guest then


class Work(StrEnum):
    """What runs beside the ticks, one of a kind for a node."""

    CYCLE = "cycle"
    POWER_ON = "power-on"
    BLOCK = "block"
    RELEASE = "release"

    def key(self, node: NodeName, incarnation: str) -> str:
        return f"ha.{self.value} {node} {incarnation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceMemory:
    """What this leader knows of one fence, besides the record. All of it may be lost: it begins anew."""

    incarnation: str
    known_since_s: float
    bmc: BmcState = BmcState.IDLE
    again_at_s: float = 0.0  # after a failure
    trouble: str = ""


def view(
    world: World,
    memory: FenceMemory | None,
    machine: Machine,
    *,
    seen: NodeView,
    now_s: float,
) -> NodeView:
    """Complete what the leader saw of a node with what it has under way."""
    fence = seen.fence
    if fence is None or memory is None or memory.incarnation != fence.incarnation:
        return seen
    bmc = memory.bmc
    if world.machines.expected(fence.node, machine.bmc) is None:
        bmc = BmcState.NONE
    elif _is_busy(world, fence, Work.CYCLE, Work.POWER_ON) or (
        bmc is BmcState.IDLE and now_s < memory.again_at_s
    ):
        bmc = BmcState.BUSY
    return replace(
        seen,
        known_s=now_s - memory.known_since_s,
        bmc=bmc,
        is_blocking=_is_busy(world, fence, Work.BLOCK),
    )


def _is_busy(world: World, fence: Fence, *works: Work) -> bool:
    jobs = (world.jobs.state(work.key(fence.node, fence.incarnation)) for work in works)
    return any(job is not None and not job.is_done for job in jobs)


def collect(
    world: World, lead: Leadership, fence: Fence, memory: FenceMemory, now_s: float
) -> tuple[FenceMemory, Fence]:
    """Take up the outcomes of what ran beside."""
    for work in Work:
        key = work.key(fence.node, fence.incarnation)
        job = world.jobs.state(key)
        if job is None or not job.is_done:
            continue
        world.jobs.forget(key)
        if job.error is None:
            memory, fence = _done(world, lead, fence, memory, work)
        elif isinstance(job.error, WorldError):
            trouble = f"{job.error.operation} {job.error.target}: {job.error.reason}"
            world.journal.event("fence_trouble", node=fence.node, what=work, why=trouble)
            is_of_bmc = work in (Work.CYCLE, Work.POWER_ON)
            bmc = BmcState.IDLE if is_of_bmc else memory.bmc
            pause_s = RETRY_ON_S if work is Work.POWER_ON else RETRY_S
            memory = replace(memory, bmc=bmc, again_at_s=now_s + pause_s, trouble=trouble)
        else:
            raise job.error
    return memory, fence


def _done(
    world: World,
    lead: Leadership,
    fence: Fence,
    memory: FenceMemory,
    work: Work,
) -> tuple[FenceMemory, Fence]:
    match work:
        case Work.CYCLE:
            after = _write(world, lead, fence, is_off=False)
            return replace(memory, bmc=BmcState.CYCLED, trouble=""), after
        case Work.POWER_ON:
            return replace(memory, trouble=""), _write(world, lead, fence, is_off=False)
        case Work.BLOCK:
            return memory, _write(world, lead, fence, is_blocked=True)
        case Work.RELEASE:
            _end(world, lead, fence)
            return memory, fence


def perform(
    world: World,
    lead: Leadership,
    seen: NodeView,
    machine: Machine,
    act: Act,
) -> None:
    """Begin or do one act. Raises StoreError."""
    match act:
        case Revoke():
            _revoke(world, lead, seen, act)
        case Prove():
            _prove(world, lead, seen, act.kind, act.evidence)
        case Wait():
            pass
        case Block() | Cycle() | PowerOn() | Release():
            assert seen.fence is not None
            _start(world, lead, seen.fence, machine, act)


def _start(
    world: World,
    lead: Leadership,
    fence: Fence,
    machine: Machine,
    act: Block | Cycle | PowerOn | Release,
) -> None:
    do: Callable[[World, Leadership, Fence, Machine], None]
    match act:
        case Block():
            work, do = Work.BLOCK, fence_acts.block
        case Release():
            work, do = Work.RELEASE, fence_acts.release
        case PowerOn():
            world.journal.event("power_on_requested", of=fence.node, incarnation=fence.incarnation)
            work, do = Work.POWER_ON, fence_acts.power_on
        case Cycle():
            world.journal.event("fence_requested", of=fence.node, incarnation=fence.incarnation)
            work, do = Work.CYCLE, fence_acts.cycle
    key = work.key(fence.node, fence.incarnation)
    world.jobs.start(key, lambda _: do(world, lead, fence, machine))


# --- records ---------------------------------------------------------------------------------------


def _revoke(world: World, lead: Leadership, seen: NodeView, act: Revoke) -> None:
    """One transaction: after it no heartbeat of the incarnation succeeds."""
    store, was, state = (
        world.store,
        act.incarnation,
        node_states.after(seen.state, NodeEvent.REVOKED),
    )
    revoked: IncarnationRecord = replace(was, is_revoked=True)
    fence = Fence(
        node=seen.node,
        incarnation=was.id,
        revoked_at_s=world.clock.now_s(),
        why=act.why,
        lease_s=was.lease_s,
        # While a hold is recorded the watchdog is petted without a lease: only the BMC proves anything.
        watchdog_s=None if was.watchdog is None or was.hold else was.watchdog_s,
        storage_addresses=was.storage_addresses,
    )
    note = Note(
        kind=EntryKind.ACT,
        text=f"{seen.node} {act.why}: fencing it",
        by=f"ha on {world.me.node}",
        addresses=(address("node", seen.node),),
        data={"incarnation": was.id},
    )
    before = version_of(store.read(paths.fence(seen.node)))
    store.commit(
        (
            *lead.checks,
            put(paths.incarnation(seen.node), revoked, was.version),
            put(paths.fence(seen.node), fence, before),
            *ledger.appending(store, [note], fence.revoked_at_s),
        )
    )
    world.journal.event("node_revoked", of=seen.node, incarnation=was.id, why=act.why, state=state)


def _prove(world: World, lead: Leadership, seen: NodeView, kind: ProofKind, evidence: str) -> None:
    assert seen.fence is not None
    store, state = world.store, NodeState.FENCED
    if not is_dead(seen):  # else a better proof of the same death
        state = node_states.after(NodeState.FENCING, NodeEvent.PROVEN_DEAD)
    proof = Proof(
        incarnation=seen.fence.incarnation,
        kind=kind,
        evidence=evidence,
        at_s=world.clock.now_s(),
    )
    note = Note(
        kind=EntryKind.ACT,
        text=f"{seen.node} is proven dead: {evidence}",
        by=f"ha on {world.me.node}",
        addresses=(address("node", seen.node),),
        data={"incarnation": proof.incarnation, "proof": kind.value},
    )
    path = paths.proof(seen.node)
    store.commit(
        (
            *lead.checks,
            put(path, proof, version_of(store.read(path))),
            *ledger.appending(store, [note], proof.at_s),
        )
    )
    world.journal.event(
        "death_proven",
        of=seen.node,
        incarnation=proof.incarnation,
        by=kind,
        evidence=evidence,
        state=state,
    )


def _write(
    world: World,
    lead: Leadership,
    fence: Fence,
    *,
    is_blocked: bool | None = None,
    is_off: bool | None = None,
) -> Fence:
    """Change what is not None, in the record as it stands: jobs write it too."""
    path = paths.fence(fence.node)
    now = read(world.store, path, Fence) or fence
    after = replace(
        now,
        is_blocked=now.is_blocked if is_blocked is None else is_blocked,
        is_off=now.is_off if is_off is None else is_off,
    )
    if after != now:
        world.store.commit((*lead.checks, put(path, after, now.version)))
    return read(world.store, path, Fence) or after


def _end(world: World, lead: Leadership, fence: Fence) -> None:
    state = node_states.after(NodeState.FENCED, NodeEvent.RELEASED)
    now = read(world.store, paths.fence(fence.node), Fence) or fence
    world.store.commit((*lead.checks, Delete(path=paths.fence(fence.node), version=now.version)))
    world.journal.event("fence_ended", of=fence.node, state=state)
