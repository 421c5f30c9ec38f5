"""All guests of a commit: who stays, who changes, where new ones go, and whether N-1 still holds."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, NodeName, VmName, address
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.plan import ItemKind, PlacementChoice
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.planner.admission import denied, refused, report_refused
from pvc_gitops.planner.adoption import adopts_guest
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.leases import Allocator
from pvc_gitops.planner.steps import vms
from pvc_gitops.planner.steps.common import is_hindered, keep
from pvc_gitops.planner.survival import Survival, covers, survive
from pvc_gitops.planner.table import Table, guest_of, seated
from pvc_gitops.scheduler.board import Guest
from pvc_gitops.scheduler.fit import FitFailure, fit, sentence
from pvc_gitops.scheduler.place import NoFit, Placed, in_order, place

_RULE_BREAKING: Final = frozenset(
    {FitFailure.NODE_LIMIT, FitFailure.ANTI_AFFINITY, FitFailure.AFFINITY}
)


def plan_guests(context: Context, draft: Draft) -> tuple[Table, Survival]:
    """Steps for all declared guests; who is where afterwards, and whether losses are survived."""
    allocator = Allocator(
        context.spec,
        context.inventory,
        kept=context.kept.values(),
        called=context.network_called,
    )
    table = seated(context, _staying(context, draft.after))
    before = table.seats()
    new: dict[VmName, tuple[Document, Applied]] = {}
    existing: list[tuple[Document, Applied]] = []
    for doc in context.spec.of_kind(Kind.VM):
        if adopts_guest(context, draft, allocator, doc):
            _seat_adopted(context, draft, table, doc)
            continue
        applied, name = context.applied(doc.address), VmName(doc.name)
        is_untouched = applied is not None and _is_untouched(context, doc, applied)
        if not is_untouched and (
            is_hindered(context, draft, doc.address, storage=True)
            or _waits_for_its_owner(context, draft, table, applied)
        ):
            keep(draft, applied)
        elif (
            applied is not None
            and applied.phase is Phase.PRESENT
            and context.owner(name) is not None
        ):
            existing.append((doc, applied))
        else:
            record = vms.new_record(context, draft, allocator, doc)
            if record is None:
                keep(draft, applied)
            else:
                new[name] = (doc, record)
    # Those that shrink first: what they leave is room for the others.
    for doc, applied in sorted(existing, key=lambda e: (vms.growth_mib(context, *e), e[0].address)):
        _change(context, draft, doc, applied, allocator=allocator, table=table)
    _place_new(context, draft, table, new)
    _report_broken_rules(draft, table)
    return table, survive(context, draft, table, before)


def _seat_adopted(context: Context, draft: Draft, table: Table, doc: Document) -> None:
    """It runs already; from now on it counts."""
    if doc.address not in draft.after:
        return
    name, node = VmName(doc.name), draft.steps[draft.last[doc.address]].node
    guest = guest_of(context, name, doc.spec, table.board.rules)
    if guest is not None and node in table.board.hosts:
        table.put(guest, node)


def _staying(context: Context, kept: Container[Address]) -> list[VmName]:
    """Guests that have a place and are not removed by this plan."""
    of = ((name, address(Kind.VM, name)) for name in context.inventory.placements)
    return [name for name, at in of if at in context.spec.documents or at in kept]


def _is_untouched(context: Context, doc: Document, applied: Applied) -> bool:
    return (
        applied.spec == doc.spec
        and applied.phase is Phase.PRESENT
        and context.foreign_claim(doc.address) is None
        and not vms.lost_disks(context, applied, applied)
    )


def _waits_for_its_owner(
    context: Context, draft: Draft, table: Table, applied: Applied | None
) -> bool:
    """Declared again while it is removed: its domain may exist, so it comes back where it is."""
    if applied is None or applied.phase is Phase.PRESENT:
        return False
    owner = context.owner(VmName(applied.name))
    if owner is None or owner in table.board.hosts:
        return False
    draft.waiting(
        applied.address, "node-not-online", f"comes back when {owner} is back", "pvc status"
    )
    return True


def _change(
    context: Context,
    draft: Draft,
    doc: Document,
    applied: Applied,
    *,
    allocator: Allocator,
    table: Table,
) -> None:
    name, node = VmName(doc.name), context.owner(VmName(doc.name))
    assert node is not None
    rules = table.board.rules
    old, refusal = guest_of(context, name, applied.spec, rules), None
    if applied.spec is not doc.spec and node in table.board.hosts:
        asked = guest_of(context, name, doc.spec, rules)
        if asked is not None and (old is None or not covers(old, asked)):
            refusal = denied(context, table, old, asked, node)
    existing = vms.examine(context, draft, doc, applied, denied=refusal)
    if existing is None:
        return
    vms.update(context, draft, allocator, existing)
    after = draft.after[doc.address]
    if after.spec is applied.spec or node not in table.board.hosts:
        return
    new = guest_of(context, name, after.spec, rules)
    if old is not None:
        table.take(old, node)
    if new is not None:
        table.put(new, node)


# --- new guests ------------------------------------------------------------------------------------


def _place_new(
    context: Context,
    draft: Draft,
    table: Table,
    new: Mapping[VmName, tuple[Document, Applied]],
) -> None:
    for name in sorted(new):
        _vacate(context, table, name)  # one that comes back is counted once
    asked = [_asked(context, name, doc, table) for name, (doc, _) in sorted(new.items())]
    chosen, free, homeless = _already_chosen(context, table, asked)
    for guest, node in chosen:
        table.put(guest, node)
    before = table.copy()
    answers = {**place(table.board, free, context.cluster.strategy), **homeless}
    for answer in answers.values():
        if isinstance(answer, Placed):
            table.guests.setdefault(answer.node, []).append(answer.guest)
    placed = [a for a in answers.values() if isinstance(a, Placed)]
    no_survival = refused(context, table, before, [(a.guest, a.node) for a in placed])
    away = _away(context)
    choices = {a.guest.name: _choice(a, away) for a in placed}
    choices |= {
        guest.name: PlacementChoice(
            vm=guest.name, node=node, score=float(table.board.free_mib[node]), rejected={}
        )
        for guest, node in chosen
    }
    for name, (doc, record) in sorted(new.items()):
        outcome = answers.get(name)
        if isinstance(outcome, NoFit):
            _report_no_place(draft, doc, outcome, away)
            keep(draft, context.applied(doc.address))
        elif name in no_survival:
            report_refused(draft, doc, no_survival[name])
            keep(draft, context.applied(doc.address))
        else:
            vms.create(context, draft, doc, record, choices[name])


def _asked(context: Context, name: VmName, doc: Document, table: Table) -> Guest:
    return guest_of(context, name, doc.spec, table.board.rules) or Guest.disabled(name)


def _vacate(context: Context, table: Table, name: VmName) -> None:
    """Take a guest that comes back off the table, if it was seated."""
    owner = context.owner(name)
    seated = [] if owner is None else table.guests.get(owner, [])
    for guest in [each for each in seated if each.name == name]:
        assert owner is not None
        table.take(guest, owner)


def _already_chosen(
    context: Context, table: Table, asked: Iterable[Guest]
) -> tuple[list[tuple[Guest, NodeName]], list[Guest], Mapping[VmName, NoFit]]:
    """Those that have a node which still takes them, those that are free to go anywhere, and those
    whose node does not take them. The node of one that is being removed is its owner; of another, what
    the plan in force chose."""
    board = table.board.copy()
    chosen: list[tuple[Guest, NodeName]] = []
    free: list[Guest] = []
    homeless: dict[VmName, NoFit] = {}
    for guest in in_order(asked):
        owner = context.owner(guest.name)
        node = context.inventory.chosen.get(guest.name) if owner is None else owner
        failure = None if node is None or node not in board.free_mib else fit(board, node, guest)
        if node is not None and node in board.free_mib and failure is None:
            board.put(guest, node)
            chosen.append((guest, node))
        elif owner is not None and failure is not None:
            why = sentence(failure, board, owner, guest)
            homeless[guest.name] = NoFit(guest=guest, rejected={owner: why})
        else:
            free.append(guest)
    return chosen, free, homeless


def _choice(placed: Placed, away: Mapping[NodeName, str]) -> PlacementChoice:
    return PlacementChoice(
        vm=placed.guest.name,
        node=placed.node,
        score=round(placed.score, 1),
        rejected={**placed.rejected, **away},
    )


def _away(context: Context) -> dict[NodeName, str]:
    """Declared nodes that take no guests now, and why."""
    found: dict[NodeName, str] = {}
    for name, node in context.nodes.items():
        if name in context.takers:
            continue
        facts = context.inventory.nodes.get(name)
        if node.is_retired:
            found[name] = "is retired"
        elif not node.runs_guests:
            found[name] = "runs no guests"
        elif context.is_emptied(name):
            found[name] = "is drained"
        elif name in context.cut_off:
            found[name] = "has lost its storage"
        else:
            found[name] = f"is {NodeState.ABSENT if facts is None else facts.state}"
    return found


# --- what the report says --------------------------------------------------------------------------


def _report_no_place(
    draft: Draft, doc: Document, answer: NoFit, away: Mapping[NodeName, str]
) -> None:
    every = {**answer.rejected, **away} if answer.rejected else {}
    reasons = "; ".join(f"{node}: {why}" for node, why in sorted(every.items()))
    draft.blocked(
        doc.address,
        "no-place",
        f"no node takes it: {reasons}" if reasons else "no node that runs guests is online",
        "add memory or a node, or loosen what it asks for",
        doc.place(()),
    )


def _report_broken_rules(draft: Draft, table: Table) -> None:
    """Guests stay where they are; a strict rule that this breaks is said, not acted upon."""
    for node, guests in sorted(table.guests.items()):
        for guest in sorted(guests, key=lambda g: g.name):
            if guest.is_free:
                continue
            table.board.take(guest, node)
            failure = fit(table.board, node, guest)
            if failure in _RULE_BREAKING:
                assert failure is not None
                why = sentence(failure, table.board, node, guest)
                draft.item(
                    ItemKind.WARNING,
                    address(Kind.VM, guest.name),
                    "rule-broken",
                    f"runs on {node}, where it may not: {why}",
                    remedy=f"pvc vm migrate {guest.name}",
                )
            table.board.put(guest, node)
