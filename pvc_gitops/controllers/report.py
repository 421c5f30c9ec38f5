"""What a node tells the cluster about itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pvc_gitops.controllers.records import write
from pvc_gitops.controllers.view import View
from pvc_gitops.model import paths
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.inventory import (
    GuestFacts,
    Hardware,
    NetworkFacts,
    NodeFacts,
    NodeState,
)
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

REPORT_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportMemory:
    """What was reported last, and when."""

    facts: NodeFacts | None = None
    sent_at_s: float = 0.0
    hardware: Hardware | None = None


def tick(world: World, view: View, memory: ReportMemory, faults: tuple[str, ...]) -> ReportMemory:
    """Write the report if it says something new, or is old."""
    hardware = memory.hardware or world.hypervisor.hardware()
    before = memory.facts
    facts = _facts(world, view, hardware, faults)
    if before is not None:
        facts = replace(
            facts, report_number=before.report_number, observed_at_s=before.observed_at_s
        )
        if facts == before and view.now_s < memory.sent_at_s + REPORT_EVERY_S:
            return memory
    is_same_life = before is not None and before.incarnation == facts.incarnation
    number = before.report_number + 1 if before is not None and is_same_life else 1
    facts = replace(facts, report_number=number, observed_at_s=world.clock.now_s())
    write(world.store, paths.report(world.me.node), facts)
    return ReportMemory(facts=facts, sent_at_s=view.now_s, hardware=hardware)


def _facts(world: World, view: View, hardware: Hardware, faults: tuple[str, ...]) -> NodeFacts:
    digests: dict[str, int] = {
        name: record.spec["vni"]
        for name, record in view.networks.items()
        if record.spec.get("vni") is not None
    }
    bridges = view.bridges or {}
    return NodeFacts(
        name=world.me.node,
        state=NodeState.ONLINE,
        incarnation=None if view.incarnation is None else view.incarnation.id,
        hardware=hardware,
        guests={
            VmName(name): GuestFacts(
                state=facts.state,
                uuid=facts.uuid,
                digest="" if facts.domain is None else facts.domain.digest,
            )
            for name, facts in sorted((view.domains or {}).items())
        },
        networks={
            name: NetworkFacts(digest=bridges[vni].digest)
            for name, vni in sorted(digests.items())
            if vni in bridges
        },
        faults=tuple(sorted({*view.faults, *faults})),
        report_number=0,
        observed_at_s=0,
    )
