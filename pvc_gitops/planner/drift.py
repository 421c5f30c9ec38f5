"""Where live differs from what was last applied, by whom, and what is done about it.

What the cluster does by itself (recovering a guest, moving it) and what an operator wants for the
moment is never undone; it is said. All else is nobody's word: healed where `drift` in the cluster's
document says so and it disturbs nobody, or shown. Where a guest runs is no drift at all (D4).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS, Document, Kind
from pvc_gitops.model.fields import Fields
from pvc_gitops.model.ids import Address, PoolName, VmName, address
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.inventory import Deviation, GuestState, Inventory
from pvc_gitops.model.plan import ItemKind, Operation, PlanPolicy, ReportItem
from pvc_gitops.model.records import Applied, GuestPhase, Phase, PlacementRecord, Wanted
from pvc_gitops.model.spec import ClusterSpec, Node, Pool
from pvc_gitops.model.units import size_text
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.steps import restarts

# A machine has a little less memory than its sticker says: the firmware and the kernel keep some.
_MEMORY_SHARE_MIN: Final = 0.9
_ON_ITS_WAY: Final = frozenset({GuestPhase.STARTING, GuestPhase.STOPPING})


class By(StrEnum):
    """Whose doing it is."""

    HA = "drift-ha"  # the cluster's own: it is at it
    INTENT = "drift-intent"  # an operator's, for the moment
    UNKNOWN = "drift-unknown"  # somebody's, by hand, or a machine's


# Codes of what a status asks for itself, since it changes without a new plan.
OF_NOW: Final = frozenset({*By, restarts.RESTART_PENDING, restarts.WINDOW_MISSED})


def report(context: Context, draft: Draft) -> None:
    """Every difference, into the report."""
    for doc in context.spec.documents.values():
        applied = context.applied(doc.address)
        if applied is None or applied.phase is not Phase.PRESENT:
            continue
        match doc.kind:
            case Kind.VM:
                _guest(context, draft, applied)
            case Kind.NETWORK:
                _network(context, draft, applied)
            case Kind.POOL:
                _pool(context, draft, applied)
            case Kind.IMAGE:
                _image(context, draft, applied)
            case Kind.VOLUME:
                _sizes(context, draft, applied)
            case Kind.NODE:
                _node(context, draft, applied)
            case _:
                pass


def in_force(inventory: Inventory) -> ClusterSpec:
    """What was last applied, in the shape of a commit; for who looks at a cluster without its git."""
    documents = {
        of: Document(
            kind=record.kind,
            name=record.name,
            address=of,
            spec=record.spec,
            file=f"{DOCUMENT_KINDS[record.kind][1]}/{record.name}.yaml".lstrip("/"),
            tags=record.tags,
        )
        for of, record in sorted(inventory.applied.items())
        if record.phase is Phase.PRESENT
    }
    return ClusterSpec(commit=inventory.accepted, documents=documents, fields=Fields(by_kind={}))


def standing(inventory: Inventory) -> tuple[ReportItem, ...]:
    """Drift and pending restarts as of now, by what is in force; a plan's report tells those of when it
    was made. Nothing before the cluster's own document is applied."""
    spec = in_force(inventory)
    if not spec.of_kind(Kind.CLUSTER):
        return ()
    context = Context(spec=spec, inventory=inventory, policy=PlanPolicy(planner_version=""))
    draft = Draft(inventory.estimates)
    for doc in spec.of_kind(Kind.VM):
        restarts.report_waiting(context, draft, doc, inventory.applied[doc.address])
    report(context, draft)
    return tuple(sorted(draft.report, key=lambda i: (i.address, i.kind, i.code, i.text)))


def is_pool_changed(context: Context, applied: Applied) -> bool:
    """Has somebody changed the copies of a pool in Ceph?"""
    return any(_pool_parts(context, applied))


# --- kinds -----------------------------------------------------------------------------------------


def _guest(context: Context, draft: Draft, applied: Applied) -> None:
    name = VmName(applied.name)
    placement = context.inventory.placements.get(name)
    if placement is None or placement.incoming is not None:
        return
    if placement.owner not in context.online:
        return  # nobody knows what it does; the report on its node says so
    facts = context.guest(name)
    _power(context, draft, applied, placement)
    heals = context.heals(Kind.VM)
    for each in facts.deviations if facts is not None else ():
        if each.is_drift:
            then = "only reported"
            if heals:
                then = "its restart heals it" if each.needs_restart else "its node heals it"
            _changed(draft, applied.address, each, then)
    _sizes(context, draft, applied)


def _power(context: Context, draft: Draft, applied: Applied, placement: PlacementRecord) -> None:
    of, facts = applied.address, context.guest(VmName(applied.name))
    for intent in context.standing(IntentKind.POWER, of)[-1:]:
        _held(draft, of, intent)
        return
    is_up = facts is not None and facts.state in (GuestState.RUNNING, GuestState.PAUSED)
    if is_up == (applied.wanted is Wanted.RUNNING):
        return
    is_ours = any(
        context.is_under_way(f"{operation} {of}")
        for operation in (Operation.VM_PUT, Operation.VM_STOP, Operation.VM_RETIRE)
    )
    if is_ours or placement.state in _ON_ITS_WAY:
        return
    if applied.wanted is Wanted.RUNNING:
        why = f" ({placement.why})" if placement.why else ""
        if placement.state is GuestPhase.RECOVERING:
            _say(draft, By.HA, of, f"does not run: is being recovered{why}")
        elif placement.rests:
            text = f"does not run and should{why}; it is not started by itself"
            _say(draft, By.UNKNOWN, of, text, f"pvc vm start {applied.name}")
        else:
            text = f"does not run and should{why}; {placement.owner} keeps starting it"
            _say(draft, By.UNKNOWN, of, text, f"pvc vm log {applied.name}")
    elif applied.wanted is Wanted.STOPPED:
        _say(draft, By.UNKNOWN, of, f"runs and should not; {placement.owner} shuts it down")


def _held(draft: Draft, of: Address, intent: Intent) -> None:
    verb = "started" if intent.data.get("power") == "start" else "stopped"
    until = ""
    if intent.expires_at_s is not None:
        until = datetime.fromtimestamp(intent.expires_at_s, UTC).strftime(" until %a %H:%M UTC")
    why = f' "{intent.reason}"' if intent.reason else ""
    draft.item(
        ItemKind.HELD,
        of,
        By.INTENT,
        f"held {verb} by {intent.by}{until}{why}",
        remedy=f"pvc intent end {intent.id}",
    )


def _network(context: Context, draft: Draft, applied: Applied) -> None:
    then = "its node heals it" if context.heals(Kind.NETWORK) else "only reported"
    for node in context.guest_nodes:
        facts = context.inventory.nodes[node].networks.get(applied.name)
        for each in facts.deviations if facts is not None else ():
            if each.is_drift:
                _changed(draft, applied.address, each, then, where=f" on {node}")


def _pool(context: Context, draft: Draft, applied: Applied) -> None:
    then = "this plan heals it" if context.heals(Kind.POOL) else "only reported"
    opening = context.opening()
    if context.heals(Kind.POOL) and not opening.is_open:
        then = f"healed in {opening.text}"
    for each in _pool_parts(context, applied):
        _changed(draft, applied.address, each, then)


def _pool_parts(context: Context, applied: Applied) -> Iterator[Deviation]:
    storage = context.inventory.storage
    facts = None if storage is None else storage.pools.get(PoolName(applied.name))
    if facts is None:
        return
    pool = Pool.from_spec(applied.name, applied.spec)
    for part, live, wanted in (
        ("copies", facts.copies, pool.copies),
        ("min_copies", facts.min_copies, pool.min_copies),
    ):
        if live != wanted:
            yield Deviation(
                part=part,
                live=str(live),
                applied=str(wanted),
                needs_restart=False,
                is_drift=True,
            )


def _image(context: Context, draft: Draft, applied: Applied) -> None:
    if context.is_lost(applied.disks["data"]):
        then = "imported again" if context.heals(Kind.IMAGE) else "only reported"
        data = applied.disks["data"]
        text = f"{data.pool}/{data.image} is gone from its pool; {then}"
        _say(draft, By.UNKNOWN, applied.address, text)


def _sizes(context: Context, draft: Draft, applied: Applied) -> None:
    """Disks that somebody made larger, or smaller, than they are on record."""
    for name, ref in sorted(applied.disks.items()):
        is_shared = applied.kind is Kind.VM and applied.spec["disks"][name].get("volume")
        facts = context.image(ref.pool, ref.image)
        if facts is None or is_shared or facts.size_mib == ref.size_mib:
            continue
        part = address(Kind.VM, applied.name, "disk", name)
        of = part if applied.kind is Kind.VM else applied.address
        if any(context.is_under_way(f"{op} {of}") for op in (Operation.DISK_GROW,)):
            continue
        live, told = size_text(facts.size_mib), size_text(ref.size_mib)
        what = f"disk {name}" if applied.kind is Kind.VM else "size"
        larger = facts.size_mib > ref.size_mib
        then = f"declare `size: {live}`" if larger else f"`rbd info {ref.pool}/{ref.image}`"
        text = f"{what} is {live}, applied {told}; disks are never made smaller"
        if not larger:
            text = f"{what} is {live}, applied {told}: its end was cut off"
        _say(draft, By.UNKNOWN, applied.address, text, then)


def _node(context: Context, draft: Draft, applied: Applied) -> None:
    node = Node.from_spec(applied.name, applied.spec)
    facts = context.inventory.nodes.get(node.name)
    if node.name not in context.online or facts is None or facts.hardware is None:
        return
    has = facts.hardware
    if has.cpus < node.cpus:
        _say(draft, By.UNKNOWN, applied.address, f"has {has.cpus} CPUs, declared {node.cpus}")
    if has.memory_mib < node.memory_mib * _MEMORY_SHARE_MIN:
        live, declared = f"{has.memory_mib} MiB", f"{node.memory_mib} MiB"
        _say(draft, By.UNKNOWN, applied.address, f"has {live} of memory, declared {declared}")


# --- words -----------------------------------------------------------------------------------------


def _changed(draft: Draft, of: Address, each: Deviation, then: str, *, where: str = "") -> None:
    text = f"{each.part}{where} is {each.live}, applied {each.applied}; {then}"
    _say(draft, By.UNKNOWN, of, text)


def _say(draft: Draft, by: By, of: Address, text: str, remedy: str = "") -> None:
    draft.item(ItemKind.DRIFT, of, by, text, remedy=remedy)
