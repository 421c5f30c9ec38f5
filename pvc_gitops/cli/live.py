"""Reaching the cluster from a checkout: what the live verbs share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pvc_gitops.adapters.client import Client, connect
from pvc_gitops.errors import SpecError
from pvc_gitops.model.export import Export
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.spec import ClusterSpec


@contextmanager
def cluster(host: str | None, repo: Path) -> Iterator[Client]:
    """A connection, by DESIGN section 11's order. Raises UsageError with what to try."""
    client = connect(host, repo)
    try:
        yield client
    finally:
        client.close()


def spec_at(repo: Path, rev: str | None) -> ClusterSpec:
    """What a commit declares, or the working tree where `rev` is None. Raises SpecError."""
    from pvc_gitops.cli.known import remembered
    from pvc_gitops.cli.problems import read_files
    from pvc_gitops.spec.load import load

    commit, files, refused = read_files(repo, rev)
    if refused:
        raise SpecError(refused)
    with remembered(repo) as known:
        return load(files, commit=commit, known=known)


def export(host: str | None, repo: Path) -> Export:
    """What the cluster's planner reads now."""
    with cluster(host, repo) as client:
        return client.export(None)


def inventory(host: str | None, repo: Path) -> Inventory:
    """What the cluster knows now."""
    with cluster(host, repo) as client:
        return client.inventory()
