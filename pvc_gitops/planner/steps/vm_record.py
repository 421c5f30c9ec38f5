"""What a guest's record says: its power, its leases, and where its disks lie."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, VmName, address
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.records import Applied, DiskRef, Wanted
from pvc_gitops.model.spec import RunState, VirtualMachine
from pvc_gitops.model.values import replace
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.leases import Allocator
from pvc_gitops.planner.records import record_of
from pvc_gitops.planner.steps.disks import disk_address, rbd_name


def guest_record(
    context: Context,
    draft: Draft,
    allocator: Allocator,
    doc: Document,
    applied: Applied | None,
    *,
    spec: Mapping[str, object],
    life: int,
    needs: tuple[Address, ...] | None = None,
) -> Applied:
    """What its record says once `spec` is in force. `life`: of its disks' names; `needs`: the spec's
    references, where they are known."""
    vm = context.vm(doc.name, spec)
    # A lease once given is kept: by the record, or by the plan in force that is about to write it.
    kept = dict(context.inventory.leases.get(VmName(doc.name), {}))
    before = {name: nic.network for name, nic in vm.nics.items() if name in kept}
    if applied is not None:
        kept |= applied.nics
        before |= {
            name: context.network_called(nic["network"])
            for name, nic in applied.spec["nics"].items()
        }
    nics, exhausted = allocator.leases(doc.address, vm.nics, kept, before)
    for name in exhausted:
        draft.blocked(
            doc.address,
            "no-address",
            f"no address is left for {name} in the dhcp range of {vm.nics[name].network}",
            f"widen ipv4.dhcp in networks/{vm.nics[name].network}.yaml",
            doc.place(("nics", name)),
        )
    disks: dict[str, DiskRef] = {}
    for name, disk in sorted(vm.disks.items()):
        if disk.volume is not None:
            disks[name] = draft.after[address(Kind.VOLUME, disk.volume)].disks["data"]
        elif (
            applied is not None and name in applied.disks and applied.disks[name].pool == disk.pool
        ):
            disks[name] = replace(applied.disks[name], size_mib=disk.size_mib or 0)
        else:
            of = disk_address(doc.name, name)
            rbd = rbd_name(context.inventory.cluster_id, of, life)
            disks[name] = DiskRef(pool=disk.pool or "", image=rbd, size_mib=disk.size_mib or 0)
    return record_of(
        doc,
        commit=context.spec.commit,
        cluster_id=context.inventory.cluster_id,
        spec=spec,
        incarnation=life,
        like=applied,
        wanted=_wanted(context, doc, vm, applied),
        nics=nics,
        disks=disks,
        needs=needs,
    )


def takes_anothers(context: Context, draft: Draft, doc: Document, record: Applied) -> bool:
    """Whether a declared MAC or address is another guest's now. Says so. One whose file is gone gives
    it back by itself."""
    for name, lease in sorted(record.nics.items()):
        network = record.spec["nics"][name]["network"]
        held = context.holder(network, lease, other_than=doc.address)
        if held is None:
            continue
        of, what = held
        if of in context.spec.documents:
            draft.blocked(
                doc.address,
                "address-taken",
                f"{what} of its nic {name} is {of}'s",
                f"declare another one, or first give {of} another one in a commit of its own",
                doc.place(("nics", name)),
            )
        else:
            text = f"waits until {of}, which has {what}, is gone"
            draft.waiting(
                doc.address, "address-held", text, "pvc status", doc.place(("nics", name))
            )
        return True
    return False


def _wanted(context: Context, doc: Document, vm: VirtualMachine, applied: Applied | None) -> Wanted:
    held = power_held(context, doc.address)
    if held is not None:
        return Wanted.RUNNING if held.data.get("power") == "start" else Wanted.STOPPED
    match vm.run_state:
        case RunState.RUNNING:
            return Wanted.RUNNING
        case RunState.STOPPED | RunState.DISABLED:
            return Wanted.STOPPED
        case RunState.MANUAL:  # git does not say; a new guest waits for somebody to start it
            return Wanted.STOPPED if applied is None or applied.wanted is None else applied.wanted


def power_held(context: Context, of: Address) -> Intent | None:
    """The operator's word on its power, which stands beside git's until it ends (D11)."""
    found = context.standing(IntentKind.POWER, of)
    return found[-1] if found else None
