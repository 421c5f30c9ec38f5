"""What the first coordinator writes into an empty ZooKeeper: one transaction, all or nothing."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model import paths
from pvc_gitops.model.codec import canonical
from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import CommitId, derived_uuid
from pvc_gitops.model.records import Accepted, Applied, Formation, Phase
from pvc_gitops.model.spec import ClusterSpec

TREE: Final = 1  # layout version of the znodes
ROLES: Final = ("planner", "ha")  # each has an epoch of its own (DESIGN section 6)
# Founded with the cluster, so they are in force before any plan ran.
_APPLIED_KINDS: Final = (Kind.CLUSTER, Kind.NODE)


def first_records(
    spec: ClusterSpec, *, accepted: Accepted, cluster_id: str, formation: int
) -> tuple[tuple[str, bytes], ...]:
    """Paths and values, parents before children, `/pvc/format` last."""
    records: list[tuple[str, bytes]] = [(path, b"{}") for path in paths.SKELETON]
    records += [(path(role), b"{}") for role in ROLES for path in (paths.epoch, paths.election)]
    records += [
        (paths.applied(doc.address), canonical(_applied(doc, cluster_id, accepted.commit)))
        for kind in _APPLIED_KINDS
        for doc in spec.of_kind(kind)
    ]
    records.append((paths.ACCEPTED, canonical(accepted)))
    founded = Formation(
        cluster_id=cluster_id,
        tree=TREE,
        formation=formation,
        founded_at_s=accepted.accepted_at_s,
        commit=accepted.commit,
    )
    records.append((paths.FORMAT, canonical(founded)))
    return tuple(records)


def _applied(doc: Document, cluster_id: str, commit: CommitId) -> Applied:
    return Applied(
        address=doc.address,
        kind=doc.kind,
        name=doc.name,
        spec=doc.spec,
        tags=doc.tags,
        incarnation=1,
        uuid=derived_uuid(cluster_id, doc.address, 1),
        phase=Phase.PRESENT,
        needs=(),
        commit=commit,
        plan=None,
        wanted=None,
        nics={},
        disks={},
    )
