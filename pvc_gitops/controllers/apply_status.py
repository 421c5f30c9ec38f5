"""What stands at the forge beside a commit that was merged: being applied, applied, or what is wrong.

As with previews, nothing that goes wrong here keeps the planner from its work; a forge that is away is
told later.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from pvc_gitops.controllers import slices
from pvc_gitops.controllers.observe import Observed
from pvc_gitops.controllers.previews import forge_of, sealed_token, tracked
from pvc_gitops.errors import WorldError
from pvc_gitops.model.control import Withheld
from pvc_gitops.model.preview import Told
from pvc_gitops.model.records import StepStatus
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import World

JOB: Final = "apply.told"
AGAIN_S: Final = 60.0
_CHARACTERS_MAX: Final = 140  # GitHub's


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyToldMemory:
    """What was told last. All of it may be lost: then it is told once more."""

    told: Told | None = None
    again_at_s: float = 0.0
    fault: str = ""  # said once


def tick(
    world: World, memory: ApplyToldMemory, observed: Observed, withheld: Withheld | None
) -> ApplyToldMemory:
    """Tell the forge, if there is news of the accepted commit and nothing is being told."""
    now_s = world.clock.monotonic_s()
    job = world.jobs.state(JOB)
    if job is not None:
        if not job.is_done:
            return memory
        world.jobs.forget(JOB)
        if isinstance(job.error, WorldError):
            if job.error.reason != memory.fault:
                world.journal.event("apply_status_fault", fault=job.error.reason)
            memory = replace(memory, told=None, again_at_s=now_s + AGAIN_S, fault=job.error.reason)
        elif job.error is not None:
            raise job.error  # a bug of ours
        else:
            memory = replace(memory, fault="")
    forge = forge_of(observed.inventory)
    told = said(observed, withheld)
    if forge is None or told is None or told == memory.told or now_s < memory.again_at_s:
        return memory
    sealed = sealed_token(world, forge, told.commit)
    if sealed is None:  # told to nobody; a commit's files are not looked through all the time
        return replace(memory, again_at_s=now_s + AGAIN_S)
    world.jobs.start(JOB, lambda _: world.proposals.tell(forge, sealed, told))
    return replace(memory, told=told)


def said(observed: Observed, withheld: Withheld | None) -> Told | None:
    """The status of the accepted commit; None before its plan is in force. Pure.

    While steps are open it says the same all the time: a forge is no progress bar.
    """
    inv, target, plan = observed.inventory, observed.target, observed.plan
    if inv.accepted is None:
        return None
    name, _ = tracked(inv)
    if target is None or plan is None or target.commit != inv.accepted:
        if withheld is None or withheld.commit != inv.accepted:
            return None
        text, is_open, is_good = withheld.text, True, True
    else:
        counted = Counter(slices.statuses(plan, observed.results).values())
        done, every = counted[StepStatus.DONE], len(plan.steps)
        bad = counted[StepStatus.FAILED]
        is_open = bool(counted[StepStatus.PENDING] + counted[StepStatus.RUNNING])
        is_good = not bad and not plan.summary.blocked
        ended = f"done {done} of {every}" if every else "nothing to do"
        words = [f"{every} steps, being applied" if is_open else ended]
        words += [f"{bad} failed"] if bad else []
        words += [f"{plan.summary.blocked} blocked"] if plan.summary.blocked else []
        text = "; ".join(words)
    return Told(
        number=None,
        commit=inv.accepted,
        marker="",
        comment="",
        context=f"pvc/apply ({name})",
        is_good=is_good,
        is_open=is_open,
        status=text[:_CHARACTERS_MAX],
    )
