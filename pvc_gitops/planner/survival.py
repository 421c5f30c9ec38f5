"""N-1 of a plan: after it, and at every moment on the way.

What a plan does to demand are few steps: a guest's record is put (it comes, grows or shrinks) or it is
retired. The steps of a graph may run in many orders, so the moments on the way are all its down-closed
sets of steps. They need not be enumerated, since demand is monotone: whoever leaves, shrinks or drops a
rule keeps every certificate. Say `old` and `new` for what a guest asks before and after the plan.

- The *envelope* seats every guest with the larger of old and new. It dominates every moment of every
  order; where it holds, all hold.
- Where it does not, but the beginning and the end do, the plan is ordered: every step that asks for more
  waits for every step that gives. Then a moment either has none of the former done, and the beginning
  dominates it, or all of the latter, and the end does. So the answer is exact: it holds on the way if
  and only if it holds at the beginning, which is a moment itself, and at the end.

A guest whose change is both (more memory, fewer vCPUs) counts with the larger of each everywhere but
after the plan. Where groups or nodes change too, rules of before and after both bind on the way, a node
counts with the smaller of its sizes, and a node that joins takes nobody in before it has joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import GroupName, NodeName, VmName, address
from pvc_gitops.model.plan import CapacityVerdict, Loss, Operation
from pvc_gitops.model.spec import Cluster, Group, Node
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.table import Table, filled, guest_of, is_leaving
from pvc_gitops.scheduler.asks import rule_of
from pvc_gitops.scheduler.board import Board, Guest, Host, Rule
from pvc_gitops.scheduler.capacity import host
from pvc_gitops.scheduler.evacuate import holds

_AS_IT_WAS = " as it was"  # of a group whose rule changes; no name holds a blank


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """`after`: the verdicts for the state after the plan. `during`: for the moments on the way; () if
    what `after` shows dominates them."""

    after: tuple[Loss, ...]
    during: tuple[Loss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What one guest asks before and after the plan; None: it is not there."""

    node: NodeName
    old: Guest | None
    new: Guest | None

    @property
    def asks_more(self) -> bool:
        return self.new is not None and (self.old is None or not covers(self.old, self.new))

    @property
    def gives(self) -> bool:
        return self.old is not None and (self.new is None or not covers(self.new, self.old))

    @property
    def name(self) -> VmName:
        guest = self.old or self.new
        assert guest is not None
        return guest.name

    @property
    def begins(self) -> Guest | None:
        """What it asks as long as nobody was given more."""
        return self.most if self.asks_more and self.gives else self.old

    @property
    def ends(self) -> Guest | None:
        """What it asks once everybody has given."""
        return self.most if self.asks_more and self.gives else self.new

    @property
    def most(self) -> Guest:
        if self.old is None or self.new is None:
            found = self.old or self.new
            assert found is not None
            return found
        if covers(self.new, self.old):
            return self.new
        return self.old if covers(self.old, self.new) else _larger(self.old, self.new)


def covers(one: Guest, other: Guest) -> bool:
    """Whether every place that does for `one` does for `other`, and surviving it too."""
    return (
        one.memory_mib >= other.memory_mib
        and one.vcpus >= other.vcpus
        and one.vfs >= other.vfs
        and one.must_survive >= other.must_survive
        and set(one.groups) >= set(other.groups)
        and (_limits(one) <= _limits(other) if other.is_strict and other.nodes else True)
    )


def survive(
    context: Context, draft: Draft, table: Table, before: Mapping[VmName, tuple[Guest, NodeName]]
) -> Survival:
    """The verdicts; orders the draft's steps where that is what makes it hold on the way.

    Args:
        context: what was, and what is declared.
        draft: all steps about guests are in it.
        table: who is where after them.
        before: who stays, and what he asked, before them.
    """
    tolerate = context.cluster.tolerate_nodes
    after = table.losses(tolerate)
    turns = _turns(context, table, before)
    base = table
    wider = _wider(context, table, turns)
    if wider is not None:
        base, turns = wider
    elif not any(turn.gives for turn in turns):
        return Survival(after=after, during=())  # the end dominates all
    widest = _at(base, turns, lambda turn: turn.most).losses(tolerate, after)
    if holds(widest):
        return Survival(after=after, during=widest)
    begin = _by_lost(_at(base, turns, lambda turn: turn.begins).losses(tolerate, after))
    end = _by_lost(_at(base, turns, lambda turn: turn.ends).losses(tolerate, after))
    is_ordered = any(
        not _holds(loss) and _holds(begin[loss.lost]) and _holds(end[loss.lost]) for loss in widest
    )
    if is_ordered:
        _order(draft, turns)
    return Survival(
        after=tuple(end[loss.lost] if _holds(end[loss.lost]) else loss for loss in after),
        during=tuple(_on_the_way(loss, begin[loss.lost], end[loss.lost]) for loss in widest),
    )


def _on_the_way(widest: Loss, begin: Loss, end: Loss) -> Loss:
    if _holds(widest):
        return widest
    return end if _holds(begin) and not _holds(end) else begin


def _by_lost(found: Iterable[Loss]) -> Mapping[tuple[NodeName, ...], Loss]:
    return {loss.lost: loss for loss in found}


def _holds(loss: Loss) -> bool:
    return loss.verdict is CapacityVerdict.HOLDS


# --- what changes ----------------------------------------------------------------------------------


def _turns(
    context: Context, table: Table, before: Mapping[VmName, tuple[Guest, NodeName]]
) -> list[_Turn]:
    """Guests that ask for something else afterwards, by name."""
    after = table.seats()
    was = dict(before)
    for name, placement in context.inventory.placements.items():
        if name in was or placement.owner not in table.board.hosts:
            continue
        applied = context.applied(address(Kind.VM, name))
        guest = applied and guest_of(context, name, applied.spec, table.board.rules)
        if guest:
            was[name] = guest, placement.owner
    turns: list[_Turn] = []
    for name in sorted({*was, *after}):
        old, new = was.get(name), after.get(name)
        if old is not None and is_leaving(context, name):
            old = replace(old[0], must_survive=False), old[1]
        if old is None or new is None or old[0] != new[0]:
            seat = new or old
            assert seat is not None
            turns.append(_Turn(node=seat[1], old=old and old[0], new=new and new[0]))
    return turns


def _at(base: Table, turns: Iterable[_Turn], pick: Callable[[_Turn], Guest | None]) -> Table:
    """The table with what each guest asks at that moment in place of what it asks at last."""
    found = base.copy()
    for turn in turns:
        picked = pick(turn)
        if turn.new is not None:
            found.take(turn.new, turn.node)
        if picked is not None:
            found.put(picked, turn.node)
    return found


def _limits(guest: Guest) -> frozenset[NodeName]:
    return guest.nodes if guest.is_strict else frozenset()


def _larger(one: Guest, other: Guest) -> Guest:
    """A guest that asks what either does. Two limits that share no node leave it nowhere to go."""
    limits = [each for each in (_limits(one), _limits(other)) if each]
    nodes = frozenset.intersection(*limits) if limits else frozenset[NodeName]()
    nowhere = frozenset({NodeName("")})
    return replace(
        one,
        memory_mib=max(one.memory_mib, other.memory_mib),
        vcpus=max(one.vcpus, other.vcpus),
        vfs=max(one.vfs, other.vfs),
        must_survive=one.must_survive or other.must_survive,
        groups=tuple(sorted({*one.groups, *other.groups})),
        nodes=nodes or (nowhere if limits else nodes),
        is_strict=True,
    )


# --- rules and nodes that change ------------------------------------------------------------------


def _wider(
    context: Context, table: Table, turns: Iterable[_Turn]
) -> tuple[Table, list[_Turn]] | None:
    """Table and turns under the rules and sizes of before and after at once; None if neither changes."""
    board = table.board
    was = {
        GroupName(record.name): rule_of(Group.from_spec(record.name, record.spec))
        for record in context.inventory.applied.values()
        if record.kind is Kind.GROUP
    }
    changed = {n: rule for n, rule in was.items() if n in board.rules and board.rules[n] != rule}
    hosts = [_smaller(context, table, each) for each in board.hosts.values()]
    if not changed and hosts == list(board.hosts.values()):
        return None
    as_it_was = {
        GroupName(name + _AS_IT_WAS): replace(rule, name=GroupName(name + _AS_IT_WAS))
        for name, rule in changed.items()
    }
    wide = Table(board=Board(hosts, {**was, **board.rules, **as_it_was}), guests={})
    for node, guests in table.guests.items():
        for guest in guests:
            wide.put(_bound_by(guest, changed), node)
    return wide, [
        replace(
            turn,
            old=None if turn.old is None else _bound_by(turn.old, changed),
            new=None if turn.new is None else _bound_by(turn.new, changed),
        )
        for turn in turns
    ]


def _bound_by(guest: Guest, changed: Mapping[GroupName, Rule]) -> Guest:
    more = tuple(GroupName(name + _AS_IT_WAS) for name in guest.groups if name in changed)
    return replace(guest, groups=guest.groups + more) if more else guest


def _smaller(context: Context, table: Table, declared: Host) -> Host:
    """What the node surely offers on the way. One that joins offers what its own new guests need."""
    applied = context.applied(address(Kind.NODE, declared.name))
    if applied is None:
        return filled(declared.name, table.guests.get(declared.name, ()))
    node = Node.from_spec(applied.name, applied.spec)
    reported = context.inventory.nodes[declared.name].hardware
    was = host(node, reported, _cluster_before(context))
    return replace(
        declared,
        memory_mib=min(declared.memory_mib, was.memory_mib),
        vcpus=min(declared.vcpus, was.vcpus),
        vfs=min(declared.vfs, was.vfs),
    )


def _cluster_before(context: Context) -> Cluster:
    for record in context.inventory.applied.values():
        if record.kind is Kind.CLUSTER:
            return Cluster.from_spec(record.name, record.spec)
    return context.cluster


# --- order -----------------------------------------------------------------------------------------


def _order(draft: Draft, turns: Sequence[_Turn]) -> None:
    """Every step that asks for more waits for every step that only gives."""
    giving = [
        step
        for turn in turns
        if turn.gives and not turn.asks_more
        for step in _steps_of(draft, turn)[:1]
    ]
    for turn in turns:
        put = f"{Operation.VM_PUT} {address(Kind.VM, turn.name)}"
        if turn.asks_more and put in draft.steps:
            step = draft.steps[put]
            draft.steps[put] = replace(step, needs=tuple(sorted({*step.needs, *giving})))
    draft.steps = {
        name: draft.steps[name]
        for name in TopologicalSorter(
            {name: step.needs for name, step in draft.steps.items()}
        ).static_order()
    }


def _steps_of(draft: Draft, turn: _Turn) -> list[str]:
    """The steps that end what it asked, the earliest first."""
    of = address(Kind.VM, turn.name)
    ending = (Operation.VM_RETIRE, Operation.VM_PUT, Operation.RECORD_DROP)
    return [name for name in (f"{each} {of}" for each in ending) if name in draft.steps]
