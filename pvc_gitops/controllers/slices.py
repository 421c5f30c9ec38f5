"""A plan in the store: its head, one slice a node, and the results of its steps.

A plan that no target names is inert, so its records may be written in any number of transactions, by
any number of leaders, before the one that sets the target.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Mapping, Sequence

from pvc_gitops.controllers import blobs
from pvc_gitops.controllers.records import read_all
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.ids import Generation, NodeName, PlanId
from pvc_gitops.model.plan import Plan, Step
from pvc_gitops.model.records import StepResult, StepStatus
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Create, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One node's steps of a plan, in the plan's order."""

    formation: int
    generation: Generation
    plan: PlanId
    node: NodeName
    steps: tuple[Step, ...]


def creates(plan: Plan, *, formation: int, generation: Generation) -> Iterator[Create]:
    """The records of a plan, parents first."""
    top = paths.plan(plan.id)
    yield Create(path=top, value={"generation": generation})
    yield Create(path=f"{top}/slice", value={})
    yield Create(path=paths.plan_results(plan.id), value={})
    nodes = sorted({step.node for step in plan.steps})
    head = {"plan": encode(replace(plan, steps=())), "nodes": nodes}
    yield from blobs.creates(paths.plan_head(plan.id), head)
    for node in nodes:
        mine = Slice(
            formation=formation,
            generation=generation,
            plan=plan.id,
            node=node,
            steps=tuple(step for step in plan.steps if step.node == node),
        )
        yield from blobs.creates(paths.plan_slice(plan.id, node), mine)


def read_slice(store: Store, plan: PlanId, node: NodeName) -> Slice | None:
    """A node's slice; None where the plan has no step for it."""
    value = blobs.read(store, paths.plan_slice(plan, node))
    return None if value is None else decode(Slice, value)


def read_plan(store: Store, plan: PlanId) -> Plan | None:
    """A whole plan, its steps in one topological order again; None where it is gone."""
    head = blobs.read(store, paths.plan_head(plan))
    if head is None:
        return None
    steps: list[Step] = []
    for node in head["nodes"]:
        mine = read_slice(store, plan, node)
        if mine is None:
            return None
        steps.extend(mine.steps)
    return replace(decode(Plan, head["plan"]), steps=_ordered(steps))


def read_results(store: Store, plan: PlanId) -> dict[str, StepResult]:
    """By step."""
    found = read_all(store, paths.plan_results(plan), StepResult)
    return {result.step: result for result in found.values()}


def blocked(steps: Sequence[Step], results: Mapping[str, StepResult]) -> frozenset[str]:
    """The steps that a failed one keeps from beginning. `steps` are in topological order.

    Derived by every reader, never written: a failure then costs one write, however many wait for it.
    """
    stopped = {name for name, result in results.items() if result.status is StepStatus.FAILED}
    waiting: set[str] = set()
    for step in steps:
        if step.id not in results and any(need in stopped for need in step.needs):
            waiting.add(step.id)
            stopped.add(step.id)
    return frozenset(waiting)


def statuses(plan: Plan, results: Mapping[str, StepResult]) -> dict[str, StepStatus]:
    """Of every step of a plan in force."""
    waiting = blocked(plan.steps, results)
    return {
        step.id: results[step.id].status
        if step.id in results
        else StepStatus.BLOCKED
        if step.id in waiting
        else StepStatus.PENDING
        for step in plan.steps
    }


def _ordered(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Wave by wave, each sorted by id: the planner's order, which cutting into slices has lost."""
    by_id = {step.id: step for step in steps}
    sorter = graphlib.TopologicalSorter({step.id: step.needs for step in steps})
    sorter.prepare()
    found: list[Step] = []
    while sorter.is_active():
        wave = sorted(sorter.get_ready())
        found.extend(by_id[name] for name in wave)
        sorter.done(*wave)
    return tuple(found)
