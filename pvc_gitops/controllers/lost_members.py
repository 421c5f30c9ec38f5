"""Writing down that coordinators are gone for good, when their last survivor begins a quorum of its own.

In one transaction, before anybody else acts: the formation counts up, and their lives are revoked and
proven over. So pvc-ha gives their guests to others and does not switch them on as after a fence of its
own: with their old disks they would be the old quorum, beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pvc_gitops.controllers import ledger
from pvc_gitops.controllers.ledger import Note
from pvc_gitops.controllers.records import put, read, version_of
from pvc_gitops.errors import StoreError
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence, Proof, ProofKind
from pvc_gitops.model.ids import NodeName, address
from pvc_gitops.model.ledger import EntryKind
from pvc_gitops.model.records import Formation, IncarnationRecord
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Op, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How somebody knows that a machine has no power."""

    kind: ProofKind
    text: str


def declare(
    store: Store, me: NodeName, found: Mapping[NodeName, Evidence], now_s: int
) -> Formation:
    """Write it all down, once. Raises StoreError.

    Args:
        store: of the quorum of one.
        me: who is left.
        found: the dead, and how that is known.
        now_s: the wall clock.
    """
    before = read(store, paths.FORMAT, Formation)
    if before is None:
        raise StoreError("read", paths.FORMAT, "this cluster was never founded", retryable=False)
    ops: list[Op] = []
    for name, evidence in sorted(found.items()):
        ops += _declaring(store, name, evidence, now_s)
    if not ops:
        return before
    after = replace(before, formation=before.formation + 1)
    names = ", ".join(sorted(found))
    note = Note(
        kind=EntryKind.ACT,
        text=f"{me} is the only member of the quorum: {names} are gone for good",
        by=f"root on {me}",
        addresses=tuple(address("node", name) for name in sorted(found)),
        data={"formation": str(after.formation)},
    )
    store.commit(
        (
            put(paths.FORMAT, after, version_of(store.read(paths.FORMAT))),
            *ops,
            *ledger.appending(store, [note], now_s),
        )
    )
    return after


def _declaring(store: Store, name: NodeName, evidence: Evidence, now_s: int) -> Sequence[Op]:
    """Nothing for a node that never lived here, or whose death is known."""
    life = read(store, paths.incarnation(name), IncarnationRecord)
    proof = read(store, paths.proof(name), Proof)
    fence = read(store, paths.fence(name), Fence)
    if life is None or (proof is not None and proof.incarnation == life.id and fence is not None):
        return ()
    return (
        put(paths.incarnation(name), replace(life, is_revoked=True), life.version),
        put(
            paths.fence(name),
            Fence(
                node=name,
                incarnation=life.id,
                revoked_at_s=now_s,
                why="gone for good",
                lease_s=life.lease_s,
                watchdog_s=None if life.watchdog is None else life.watchdog_s,
                storage_addresses=life.storage_addresses,
            ),
            None if fence is None else fence.version,
        ),
        put(
            paths.proof(name),
            Proof(incarnation=life.id, kind=evidence.kind, evidence=evidence.text, at_s=now_s),
            None if proof is None else proof.version,
        ),
    )
