"""The order of steps: the needs that types and references gave, and nothing that users numbered."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping

from pvc_gitops.model.plan import Step


def ordered(steps: Mapping[str, Step]) -> tuple[Step, ...]:
    """Wave by wave, each sorted by id: the same for the same graph in every process."""
    sorter = graphlib.TopologicalSorter({name: step.needs for name, step in steps.items()})
    sorter.prepare()
    result: list[Step] = []
    while sorter.is_active():
        wave = sorted(sorter.get_ready())
        result.extend(steps[name] for name in wave)
        sorter.done(*wave)
    return tuple(result)


def duration_s(steps: tuple[Step, ...]) -> float:
    """Along the critical path. `steps` are in topological order."""
    ends: dict[str, float] = {}
    for step in steps:
        ends[step.id] = step.estimate_s + max((ends[need] for need in step.needs), default=0.0)
    return max(ends.values(), default=0.0)
