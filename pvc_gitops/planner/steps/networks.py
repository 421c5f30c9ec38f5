"""Guest networks: one record that all nodes realise, and waiting until they did.

An `ensure` step exists as long as an online node does not show the record, whoever wrote it: a plan
made in the middle of an apply holds just what is left.
"""

from __future__ import annotations

from dataclasses import replace

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address
from pvc_gitops.model.plan import Action, Cause, Operation
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.planner.adoption import adopted_network
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.diff import Difference
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.records import record_of
from pvc_gitops.planner.steps.common import created, is_hindered, is_same, keep, settle, updated


def plan_network(context: Context, draft: Draft, doc: Document) -> None:
    """Put the record, and wait for every online node that runs guests."""
    applied = context.applied(doc.address)
    if applied is not None and _is_settled(context, doc, applied):
        keep(draft, applied)
        return
    if is_hindered(context, draft, doc.address):
        keep(draft, applied)
        return
    if applied is None:
        _create(context, draft, doc)
        return
    if applied.phase is Phase.REMOVING:
        keep(draft, None)
        draft.waiting(doc.address, "being-removed", "is being removed; made again afterwards")
        retire(context, draft, applied)
        return
    found = settle(context, draft, doc, applied)
    if found.is_replacement:
        _replace(context, draft, doc, applied, found)
        return
    record = _record(context, doc, found, applied)
    if is_same(applied, record):
        keep(draft, applied)
        if _ensure(context, draft, applied):
            updated(draft, doc, applied, applied, found, because=(_unrealised(context, applied),))
        return
    _put(context, draft, record, pre=applied.digest)
    updated(draft, doc, applied, record, found)
    _ensure(context, draft, record)


def _create(context: Context, draft: Draft, doc: Document) -> None:
    because = adopted_network(context, draft, doc)
    if because is None:
        return
    record = _record(context, doc, None, None)
    _put(context, draft, record, pre="")
    is_adopted = because.code == "adopted"
    created(draft, doc, record, Action.ADOPT if is_adopted else Action.CREATE, because)
    _ensure(context, draft, record)


def retire(context: Context, draft: Draft, applied: Applied) -> str:
    """Take it down everywhere; the id of the last step, which drops the record."""
    of, digest = applied.address, applied.digest
    node = context.coordinator(of)
    assert node is not None
    first = None
    if applied.phase is not Phase.REMOVING:
        removing = _removing(applied)
        needs = draft.lasts(_users(context, of))
        first = draft.step(
            Operation.NETWORK_RETIRE, of, node, needs=needs, pre=digest, record=removing
        )
    gone = [
        draft.step(
            Operation.NETWORK_ENSURE,
            of,
            each,
            needs=[first],
            pre=digest,
            inputs={"digest": ""},
            qualifier=f"{each} gone",
        )
        for each in context.guest_nodes
        if applied.name in context.inventory.nodes[each].networks
    ]
    return draft.step(Operation.RECORD_DROP, of, node, needs=[first, *gone], pre=digest)


def _replace(
    context: Context, draft: Draft, doc: Document, applied: Applied, found: Difference
) -> None:
    """Another VNI is another network. While guests are on the old one, it stays."""
    users = _users(context, doc.address)
    paths = ", ".join(change.path for change in found.changes)
    if users:
        draft.blocked(
            doc.address,
            "network-in-use",
            f"{paths} makes it another network, and {', '.join(users[:3])} is on it",
            "declare the new network under another name and move the NICs in a commit of their own",
            doc.place((found.changes[0].path,)),
        )
        keep(draft, applied)
        return
    dropped = retire(context, draft, applied)
    record = _record(context, doc, found, None, incarnation=applied.incarnation + 1)
    _put(context, draft, record, pre="", after=dropped)
    updated(draft, doc, applied, record, found, actions=(Action.DELETE, Action.CREATE))
    _ensure(context, draft, record)


def _record(
    context: Context,
    doc: Document,
    found: Difference | None,
    like: Applied | None,
    *,
    incarnation: int = 1,
) -> Applied:
    return record_of(
        doc,
        commit=context.spec.commit,
        cluster_id=context.inventory.cluster_id,
        spec=None if found is None else found.spec,
        incarnation=incarnation,
        like=like,
    )


def _is_settled(context: Context, doc: Document, applied: Applied) -> bool:
    return (
        applied.spec == doc.spec
        and applied.tags == doc.tags
        and applied.phase is Phase.PRESENT
        and not _unshown(context, applied, applied.digest)
    )


def _removing(applied: Applied) -> Applied:
    return replace(applied, phase=Phase.REMOVING)


def _put(
    context: Context, draft: Draft, record: Applied, *, pre: str, after: str | None = None
) -> None:
    node = context.coordinator(record.address)
    assert node is not None
    draft.step(Operation.NETWORK_PUT, record.address, node, needs=[after], pre=pre, record=record)


def _unshown(context: Context, record: Applied, digest: str) -> list[str]:
    shown = {node: context.inventory.nodes[node].networks for node in context.guest_nodes}
    return [
        node
        for node, networks in shown.items()
        if record.name not in networks
        or networks[record.name].digest != digest
        or context.is_under_way(f"{Operation.NETWORK_ENSURE} {record.address} {node}")
    ]


def _ensure(context: Context, draft: Draft, record: Applied) -> bool:
    of, digest = record.address, record.digest
    put = draft.last.get(of)
    unshown = _unshown(context, record, digest)
    for node in context.guest_nodes:
        if node in unshown:
            draft.step(
                Operation.NETWORK_ENSURE,
                of,
                node,
                needs=[put],
                pre=digest,
                inputs={"digest": digest},
                qualifier=node,
            )
    return bool(unshown)


def _unrealised(context: Context, applied: Applied) -> Cause:
    nodes = ", ".join(_unshown(context, applied, applied.digest))
    return Cause(code="not-realised", text=f"{nodes} does not show it as recorded yet", place=None)


def _users(context: Context, of: Address) -> list[Address]:
    """Guests that are on it, by what was applied."""
    return [
        a
        for a, record in sorted(context.inventory.applied.items())
        if record.kind is Kind.VM and of in context.needs(record)
    ]
