"""What a plan says of moves that would spread its guests better: said, not done."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.plan import Plan


def rebalanced(plan: Plan) -> Iterator[str]:
    """A line each; nothing where it was not asked for."""
    found = plan.rebalance
    if found is None:
        return
    if not found.moves:
        yield f"Rebalance  nothing to move: {found.why}"
        return
    count = len(found.moves)
    yield f"Rebalance  {'1 move' if count == 1 else f'{count} moves'}: {found.why}"
    width = max(len(move.vm) for move in found.moves)
    for move in found.moves:
        after = (
            f"  after {', '.join(each.split(' ')[0] for each in move.after)}" if move.after else ""
        )
        yield f"  {move.vm:{width}}  {move.source} -> {move.to}{after}"
    yield "  No step of this plan moves them; pvc rebalance does."
