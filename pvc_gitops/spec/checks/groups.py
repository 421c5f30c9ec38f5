"""Strict placement groups that no placement could satisfy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.spec.checks.guests import can_run_guests
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import NAMES_SHOWN_MAX, Finding


def group_findings(repository: Repository) -> Iterator[Finding]:
    """Only what can be said without placing anything: counting."""
    members: dict[str, list[str]] = {}
    for guest in repository.of_kind(Kind.VM):
        if guest.spec["run_state"] != "disabled":
            for name in guest.spec["placement"]["groups"]:
                members.setdefault(name, []).append(guest.name)
    strict = {group.name: group for group in repository.of_kind(Kind.GROUP) if group.spec["strict"]}
    nodes = [node for node in repository.of_kind(Kind.NODE) if can_run_guests(node)]
    for group in strict.values():
        if group.spec["policy"] == "apart" and repository.is_complete(Kind.NODE):
            yield from _too_many(group, len(members.get(group.name, ())), len(nodes))
    yield from _contradictions(repository, strict)


def _contradictions(repository: Repository, strict: Mapping[str, Document]) -> Iterator[Finding]:
    """Guests that two strict groups want apart and together."""
    in_both: dict[tuple[str, str], list[str]] = {}
    for guest in repository.of_kind(Kind.VM):
        names = [name for name in guest.spec["placement"]["groups"] if name in strict]
        for one, other in product(names, names):
            if strict[one].spec["policy"] == "apart" and strict[other].spec["policy"] == "together":
                in_both.setdefault((one, other), []).append(guest.name)
    for (one, other), guests in sorted(in_both.items()):
        group, against = strict[one], strict[other]
        if len(guests) > group.spec["max_per_node"]:
            yield Finding(
                document=group,
                path=("policy",),
                code="contradicting-groups",
                message=f"{', '.join(guests[:NAMES_SHOWN_MAX])} must be apart here and together in "
                f"{against.address} ({against.file})",
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
