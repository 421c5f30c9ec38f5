"""Pools and volumes against the disks and sources that there are."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import Finding


def storage_findings(repository: Repository) -> Iterator[Finding]:
    """Copies need hosts; a volume begins with one thing."""
    hosts = [
        node
        for node in repository.of_kind(Kind.NODE)
        if node.spec["osds"] and node.spec["state"] == "active"
    ]
    for pool in repository.of_kind(Kind.POOL):
        copies, min_copies = pool.spec["copies"], pool.spec["min_copies"]
        if copies > len(hosts) and repository.is_complete(Kind.NODE):
            yield Finding(
                document=pool,
                path=("copies",),
                code="too-many-copies",
                message=f"copies {copies} need {copies} nodes with osds; there "
                f"{'is' if len(hosts) == 1 else 'are'} {len(hosts)}",
                hint="declare osds on more nodes, or fewer copies",
            )
        if min_copies > copies:
            yield Finding(
                document=pool,
                path=("min_copies",),
                code="out-of-range",
                message=f"min_copies {min_copies} is more than copies {copies}",
                hint=f"write {max(1, copies - 1)}",
            )
    for volume in repository.of_kind(Kind.VOLUME):
        source = volume.spec.get("source")
        if source is not None and len(source) != 1:
            yield Finding(
                document=volume,
                path=("source",),
                code="either-or",
                message="source needs exactly one of image, volume and snapshot",
                at_key=True,
            )
        yield from _snapshot_findings(repository, volume.name)


def _snapshot_findings(repository: Repository, name: str) -> Iterator[Finding]:
    volume = repository.find(Kind.VOLUME, name)
    snapshot = volume.spec.get("source", {}).get("snapshot") if volume is not None else None
    if volume is None or snapshot is None:
        return
    parent = snapshot.split("@", 1)[0]
    if not repository.exists(Kind.VOLUME, parent):
        yield Finding(
            document=volume,
            path=("source", "snapshot"),
            code="dangling-reference",
            message=f'no volume "{parent}"',
            hint=f"declare it in volumes/{parent}.yaml",
        )
