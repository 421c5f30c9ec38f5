"""`pvc plan --rebalance`: which running guests to move so that the nodes are alike, after the plan."""

from __future__ import annotations

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import VmName, address
from pvc_gitops.model.plan import Operation, Rebalance
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.table import Table
from pvc_gitops.scheduler.board import Board, Guest
from pvc_gitops.scheduler.rebalance import rebalance


def rebalanced(context: Context, draft: Draft, table: Table) -> Rebalance | None:
    """A report of moves; None where it was not asked for. No step carries them out: `pvc rebalance` does.

    Moved are guests that run before the plan, that it does not touch, and that move alive: none with a
    virtual function of its node, since that is a part of the machine, and none of a group that is
    strictly together with others, since orders move one guest at a time.
    """
    if not context.policy.rebalance:
        return None
    movable = [
        guest.name
        for guests in table.guests.values()
        for guest in guests
        if guest.is_running
        and not guest.vfs
        and not _is_bound(table.board, guest)
        and context.owner(guest.name) is not None
        and f"{Operation.VM_PUT} {address(Kind.VM, guest.name)}" not in draft.steps
        and _moves_alive(context, guest.name)
    ]
    return rebalance(
        table.board,
        table.guests,
        movable,
        strategy=context.cluster.strategy,
        moves_max=context.cluster.max_disrupt.migrations,
    )


def _is_bound(board: Board, guest: Guest) -> bool:
    return any(
        rule.is_strict and not rule.is_apart and sum(board.nodes_of(name).values()) > 1
        for name in guest.groups
        if (rule := board.rules.get(name)) is not None
    )


def _moves_alive(context: Context, name: VmName) -> bool:
    applied = context.applied(address(Kind.VM, name))
    return applied is not None and context.vm(name, applied.spec).migration_method == "live"
