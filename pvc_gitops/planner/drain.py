"""`pvc node drain`: what emptying a node would take, before anybody is moved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import NodeName, VmName, address
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import CapacityVerdict, Loss, Move, MoveMethod, PlanPolicy, Staying
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.admission import homeless_words
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.table import Table, seated
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.drain import evacuate

_NAMES_WIDTH_MAX: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Moves that empty a node, who stays, and what a loss would mean while it is away."""

    node: NodeName
    moves: tuple[Move, ...]
    staying: tuple[Staying, ...]
    away: tuple[Loss, ...]  # of the nodes that are left

    @property
    def is_complete(self) -> bool:
        return not self.staying


def drained(spec: ClusterSpec, inventory: Inventory, policy: PlanPolicy, node: NodeName) -> Drain:
    """How to empty a node as the cluster is now.

    Raises:
        UsageError: the node is none of the cluster's, or nobody can be moved off it now.
    """
    context = Context(spec=spec, inventory=inventory, policy=policy)
    if node not in context.present:
        raise UsageError(_absence(context, node), hint="pvc status shows the nodes")
    table = seated(context, inventory.placements)
    here = table.guests.get(node, [])
    if node not in table.board.hosts:
        return Drain(node=node, moves=(), staying=(), away=_away(context, table, node))
    methods = {
        guest.name: _method(context, guest) for each in table.guests.values() for guest in each
    }
    found = evacuate(table.board, table.guests, node, methods, strategy=context.cluster.strategy)
    then = table.copy()
    who = {guest.name: guest for each in table.guests.values() for guest in each}
    for move in found.moves:
        then.take(who[move.vm], move.source)
        then.put(who[move.vm], move.to)
    assert len(here) - len(found.staying) == sum(move.source == node for move in found.moves)
    return Drain(
        node=node,
        moves=found.moves,
        staying=found.staying,
        away=_away(context, then, node),
    )


def _absence(context: Context, node: NodeName) -> str:
    facts = context.inventory.nodes.get(node)
    if facts is None:
        return f"no node {node} has joined this cluster"
    if facts.state is NodeState.ONLINE:
        return f"{node} has no record"
    return f"{node} is {facts.state}: nobody can be moved off a node that does not answer"


def _method(context: Context, guest: Guest) -> MoveMethod | None:
    """By its own wish; one that does not run, or that holds a part of its node, is not moved alive."""
    applied = context.applied(address(Kind.VM, guest.name))
    assert applied is not None
    method = context.vm(guest.name, applied.spec).migration_method
    if method == "none":
        return None
    is_live = method == "live" and guest.is_running and not guest.vfs
    return MoveMethod.LIVE if is_live else MoveMethod.SHUTDOWN


def _away(context: Context, table: Table, node: NodeName) -> tuple[Loss, ...]:
    """What the loss of another node would mean: the one that is drained takes nobody in."""
    hosts = [host for name, host in table.board.hosts.items() if name != node]
    left = Table(board=Board(hosts, table.board.rules), guests={})
    for at, guests in table.guests.items():
        for guest in guests if at != node else ():
            left.put(guest, at)
    return left.losses(context.cluster.tolerate_nodes)


# --- words -----------------------------------------------------------------------------------------


def text(drain: Drain) -> Iterator[str]:
    """For people, a line each."""
    yield _head(drain)
    width = min(_NAMES_WIDTH_MAX, max((len(vm) for vm in _names(drain)), default=0))
    for move in drain.moves:
        own = "" if move.source == drain.node else f" from {move.source}, to make room"
        after = (
            f"  after {', '.join(each.split(' ')[0] for each in move.after)}" if move.after else ""
        )
        how = "live" if move.method is MoveMethod.LIVE else "stop, start"
        yield f"  {move.vm:{width}}  {how} -> {move.to}{own}{after}"
    for each in drain.staying:
        yield f"! {each.vm:{width}}  {each.text}"
    yield f"N-1 while {drain.node} is away: {_margin(drain)}"
    if drain.is_complete:
        yield f"{drain.node} can be emptied."
    else:
        names = ", ".join(each.vm for each in drain.staying)
        yield f"{drain.node} cannot be emptied: {names} would be left."


def _names(drain: Drain) -> list[VmName]:
    return [move.vm for move in drain.moves] + [each.vm for each in drain.staying]


def _head(drain: Drain) -> str:
    leaving = [move for move in drain.moves if move.source == drain.node]
    if not leaving and not drain.staying:
        return f"{drain.node}: no guest is there"
    live = sum(move.method is MoveMethod.LIVE for move in leaving)
    words = [f"{len(leaving) + len(drain.staying)} guests", f"{live} move live"]
    stop = len(leaving) - live
    words += [f"{stop} stop and start elsewhere"] if stop else []
    words += [f"{len(drain.staying)} cannot move"] if drain.staying else []
    others = len(drain.moves) - len(leaving)
    words += [f"{others} on other nodes make room"] if others else []
    return f"{drain.node}: {', '.join(words)}"


def _margin(drain: Drain) -> str:
    bad = [loss for loss in drain.away if loss.verdict is not CapacityVerdict.HOLDS]
    if not drain.away:
        return "does not hold: no other node is left"
    if not bad:
        return "holds"
    worst = min(bad, key=lambda loss: (loss.spare_mib, loss.lost))
    lack = f", {-worst.spare_mib} MiB are missing" if worst.spare_mib < 0 else f", {worst.why}"
    return f"does not hold: losing {worst.label} too leaves {homeless_words(worst)} without a place{lack}"
