"""Two digests of a plan (D18): `id` of all it was computed from, `effect` of what it does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from pvc_gitops.model.codec import canonical, canonical_json
from pvc_gitops.model.document import Spec
from pvc_gitops.model.ids import NodeName, PlanId
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Change, ItemKind, NodeStamp, PlanPolicy, ReportItem
from pvc_gitops.model.spec import ClusterSpec

_ID_DIGITS = 16
_EFFECT_DIGITS = 8


class Digests:
    """Digests of specs, each computed once: a new object's stands in the commit and in its change.
    `known` are those that whoever read the specs has computed already."""

    def __init__(self, known: Iterable[tuple[Spec, str]] = ()) -> None:
        # By identity; holding the spec keeps it so.
        self._known: dict[int, tuple[Spec, str]] = {id(pair[0]): pair for pair in known}

    def of(self, spec: Spec | None) -> str | None:
        if spec is None:
            return None
        known = self._known.get(id(spec))
        if known is None:
            known = (spec, hashlib.sha256(canonical_json(spec)).hexdigest())
            self._known[id(spec)] = known
        return known[1]


def plan_id(
    spec: ClusterSpec,
    inventory: Inventory,
    policy: PlanPolicy,
    parent: PlanId | None,
    *,
    digests: Digests,
) -> PlanId:
    """Of the inputs alone: the planner is a pure function of them, so they say all. Not of where in
    its file something stands."""
    documents = [
        [doc.address, digests.of(doc.spec), doc.tags, doc.file] for doc in spec.documents.values()
    ]
    digest = hashlib.sha256()
    for part in (
        canonical_json(documents),
        canonical(inventory),
        canonical(policy),
        canonical_json([[i.word, i.address, i.source] for i in spec.transitions.items]),
        canonical_json([spec.commit, parent]),
    ):
        digest.update(hashlib.sha256(part).digest())
    return PlanId(digest.hexdigest()[:_ID_DIGITS])


def effect(changes: Iterable[Change], report: Iterable[ReportItem], *, digests: Digests) -> str:
    """The same for a branch, its merge and its approval: no commit, no placement, no estimates."""
    does = [
        [
            change.address,
            change.actions,
            digests.of(change.before),
            digests.of(change.after),
            change.disposition,
        ]
        for change in changes
    ]
    blocked = [[item.address, item.code] for item in report if item.kind is ItemKind.BLOCKED]
    return hashlib.sha256(canonical_json([does, blocked])).hexdigest()[:_EFFECT_DIGITS]


def stamps(inventory: Inventory) -> Mapping[NodeName, NodeStamp]:
    """Which report of each node was read."""
    return {
        name: NodeStamp(
            report_number=facts.report_number,
            digest=hashlib.sha256(canonical(facts)).hexdigest()[:_ID_DIGITS],
        )
        for name, facts in sorted(inventory.nodes.items())
    }
