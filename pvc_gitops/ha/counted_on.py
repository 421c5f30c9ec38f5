"""When others may count on a guest that runs: what it declares as `ha.ready`. Pure."""

from __future__ import annotations

from pvc_gitops.model.records import Ready
from pvc_gitops.model.recovery import Readiness
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`why` for people, while it is late."""

    ready: Ready
    why: str


def at_start(declared: Readiness | None) -> Ready | None:
    """Of a guest whose vCPUs have just begun to run."""
    return None if declared is None else Ready.AWAITED


def verdict(declared: Readiness, before: Ready, *, up_s: float, missing: str | None) -> Verdict:
    """What is known now.

    Args:
        declared: what it says.
        before: what was known before. What was ready once stays so: this is about starts.
        up_s: for how long it has run.
        missing: what does not answer; "" where all does, None before it was asked.
    """
    if before is Ready.READY:
        return Verdict(ready=before, why="")
    if up_s >= declared.after_s and missing == "":
        return Verdict(ready=Ready.READY, why="")
    if before is Ready.LATE or up_s >= declared.timeout_s:
        what = missing or "it has not been asked"
        why = f"not ready within {declared.timeout_s:g} s: {what}"
        return Verdict(ready=Ready.LATE, why=why)
    return Verdict(ready=before, why="")
