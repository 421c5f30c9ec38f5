"""What a proposal would do beyond its base: one plan of both, judged by the base's rules."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.ids import Address
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Change, Plan, PlanPolicy
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import PLANNER_VERSION, POLICY, plan
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.planner.rules import judging

_NEVER: Final = "no plan was published yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """The plan of the merge, and which of its changes the base alone would make too."""

    plan: Plan
    already: frozenset[Address]


def preview(
    proposed: ClusterSpec, base: ClusterSpec, inventory: Inventory, policy: PlanPolicy = POLICY
) -> Proposed:
    """Plan the proposal as the cluster would after its merge.

    Args:
        proposed: the merge of the branch into the base.
        base: what the cluster follows now; its rules judge the proposal.
        inventory: the cluster now.
        policy: what the base itself is planned by.
    """
    rules = judging(base, proposed)
    made = plan(proposed, inventory, replace(policy, rules=rules), inventory.target)
    alone = plan(base, inventory, policy, inventory.target)
    before = {change.address: _what(change) for change in alone.changes}
    same = {each.address for each in made.changes if before.get(each.address) == _what(each)}
    return Proposed(plan=made, already=frozenset(same))


def applied(base: ClusterSpec, now_s: int) -> Inventory:
    """A cluster that has just applied the base, for where no live one can be asked."""
    founded = empty(base, now_s)
    made = plan(base, founded, POLICY, None)
    return applied_after(made, founded)


def exactness(inventory: Inventory) -> str:
    """Whether the cluster would plan the same from this inventory, in words."""
    there = inventory.planner_version
    if there is None:
        return f"Exact if the cluster runs planner {PLANNER_VERSION}: {_NEVER}."
    if there == PLANNER_VERSION:
        return f"Exact (planner {PLANNER_VERSION} here and there)."
    return (
        f"NOT EXACT: the cluster plans with {there}, this is {PLANNER_VERSION};"
        " `pvc plan --remote` asks it."
    )


def is_exact(inventory: Inventory) -> bool:
    return inventory.planner_version in (None, PLANNER_VERSION)


def _what(change: Change) -> tuple[object, ...]:
    return change.actions, change.before, change.after
