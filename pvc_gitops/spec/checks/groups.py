"""Strict placement groups that no placement could satisfy."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.spec.checks.guests import can_run_guests
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import Finding


def group_findings(repository: Repository) -> Iterator[Finding]:
    """Only what can be said without placing anything: counting."""
    members: dict[str, list[str]] = {}
    for guest in repository.of_kind(Kind.VM):
        if guest.spec["run_state"] != "disabled":
            for name in guest.spec["placement"]["groups"]:
                members.setdefault(name, []).append(guest.name)
    strict = [group for group in repository.of_kind(Kind.GROUP) if group.spec["strict"]]
    apart = [group for group in strict if group.spec["policy"] == "apart"]
    together = [group for group in strict if group.spec["policy"] == "together"]
    nodes = [node for node in repository.of_kind(Kind.NODE) if can_run_guests(node)]
    for group in apart:
        if repository.is_complete(Kind.NODE):
            yield from _too_many(group, len(members.get(group.name, ())), len(nodes))
        for other in together:
            both = set(members.get(group.name, ())) & set(members.get(other.name, ()))
            if len(both) > group.spec["max_per_node"]:
                yield Finding(
                    document=group,
                    path=("policy",),
                    code="contradicting-groups",
                    message=f"{', '.join(sorted(both))} must be apart here and together in "
                    f"{other.address} ({other.file})",
                    hint="take them out of one of the groups, or make one strict: false",
                )


def _too_many(group: Document, count: int, nodes: int) -> Iterator[Finding]:
    room = nodes * group.spec["max_per_node"]
    if count > room:
        yield Finding(
            document=group,
            path=("max_per_node",) if group.spec["max_per_node"] > 1 else ("strict",),
            code="group-too-large",
            message=f"{count} guests must be apart, and {nodes} nodes hold {room} of them",
            hint="add nodes, raise max_per_node, or write strict: false",
        )
