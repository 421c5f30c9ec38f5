"""Ceph's blocklist and the records of fences agree: the leader looks every half a minute, and mends.

A leader that stood still may close Ceph to a life that nobody fences any more, or open it to one that is
being fenced by now, and die before it can say so. Who is at work and shut out gets a fence of its last
death back, whose end lets it in; of whom a fence says that it is shut out, and who is not, is shut out
again before anything of it starts elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.controllers.fence_acts import entry
from pvc_gitops.controllers.records import check_incarnation, put, read
from pvc_gitops.errors import PoolError
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Leadership, World

EVERY_S: Final = 30.0
JOB: Final = "ha.entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the records say. An entry is compared only with what they said before it was read, too."""

    lives: Mapping[NodeName, IncarnationRecord]
    fences: Mapping[NodeName, Fence]
    online: Collection[NodeName]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutOutMemory:
    """The look that is under way, and what was said of entries that nobody of ours made."""

    again_at_s: float = 0.0
    before: Known | None = None  # as a look began
    told: Mapping[NodeName, str] = field(default_factory=dict)


def tick(
    world: World, lead: Leadership, memory: ShutOutMemory, now: Known, now_s: float
) -> ShutOutMemory:
    """Begin a look, or act on one that has ended. Raises StoreError, StoreConflict."""
    if memory.before is None:
        if now_s < memory.again_at_s:
            return memory
        world.jobs.start(JOB, lambda _: world.pools.blocklist())
        return replace(memory, before=now)
    job = world.jobs.state(JOB)
    if job is not None and not job.is_done:
        return memory
    world.jobs.forget(JOB)
    before, memory = memory.before, replace(memory, before=None, again_at_s=now_s + EVERY_S)
    if job is None:
        return memory
    if job.error is not None:
        if not isinstance(job.error, PoolError):
            raise job.error
        world.journal.event("blocklist_unread", why=job.error.reason)
        return memory
    entries: frozenset[str] = job.value
    for node in _not_shut_out(before, now, entries):
        fence = now.fences[node]
        again = replace(fence, is_blocked=False)
        world.store.commit((*lead.checks, put(paths.fence(node), again, fence.version)))
        world.journal.event("fence_open_in_ceph", of=node, incarnation=fence.incarnation)
    for node in _shut_out(before, now, entries):
        memory = _let_in(world, lead, memory, node, now.lives[node])
    return memory


def _not_shut_out(before: Known, now: Known, entries: frozenset[str]) -> list[NodeName]:
    """Of whom a fence says, and said before, that Ceph is closed to the life that it is about."""
    return [
        node
        for node, fence in sorted(now.fences.items())
        if fence.is_blocked
        and node in now.lives
        and now.lives[node].id == fence.incarnation
        and (was := before.fences.get(node)) is not None
        and (was.incarnation, was.is_blocked) == (fence.incarnation, True)
        and not {entry(each) for each in fence.storage_addresses} <= entries
    ]


def _shut_out(before: Known, now: Known, entries: frozenset[str]) -> list[NodeName]:
    """Who is at work in the same life as before, and fenced neither then nor now."""
    return [
        node
        for node, life in sorted(now.lives.items())
        if node in now.online
        and not life.is_over
        and node not in now.fences
        and node not in before.fences
        and (was := before.lives.get(node)) is not None
        and was.id == life.id
        and any(entry(each) in entries for each in life.storage_addresses)
    ]


def _let_in(
    world: World, lead: Leadership, memory: ShutOutMemory, node: NodeName, life: IncarnationRecord
) -> ShutOutMemory:
    """By the end of a fence. Without a death that is known the entry is somebody else's: it stands."""
    proof = read(world.store, paths.proof(node), Proof)
    if proof is None or proof.incarnation == life.id:
        if memory.told.get(node) != life.id:
            world.journal.event("shut_out_by_others", of=node, incarnation=life.id)
        return replace(memory, told={**memory.told, node: life.id})
    fence = Fence(
        node=node,
        incarnation=proof.incarnation,
        revoked_at_s=world.clock.now_s(),
        why="its present life is on Ceph's blocklist",
        lease_s=life.lease_s,
        watchdog_s=None,
        storage_addresses=life.storage_addresses,
        is_blocked=True,
    )
    ops = (check_incarnation(node, life), put(paths.fence(node), fence, None))
    world.store.commit((*lead.checks, *ops))
    world.journal.event("fence_put_back", of=node, incarnation=fence.incarnation)
    return memory
