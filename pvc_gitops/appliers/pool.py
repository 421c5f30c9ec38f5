"""Ceph pools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes, unchecked
from pvc_gitops.errors import ApplyError, PrereqError
from pvc_gitops.model.inventory import PoolFacts
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePool:
    """Make it, ready for RBD."""

    name: str
    copies: int
    min_copies: int
    pgs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePool:
    """Change how many copies it keeps."""

    name: str
    copies: int
    min_copies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePool:
    """Remove it with all that is in it: nothing, as `check` has seen."""

    name: str


Command = CreatePool | UpdatePool | DeletePool


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPool:
    """A pool as a step describes it. `pgs` counts only when it is made."""

    name: str
    copies: int
    min_copies: int
    pgs: int


def commands(name: str, want: WantedPool | None, have: PoolFacts | None) -> Iterator[Command]:
    """The fewest commands that turn what is there into what is wanted."""
    if want is None:
        if have is not None:
            yield DeletePool(name=name)
    elif have is None:
        yield CreatePool(name=name, copies=want.copies, min_copies=want.min_copies, pgs=want.pgs)
    elif (have.copies, have.min_copies) != (want.copies, want.min_copies):
        yield UpdatePool(name=name, copies=want.copies, min_copies=want.min_copies)


def check(step: Step, world: World) -> None:
    """A pool goes only when it holds no image and no trash: data outlives its pool (D6)."""
    if step.operation is not Operation.POOL_DELETE:
        return
    name = step.inputs["pool"]
    if name not in world.pools.pools():
        return
    images, trash = world.images.images(name), world.images.trash(name)
    if images:
        raise PrereqError(
            f"pool {name} still holds {len(images)} images ({', '.join(sorted(images)[:3])}); "
            "remove what uses them first"
        )
    if trash:
        raise PrereqError(
            f"pool {name} still holds {len(trash)} images in its trash; it can go when their "
            "retention is over"
        )


def run(step: Step, world: World, progress: Progress) -> Outcome:
    """Make the pool what the step says; what the monitors show afterwards is the evidence."""
    del progress
    name, want = step.inputs["pool"], _wanted(step)
    for command in commands(name, want, world.pools.pools().get(name)):
        _execute(command, world)
    have = world.pools.pools().get(name)
    if any(commands(name, want, have)):
        raise ApplyError(
            f"pool {name} is {have} after the change; look at `ceph osd pool get {name} all`"
        )
    return Outcome(
        evidence={
            "pool": "gone"
            if have is None
            else f"{name}, {have.copies} copies, {have.pgs} placement groups"
        }
    )


def _wanted(step: Step) -> WantedPool | None:
    if step.operation is Operation.POOL_DELETE:
        return None
    inputs = step.inputs
    return WantedPool(
        name=inputs["pool"],
        copies=inputs["copies"],
        min_copies=inputs["min_copies"],
        pgs=inputs.get("pgs") or 0,
    )


def _execute(command: Command, world: World) -> None:
    match command:
        case CreatePool():
            world.pools.create_pool(
                command.name,
                copies=command.copies,
                min_copies=command.min_copies,
                pgs=command.pgs,
            )
        case UpdatePool():
            world.pools.update_pool(
                command.name, copies=command.copies, min_copies=command.min_copies
            )
        case DeletePool():
            world.pools.delete_pool(command.name)
        case other:
            assert_never(other)


PUT = Applier(check=unchecked, run=run, writes=Writes.LAST, is_long=True)
DELETE = Applier(check=check, run=run, writes=Writes.NEVER, is_long=True)
