"""The verifier's eye on edges: what must not run side by side, whatever the order of the listing.

Shares no code with the planner, as all of the verifier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pvc_gitops.model.ids import Address
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Operation, Plan, Step
from pvc_gitops.model.records import Phase
from pvc_gitops.planner.check_words import WORDS

_ENDS = frozenset({Operation.RECORD_DROP, Operation.VM_FORGET})
# Their records name what they needed; it may go beside them, or after them.
_LEAVING = frozenset({Operation.RECORD_KEEP, Operation.NETWORK_RETIRE, Operation.VM_RETIRE})


def unordered(
    plan: Plan,
    inventory: Inventory,
    new_words: frozenset[str],
    comes_after: Callable[[str, str], bool],
) -> Iterator[str]:
    """Steps that the graph leaves free to run beside one that they rest on.

    Args:
        plan: whose steps are in an order that its edges allow.
        inventory: with the records of before, the trashed ones too.
        new_words: what this plan writes down as done.
        comes_after: whether the graph puts the second step before the first.
    """
    stood = {of for of, each in inventory.applied.items() if each.phase is not Phase.TRASHED}
    new: set[Address] = set()  # what this plan makes, or gives its name
    latest: dict[Address, str] = {}  # who wrote the record of an object last
    since: dict[Address, list[str]] = {}  # what was done to it since then
    restores: dict[tuple[object, object], str] = {}
    for step in plan.steps:
        of = _object(step.address)
        if of == WORDS:
            continue
        before = [latest[of]] if of in latest else []
        if _writes(step):
            before += since.pop(of, ())
            latest[of] = step.id
            if of not in stood or step.operation is Operation.RECORD_MOVE:
                new.add(of)
            if step.operation in _ENDS:
                stood.discard(of)  # what comes after it is another one
        else:
            since.setdefault(of, []).append(step.id)
        if step.record is not None and step.operation not in _LEAVING:
            # What was there before serves while it changes, too.
            before += [latest[need] for need in step.record.needs if need in latest and need in new]
        if step.operation is Operation.DISK_RESTORE:
            restores[step.inputs["pool"], step.inputs["image"]] = step.id
        if step.operation is Operation.RECORD_DROP and restores:
            was = inventory.applied.get(of)
            disks = () if was is None else was.disks.values()
            before += [restores[each] for d in disks if (each := (d.pool, d.image)) in restores]
        yield from _beside(step.id, before, comes_after)
    yield from _too_soon(plan, latest, new_words, comes_after)


def _too_soon(
    plan: Plan,
    latest: dict[Address, str],
    new_words: frozenset[str],
    comes_after: Callable[[str, str], bool],
) -> Iterator[str]:
    """A word is written down as done when that for which it was said has been done."""
    said = {Address(word.split(" ")[1]) for word in new_words}
    told = [latest[of] for of in sorted(said) if of in latest]
    for step in plan.steps:
        if step.address == WORDS:
            yield from _beside(step.id, told, comes_after)


def _beside(step: str, before: list[str], comes_after: Callable[[str, str], bool]) -> Iterator[str]:
    for earlier in before:
        if earlier != step and not comes_after(step, earlier):
            yield f"step {step} does not wait for {earlier}"


def _writes(step: Step) -> bool:
    return step.record is not None or step.operation in _ENDS


def _object(of: Address) -> Address:
    kind, name, *_ = of.split("/")
    return Address(f"{kind}/{name}")
