"""Asking guests that have just started whether others may count on them, until they say so.

A question is a job of its own: it takes as long as a connection that nobody answers.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.controllers.view import View
from pvc_gitops.ha.counted_on import Verdict, verdict
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.records import Applied, PlacementRecord, Ready
from pvc_gitops.model.recovery import Ha, Readiness
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

ASK_EVERY_S: Final = 1.0
LATE_EVERY_S: Final = 10.0  # nobody waits for it any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`verdict` None: nothing new. `due_at_s`: when to look again at the latest."""

    verdict: Verdict | None
    due_at_s: float | None
    next_at_s: float  # not asked before; kept by the caller


def tick(
    world: World,
    view: View,
    name: VmName,
    record: Applied,
    placement: PlacementRecord,
    *,
    domain: str,
    up_s: float,
    next_at_s: float,
) -> Asked:
    """One look at one running guest."""
    declared = Ha.from_spec(record.spec["ha"]).ready
    if declared is None or placement.ready in (None, Ready.READY):
        return Asked(verdict=None, due_at_s=None, next_at_s=next_at_s)
    before = placement.ready
    assert before is not None
    key, missing = f"guest.ready {name} {placement.starts}", None
    job = world.jobs.state(key)
    every_s = ASK_EVERY_S if before is Ready.AWAITED else LATE_EVERY_S
    if job is None and view.now_s >= next_at_s:
        world.jobs.start(key, lambda _: _missing(world, view, record, declared, domain))
        next_at_s = view.now_s + every_s
    elif job is not None and job.is_done:
        world.jobs.forget(key)
        missing = str(job.error) if job.error is not None else str(job.value)
        next_at_s = view.now_s + every_s
    found = verdict(declared, before, up_s=up_s, missing=missing)
    dues = [next_at_s, view.now_s + declared.timeout_s - up_s]
    return Asked(
        verdict=found if found.ready is not before else None,
        due_at_s=min(due for due in dues if due >= next_at_s),
        next_at_s=next_at_s,
    )


def _missing(world: World, view: View, record: Applied, declared: Readiness, domain: str) -> str:
    """The first thing that does not answer; "" where all does."""
    if declared.tcp is not None:
        addresses = _addresses(view, record)
        answers = [world.probes.accepts(each, declared.tcp) for each in addresses]
        if "" not in answers:
            return next(iter(answers), "no card of it has an address that its node could ask")
    return world.probes.agent_answers(domain) if declared.agent else ""


def _addresses(view: View, record: Applied) -> list[str]:
    """Those of its cards that are on networks where its node is the gateway."""
    called, found = view.networks_called, []
    for nic, lease in sorted(record.nics.items()):
        network = called.get(record.spec["nics"][nic]["network"])
        has_gateway = network is not None and "gateway" in network.spec.get("ipv4", {})
        if lease.address is not None and has_gateway:
            found.append(lease.address)
    return found
