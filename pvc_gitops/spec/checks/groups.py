"""Rules of placement that no placement could keep, found before anything is placed.

Only what is certain from the documents: a node counts with the memory that it declares. Each finding
names who is concerned and where the other side of the contradiction stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.room import GUEST_OVERHEAD_MIB, usable_mib
from pvc_gitops.model.spec import Cluster, Node
from pvc_gitops.model.units import size_mib
from pvc_gitops.spec.checks.guests import can_run_guests
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import NAMES_SHOWN_MAX, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A node that may run guests, and what it can offer them at most."""

    name: str
    memory_mib: int
    vcpus: float
    vfs: int


def group_findings(repository: Repository) -> Iterator[Finding]:
    """Strict groups, strict limits to nodes, and guests that are larger than every node."""
    if not repository.is_complete(Kind.NODE):
        return  # a refused node might be the one that solves it
    places = _places(repository)
    guests = [g for g in repository.of_kind(Kind.VM) if g.spec["run_state"] != "disabled"]
    strict = {g.name: g for g in repository.of_kind(Kind.GROUP) if g.spec["strict"]}
    together = _together(guests, strict)
    for group in strict.values():
        if group.spec["policy"] == "apart":
            yield from _crowded(group, _members(guests, group.name), places)
            yield from _contradicted(group, together, strict)
    for members in together:
        yield from _parted(members, places)
        yield from _too_large_together(members, places)
    yield from _too_large(repository, guests, places)


def _places(repository: Repository) -> Mapping[str, _Place]:
    document = repository.cluster
    if document is None:
        return {}
    cluster = Cluster.from_spec(document.name, document.spec)
    nodes = (
        Node.from_spec(doc.name, doc.spec)
        for doc in repository.of_kind(Kind.NODE)
        if can_run_guests(doc)
    )
    return {
        node.name: _Place(
            name=node.name,
            memory_mib=usable_mib(node, node.memory_mib, cluster),
            vcpus=node.cpus * cluster.vcpu_ratio,
            vfs=node.vfs,
        )
        for node in nodes
    }


def _members(guests: Sequence[Document], group: str) -> list[Document]:
    return [guest for guest in guests if group in guest.spec["placement"]["groups"]]


def _allowed(guest: Document, places: Mapping[str, _Place]) -> frozenset[str]:
    wanted = guest.spec["placement"]["nodes"]
    if not wanted or not guest.spec["placement"]["strict"]:
        return frozenset(places)
    return frozenset(wanted) & places.keys()


def _names(documents: Sequence[Document]) -> str:
    more = ", …" if len(documents) > NAMES_SHOWN_MAX else ""
    return ", ".join(doc.name for doc in documents[:NAMES_SHOWN_MAX]) + more


# --- apart -----------------------------------------------------------------------------------------


def _crowded(
    group: Document, members: Sequence[Document], places: Mapping[str, _Place]
) -> Iterator[Finding]:
    """More members than nodes may hold, all of them or those with limits of their own."""
    if not places:
        return
    most = group.spec["max_per_node"]
    concerned, nodes = _without_place(members, places, most)
    if not concerned:
        return
    room = len(nodes) * most
    if len(concerned) == len(members) and nodes == places.keys():
        message = f"{len(members)} guests must be apart, and {len(nodes)} nodes hold {room} of them"
        hint = "add nodes, raise max_per_node, or write strict: false"
    else:
        limit = next(doc for doc in concerned if doc.spec["placement"]["nodes"])
        message = (
            f"{_names(concerned)} must be apart, and may only be on {', '.join(sorted(nodes))}, which "
            f"{'holds' if len(nodes) == 1 else 'hold'} {room} of them "
            f"({limit.place(('placement', 'nodes'))})"
        )
        hint = "let them on more nodes, raise max_per_node, or write strict: false"
    yield Finding(
        document=group,
        path=("max_per_node",) if most > 1 else ("strict",),
        code="group-too-large",
        message=message,
        hint=hint,
    )


def _without_place(
    members: Sequence[Document], places: Mapping[str, _Place], most: int
) -> tuple[list[Document], frozenset[str]]:
    """Members that ask for more places than the nodes which they may be on have, and those nodes; the
    first such set that a matching leaves over (Hall), or none."""
    allowed = {guest.name: sorted(_allowed(guest, places)) for guest in members}
    held: dict[str, list[str]] = {name: [] for name in places}

    def settle(guest: str, seen: set[str]) -> bool:
        for node in allowed[guest]:
            if node in seen:
                continue
            seen.add(node)
            if len(held[node]) < most:
                held[node].append(guest)
                return True
            for number, other in enumerate(held[node]):
                if settle(other, seen):
                    held[node][number] = guest
                    return True
        return False

    if len(members) <= most:
        return [], frozenset()  # together on any one node: limits are another check's
    for guest in members:
        seen: set[str] = set()
        if allowed[guest.name] and not settle(guest.name, seen):
            inside = {name for node in seen for name in held[node]} | {guest.name}
            return [each for each in members if each.name in inside], frozenset(seen)
    return [], frozenset()


# --- together --------------------------------------------------------------------------------------


def _together(guests: Sequence[Document], strict: Mapping[str, Document]) -> list[list[Document]]:
    """Guests that must share a node, by one group or through several."""
    sets: list[tuple[set[str], list[Document]]] = []
    for guest in guests:
        names = {
            name
            for name in guest.spec["placement"]["groups"]
            if name in strict and strict[name].spec["policy"] == "together"
        }
        if not names:
            continue
        joined = [each for each in sets if each[0] & names]
        merged = (
            set(names).union(*(g for g, _ in joined)),
            [*(d for _, m in joined for d in m), guest],
        )
        sets = [each for each in sets if each not in joined] + [merged]
    return [members for _, members in sets if len(members) > 1]


def _contradicted(
    group: Document, together: Sequence[Sequence[Document]], strict: Mapping[str, Document]
) -> Iterator[Finding]:
    """Guests that must be apart here and share a node elsewhere."""
    for members in together:
        both = [doc for doc in members if group.name in doc.spec["placement"]["groups"]]
        if len(both) <= group.spec["max_per_node"]:
            continue
        against = sorted(
            {
                name
                for doc in members
                for name in doc.spec["placement"]["groups"]
                if name in strict and strict[name].spec["policy"] == "together"
            }
        )
        where = ", ".join(f"{strict[n].address} ({strict[n].file})" for n in against)
        yield Finding(
            document=group,
            path=("policy",),
            code="contradicting-groups",
            message=f"{_names(both)} must be apart here and together in {where}",
            hint="take them out of one of the groups, or make one strict: false",
        )


def _parted(members: Sequence[Document], places: Mapping[str, _Place]) -> Iterator[Finding]:
    """Guests that must share a node, and have none in common."""
    common, so_far = frozenset(places), list[Document]()
    for guest in members:
        allowed = _allowed(guest, places)
        if allowed and common and not (common & allowed):
            limits = [d for d in so_far if d.spec["placement"]["nodes"]]
            yield Finding(
                document=guest,
                path=("placement", "nodes"),
                code="contradicting-nodes",
                message=f"it must be on one node with {_names(limits)}, which may only be on "
                f"{', '.join(sorted(common))} ({limits[0].place(('placement', 'nodes'))})",
                hint="give them a node in common, or make the group strict: false",
                at_key=True,
            )
            return
        common &= allowed
        so_far.append(guest)


def _too_large_together(
    members: Sequence[Document], places: Mapping[str, _Place]
) -> Iterator[Finding]:
    common = frozenset(places)
    for guest in members:
        common &= _allowed(guest, places)
    needed = sum(size_mib(doc.spec["memory"]) + GUEST_OVERHEAD_MIB for doc in members)
    room = max((places[name].memory_mib for name in common), default=0)
    if common and needed > room:
        yield Finding(
            document=members[-1],
            path=("placement", "groups"),
            code="group-too-large",
            message=f"{_names(members)} must be on one node and need {needed} MiB there; the largest "
            f"that all of them may be on has {room} MiB for guests",
            hint="take one out, or make the group strict: false",
            at_key=True,
        )


# --- one guest -------------------------------------------------------------------------------------


def _too_large(
    repository: Repository, guests: Sequence[Document], places: Mapping[str, _Place]
) -> Iterator[Finding]:
    """Guests that fit on none of the nodes that they may be on, were it empty."""
    sriov = {n.name for n in repository.of_kind(Kind.NETWORK) if n.spec["type"] == "sriov"}
    known: dict[tuple[str, ...], tuple[_Place, float, int]] = {}  # most guests may be anywhere
    for guest in guests:
        wanted = guest.spec["placement"]["nodes"] if guest.spec["placement"]["strict"] else ()
        if tuple(wanted) not in known:
            here = [places[name] for name in sorted(_allowed(guest, places))]
            if not here:
                continue
            known[tuple(wanted)] = (
                max(here, key=lambda place: place.memory_mib),
                max(place.vcpus for place in here),
                max(place.vfs for place in here),
            )
        largest, most, functions = known[tuple(wanted)]
        memory_mib = size_mib(guest.spec["memory"]) + GUEST_OVERHEAD_MIB
        if memory_mib > largest.memory_mib:
            yield Finding(
                document=guest,
                path=("memory",),
                code="guest-too-large",
                message=f"it needs {memory_mib} MiB with QEMU's own; the largest node that it may be "
                f"on, {largest.name}, has {largest.memory_mib} MiB for guests",
                hint="give it less, or a node more (hardware.memory, less its reserve)",
            )
        vcpus = guest.spec["cpu"]["vcpus"]
        if vcpus > most:
            yield Finding(
                document=guest,
                path=("cpu", "vcpus"),
                code="guest-too-large",
                message=f"{vcpus} vCPUs; no node that it may be on offers more than {most:g}",
                hint="give it fewer, or raise scheduling.vcpu_ratio",
            )
        cards = [name for name, nic in guest.spec["nics"].items() if nic.get("network") in sriov]
        if len(cards) > functions:
            yield Finding(
                document=guest,
                path=("nics", cards[-1], "network"),
                code="guest-too-large",
                message=f"{len(cards)} virtual functions; no node that it may be on has more than "
                f"{functions}",
                hint="declare `sriov` in a node, or use a network of another type",
            )
