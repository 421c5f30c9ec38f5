"""Ceph as this coordinator sees it, looked at by a job: the monitors may take long to answer."""

from __future__ import annotations

from typing import Final

from pvc_gitops.errors import PoolError
from pvc_gitops.model.ids import PoolName
from pvc_gitops.model.inventory import StorageFacts
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

JOB: Final = "storage"
# For people; whoever plans, or asks for an inventory, has a look of its own.
LOOK_EVERY_S: Final = 30.0
PAUSE_S: Final = 10.0  # after a look that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageMemory:
    """The last look. `asked_at_s`: when it began, on this process's clock; what changed before that
    is in `facts`. `fault` says why there is no newer one."""

    facts: StorageFacts | None = None
    asked_at_s: float | None = None  # of `facts`
    job_since_s: float | None = None
    fault: str = ""
    failed_at_s: float | None = None


def tick(world: World, memory: StorageMemory, *, wanted_since_s: float) -> StorageMemory:
    """Collect a look that has ended; begin one if the last began before `wanted_since_s`."""
    now_s = world.clock.monotonic_s()
    if memory.job_since_s is not None:
        job = world.jobs.state(JOB)
        if job is not None and not job.is_done:
            return memory
        world.jobs.forget(JOB)
        value, error = (None, None) if job is None else (job.value, job.error)
        memory = _collected(memory, value, error, now_s)
    is_fresh = memory.asked_at_s is not None and memory.asked_at_s >= wanted_since_s
    is_pausing = memory.failed_at_s is not None and now_s < memory.failed_at_s + PAUSE_S
    if is_fresh or is_pausing:
        return memory
    world.jobs.start(JOB, lambda _: look(world))
    return StorageMemory(
        facts=memory.facts,
        asked_at_s=memory.asked_at_s,
        job_since_s=now_s,
        fault=memory.fault,
        failed_at_s=None,
    )


def _collected(
    memory: StorageMemory, facts: StorageFacts | None, error: Exception | None, now_s: float
) -> StorageMemory:
    if error is not None and not isinstance(error, PoolError):
        raise error  # a bug of ours; the loop counts it
    if error is not None:
        return StorageMemory(
            facts=memory.facts,
            asked_at_s=memory.asked_at_s,
            fault=f"Ceph does not answer: {error.reason}",
            failed_at_s=now_s,
        )
    return StorageMemory(
        facts=memory.facts if facts is None else facts,
        asked_at_s=memory.asked_at_s if facts is None else memory.job_since_s,
    )


def look(world: World) -> StorageFacts:
    """Everything that a plan may depend on. Raises PoolError."""
    status = world.pools.status()
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
