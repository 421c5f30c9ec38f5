"""Everything that a planner run reads, looked up once."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import Final

from pvc_gitops.model.document import Document, Kind, Spec
from pvc_gitops.model.ids import Address, NetworkName, NodeName, VmName, address
from pvc_gitops.model.intents import Intent, IntentKind, standing
from pvc_gitops.model.inventory import (
    GuestFacts,
    ImageFacts,
    Inventory,
    NodeState,
    StorageReach,
    TrashFacts,
)
from pvc_gitops.model.known import said_once
from pvc_gitops.model.plan import ItemKind, Operation, Permit, PlanPolicy
from pvc_gitops.model.records import Applied, DiskRef, Lease
from pvc_gitops.model.soundness import by_storage
from pvc_gitops.model.spec import Cluster, ClusterSpec, Node, NodeRole, VirtualMachine
from pvc_gitops.model.transitions import Transition, Word
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner import windows
from pvc_gitops.planner.rules import cluster_under
from pvc_gitops.planner.windows import Opening, Windows

_TAKING_AWAY = frozenset(
    {
        Operation.DISK_TRASH,
        Operation.IMAGE_DELETE,
        Operation.POOL_DELETE,
        Operation.RECORD_DROP,
        Operation.RECORD_KEEP,
        Operation.VM_FORGET,
    }
)


WORDS: Final = address(Kind.TRANSITIONS, Kind.TRANSITIONS)  # the record of words that are done


def written(entry: Transition) -> str:
    """An entry as the record of what is done holds it: not by its place in the file."""
    source = "" if entry.source is None else f" from {entry.source}"
    return f"{entry.word} {entry.address}{source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Why nothing may be made under an address now."""

    kind: ItemKind  # BLOCKED or WAITING
    code: str
    text: str
    remedy: str
    permits: tuple[Permit, ...] = ()


def object_of(part: Address) -> Address:
    """`vm/web1` of `vm/web1/disk/root`."""
    if part.count("/") == 1:  # most are objects themselves
        return part
    return Address("/".join(part.split("/", 2)[:2]))


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property needs a dict
class Context:
    """Spec, inventory and policy, with the questions that several kinds ask of them."""

    spec: ClusterSpec
    inventory: Inventory
    policy: PlanPolicy
    # Beside `inventory.applied`, which holds what exists, under the addresses that it is to have:
    kept: Mapping[Address, Applied] = field(default_factory=dict)  # what went to the trash
    moves: Mapping[Address, Address] = field(default_factory=dict)  # new address -> old one
    held: Mapping[Address, Held] = field(default_factory=dict)
    renamed: Mapping[Address, Address] = field(
        default_factory=dict
    )  # undeclared -> its likely heir
    calm: frozenset[Address] = frozenset()  # guests that may not be disrupted: a budget is spent
    _vms: dict[str, list[tuple[Spec, VirtualMachine]]] = field(default_factory=dict, repr=False)
    _openings: dict[str | None, Opening] = field(default_factory=dict, repr=False)

    @cached_property
    def cluster(self) -> Cluster:
        """As the commit before lets it be judged; what it wants for itself is in its document."""
        return cluster_under(self.spec, self.policy.rules)

    @cached_property
    def nodes(self) -> Mapping[NodeName, Node]:
        return self.spec.nodes

    @cached_property
    def online(self) -> frozenset[NodeName]:
        """Declared nodes whose heartbeat moves."""
        return frozenset(
            name
            for name, facts in self.inventory.nodes.items()
            if facts.state is NodeState.ONLINE and name in self.nodes
        )

    @cached_property
    def guest_nodes(self) -> tuple[NodeName, ...]:
        """Online nodes that may run guests, by name."""
        return tuple(
            name
            for name, node in sorted(self.nodes.items())
            if name in self.online
            and node.runs_guests
            and not node.is_retired
            and not self.is_emptied(name)
        )

    @cached_property
    def cut_off(self) -> frozenset[NodeName]:
        """Nodes that have lost their storage, and others have not."""
        return by_storage(self.inventory.nodes, (StorageReach.LOST,))

    @cached_property
    def takers(self) -> tuple[NodeName, ...]:
        """Nodes that take guests now, by name."""
        return tuple(name for name in self.guest_nodes if name not in self.cut_off)

    def is_emptied(self, node: NodeName) -> bool:
        """Do its guests leave, by an operator's word, so that none is to come?"""
        of = address(Kind.NODE, node)
        return any(self.standing(kind, of) for kind in (IntentKind.DRAIN, IntentKind.MAINTENANCE))

    @cached_property
    def present(self) -> frozenset[NodeName]:
        """Nodes whose heartbeat moves and that have a record, declared or not."""
        return frozenset(
            name
            for name, facts in self.inventory.nodes.items()
            if facts.state is NodeState.ONLINE
            and (name in self.nodes or address(Kind.NODE, name) in self.inventory.applied)
        )

    @cached_property
    def sriov_networks(self) -> frozenset[NetworkName]:
        """Networks whose cards are virtual functions of a node."""
        networks = self.spec.of_kind(Kind.NETWORK)
        names = (doc.name for doc in networks if doc.spec["type"] == "sriov")
        return frozenset(NetworkName(name) for name in names)

    @cached_property
    def _coordinators(self) -> tuple[NodeName, ...]:
        return tuple(
            name
            for name, node in sorted(self.nodes.items())
            if name in self.online and node.role is NodeRole.COORDINATOR and not node.is_retired
        )

    def coordinator(self, of: Address) -> NodeName | None:
        """Who does cluster-wide work on an address. By the address alone, so that the choice stays
        when other steps are done, and spread, so that imports run side by side."""
        if not self._coordinators:
            return None
        return self._coordinators[zlib.crc32(of.encode()) % len(self._coordinators)]

    @cached_property
    def _claims(self) -> tuple[frozenset[str], Mapping[Address, str]]:
        # Steps of the plan in force, and objects with other plans' steps.
        ours: set[str] = set()
        others: dict[Address, str] = {}
        for _, claim in sorted(self.inventory.claims.items()):
            if claim.plan == self.inventory.target:
                ours.add(claim.step)
            else:
                whose = f" of plan {claim.plan}" if claim.plan else ""
                others[object_of(claim.address)] = f"{claim.step}{whose}"
        return frozenset(ours), others

    def foreign_claim(self, of: Address) -> str | None:
        """What a step of an older plan, or HA, still does to an object."""
        return self._claims[1].get(of)

    def undoing(self, of: Address) -> str | None:
        """The step of the plan in force that is taking away an object's data or record now. Its claim
        stands until that has happened, whatever a later commit says."""
        return self._undoing.get(of)

    @cached_property
    def _undoing(self) -> Mapping[Address, str]:
        ours, _ = self._claims
        return {
            object_of(_target(step)): step
            for step in sorted(ours, reverse=True)
            if _takes_away(step)
        }

    def is_under_way(self, step: str) -> bool:
        """The plan in force is at this step now: its effect may be visible, its end is not."""
        return step in self._claims[0]

    def owner(self, vm: VmName) -> NodeName | None:
        placement = self.inventory.placements.get(vm)
        return None if placement is None else placement.owner

    def guest(self, vm: VmName) -> GuestFacts | None:
        """The domain, as its owner reported it."""
        owner = self.owner(vm)
        facts = None if owner is None else self.inventory.nodes.get(owner)
        return None if facts is None else facts.guests.get(vm)

    @cached_property
    def bearers(self) -> Mapping[str, tuple[VmName, NodeName]]:
        """Who bears another name than its own in libvirt, and where, by that name."""
        found: dict[str, tuple[VmName, NodeName]] = {}
        for node, facts in sorted(self.inventory.nodes.items()):
            for name, guest in sorted(facts.guests.items()):
                if guest.bears:
                    found.setdefault(guest.bears, (name, node))
        return found

    # --- what may be disturbed, and when ---

    def standing(self, kind: IntentKind, of: str) -> tuple[Intent, ...]:
        """Operators' wishes about an object that are in force, the oldest first."""
        intents = self.inventory.intents.values()
        return standing(intents, kind, of, self.inventory.now_s) if intents else ()

    def windows_of(self, own: str | None) -> Windows:
        """A guest's own window, else the cluster's."""
        return windows.named(self.spec, self.cluster.windows if own is None else (own,))

    def opening(self, own: str | None = None) -> Opening:
        """Whether something disruptive may begin now, and else when."""
        known = self._openings.get(own)
        if known is None:
            known = windows.opening(self.windows_of(own), self.inventory.now_s)
            self._openings[own] = known
        return known

    def heals(self, kind: Kind) -> bool:
        """Is what somebody changed by hand made as applied again, or only reported?"""
        return self.cluster.drift.get(kind) == "heal"

    def vm(self, name: str, spec: Spec) -> VirtualMachine:
        """The typed view of a guest's spec, made once. What is declared and what is applied are mostly
        equal, which takes a tenth as long to see as to read the second."""
        views = self._vms.setdefault(name, [])
        for known, view in views:
            if known is spec:
                return view
        found = next((view for known, view in views if known == spec), None)
        if found is None:
            alike = _view(spec)
            found = alike if alike.name == name else replace(alike, name=VmName(name))
        views.append((spec, found))
        return found

    @cached_property
    def _held(self) -> Mapping[tuple[str, str], Address]:
        # ("", MAC) and (network, address) -> the guest that has it, by its record or, where it is being
        # made, by the plan in force.
        found: dict[tuple[str, str], Address] = {}
        specs = {doc.address: doc.spec for doc in self.spec.of_kind(Kind.VM)}
        given = {address(Kind.VM, name): nics for name, nics in self.inventory.leases.items()}
        for of, record in self.inventory.applied.items():
            if record.kind is Kind.VM:
                specs[of], given[of] = record.spec, record.nics
        for of, nics in sorted(given.items()):
            for name, lease in nics.items():
                found.setdefault(("", lease.mac), of)
                network = specs.get(of, {}).get("nics", {}).get(name, {}).get("network")
                if lease.address is not None and network is not None:
                    found.setdefault((self.network_called(network), lease.address), of)
        return found

    def holder(
        self, network: str, lease: Lease, *, other_than: Address
    ) -> tuple[Address, str] | None:
        """Another guest that has the MAC or the address, and which of them."""
        for key, what in ((("", lease.mac), lease.mac), ((network, lease.address), lease.address)):
            of = None if key[1] is None else self._held.get((key[0], key[1]))
            if of is not None and of != other_than and what is not None:
                return of, what
        return None

    # --- storage ------------------------------------------------------------------------------

    def image(self, pool: str, image: str) -> ImageFacts | None:
        storage = self.inventory.storage
        return None if storage is None else storage.images.get(f"{pool}/{image}")

    def is_lost(self, ref: DiskRef) -> bool:
        """What a record names is not where it says: its removal was reverted half way, or somebody
        else took it away. Nothing is lost as long as nobody looks."""
        return self.inventory.storage is not None and self.image(ref.pool, ref.image) is None

    @cached_property
    def _by_prefix(self) -> Mapping[str, list[tuple[str, str]]]:
        # "vm.web1." -> [(pool, rbd name)]; the first two words of our names are kind and object.
        found: dict[str, list[tuple[str, str]]] = {}
        storage = self.inventory.storage
        for key in sorted(storage.images) if storage is not None else ():
            pool, _, name = key.partition("/")
            found.setdefault(prefix_of(name), []).append((pool, name))
        return found

    def images_of(self, prefix: str) -> list[tuple[str, str]]:
        """(pool, image) of all RBD images of an object, whatever life they come from."""
        return self._by_prefix.get(prefix, [])

    @cached_property
    def _trash_by_prefix(self) -> Mapping[str, list[tuple[str, TrashFacts]]]:
        found: dict[str, list[tuple[str, TrashFacts]]] = {}
        storage = self.inventory.storage
        for pool, entries in sorted(storage.trash.items()) if storage is not None else ():
            for entry in sorted(entries, key=lambda e: (e.until_s, e.id)):
                found.setdefault(prefix_of(entry.name), []).append((pool, entry))
        return found

    def trash_of(self, prefix: str) -> list[tuple[str, TrashFacts]]:
        """(pool, entry) of an object's data in the trash; the last one is the youngest."""
        return self._trash_by_prefix.get(prefix, [])

    def applied(self, of: Address) -> Applied | None:
        return self.inventory.applied.get(of)

    def digest(self, of: Address) -> str:
        """Of whatever record stands at an address, for a step's `pre`; "" where none does."""
        record = self.inventory.applied.get(of) or self.kept.get(of)
        return "" if record is None else record.digest

    @cached_property
    def aliases(self) -> Mapping[Address, Address]:
        """Addresses that objects had, where nothing else has them now: what a reference that is older
        than the move means."""
        applied = self.inventory.applied
        return {
            name: of
            for of, record in sorted(applied.items())
            for name in record.names
            if name not in applied
        }

    def network_called(self, name: str) -> str:
        """The name that a network has now, by whatever name an older record calls it."""
        if not self.aliases:
            return name
        of = address(Kind.NETWORK, name)
        return self.aliases.get(of, of).partition("/")[2]

    def needs(self, record: Applied) -> tuple[Address, ...]:
        """What a record refers to, under today's addresses."""
        if not self.aliases:
            return record.needs
        return tuple(self.aliases.get(each, each) for each in record.needs)

    @cached_property
    def named(self) -> Mapping[tuple[str, str], Address]:
        """Whose each RBD image is, by the records: (pool, image) -> address. Of what lies in the trash
        too; what exists comes first, and of a volume in a guest it is the volume's."""
        found: dict[tuple[str, str], Address] = {}
        for records in (self.kept, self.inventory.applied):
            for kind in (Kind.VM, Kind.VOLUME, Kind.IMAGE):
                for of, record in sorted(records.items()):
                    if record.kind is kind:
                        found |= {(ref.pool, ref.image): of for ref in record.disks.values()}
        return found

    @cached_property
    def uuids(self) -> frozenset[str]:
        """Of all objects, those in the trash included: no other may have them."""
        records = (*self.inventory.applied.values(), *self.kept.values())
        return frozenset(record.uuid for record in records)

    def is_anothers(self, pool: str, image: str, *, than: Address) -> bool:
        """Whether an image that bears an object's name belongs to another: it was renamed, or taken
        over."""
        return self.named.get((pool, image), than) != than

    @cached_property
    def _done(self) -> frozenset[str]:
        record = self.inventory.applied.get(WORDS)
        return frozenset() if record is None else frozenset(record.spec["done"])

    def is_done(self, entry: Transition) -> bool:
        """Whether a word was kept already."""
        return bool(self._done) and written(entry) in self._done

    def said(self, word: Word, of: Address) -> Transition | None:
        """The entry that says it of an address and is not done yet."""
        entry = self.spec.transitions.says(word, of)
        # What is kept must be written down, and somebody else is writing there now.
        is_open = entry is not None and not self.is_done(entry) and not self.foreign_claim(WORDS)
        return entry if is_open else None

    def document(self, kind: Kind, name: str) -> Document | None:
        return self.spec.documents.get(address(kind, name))


@said_once
def _view(spec: Spec) -> VirtualMachine:
    """Guests that share a specification differ in their names, and in nothing else of their views."""
    return VirtualMachine.from_spec("", spec)


def _takes_away(step: str) -> bool:
    return step.partition(" ")[0] in _TAKING_AWAY


def _target(step: str) -> Address:
    return Address(step.split(" ")[1])


def dotted(of: Address) -> str:
    """`vm.web1` of `vm/web1`, `vm.web1.root` of `vm/web1/disk/root`: how an RBD image's name begins."""
    return of.replace("/disk/", ".").replace("/", ".")


def own_prefix(of: Address) -> str:
    """`vm.web1.` of `vm/web1`: how the names of all its images begin."""
    return f"{dotted(of)}."


def prefix_of(rbd_name: str) -> str:
    """`vm.web1.` of `vm.web1.root.0a1b2c3d`."""
    return ".".join(rbd_name.split(".", 2)[:2]) + "."
