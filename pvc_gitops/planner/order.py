"""The order of steps: the needs that types and references gave, and nothing that users numbered."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_gitops.model.plan import Step


def ordered(steps: Mapping[str, Step]) -> tuple[Step, ...]:
    """Wave by wave, each sorted by id: the same for the same graph in every process.

    A step is written after all that it needs (`Draft.step` asserts it), so a graph has no cycle and
    its waves are known in one pass; graphlib gives the same order in four times the time.
    """
    waves: dict[str, int] = {}
    for name, step in steps.items():
        waves[name] = 1 + max((waves[need] for need in step.needs), default=0)
    return tuple(steps[name] for name in sorted(steps, key=lambda name: (waves[name], name)))


def duration_s(steps: tuple[Step, ...]) -> float:
    """Along the critical path. `steps` are in topological order."""
    ends: dict[str, float] = {}
    for step in steps:
        ends[step.id] = step.estimate_s + max((ends[need] for need in step.needs), default=0.0)
    return max(ends.values(), default=0.0)
