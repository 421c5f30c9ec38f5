"""What the base says of how much one plan may do.

A proposal is judged by the words of the commit that it is to follow, never by its own: a branch that
raises a budget and uses it at once is held. A commit that changes the cluster's document and nothing
else is how rules are changed: it is judged by what it says. Rules are the cluster's `apply` (mode,
budgets, windows), its `trash`, and what `ha` says of admission.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.model.document import Kind, Spec, Value
from pvc_gitops.model.spec import Cluster, ClusterSpec

_WHOLE: Final = ("apply", "trash")
_OF_HA: Final = ("admission", "tolerate_nodes")


def rules_of(base: ClusterSpec) -> Mapping[str, Value]:
    """As `PlanPolicy.rules` holds them."""
    (doc,) = base.of_kind(Kind.CLUSTER)
    rules = {key: doc.spec[key] for key in _WHOLE if key in doc.spec}
    ha = {key: doc.spec["ha"][key] for key in _OF_HA if key in doc.spec["ha"]}
    return {**rules, "ha": ha}


def judged(cluster: Spec, rules: Mapping[str, Value] | None) -> Spec:
    """The cluster's spec with the base's rules in place of its own."""
    if rules is None:
        return cluster
    return {**cluster, **rules, "ha": {**cluster["ha"], **rules["ha"]}}


def judging(base: ClusterSpec, proposed: ClusterSpec) -> Mapping[str, Value] | None:
    """The base's rules where they judge the proposal; None where its own do: it says the same, or
    changes nothing but rules."""
    rules = rules_of(base)
    if rules == rules_of(proposed) or _others(base) == _others(proposed):
        return None
    return rules


def _others(spec: ClusterSpec) -> Mapping[str, tuple[Spec, tuple[str, ...]]]:
    return {
        of: (doc.spec, doc.tags)
        for of, doc in spec.documents.items()
        if doc.kind is not Kind.CLUSTER
    }


def cluster_under(spec: ClusterSpec, rules: Mapping[str, Value] | None) -> Cluster:
    """The typed view that a plan is made by."""
    if rules is None:
        return spec.cluster
    (doc,) = spec.of_kind(Kind.CLUSTER)
    return Cluster.from_spec(doc.name, judged(doc.spec, rules))
