"""What a node tells the cluster about itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pvc_gitops.appliers import network, vm
from pvc_gitops.controllers.records import write
from pvc_gitops.controllers.storage import StorageMemory
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import LinkError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import PoolName, VmName, address
from pvc_gitops.model.inventory import (
    Deviation,
    GuestFacts,
    Hardware,
    NetworkFacts,
    NodeFacts,
    NodeState,
    UnmanagedDisk,
    UnmanagedGuest,
    UnmanagedNetwork,
    UnmanagedNic,
)
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import DomainFacts, World

REPORT_EVERY_S: Final = 10.0
LOAD_QUANTUM: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMemory:
    """What was reported last, and when."""

    facts: NodeFacts | None = None
    sent_at_s: float = 0.0
    hardware: Hardware | None = None
    bridges: tuple[UnmanagedNetwork, ...] = ()
    looked_at_s: float | None = None  # for bridges that are not ours; a long list takes its time


def tick(
    world: World,
    view: View,
    memory: ReportMemory,
    faults: tuple[str, ...],
    storage: StorageMemory,
) -> ReportMemory:
    """Write the report if it says something new, or is old."""
    hardware = memory.hardware or world.hypervisor.hardware()
    before = memory.facts
    memory, wrong = _looked(world, view, memory)
    facts = replace(
        _facts(world, view, hardware, memory.bridges, (*faults, *wrong)),
        storage=storage.reach,
        storage_silent_at_s=None if storage.silence is None else storage.silence.at_s,
    )
    _tell_drift(world, before, facts)
    if before is not None:
        facts = replace(
            facts,
            report_number=before.report_number,
            observed_at_s=before.observed_at_s,
            load=before.load,  # it only ranks nodes: no reason to write by itself
        )
        if facts == before and view.now_s < memory.sent_at_s + REPORT_EVERY_S:
            return memory
    is_same_life = before is not None and before.incarnation == facts.incarnation
    number = before.report_number + 1 if before is not None and is_same_life else 1
    facts = replace(
        facts,
        report_number=number,
        observed_at_s=world.clock.now_s(),
        load=round(world.hypervisor.load() / LOAD_QUANTUM) * LOAD_QUANTUM,
    )
    write(world.store, paths.report(world.me.node), facts)
    return replace(memory, facts=facts, sent_at_s=view.now_s, hardware=hardware)


def _looked(world: World, view: View, memory: ReportMemory) -> tuple[ReportMemory, tuple[str, ...]]:
    """The bridges that are not ours, looked at now and then; and what went wrong with it."""
    if memory.looked_at_s is not None and view.now_s < memory.looked_at_s + REPORT_EVERY_S:
        return memory, ()
    try:
        found = world.links.foreign()
    except LinkError as error:
        return memory, (f"the bridges of this node cannot be read: {error.reason}",)
    return replace(memory, bridges=found, looked_at_s=view.now_s), ()


def _facts(
    world: World,
    view: View,
    hardware: Hardware,
    foreign: tuple[UnmanagedNetwork, ...],
    faults: tuple[str, ...],
) -> NodeFacts:
    digests: dict[str, int] = {
        name: record.spec["vni"]
        for name, record in view.networks.items()
        if record.spec.get("vni") is not None
    }
    bridges = view.bridges or {}
    return NodeFacts(
        name=world.me.node,
        state=NodeState.ONLINE,
        incarnation=None if view.incarnation is None else view.incarnation.id,
        hardware=hardware,
        guests={
            VmName(name): _guest(view, VmName(name), facts)
            for name, facts in sorted((view.domains or {}).items())
            if facts.domain is not None
        },
        unmanaged=tuple(
            _unmanaged(facts)
            for _, facts in sorted((view.domains or {}).items())
            if facts.domain is None
        ),
        networks={
            name: NetworkFacts(digest=bridges[vni].digest, deviations=_network(view, name, vni))
            for name, vni in sorted(digests.items())
            if vni in bridges
        },
        bridges=foreign,
        faults=tuple(sorted({*view.faults, *faults})),
        report_number=0,
        observed_at_s=0,
    )


def _guest(view: View, name: VmName, facts: DomainFacts) -> GuestFacts:
    have, record = facts.domain, view.guests.get(name)
    deviations: tuple[Deviation, ...] = ()
    if have is not None and record is not None and view.core_mtu_bytes is not None:
        want = vm.domain_of(
            record,
            networks=view.networks_called,
            core_mtu_bytes=view.core_mtu_bytes,
            starts=have.starts,
        )
        deviations = () if isinstance(want, str) else vm.deviations(want, have)
    return GuestFacts(
        state=facts.state,
        uuid=facts.uuid,
        digest="" if have is None else have.digest,
        starts=0 if have is None else have.starts,
        deviations=deviations,
        bears="" if have is None or facts.name == name else facts.name,
    )


def _unmanaged(facts: DomainFacts) -> UnmanagedGuest:
    """For those who would adopt it."""
    found = facts.foreign
    return UnmanagedGuest(
        name=facts.name,
        uuid=facts.uuid,
        vcpus=0 if found is None else found.vcpus,
        memory_mib=0 if found is None else found.memory_mib,
        disks=()
        if found is None
        else tuple(
            UnmanagedDisk(name=d.name, pool=PoolName(d.pool), image=d.image, bus=d.bus)
            for d in found.disks
        ),
        nics=()
        if found is None
        else tuple(
            UnmanagedNic(
                mac=n.mac, bridge=n.bridge, model=n.model, name="" if n.name == n.mac else n.name
            )
            for n in found.nics
        ),
        hindrance=facts.hindrance,
        console_log=found is not None and found.console_log,
    )


def _network(view: View, name: str, vni: int) -> tuple[Deviation, ...]:
    assert view.bridges is not None
    if view.core_mtu_bytes is None or view.node is None:
        return ()
    want = network.bridge_of(
        view.networks[name],
        local_address=view.node.addresses["cluster"],
        core_mtu_bytes=view.core_mtu_bytes,
    )
    return () if want is None else network.deviations(want, view.bridges[vni])


def _tell_drift(world: World, before: NodeFacts | None, after: NodeFacts) -> None:
    """One line in the journal for every part that somebody changed, when it is first seen."""
    known = {} if before is None else dict(_drifts(before))
    for where, found in _drifts(after):
        for each in found:
            if each not in known.get(where, ()):
                world.journal.event(
                    "drift", of=where, part=each.part, live=each.live, applied=each.applied
                )


def _drifts(facts: NodeFacts) -> Iterator[tuple[str, tuple[Deviation, ...]]]:
    seen = {address(Kind.VM, name): guest.deviations for name, guest in facts.guests.items()}
    seen |= {address(Kind.NETWORK, name): net.deviations for name, net in facts.networks.items()}
    for where, deviations in seen.items():
        yield where, tuple(each for each in deviations if each.is_drift)
