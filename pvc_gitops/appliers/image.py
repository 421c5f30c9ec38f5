"""Imported images: downloaded and verified once, cloned by many disks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes, unchecked
from pvc_gitops.errors import ApplyError, PrereqError
from pvc_gitops.model.inventory import ImageFacts
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportImage:
    """Download, verify, convert, snapshot."""

    pool: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteImage:
    """Remove it with its snapshot."""

    pool: str
    image: str


Command = ImportImage | DeleteImage


def commands(
    pool: str, image: str, *, snapshot: str | None, have: ImageFacts | None
) -> Iterator[Command]:
    """`snapshot` is what disks are cloned from; None: the image must be gone."""
    if snapshot is None:
        if have is not None:
            yield DeleteImage(pool=pool, image=image)
    elif have is None or snapshot not in have.snapshots:
        yield ImportImage(pool=pool, image=image)


def check(step: Step, world: World) -> None:
    """An image that disks are cloned from stays: their unchanged blocks are in it."""
    pool, image, snapshot = (step.inputs[key] for key in ("pool", "image", "snapshot"))
    parent = f"{pool}/{image}@{snapshot}"
    clones = sorted(
        f"{other}/{name}"
        for other in world.pools.pools()
        for name, facts in world.images.images(other).items()
        if facts.parent == parent
    )
    if clones:
        raise PrereqError(
            f"{len(clones)} disks are clones of {parent} ({', '.join(clones[:3])}); "
            "it can go when they are gone"
        )


def run(step: Step, world: World, progress: Progress) -> Outcome:
    """Import or delete; an image counts as imported when it shows its snapshot."""
    pool, image = step.inputs["pool"], step.inputs["image"]
    is_import = step.operation is Operation.IMAGE_IMPORT
    snapshot = step.inputs["snapshot"] if is_import else None
    have = world.images.images(pool).get(image)
    for command in commands(pool, image, snapshot=snapshot, have=have):
        match command:
            case ImportImage():
                world.images.import_url(
                    step.inputs["url"],
                    checksum=step.inputs["checksum"],
                    image_format=step.inputs["format"],
                    pool=pool,
                    image=image,
                    progress=progress,
                )
            case DeleteImage():
                world.images.delete_image(pool, image)
            case other:
                assert_never(other)
    have = world.images.images(pool).get(image)
    if any(commands(pool, image, snapshot=snapshot, have=have)):
        raise ApplyError(f"image {pool}/{image} is not as wanted afterwards: {have}")
    size = "gone" if have is None else f"{have.size_mib} MiB"
    return Outcome(evidence={"image": f"{pool}/{image}: {size}"})


IMPORT = Applier(check=unchecked, run=run, writes=Writes.LAST, is_long=True)
DELETE = Applier(check=check, run=run, writes=Writes.NEVER, is_long=True)
