"""What the schemas cannot see: how documents agree with each other (DESIGN section 4).

Each check takes a `Repository` and yields findings; none looks at a file. They run even when some
documents were refused, so that everything is told at once, and stay silent about what the refused
ones might have said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from pvc_gitops.model.problem import Problem
from pvc_gitops.spec.checks.groups import group_findings
from pvc_gitops.spec.checks.guests import guest_findings
from pvc_gitops.spec.checks.networks import network_findings
from pvc_gitops.spec.checks.nodes import node_findings
from pvc_gitops.spec.checks.people import operator_findings, role_findings
from pvc_gitops.spec.checks.recovery import recovery_findings
from pvc_gitops.spec.checks.references import reference_findings
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.checks.storage import storage_findings
from pvc_gitops.spec.checks.transitions import transition_findings
from pvc_gitops.spec.checks.windows import window_findings
from pvc_gitops.spec.findings import Finding, located

if TYPE_CHECKING:
    from pvc_gitops.spec.load import Loaded

FINDINGS_MAX: Final = 200  # four times what is shown; each costs a look at its document
CHECKS: Final[tuple[Callable[[Repository], Iterator[Finding]], ...]] = (
    reference_findings,
    node_findings,
    network_findings,
    storage_findings,
    guest_findings,
    recovery_findings,
    group_findings,
    window_findings,
    operator_findings,
    role_findings,
    transition_findings,
)


def cross_check(loaded: Loaded, files: Mapping[str, bytes]) -> list[Problem]:
    """Everything that is wrong between documents."""
    repository = Repository(
        documents=loaded.documents,
        failed=loaded.failed,
        paths=frozenset(files),
        referred=loaded.referred,
        words=loaded.words,
    )
    found = list(islice(chain.from_iterable(check(repository) for check in CHECKS), FINDINGS_MAX))
    return [*_missing_cluster(files), *(located(found, files) if found else ())]


def _missing_cluster(files: Mapping[str, bytes]) -> Iterator[Problem]:
    if "cluster.yaml" in files:
        return
    is_empty = not any(path.endswith(".yaml") for path in files)
    yield Problem(
        file="cluster.yaml",
        line=0,
        column=0,
        address="",
        code="empty-repository" if is_empty else "no-cluster",
        message="there are no documents here at all" if is_empty else "there is no cluster.yaml",
        hint="pvc init writes a complete repository"
        if is_empty
        else "it declares the cluster; pvc init writes one to copy from",
    )
