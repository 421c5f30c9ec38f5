"""Who is where, as the planner counts it: from documents and records to the scheduler's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.ids import GroupName, NodeName, VmName, address
from pvc_gitops.model.plan import Loss
from pvc_gitops.model.records import Phase
from pvc_gitops.model.spec import Group
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.context import Context
from pvc_gitops.scheduler.asks import ask_of, rule_of
from pvc_gitops.scheduler.board import Board, Guest, Host, Rule
from pvc_gitops.scheduler.capacity import host
from pvc_gitops.scheduler.evacuate import losses


@dataclass(slots=True, kw_only=True)
class Table:
    """The board and who is where on it."""

    board: Board
    guests: dict[NodeName, list[Guest]]
    # What was answered last, and for which state of the board.
    _answered: dict[int, tuple[int, tuple[Loss, ...]]] = field(default_factory=dict, repr=False)

    def put(self, guest: Guest, node: NodeName) -> None:
        self.board.put(guest, node)
        self.guests.setdefault(node, []).append(guest)

    def take(self, guest: Guest, node: NodeName) -> None:
        self.board.take(guest, node)
        self.guests[node].remove(guest)

    def copy(self) -> Table:
        guests = {node: list(each) for node, each in self.guests.items()}
        return Table(board=self.board.copy(), guests=guests)

    def losses(self, tolerate: int, last: Iterable[Loss] = ()) -> tuple[Loss, ...]:
        """What the loss of any `tolerate` nodes would mean; of one where none must be survived. Found
        once as long as nobody comes or goes: admission and the proof of the whole plan ask the same."""
        known = self._answered.get(tolerate)
        if known is not None and known[0] == self.board.changes:
            return known[1]
        found = losses(self.board, self.guests, tolerate=max(1, tolerate), last=last)
        self._answered[tolerate] = self.board.changes, found
        return found

    def seats(self) -> dict[VmName, tuple[Guest, NodeName]]:
        return {g.name: (g, node) for node, guests in self.guests.items() for g in guests}


def declared_hosts(context: Context) -> list[Host]:
    """Nodes that take guests now, by the spec."""
    reports = context.inventory.nodes
    return [
        host(context.nodes[n], reports[n].hardware, context.cluster, load=reports[n].load)
        for n in context.takers
    ]


def declared_rules(context: Context) -> dict[GroupName, Rule]:
    groups = (Group.from_spec(doc.name, doc.spec) for doc in context.spec.of_kind(Kind.GROUP))
    return {group.name: rule_of(group) for group in groups}


def guest_of(
    context: Context, name: VmName, spec: Spec, rules: Mapping[GroupName, Rule]
) -> Guest | None:
    """What it asks for; None for one that is disabled, which nothing counts."""
    return ask_of(context.vm(name, spec), rules, context.sriov_networks)


def seated(context: Context, staying: Iterable[VmName]) -> Table:
    """Nodes that run guests, and those of the guests that are on them, by their applied specs.

    A node that is to leave has no room but for those it has. A guest whose owner is silent is on no
    board: where it will be is autonomy's to say.
    """
    rules = declared_rules(context)
    seats: dict[NodeName, list[Guest]] = {}
    for name in sorted(staying):
        placement = context.inventory.placements.get(name)
        applied = context.applied(address(Kind.VM, name))
        if placement is None or applied is None or placement.owner not in context.present:
            continue
        guest = guest_of(context, name, applied.spec, rules)
        if guest is not None:
            seats.setdefault(placement.owner, []).append(guest)
    leaving = [filled(node, seats[node]) for node in seats if node not in context.takers]
    table = Table(board=Board([*declared_hosts(context), *leaving], rules), guests={})
    for node, guests in sorted(seats.items()):
        for guest in guests:
            table.put(guest, node)
    return table


def filled(node: NodeName, guests: Iterable[Guest]) -> Host:
    """A host that has room for these guests and for nobody else."""
    own = list(guests)
    return Host(
        name=node,
        memory_mib=sum(guest.memory_mib for guest in own),
        vcpus=sum(guest.vcpus for guest in own),
        vfs=sum(guest.vfs for guest in own),
    )


def is_leaving(context: Context, name: VmName) -> bool:
    """Its removal has begun: nobody starts it again."""
    applied = context.applied(address(Kind.VM, name))
    return applied is not None and applied.phase is Phase.REMOVING
