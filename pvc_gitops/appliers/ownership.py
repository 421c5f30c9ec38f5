"""Guests that become ours while they run, and guests that stop being ours and run on.

Nothing of the domain is touched but our mark in its metadata: neither is a start, a stop or a move.
"""

from __future__ import annotations

from pvc_gitops.appliers.outcome import Applier, Outcome, Progress, Writes
from pvc_gitops.errors import ApplyError, PrereqError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.plan import Step
from pvc_gitops.model.records import Applied, PlacementRecord
from pvc_gitops.model.spec import VirtualMachine
from pvc_gitops.model.values import replace
from pvc_gitops.world.ports import DiskAttachment, Domain, DomainFacts, World


def check_adopt(step: Step, world: World) -> None:
    """The very domain that the plan was made for, still nobody's, with the disks that it had."""
    found = _found(step, world)
    assert step.record is not None
    if found is None or found.uuid != step.record.uuid:
        raise PrereqError(
            f"no domain {step.inputs['domain']} of uuid {step.record.uuid} runs on {world.me.node} "
            "any more; the next plan starts from what is there"
        )
    if found.domain is not None:
        return  # an interrupted adoption
    have = set() if found.foreign is None else {(d.pool, d.image) for d in found.foreign.disks}
    want = {(ref.pool, ref.image) for ref in step.record.disks.values()}
    if have != want:
        raise PrereqError(
            f"domain {step.inputs['domain']} has other disks than it had when the plan was made"
        )


def run_adopt(step: Step, world: World, progress: Progress) -> Outcome:
    """Its record stands since the claim; now it gets the mark by which its node knows it."""
    del progress
    found = _found(step, world)
    if found is None:
        raise ApplyError(f"domain {step.inputs['domain']} ended while it was adopted")
    if found.domain is None:
        assert found.foreign is not None  # checked
        world.hypervisor.adopt(found.name, _named(step, found.foreign))
    return Outcome(evidence={"domain": f"adopted on {world.me.node}, as it runs"})


def run_forget(step: Step, world: World, progress: Progress) -> Outcome:
    """Without the mark its node's agent sees it as anybody's domain; then the record goes."""
    del progress
    found = _found(step, world)
    if found is not None and found.domain is not None:
        world.hypervisor.disown(found.name)
    return Outcome(evidence={"domain": "runs on, not ours" if found is not None else "not there"})


def check_forget(step: Step, world: World) -> None:
    """Where it runs it is forgotten: elsewhere nobody could take the mark off."""
    stamped = world.store.read(paths.placement(VmName(step.address.partition("/")[2])))
    placement = None if stamped is None else decode(PlacementRecord, stamped.value)
    if placement is not None and placement.owner != world.me.node:
        raise PrereqError(f"{step.address} belongs to {placement.owner} by now")


def _found(step: Step, world: World) -> DomainFacts | None:
    uuid = step.inputs["uuid"]
    return next((f for f in world.hypervisor.domains().values() if f.uuid == uuid), None)


def _named(step: Step, foreign: Domain) -> Domain:
    """The live domain with the names that its record gives its disks and NICs, and the CPU that it asks
    for: whether that is the one it has is told by who can look."""
    assert step.record is not None
    disks = {(ref.pool, ref.image): name for name, ref in step.record.disks.items()}
    nics = {lease.mac: name for name, lease in step.record.nics.items()}
    return replace(
        foreign,
        cpu_model=VirtualMachine.from_spec(step.record.name, step.record.spec).cpu_model,
        disks=tuple(_as(step.record, disk, disks[disk.pool, disk.image]) for disk in foreign.disks),
        nics=tuple(replace(nic, name=nics[nic.mac]) for nic in foreign.nics if nic.mac in nics),
    )


def _as(record: Applied, disk: DiskAttachment, name: str) -> DiskAttachment:
    """Its size is what its record says: the guest is told nothing new."""
    return replace(disk, name=name, size_mib=record.disks[name].size_mib)


FORGET = Applier(check=check_forget, run=run_forget, writes=Writes.DROP, is_long=False)
ADOPT = Applier(check=check_adopt, run=run_adopt, writes=Writes.FIRST, is_long=False)
