"""Watching the cluster carry out a commit, line by line, and what its last word means."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from pvc_gitops.cli.progress import Progress
from pvc_gitops.errors import AgentLost, UsageError

if TYPE_CHECKING:
    from pvc_gitops.adapters.client import Client
    from pvc_gitops.model.control import Withheld
    from pvc_gitops.model.ids import CommitId, PlanId

GOES_ON: Final = "pvc status shows how far it is"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How it ended. `outcome` is a word of `world.protocol`, `follow`."""

    outcome: str
    plans: tuple[PlanId, ...]  # of the commit, as they were seen
    failed: int
    took_s: float
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def withheld(self) -> Withheld | None:
        """What the planner holds back, if that is how it ended."""
        from pvc_gitops.model.codec import decode
        from pvc_gitops.model.control import Withheld

        value = self.said.get("withheld")
        return None if value is None else decode(Withheld, value)


def follow(client: Client, commit: CommitId, timeout_s: float, *, began_s: float) -> Ended:
    """Print a line for every step that begins and ends. Raises UsageError where nobody answers."""
    progress = Progress(began_s=began_s)
    plans: list[PlanId] = []
    try:
        for event in client.follow(commit, timeout_s):
            if event.get("plan") is not None and event["plan"] not in plans:
                plans.append(event["plan"])
            if "outcome" in event:
                return Ended(
                    outcome=str(event["outcome"]),
                    plans=tuple(plans),
                    failed=progress.failed,
                    took_s=time.monotonic() - began_s,
                    said=event,
                )
            line = progress.line(event, now_s=time.monotonic())
            if line:
                click.echo(line)
    except AgentLost as lost:
        raise UsageError(f"{lost.message}; the cluster goes on", hint=GOES_ON) from lost
    raise UsageError("the connection ended", hint=GOES_ON)


def words(ended: Ended) -> str:
    """One sentence for every end but the good one."""
    held = ended.withheld
    if held is not None:
        return f"{held.text[:1].upper()}{held.text[1:]}: {held.remedy}"
    if ended.outcome == "failed":
        steps = "1 step" if ended.failed == 1 else f"{ended.failed} steps"
        return f"{steps} failed; what depends on them waits, the rest is done: pvc status"
    if ended.outcome == "halted":
        return "Halted: no further step begins. pvc halt --end lets them go on."
    if ended.outcome == "quarantined":
        held_of = {of[:7]: at for of, at in ended.said.get("held", {}).items() if at}
        named = "; ".join(f"{at[0]} of {of}" for of, at in sorted(held_of.items()))
        return (
            f"Accepted, and it waits: it still holds what a rollback has put aside ({named}). "
            "Take that back, or: pvc source release COMMIT --reason …"
        )
    if ended.outcome == "superseded":
        later = str(ended.said.get("commit", ""))[:7]
        return (
            f"Another apply is running: {later} came on top and is carried out. git pull --rebase"
        )
    return (
        f"Not done after {ended.took_s:.0f} s; the cluster goes on. pvc status shows how far it is."
    )
