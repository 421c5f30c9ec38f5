"""Could this node be fenced now? Judged all the time, so that nobody finds out at night (section 8).

Every candidate for HA tries every node's BMC from where it stands, as a fence would, without pressing
anything: one of them will have to do it. What they found is put together here. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.readiness import FenceReadiness, Grade, Readiness, Trial
from pvc_gitops.model.records import IncarnationRecord

EVERY_S: Final = 300.0  # between two trials of a node by one candidate
AFTER_TROUBLE_S: Final = 60.0
FIRST_WITHIN_S: Final = 30.0
# BMCs serve few sessions at a time: candidates and nodes are spread over this part of the period.
JITTER: Final = 0.2
BLOCKLIST_EVERY_S: Final = 3600.0  # each probe makes two maps that every Ceph daemon reads
STALE_S: Final = 1200  # four periods: whoever should have tried did not
_MINUTE_S: Final = 60
# A device that is set to 10 s may reset after 20 (measured on an iTCO): what it is set to proves nothing.
# Measuring resets the machine, so a person chooses when.
_UNMEASURED: Final = (
    "how long its watchdog takes was never measured, so it proves nothing: put the node into maintenance "
    "and type there: systemctl stop pvc-guard && pvc-guard measure-watchdog (which resets it)"
)


def first_after_s(me: NodeName, node: NodeName) -> float:
    """How long after its start a candidate first tries a node."""
    return _spread(me, node, 0) * FIRST_WITHIN_S


def next_after_s(me: NodeName, node: NodeName, number: int, *, is_well: bool) -> float:
    """How long after its trial of that number a candidate tries a node again."""
    every_s = EVERY_S if is_well else AFTER_TROUBLE_S
    return every_s * (1 - JITTER / 2 + JITTER * _spread(me, node, number))


def _spread(me: NodeName, node: NodeName, number: int) -> float:
    """0 to 1, the same on every run: simulations are repeated."""
    return crc32(f"{me} {node} {number}".encode()) % 1000 / 1000


def assess(
    node: NodeName,
    incarnation: IncarnationRecord,
    found: Mapping[NodeName, Readiness],
    *,
    has_bmc: bool,
    now_s: int,
) -> FenceReadiness:
    """Put together what all candidates found about one node.

    Args:
        node: which.
        incarnation: its latest life, as its guard recorded it.
        found: the records of all candidates, by where they run.
        has_bmc: whether its document names a BMC.
        now_s: the wall clock, for display of ages; candidates' clocks differ by less than STALE_S.
    """
    trials = {
        name: each.trials[node] for name, each in sorted(found.items()) if node in each.trials
    }
    bmc, troubles = _of_bmc(trials, has_bmc=has_bmc, now_s=now_s)
    has_watchdog = incarnation.watchdog is not None and incarnation.watchdog_s is not None
    is_asked = has_bmc and any(not each.trouble for each in trials.values())
    if not has_watchdog:
        if not is_asked:
            lost = (
                "neither its BMC nor a watchdog would prove its death: its guests would wait for it"
            )
            troubles = (*troubles, lost)
        if incarnation.watchdog is not None:
            troubles = (*troubles, _UNMEASURED)
        elif is_asked:
            lost = "no watchdog is armed: if its BMC dies with it, nothing proves its death"
            troubles = (*troubles, lost)
    if not is_asked and not has_watchdog and (trials or not has_bmc):
        grade = Grade.NOT
    else:
        grade = Grade.PARTLY if troubles else Grade.READY
    return FenceReadiness(
        node=node,
        grade=grade,
        bmc=bmc,
        watchdog=_watchdog(incarnation),
        troubles=troubles,
        tried_at_s=max((each.at_s for each in trials.values()), default=None),
    )


def _watchdog(incarnation: IncarnationRecord) -> str:
    if incarnation.watchdog is None:
        return "none"
    if incarnation.watchdog_s is None:
        return "not measured"
    return f"armed, {incarnation.watchdog_s:g} s"


def _of_bmc(
    trials: Mapping[NodeName, Trial], *, has_bmc: bool, now_s: int
) -> tuple[str, tuple[str, ...]]:
    """In a word, and sentences. What every candidate found is said once."""
    if not has_bmc:
        return "none declared", ()
    if not trials:
        return "not tried yet", ()
    by_trouble: dict[str, list[str]] = {}
    for name, trial in trials.items():
        by_trouble.setdefault(trial.trouble, []).append(name)
    troubles = [
        text if len(names) == len(trials) else f"{text} (from {', '.join(names)})"
        for text, names in by_trouble.items()
        if text
    ]
    age_s = now_s - max(each.at_s for each in trials.values())
    if age_s > STALE_S:
        troubles.append(f"its BMC was last tried {age_s // _MINUTE_S} min ago: is pvc-ha running?")
    return (troubles[0] if troubles else "ready"), tuple(troubles)


def blocklist_troubles(found: Mapping[NodeName, Readiness]) -> tuple[str, ...]:
    """Where the blocklist could not be written: no guest of a dead node would start from there."""
    return tuple(
        f"the blocklist cannot be written from {name}: {each.blocklist}"
        for name, each in sorted(found.items())
        if each.blocklist
    )
