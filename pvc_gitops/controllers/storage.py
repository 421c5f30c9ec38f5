"""Ceph as this node sees it, looked at by a job: the monitors may take long to answer.

Coordinators look at all that a plan may depend on, the others only whether anybody answers them.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.errors import PoolError
from pvc_gitops.ha.cut_off import Silence, listened, reach
from pvc_gitops.model.ids import PoolName
from pvc_gitops.model.inventory import StorageFacts, StorageReach
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import CephStatus, JobState, World

JOB: Final = "storage"
# For people; whoever plans, or asks for an inventory, has a look of its own.
LOOK_EVERY_S: Final = 30.0
PAUSE_S: Final = 10.0  # after a look that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageMemory:
    """The last look. `asked_at_s`: when it began, on this process's clock; what changed before that
    is in `facts`, if there are any. `fault` says why there is no newer one."""

    facts: StorageFacts | None = None
    asked_at_s: float | None = None  # of `facts`
    job_since_s: float | None = None
    fault: str = ""
    failed_at_s: float | None = None
    has_looked: bool = False
    silence: Silence | None = None  # of everybody

    @property
    def reach(self) -> StorageReach:
        return reach(self.silence, has_looked=self.has_looked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look came to. `is_answered`: by a monitor, or at least by an OSD."""

    facts: StorageFacts | None
    error: PoolError | None
    is_answered: bool


def tick(
    world: World,
    memory: StorageMemory,
    *,
    wanted_since_s: float,
    is_whole: bool = True,
    disk: tuple[str, str] | None = None,
) -> StorageMemory:
    """Collect a look that has ended; begin one if the last began before `wanted_since_s`.

    Args:
        world: whose Ceph is asked.
        memory: of this process.
        wanted_since_s: on its clock.
        is_whole: for facts, and not only for an answer.
        disk: pool and image of one that a guest here uses, if any: who gets no answer from the monitors
            may still reach the OSDs, and its guests run on.
    """
    now_s = world.clock.monotonic_s()
    if memory.job_since_s is not None:
        job = world.jobs.state(JOB)
        if job is not None and not job.is_done:
            return memory
        world.jobs.forget(JOB)
        memory = _collected(world, memory, job, now_s)
    is_fresh = memory.asked_at_s is not None and memory.asked_at_s >= wanted_since_s
    is_pausing = memory.failed_at_s is not None and now_s < memory.failed_at_s + PAUSE_S
    if is_fresh or is_pausing:
        return memory
    world.jobs.start(JOB, lambda _: _look(world, is_whole=is_whole, disk=disk))
    return replace(memory, job_since_s=now_s, failed_at_s=None)


def _collected(
    world: World, memory: StorageMemory, job: JobState | None, now_s: float
) -> StorageMemory:
    began_s = memory.job_since_s
    assert began_s is not None
    memory = replace(memory, job_since_s=None, failed_at_s=None, fault="")
    if job is None:
        return memory
    if job.error is not None:
        raise job.error  # a bug of ours; the loop counts it
    looked: Looked = job.value
    at_s = world.clock.now_s() - int(now_s - began_s)
    silence = listened(memory.silence, is_answered=looked.is_answered, began_s=began_s, at_s=at_s)
    memory = replace(memory, has_looked=True, silence=silence)
    if looked.error is not None:
        fault = f"Ceph does not answer: {looked.error.reason}"
        return replace(memory, fault=fault, failed_at_s=now_s)
    return replace(memory, facts=looked.facts, asked_at_s=began_s)


def _look(world: World, *, is_whole: bool, disk: tuple[str, str] | None) -> Looked:
    try:
        status = world.pools.status()
    except PoolError as error:
        return Looked(facts=None, error=error, is_answered=_is_open(world, disk))
    try:
        facts = _facts(world, status) if is_whole else None
    except PoolError as error:
        return Looked(facts=None, error=error, is_answered=True)
    return Looked(facts=facts, error=None, is_answered=True)


def _is_open(world: World, disk: tuple[str, str] | None) -> bool:
    """Does an OSD answer about a disk that is used here?"""
    if disk is None:
        return False
    try:
        world.images.watchers(*disk)
    except PoolError as error:
        return not error.retryable  # that there is no such image is an answer
    return True


def look(world: World) -> StorageFacts:
    """Everything that a plan may depend on. Raises PoolError."""
    return _facts(world, world.pools.status())


def _facts(world: World, status: CephStatus) -> StorageFacts:
    pools = world.pools.pools()
    return StorageFacts(
        health=status.health,
        checks=status.checks,
        osds_up=status.osds_up,
        osds_total=status.osds_total,
        used_ratio=status.used_ratio,
        pools={PoolName(name): pools[name] for name in sorted(pools)},
        images={
            f"{pool}/{name}": facts
            for pool in sorted(pools)
            for name, facts in sorted(world.images.images(pool).items())
        },
        trash={PoolName(pool): world.images.trash(pool) for pool in sorted(pools)},
        observed_at_s=world.clock.now_s(),
    )
