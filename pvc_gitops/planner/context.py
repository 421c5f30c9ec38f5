"""Everything that a planner run reads, looked up once."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pvc_gitops.model.document import Document, Kind, Spec
from pvc_gitops.model.ids import Address, NodeName, VmName, address
from pvc_gitops.model.inventory import GuestFacts, ImageFacts, Inventory, NodeState, TrashFacts
from pvc_gitops.model.intents import Intent, IntentKind, standing
from pvc_gitops.model.plan import Operation, PlanPolicy
from pvc_gitops.model.records import Applied, DiskRef, Lease
from pvc_gitops.model.spec import Cluster, ClusterSpec, Node, NodeRole, VirtualMachine
from pvc_gitops.planner.rules import cluster_under
from pvc_gitops.planner import windows
from pvc_gitops.planner.windows import Opening, Windows

_TAKING_AWAY = frozenset(
    {
        Operation.DISK_TRASH,
        Operation.IMAGE_DELETE,
        Operation.POOL_DELETE,
        Operation.RECORD_DROP,
    }
)


def object_of(part: Address) -> Address:
    """`vm/web1` of `vm/web1/disk/root`."""
    return Address("/".join(part.split("/", 2)[:2]))


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property needs a dict
class Context:
    """Spec, inventory and policy, with the questions that several kinds ask of them."""

    spec: ClusterSpec
    inventory: Inventory
    policy: PlanPolicy
    _vms: dict[int, tuple[Spec, VirtualMachine]] = field(default_factory=dict, repr=False)
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
            if name in self.online and node.runs_guests and not node.is_retired
        )

    @cached_property
    def sriov_networks(self) -> frozenset[str]:
        """Networks whose cards are virtual functions of a node."""
        networks = self.spec.of_kind(Kind.NETWORK)
        return frozenset(doc.name for doc in networks if doc.spec["type"] == "sriov")

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
                others[object_of(claim.address)] = f"{claim.step} of plan {claim.plan}"
        return frozenset(ours), others

    def foreign_claim(self, of: Address) -> str | None:
        """What a step of an older plan, or HA, still does to an object."""
        return self._claims[1].get(of)

    def undoing(self, of: Address) -> str | None:
        """The step of the plan in force that is taking away an object's data or record now. Its claim
        stands until that has happened, whatever a later commit says."""
        ours, _ = self._claims
        return next(
            (s for s in sorted(ours) if _takes_away(s) and object_of(_target(s)) == of), None
        )

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
        """The typed view of a guest's spec, made once a spec."""
        known = self._vms.get(id(spec))
        if known is None or known[0] is not spec:
            known = self._vms[id(spec)] = (spec, VirtualMachine.from_spec(name, spec))
        return known[1]

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
                    found.setdefault((network, lease.address), of)
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

    def document(self, kind: Kind, name: str) -> Document | None:
        return self.spec.documents.get(address(kind, name))


def _takes_away(step: str) -> bool:
    return step.partition(" ")[0] in _TAKING_AWAY


def _target(step: str) -> Address:
    return Address(step.split(" ")[1])


def prefix_of(rbd_name: str) -> str:
    """`vm.web1.` of `vm.web1.root.0a1b2c3d`."""
    return ".".join(rbd_name.split(".", 2)[:2]) + "."
