"""All guests of a commit: who stays, who changes, where new ones go, and whether N-1 still holds."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pvc_gitops.model.document import Document, Kind, Spec
from pvc_gitops.model.ids import Address, GroupName, NodeName, VmName, address
from pvc_gitops.model.plan import CapacityVerdict, ItemKind, Loss, PlacementChoice
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.spec import Group, RunState
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.leases import Allocator
from pvc_gitops.planner.steps import vms
from pvc_gitops.planner.steps.common import is_hindered, keep
from pvc_gitops.scheduler.board import Board, Guest, Rule
from pvc_gitops.scheduler.capacity import guest_mib, host
from pvc_gitops.scheduler.evacuate import losses
from pvc_gitops.scheduler.fit import FitFailure, fit, sentence
from pvc_gitops.scheduler.place import NoFit, Placed, in_order, place

# Each refusal costs a search over all new guests; a commit that is refused more often than this is
# refused from there on, and says so for each guest.
_REFUSALS_SEARCHED_MAX: Final = 16
_RULE_BREAKING: Final = frozenset(
    {FitFailure.NODE_LIMIT, FitFailure.ANTI_AFFINITY, FitFailure.AFFINITY}
)


@dataclass(slots=True, kw_only=True)
class _Table:
    """The board and who is where on it."""

    board: Board
    guests: dict[NodeName, list[Guest]]

    def put(self, guest: Guest, node: NodeName) -> None:
        self.board.put(guest, node)
        self.guests.setdefault(node, []).append(guest)

    def take(self, guest: Guest, node: NodeName) -> None:
        self.board.take(guest, node)
        self.guests[node].remove(guest)

    def copy(self) -> _Table:
        guests = {node: list(each) for node, each in self.guests.items()}
        return _Table(board=self.board.copy(), guests=guests)

    def losses(self) -> tuple[Loss, ...]:
        return losses(self.board, self.guests)


def plan_guests(context: Context, draft: Draft) -> tuple[Loss, ...]:
    """Steps for all declared guests; the N-1 verdict for the state after the plan."""
    allocator = Allocator(context.spec, context.inventory)
    table = _seated(context, draft.after)
    new: dict[VmName, tuple[Document, Applied]] = {}
    existing: list[tuple[Document, Applied]] = []
    for doc in context.spec.of_kind(Kind.VM):
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
    return table.losses()


def _is_untouched(context: Context, doc: Document, applied: Applied) -> bool:
    return (
        applied.spec == doc.spec
        and applied.phase is Phase.PRESENT
        and context.foreign_claim(doc.address) is None
        and not vms.lost_disks(context, applied, applied)
    )


def _waits_for_its_owner(
    context: Context, draft: Draft, table: _Table, applied: Applied | None
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


# --- who is where ----------------------------------------------------------------------------------


def _seated(context: Context, staying: Container[Address]) -> _Table:
    """Nodes that run guests, and the guests that are on them and stay, by their applied specs."""
    groups = (Group.from_spec(doc.name, doc.spec) for doc in context.spec.of_kind(Kind.GROUP))
    rules = {
        group.name: Rule(
            name=group.name,
            is_apart=group.policy == "apart",
            is_strict=group.is_strict,
            max_per_node=group.max_per_node,
        )
        for group in groups
    }
    hosts = [
        host(context.nodes[name], context.inventory.nodes[name].hardware, context.cluster)
        for name in context.guest_nodes
    ]
    table = _Table(board=Board(hosts, rules), guests={})
    for name, placement in sorted(context.inventory.placements.items()):
        applied = context.applied(address(Kind.VM, name))
        if applied is None or placement.owner not in table.board.hosts:
            continue
        if applied.address not in context.spec.documents and applied.address not in staying:
            continue
        guest = _guest(context, name, applied.spec, rules)
        if guest is not None:
            table.put(guest, placement.owner)
    return table


def _guest(
    context: Context, name: VmName, spec: Spec, rules: Mapping[GroupName, Rule]
) -> Guest | None:
    """What it asks for; None for one that is disabled, which nothing counts."""
    vm = context.vm(name, spec)
    if vm.run_state is RunState.DISABLED:
        return None
    return Guest(
        name=name,
        memory_mib=guest_mib(vm),
        vcpus=vm.vcpus,
        nodes=frozenset(vm.placement.nodes),
        is_strict=vm.placement.is_strict,
        prefer=dict(vm.placement.prefer),
        groups=tuple(group for group in vm.placement.groups if group in rules),
        tier=vm.ha.tier,
        must_survive=vm.ha.restart and vm.ha.relocate and vm.run_state is not RunState.STOPPED,
    )


def _change(
    context: Context,
    draft: Draft,
    doc: Document,
    applied: Applied,
    *,
    allocator: Allocator,
    table: _Table,
) -> None:
    name, node = VmName(doc.name), context.owner(VmName(doc.name))
    assert node is not None
    room_mib = table.board.free_mib.get(node, 0)
    existing = vms.examine(context, draft, doc, applied, room_mib=room_mib)
    if existing is None:
        return
    vms.update(context, draft, allocator, existing)
    after = draft.after[doc.address]
    if after.spec is applied.spec or node not in table.board.hosts:
        return
    old = _guest(context, name, applied.spec, table.board.rules)
    new = _guest(context, name, after.spec, table.board.rules)
    if old is not None:
        table.take(old, node)
    if new is not None:
        table.put(new, node)


# --- new guests ------------------------------------------------------------------------------------


def _place_new(
    context: Context,
    draft: Draft,
    table: _Table,
    new: Mapping[VmName, tuple[Document, Applied]],
) -> None:
    for name in sorted(new):
        _vacate(context, table, name)  # one that comes back is counted once
    asked = [_asked(context, name, doc, table) for name, (doc, _) in sorted(new.items())]
    chosen, free, homeless = _already_chosen(context, table, asked)
    before = table.copy()
    for guest, node in chosen:
        table.put(guest, node)
    answers = {**place(table.board, free), **homeless}
    for answer in answers.values():
        if isinstance(answer, Placed):
            table.guests.setdefault(answer.node, []).append(answer.guest)
    placed = [a for a in answers.values() if isinstance(a, Placed)]
    refused = _refused(context, table, before, chosen, placed)
    choices = {a.guest.name: _choice(a) for a in placed}
    choices |= {
        guest.name: PlacementChoice(
            vm=guest.name, node=node, score=float(table.board.free_mib[node]), rejected={}
        )
        for guest, node in chosen
    }
    for name, (doc, record) in sorted(new.items()):
        outcome = answers.get(name)
        if isinstance(outcome, NoFit):
            _report_no_place(draft, doc, outcome)
            keep(draft, context.applied(doc.address))
        elif name in refused:
            _report_no_survival(draft, doc, refused[name])
            keep(draft, context.applied(doc.address))
        else:
            vms.create(context, draft, doc, record, choices[name])


def _asked(context: Context, name: VmName, doc: Document, table: _Table) -> Guest:
    guest = _guest(context, name, doc.spec, table.board.rules)
    if guest is not None:
        return guest
    # A disabled guest needs a node to make its disks, and no room there.
    return Guest(
        name=name,
        memory_mib=0,
        vcpus=0,
        nodes=frozenset(),
        is_strict=False,
        prefer={},
        groups=(),
        tier=0,
        must_survive=False,
    )


def _vacate(context: Context, table: _Table, name: VmName) -> None:
    """Take a guest that comes back off the table, if it was seated."""
    owner = context.owner(name)
    seated = [] if owner is None else table.guests.get(owner, [])
    for guest in [each for each in seated if each.name == name]:
        assert owner is not None
        table.take(guest, owner)


def _already_chosen(
    context: Context, table: _Table, asked: Iterable[Guest]
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


def _choice(placed: Placed) -> PlacementChoice:
    return PlacementChoice(
        vm=placed.guest.name, node=placed.node, score=placed.score, rejected=placed.rejected
    )


# --- admission -------------------------------------------------------------------------------------


def _refused(
    context: Context,
    table: _Table,
    before: _Table,
    chosen: Sequence[tuple[Guest, NodeName]],
    placed: Sequence[Placed],
) -> Mapping[VmName, Loss]:
    """New guests that N-1 does not allow, each with the loss that shows it; taken off the table.

    A cluster with one node for guests cannot survive its loss whatever is declared: that is a lab's
    choice, and nothing is refused. What already runs is never judged here, and neither are guests
    that the plan in force has placed.
    """
    if context.cluster.admission != "enforce" or context.cluster.tolerate_nodes == 0:
        return {}
    if len(table.board.hosts) == 1 or _holds(table.losses()):
        return {}
    trial = before.copy()
    for guest, node in chosen:
        trial.put(guest, node)
    limit = _shortage_mib(trial.losses())
    refused: dict[VmName, Loss] = {}
    rest = list(placed)
    while rest:
        admitted = _longest_admitted(trial, rest, limit)
        for each in rest[:admitted]:
            trial.put(each.guest, each.node)
        rest = rest[admitted:]
        if not rest:
            break
        worst = _worst_with(trial, rest[0])
        count = 1 if len(refused) < _REFUSALS_SEARCHED_MAX else len(rest)
        refused |= {each.guest.name: worst for each in rest[:count]}
        rest = rest[count:]
    for each in placed:
        if each.guest.name in refused:
            table.take(each.guest, each.node)
    return refused


def _longest_admitted(trial: _Table, rest: Sequence[Placed], limit: tuple[int, int]) -> int:
    """How many from the front leave the margin no worse than it is. More guests never help, so the
    answer can be searched by halves."""
    low, high = 0, len(rest)
    while low < high:
        middle = (low + high + 1) // 2
        tried = trial.copy()
        for each in rest[:middle]:
            tried.put(each.guest, each.node)
        if _shortage_mib(tried.losses()) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _worst_with(trial: _Table, guest: Placed) -> Loss:
    tried = trial.copy()
    tried.put(guest.guest, guest.node)
    return min(
        (loss for loss in tried.losses() if loss.verdict is not CapacityVerdict.HOLDS),
        key=lambda loss: (loss.spare_mib, loss.node),
    )


def _holds(found: Iterable[Loss]) -> bool:
    return all(loss.verdict is CapacityVerdict.HOLDS for loss in found)


def _shortage_mib(found: Iterable[Loss]) -> tuple[int, int]:
    """How bad: losses that do not hold, and the memory that they lack."""
    bad = [loss for loss in found if loss.verdict is not CapacityVerdict.HOLDS]
    return len(bad), sum(max(0, -loss.spare_mib) for loss in bad)


# --- what the report says --------------------------------------------------------------------------


def _report_no_place(draft: Draft, doc: Document, answer: NoFit) -> None:
    reasons = "; ".join(f"{node}: {why}" for node, why in sorted(answer.rejected.items()))
    draft.blocked(
        doc.address,
        "no-place",
        f"no node takes it: {reasons}" if reasons else "no node that runs guests is online",
        "add memory or a node, or loosen what it asks for",
        doc.place(()),
    )


def _report_no_survival(draft: Draft, doc: Document, loss: Loss) -> None:
    named = ", ".join(loss.homeless[:3])
    lack, remedy = f": {-loss.spare_mib} MiB are missing", "add memory or a node"
    if loss.verdict is CapacityVerdict.UNKNOWN:
        lack = ": memory would be enough, and no way to divide it was found"
    elif loss.spare_mib >= 0:
        lack, remedy = ": a strict rule allows no other node", "set `strict: false` in the rule"
    draft.blocked(
        doc.address,
        "n-minus-1",
        f"with it, the loss of {loss.node} would leave {named} without a place{lack}",
        f"{remedy}, or set `ha: {{admission: warn}}` in cluster.yaml",
        doc.place(()),
    )


def _report_broken_rules(draft: Draft, table: _Table) -> None:
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
