"""Whether what was done is what was shown: plans that were carried out against a preview of them.

A cluster that is at work already, or that was halfway when the preview was made, does a part of what was
shown, or has done before what is not shown any more. That is no difference. Everything else is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pvc_gitops.model.codec import canonical
from pvc_gitops.model.ids import Address
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Change, Plan
from pvc_gitops.model.records import Phase


def departures(
    shown: Plan, at: Inventory, carried_out: Sequence[Plan], now: Inventory
) -> tuple[str, ...]:
    """A sentence for every address at which something else was done than was shown.

    Args:
        shown: the preview.
        at: what it was made from.
        carried_out: the plans that were in force since, the oldest first; the last came to its end.
        now: the cluster afterwards.
    """
    return tuple(
        f"{of}: {text}"
        for of, text in sorted(
            {**_left_out(shown, carried_out, now), **_more(shown, at, carried_out)}.items()
        )
    )


def _more(shown: Plan, at: Inventory, carried_out: Sequence[Plan]) -> dict[Address, str]:
    expected = {change.address: change for change in shown.changes}
    found: dict[Address, str] = {}
    for plan in carried_out:
        was_in_force = plan.id == at.target
        for change in plan.changes:
            wanted = expected.get(change.address)
            if wanted is not None and _is_part(change, wanted):
                continue
            if was_in_force and _is_reached(change, at):
                continue  # before anybody looked
            if wanted is None:
                found.setdefault(change.address, f"{_verb(change)}, which was not shown")
            else:
                found.setdefault(change.address, f"{_verb(change)}; shown was: {_verb(wanted)}")
    return found


def _left_out(shown: Plan, carried_out: Sequence[Plan], now: Inventory) -> dict[Address, str]:
    # Only the last plan was carried out whole: one before it may have been given up halfway.
    last = {change.address for plan in carried_out[-1:] for change in plan.changes}
    return {
        change.address: f"shown as {_verb(change)}, and not done{_why(change, carried_out)}"
        for change in shown.changes
        if change.address not in last and not _is_reached(change, now)
    }


def _is_part(done: Change, shown: Change) -> bool:
    """The same end by the same means, or by what was left of them."""
    return (
        canonical(done.after) == canonical(shown.after)
        and set(done.actions) <= set(shown.actions)
        and done.disposition in (shown.disposition, None)
    )


def _is_reached(change: Change, inv: Inventory) -> bool:
    """Does the cluster's record say what the change was to bring about?"""
    record = inv.applied.get(change.address)
    if record is None or record.phase is not Phase.PRESENT:
        return change.after is None
    return change.after is not None and canonical(record.spec) == canonical(change.after)


def _verb(change: Change) -> str:
    return " and ".join(change.actions)


def _why(change: Change, carried_out: Sequence[Plan]) -> str:
    return next((f" ({text})" for text in _reasons(change.address, carried_out)), "")


def _reasons(of: Address, carried_out: Sequence[Plan]) -> Iterator[str]:
    for plan in reversed(carried_out):
        yield from (item.text for item in plan.report if item.address == of)
