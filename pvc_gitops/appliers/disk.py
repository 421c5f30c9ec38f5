"""Disks of guests, and volumes: RBD images with data that nobody else has.

Nothing here deletes: a disk that goes lies in the trash (D6).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes, unchecked
from pvc_gitops.errors import ApplyError, PrereqError
from pvc_gitops.model.inventory import ImageFacts, TrashFacts
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDisk:
    """An empty one."""

    size_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneDisk:
    """A copy-on-write clone."""

    parent: tuple[str, str, str]
    size_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowDisk:
    """More room at its end."""

    size_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashDisk:
    """Into the trash, where it keeps its data for a while."""

    keep_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreDisk:
    """Out of the trash."""

    trash_id: str


Command = CreateDisk | CloneDisk | GrowDisk | TrashDisk | RestoreDisk


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDisk:
    """A disk as a step describes it."""

    size_mib: int
    parent: tuple[str, str, str] | None  # pool, image, snapshot
    trash_id: str | None


def commands(want: WantedDisk, have: ImageFacts | None) -> Iterator[Command]:
    """Towards a disk that exists. Never smaller: shrinking would cut data off."""
    if have is None:
        if want.trash_id is not None:
            yield RestoreDisk(trash_id=want.trash_id)
        elif want.parent is None:
            yield CreateDisk(size_mib=want.size_mib)
            return
        else:
            yield CloneDisk(parent=want.parent, size_mib=want.size_mib)
            return
    if have is not None and have.size_mib < want.size_mib:
        yield GrowDisk(size_mib=want.size_mib)


def check_trash(step: Step, world: World) -> None:
    """Asked at the moment of removal: the trash takes a running guest's disk without a murmur."""
    pool, image = step.inputs["pool"], step.inputs["image"]
    if image not in world.images.images(pool):
        return
    blocked = world.pools.blocklist()
    watchers = sorted(set(world.images.watchers(pool, image)) - blocked)
    if watchers:
        raise PrereqError(
            f"{pool}/{image} is still open by {', '.join(watchers)}; stop what uses it, "
            "the removal is tried again"
        )


def check_create(step: Step, world: World) -> None:
    """A name keeps its data (D6), also where the plan was made from an older look; and a clone needs
    its parent's snapshot."""
    target, name, parent = step.inputs["pool"], step.inputs["image"], _wanted(step).parent
    if name in world.images.images(target):
        return
    kept = [entry.id for entry in world.images.trash(target) if entry.name == name]
    if kept:
        raise PrereqError(
            f"{target}/{name} lies in the trash as {kept[-1]}: it is restored, not made empty; "
            "the next plan does that"
        )
    if parent is None:
        return
    pool, image, snapshot = parent
    facts = world.images.images(pool).get(image)
    if facts is None or snapshot not in facts.snapshots:
        raise PrereqError(f"{pool}/{image}@{snapshot}, which it is to be a clone of, is not there")


def run_make(step: Step, world: World, progress: Progress) -> Outcome:
    """Create, clone, restore or grow; twice is the same as once."""
    del progress
    pool, image, want = step.inputs["pool"], step.inputs["image"], _wanted(step)
    # A restored disk shows its size only then: at most one more round.
    for _ in range(2):
        have = world.images.images(pool).get(image)
        if have is None and step.operation is Operation.DISK_GROW:
            raise ApplyError(f"{pool}/{image}, which is to grow, is not there")
        for command in commands(want, have):
            _execute(command, pool, image, world)
    have = world.images.images(pool).get(image)
    if have is None or any(commands(want, have)):
        raise ApplyError(f"{pool}/{image} is not as wanted afterwards: {have}")
    origin = f", clone of {have.parent}" if have.parent else ""
    return Outcome(evidence={"disk": f"{pool}/{image}: {have.size_mib} MiB{origin}"})


def run_trash(step: Step, world: World, progress: Progress) -> Outcome:
    """Move it to the trash with its retention."""
    del progress
    pool, image = step.inputs["pool"], step.inputs["image"]
    if image in world.images.images(pool):
        _execute(TrashDisk(keep_s=int(step.inputs["keep_s"])), pool, image, world)
    if image in world.images.images(pool):
        raise ApplyError(f"{pool}/{image} is still there after it was moved to the trash")
    kept = [item for item in world.images.trash(pool) if item.name == image]
    where = f"in the trash as {kept[-1].id}" if kept else "gone"
    return Outcome(evidence={"disk": f"{pool}/{image}: {where}"})


def check_purge(step: Step, world: World) -> None:
    """Never early, whatever the plan says: not even because a pool is full (D6)."""
    entry = _in_trash(step, world)
    if entry is not None and entry.until_s > world.clock.now_s():
        raise PrereqError(
            f"{step.inputs['pool']}/{entry.name} is kept for another "
            f"{entry.until_s - world.clock.now_s()} s"
        )


def run_purge(step: Step, world: World, progress: Progress) -> Outcome:
    """Out of the trash, by its id: another image of the same name may lie there too."""
    del progress
    pool, trash_id = step.inputs["pool"], step.inputs["trash_id"]
    if _in_trash(step, world) is not None:
        world.images.trash_purge(pool, trash_id)
    if _in_trash(step, world) is not None:
        raise ApplyError(f"{trash_id} is still in the trash of {pool}")
    return Outcome(evidence={"disk": f"{pool}/{step.inputs['image']}: purged"})


def _in_trash(step: Step, world: World) -> TrashFacts | None:
    entries = world.images.trash(step.inputs["pool"])
    return next((entry for entry in entries if entry.id == step.inputs["trash_id"]), None)


def _wanted(step: Step) -> WantedDisk:
    parent = step.inputs.get("parent")
    return WantedDisk(
        size_mib=step.inputs["size_mib"],
        parent=None if parent is None else (parent["pool"], parent["image"], parent["snapshot"]),
        trash_id=step.inputs.get("trash_id"),
    )


def _execute(command: Command, pool: str, image: str, world: World) -> None:
    match command:
        case CreateDisk():
            world.images.create(pool, image, command.size_mib)
        case CloneDisk():
            world.images.clone(command.parent, pool, image, command.size_mib)
        case GrowDisk():
            world.images.grow(pool, image, command.size_mib)
        case TrashDisk():
            world.images.trash_move(pool, image, command.keep_s)
        case RestoreDisk():
            world.images.trash_restore(pool, command.trash_id, image)
        case other:
            assert_never(other)


CREATE = Applier(check=check_create, run=run_make, writes=Writes.LAST, is_long=True)
MAKE = Applier(check=unchecked, run=run_make, writes=Writes.LAST, is_long=True)
PURGE = Applier(check=check_purge, run=run_purge, writes=Writes.NEVER, is_long=True)
TRASH = Applier(check=check_trash, run=run_trash, writes=Writes.NEVER, is_long=True)
