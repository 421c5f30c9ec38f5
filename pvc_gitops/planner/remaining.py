"""Whether a plan would do something else than what is left of the one in force (D3)."""

from __future__ import annotations

from collections.abc import Iterable

from pvc_gitops.model.codec import canonical
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Operation, Plan, Step
from pvc_gitops.model.values import replace


def amid(inventory: Inventory, target: Plan) -> Inventory:
    """The inventory with what the plan in force chose: places and leases of guests. Whoever reads the
    inventory of a live cluster adds them, or a plan made meanwhile may choose anew."""
    records = [
        step.record for step in target.steps if step.operation is Operation.VM_PUT and step.record
    ]
    return replace(
        inventory,
        target=target.id,
        chosen={choice.vm: choice.node for choice in target.placement},
        leases={VmName(record.name): record.nics for record in records if record.nics},
    )


def remaining_differs(new: Plan, target: Plan, done: frozenset[str]) -> bool:
    """Compare the steps of `new` with those of `target` that are not in `done`, by what they do: where,
    to what, and what stands there afterwards. Not by `pre` and `needs`, which shrink as steps end,
    and not by commit and estimates."""
    left = [step for step in target.steps if step.id not in done]
    return _contents(new.steps) != _contents(left)


def _contents(steps: Iterable[Step]) -> dict[str, tuple[object, ...]]:
    return {step.id: _content(step) for step in steps}


def _content(step: Step) -> tuple[object, ...]:
    record = step.record
    after = (
        None
        if record is None
        else (record.digest, record.phase, record.wanted, record.tags, record.needs)
    )
    return step.address, step.operation, step.node, after, canonical(step.inputs)
