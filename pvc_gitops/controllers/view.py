"""What an agent reads before it decides anything: one tick's picture of store and node."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_gitops.controllers.records import read, read_all, typed, version_of
from pvc_gitops.errors import HypervisorError, LinkError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import VmName, address
from pvc_gitops.model.intents import CLUSTER, Intent, IntentKind, standing
from pvc_gitops.model.records import (
    Accepted,
    Applied,
    Formation,
    IncarnationRecord,
    PlacementRecord,
    Target,
)
from pvc_gitops.model.spec import Cluster, Node
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import Bridge, DhcpConfig, DomainFacts, Stamped, World


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Read once, used by all parts of a tick.

    `domains`, `bridges` and `dhcp` are None where the node could not say; nothing is then done to
    guests or networks, and `faults` holds the reason.
    """

    now_s: float
    formation: Formation
    accepted: Accepted | None
    target: Target | None
    incarnation: IncarnationRecord | None
    cluster: Cluster | None
    node: Node | None
    networks: Mapping[str, Applied]
    guests: Mapping[VmName, Applied]  # that are placed here, or have a domain here
    placements: Mapping[VmName, PlacementRecord]
    domains: Mapping[str, DomainFacts] | None
    bridges: Mapping[int, Bridge] | None
    dhcp: Mapping[int, DhcpConfig] | None
    faults: tuple[str, ...]
    is_halted: bool  # by an operator: no further step begins
    wishes: int | None  # version of the intents' parent as of then: every new intent raises it

    @property
    def networks_called(self) -> Mapping[str, Applied]:
        """By every name that a guest's record may still call them: a network is renamed before the
        guests that are on it."""
        older = {
            name.partition("/")[2]: record
            for record in self.networks.values()
            for name in record.names
        }
        return {**older, **self.networks} if older else self.networks

    @property
    def core_mtu_bytes(self) -> int | None:
        """Of the cluster network, which carries VXLAN."""
        return None if self.cluster is None else self.cluster.networks["cluster"].mtu_bytes

    def heals(self, kind: Kind) -> bool:
        """Is what somebody changed by hand made as applied again, or only reported?"""
        return self.cluster is not None and self.cluster.drift.get(kind) == "heal"


def take(world: World) -> View | None:
    """Look at everything; None before the cluster is founded. Raises StoreError."""
    store, me = world.store, world.me.node
    wishes = version_of(store.read(paths.INTENTS))
    formation = read(store, paths.FORMAT, Formation)
    if formation is None:
        return None
    domains, domain_fault = _domains(world)
    bridges, dhcp, network_fault = _networks(world)
    placements = {
        VmName(name): record
        for name, record in read_all(store, paths.PLACEMENT, PlacementRecord).items()
    }
    records = store.read_children(paths.GUESTS)
    domains = None if domains is None else _by_guest(domains, records)
    here = {name for name, record in placements.items() if me in (record.owner, record.incoming)}
    here |= {VmName(name) for name, facts in (domains or {}).items() if facts.domain is not None}
    node = read(store, paths.applied(address(Kind.NODE, me)), Applied)
    return View(
        now_s=world.clock.monotonic_s(),
        formation=formation,
        accepted=read(store, paths.ACCEPTED, Accepted),
        target=read(store, paths.TARGET, Target),
        incarnation=read(store, paths.incarnation(me), IncarnationRecord),
        cluster=cluster(world),
        node=None if node is None else Node.from_spec(node.name, node.spec),
        networks=read_all(store, paths.NETWORKS, Applied),
        guests={
            name: typed(f"{paths.GUESTS}/{name}", records[name], Applied)
            for name in sorted(here & {VmName(name) for name in records})
        },
        placements=placements,
        domains=domains,
        bridges=bridges,
        dhcp=dhcp,
        is_halted=bool(
            standing(
                read_all(store, paths.INTENTS, Intent).values(),
                IntentKind.HALT,
                CLUSTER,
                world.clock.now_s(),
            )
        ),
        wishes=wishes,
        faults=tuple(sorted({*world.hypervisor.faults(), *domain_fault, *network_fault})),
    )


def cluster(world: World) -> Cluster | None:
    """The cluster's document in force. There is exactly one; its name is not known beforehand."""
    prefix = f"{Kind.CLUSTER}:"
    owned = world.store.read_children(paths.OWNED)
    for name in sorted(owned):
        if name.startswith(prefix):
            record = typed(f"{paths.OWNED}/{name}", owned[name], Applied)
            return Cluster.from_spec(record.name, record.spec)
    return None


def _domains(world: World) -> tuple[Mapping[str, DomainFacts] | None, tuple[str, ...]]:
    try:
        return world.hypervisor.domains(), ()
    except HypervisorError as error:
        return None, (f"the hypervisor does not answer: {error.reason}",)


def _by_guest(
    domains: Mapping[str, DomainFacts], records: Mapping[str, Stamped]
) -> Mapping[str, DomainFacts]:
    """Domains of ours by the names of their guests. libvirt's name is the one that a guest was started
    under; a renamed guest keeps it until its next start. The uuid never changes."""
    found: dict[str, DomainFacts] = {}
    for name, facts in domains.items():
        record = records.get(name)
        if facts.domain is not None and (record is None or record.value["uuid"] != facts.uuid):
            same = (each for each in sorted(records) if records[each].value["uuid"] == facts.uuid)
            found[next(same, name)] = facts
        else:
            found.setdefault(name, facts)
    return found


def _networks(
    world: World,
) -> tuple[Mapping[int, Bridge] | None, Mapping[int, DhcpConfig] | None, tuple[str, ...]]:
    try:
        return world.links.bridges(), world.services.dhcp(), ()
    except LinkError as error:
        return None, None, (f"the networks of this node cannot be read: {error.reason}",)
