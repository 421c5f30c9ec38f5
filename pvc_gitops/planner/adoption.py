"""What is live and not ours becomes ours as it is: no start, no stop, no copy.

A document that says something else than what runs is refused, where the difference is identity or
data; what else differs is put on record and waits for the guest's next start like any change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, NodeName, PoolName
from pvc_gitops.model.inventory import ImageFacts, UnmanagedGuest, UnmanagedNetwork
from pvc_gitops.model.plan import Action, Cause, ItemKind, Operation, Permit
from pvc_gitops.model.records import Applied, DiskRef, Wanted
from pvc_gitops.model.spec import Network, Volume
from pvc_gitops.model.transitions import Transition, Word
from pvc_gitops.model.units import size_text
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.leases import Allocator
from pvc_gitops.planner.records import record_of
from pvc_gitops.planner.steps.common import created, is_blocked_by_needs, is_hindered
from pvc_gitops.planner.steps.vm_record import guest_record, takes_anothers


def adopts_guest(context: Context, draft: Draft, allocator: Allocator, doc: Document) -> bool:
    """Whether a declared guest is one that runs already; then all that can be done is done here. One
    that cannot be adopted is not made either."""
    entry = context.said(Word.ADOPTED, doc.address)
    if entry is None or context.applied(doc.address) is not None:
        return False
    if is_hindered(context, draft, doc.address, storage=True):
        return True
    found = _running(context, entry, doc)
    if found is None:
        name = _domain_name(entry, doc)
        _refuse(draft, doc, entry, f"no domain {name} that is nobody's runs on any node",
                "pvc adopt lists what there is; without `adopted` it is made anew")  # fmt: skip
        return True
    node, facts = found
    wrong = facts.hindrance or next(_differences(context, draft, doc, facts), "")
    if wrong:
        _refuse(draft, doc, entry, wrong, f"write {doc.file} as it runs; pvc adopt does it")
        return True
    record = _record(context, draft, allocator, doc, facts)
    if is_blocked_by_needs(draft, doc, record) or takes_anothers(context, draft, doc, record):
        return True
    draft.step(
        Operation.VM_ADOPT,
        doc.address,
        node,
        needs=draft.lasts(record.needs),
        pre=context.digest(doc.address),
        record=record,
        inputs={"uuid": facts.uuid, "domain": facts.name},
    )
    created(draft, doc, record, Action.ADOPT, _because(entry, f"runs on {node} as {facts.name}"))
    return True


def adopted_volume(context: Context, draft: Draft, doc: Document, entry: Transition) -> None:
    """An RBD image that is nobody's becomes a volume, under the name that it has."""
    source, volume = entry.source or Address(""), Volume.from_spec(doc.name, doc.spec)
    _, pool, image = [*source.split("/", 2), "", ""][:3]
    facts = context.image(pool, image)
    wrong = _wrong_with(context, volume, pool, image, facts)
    if wrong or facts is None:
        _refuse(draft, doc, entry, wrong, f"correct {doc.file} or the entry; pvc adopt writes both")
        return
    base = record_of(doc, commit=context.spec.commit, cluster_id=context.inventory.cluster_id)
    data = DiskRef(pool=pool, image=image, size_mib=volume.size_mib)
    record, node = replace(base, disks={"data": data}), context.coordinator(doc.address)
    if is_blocked_by_needs(draft, doc, record):
        return
    assert node is not None
    draft.step(
        Operation.RECORD_PUT,
        doc.address,
        node,
        needs=draft.lasts(record.needs),
        pre=context.digest(doc.address),
        record=record,
    )
    created(draft, doc, record, Action.ADOPT, _because(entry, f"is {pool}/{image}"))


def adopted_network(context: Context, draft: Draft, doc: Document) -> Cause | None:
    """Why a network that is not ours yet becomes ours; None where it does not, and the report says so.

    A bridge in its place is taken over by each node's agent with the guests that are plugged in: only
    by a word, and only as it is.
    """
    entry, network = context.said(Word.ADOPTED, doc.address), Network.from_spec(doc.name, doc.spec)
    found = {
        node: bridge
        for node in sorted(context.online)
        for bridge in context.inventory.nodes[node].bridges
        if network.vni is not None and bridge.vni == network.vni
    }
    if entry is None:
        if not found:
            return Cause(code="declared", text="declared, and not there yet", place=doc.place(()))
        names = sorted({each.bridge for each in found.values()})
        source = Address(f"bridge/{names[0]}")
        draft.item(
            ItemKind.BLOCKED,
            doc.address,
            "bridge-in-place",
            f"{names[0]} is on {', '.join(found)} with VNI {network.vni}, and is nobody's",
            remedy=f"adopted: [{source} as {doc.address}]; or another `vni`",
            place=doc.place(("vni",)),
            permits=(Permit(word=Word.ADOPTED, address=doc.address, source=source),),
        )
        return None
    name = (entry.source or entry.address).partition("/")[2]
    wrong = next(_differs(context, network, name, found), "")
    if wrong:
        _refuse(draft, doc, entry, wrong, f"write {doc.file} as it is; pvc adopt does it")
        return None
    return _because(entry, f"is {name} on {', '.join(found)}")


def _differs(
    context: Context, network: Network, name: str, found: Mapping[NodeName, UnmanagedNetwork]
) -> Iterator[str]:
    mtu_bytes = network.guest_mtu_bytes(context.cluster.networks["cluster"].mtu_bytes)
    if not any(bridge.bridge == name for bridge in found.values()):
        yield f"no bridge {name} that is nobody's has VNI {network.vni} on any node"
    for node, bridge in found.items():
        where = f"{bridge.bridge} on {node}"
        if bridge.hindrance:
            yield f"{where}: {bridge.hindrance}"
        if bridge.mtu_bytes != mtu_bytes:
            yield f"{where} has MTU {bridge.mtu_bytes}, not {mtu_bytes}"
        if bridge.gateway != network.router:
            yield f"{where} has the address {bridge.gateway or 'none'}, not {network.router or 'none'}"


def _wrong_with(
    context: Context, volume: Volume, pool: str, image: str, facts: ImageFacts | None
) -> str:
    if facts is None:
        return f"there is no image {pool}/{image}" if pool else "the entry does not say which image"
    owner = context.named.get((pool, image))
    if owner is not None:
        return f"{pool}/{image} is {owner}'s"
    if volume.pool != pool:
        return f"the image lies in pool/{pool}"
    if volume.size_mib != facts.size_mib:
        return f"{pool}/{image} has {size_text(facts.size_mib)}"
    return ""


def _domain_name(entry: Transition, doc: Document) -> str:
    return doc.name if entry.source is None else entry.source.partition("/")[2]


def _running(
    context: Context, entry: Transition, doc: Document
) -> tuple[NodeName, UnmanagedGuest] | None:
    name = _domain_name(entry, doc)
    for node in sorted(context.online):
        for facts in context.inventory.nodes[node].unmanaged:
            if facts.name == name and facts.uuid not in context.uuids:
                return node, facts
    return None


def _differences(
    context: Context, draft: Draft, doc: Document, facts: UnmanagedGuest
) -> Iterator[str]:
    """What must be the same: whose data and whose network cards these are."""
    live = {disk.name: disk for disk in facts.disks}
    declared = doc.spec["disks"]
    for name in sorted(live.keys() ^ declared.keys()):
        yield f"disk {name} {'runs and is not declared' if name in live else 'is not there'}"
    for name, disk in sorted(live.items()):
        where = (disk.pool, disk.image)
        volume = declared.get(name, {}).get("volume")
        if volume is not None:
            after = draft.after.get(Address(f"{Kind.VOLUME}/{volume}"))
            data = None if after is None else after.disks["data"]
            if data is None or (data.pool, data.image) != where:
                yield f"disk {name} is {disk.pool}/{disk.image}, not volume/{volume}"
            continue
        image = context.image(disk.pool, disk.image)
        if where in context.named:
            yield f"disk {name} is {context.named[where]}'s"
        elif image is None:
            yield f"disk {name} is {disk.pool}/{disk.image}, which no pool of ours holds"
        elif declared[name].get("pool") != disk.pool:
            yield f"disk {name} lies in pool/{disk.pool}"
        elif declared[name]["size"] != size_text(image.size_mib):
            yield f"disk {name} has {size_text(image.size_mib)}"
    called = {nic["mac"].lower(): name for name, nic in doc.spec["nics"].items()}
    for nic in facts.nics:
        if nic.name and called.get(nic.mac, nic.name) != nic.name:
            yield f"NIC {called[nic.mac]} is called {nic.name} in the running domain"
    macs = {nic.mac for nic in facts.nics}
    wanted = set(called)
    if macs != wanted:
        yield f"its NICs are {', '.join(sorted(macs)) or 'none'}; declared with `mac`: " + (
            ", ".join(sorted(wanted)) or "none"
        )


def _record(
    context: Context, draft: Draft, allocator: Allocator, doc: Document, facts: UnmanagedGuest
) -> Applied:
    record = guest_record(context, draft, allocator, doc, None, spec=doc.spec, life=1)
    live = {disk.name: disk for disk in facts.disks}
    disks = {
        name: replace(ref, pool=PoolName(live[name].pool), image=live[name].image)
        for name, ref in record.disks.items()
    }
    return replace(record, uuid=facts.uuid, disks=disks, wanted=Wanted.RUNNING)


def _because(entry: Transition, text: str) -> Cause:
    return Cause(code="adopted", text=text, place=entry.place)


def _refuse(draft: Draft, doc: Document, entry: Transition, text: str, remedy: str) -> None:
    del doc
    draft.blocked(entry.address, "not-adopted", text, remedy, entry.place)
