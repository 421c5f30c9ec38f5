"""`pvc explain`: why an object is as it is, from the spec line to what its node shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import Address, VmName

if TYPE_CHECKING:
    from pvc_gitops.model.ledger import Entry
    from pvc_gitops.model.plan import Plan, ReportItem
    from pvc_gitops.model.records import Applied, PlacementRecord, StepResult
    from pvc_gitops.model.spec import ClusterSpec
    from pvc_gitops.world.protocol import Status

TOLD_MAX: Final = 5  # of what happened to it lately; `pvc history ADDRESS` shows all


@click.command()
@click.option("--repo", default=".", type=click.Path(path_type=Path), help="A checkout.")
@click.argument("address", metavar="ADDRESS")
@click.pass_context
def explain(ctx: click.Context, repo: Path, address: str) -> None:
    """Say why ADDRESS (as vm/web1) is as it is: declared where, applied by which commit, plan and
    step, placed where and why, and what a plan would do to it now."""
    from pvc_gitops.cli.live import cluster, spec_at
    from pvc_gitops.planner import planner

    wanted = Address(address)
    with cluster(ctx.obj, repo) as client:
        spec = spec_at(repo, None)
        facts = client.applied(wanted)
        inventory = client.inventory()
        status = client.status()
        told = client.history(limit=TOLD_MAX, address=wanted)
    if facts.applied is None and wanted not in spec.documents:
        raise UsageError(
            f"{address} is neither declared here nor known to the cluster",
            hint="addresses are kind/name: vm/web1, network/app, image/tiny-guest, node/hv1",
        )
    plan = planner.plan(spec, inventory, planner.POLICY, inventory.target)
    lines = [
        _declared(spec, wanted),
        *_applied(facts.applied, facts.result),
        *_by_whom(repo, facts.applied),
        *_placed(facts.placement, status, VmName(wanted.partition("/")[2])),
        *_told(told),
        *_next(plan, wanted),
    ]
    click.echo("\n".join([address, *lines]))


def _declared(spec: ClusterSpec, address: Address) -> str:
    document = spec.documents.get(address)
    if document is None:
        return "  declared   not in this checkout"
    return f"  declared   {document.place(())}"


def _applied(applied: Applied | None, result: StepResult | None) -> list[str]:
    if applied is None:
        return ["  applied    not yet"]
    life = "" if applied.incarnation == 1 else f", life {applied.incarnation} of this name"
    commit = applied.commit[:7] if applied.commit else "the founding"
    lines = [
        f"  applied    commit {commit}, plan {applied.plan or 'none'}, uuid {applied.uuid}{life}"
    ]
    lines += [
        f"  nic        {name}  {lease.mac}  {lease.address or 'no address'}"
        for name, lease in sorted(applied.nics.items())
    ]
    lines += [
        f"  disk       {name}  {disk.pool}/{disk.image}  {disk.size_mib} MiB"
        for name, disk in sorted(applied.disks.items())
    ]
    if result is not None:
        seen = ", ".join(f"{key} {value}" for key, value in sorted(result.evidence.items()))
        lines.append(
            f"  last step  {result.step} on {result.node}: {result.status} {seen}".rstrip()
        )
        if result.error:
            lines.append(f"             {result.error}")
    return lines


def _by_whom(repo: Path, applied: Applied | None) -> list[str]:
    """Who wrote the commit, where this checkout has it."""
    from pvc_gitops.adapters.git.head import authorship

    if applied is None or applied.commit is None:
        return []
    known = authorship(repo, applied.commit)
    return [] if known is None else [f"  author     {known.author}: {known.subject}"]


def _told(entries: Iterable[Entry]) -> list[str]:
    from pvc_gitops.cli.history import when

    return [f"  history    {when(entry.at_s)}  {entry.text}"[:160] for entry in entries]


_READY: Final = {
    "awaited": "others wait until it is ready",
    "ready": "ready",
    "late": "not ready in time: others go on without it",
}


def _placed(placement: PlacementRecord | None, status: Status, vm: VmName) -> list[str]:
    if placement is None:
        return []
    node = status.nodes.get(placement.owner)
    state = node.state if node is not None else "unknown"
    lines = [
        f"  placed     on {placement.owner} ({state}): {placement.state}, {placement.starts} starts"
    ]
    if placement.why:
        lines.append(f"             {placement.why}")
    if placement.ready is not None:
        lines.append(f"             {_READY[placement.ready]}")
    if placement.restarts:
        lines.append(f"             {placement.restarts} restarts without a good run since")
    if placement.tried:
        lines.append(f"             given up by {', '.join(placement.tried)}")
    guest = node.guests.get(vm) if node else None
    if guest is not None:
        lines.append(f"  seen       {guest.state} on {placement.owner}")
    return lines


def _next(plan: Plan, address: Address) -> list[str]:
    lines = []
    for change in plan.changes:
        if change.address == address:
            actions = ", ".join(change.actions)
            lines.append(f"  next       {actions}")
            lines += [f"             {f.path}: {f.before} -> {f.after}" for f in change.fields]
            lines += [f"             because {cause.text}" for cause in change.because]
    choices = [choice for choice in plan.placement if f"vm/{choice.vm}" == address]
    for choice in choices:
        lines.append(f"  place      {choice.node}, score {choice.score:g}")
        lines += [
            f"             not {node}: {why}" for node, why in sorted(choice.rejected.items())
        ]
    lines += [_item(item) for item in plan.report if item.address == address]
    return lines or ["  next       nothing to do"]


def _item(item: ReportItem) -> str:
    remedy = f"\n             {item.remedy}" if item.remedy else ""
    return f"  {item.kind:10} {item.text}{remedy}"
