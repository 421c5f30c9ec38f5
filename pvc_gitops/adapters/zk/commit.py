"""Transactions: building, judging their results, and learning what became of a lost answer.

kazoo's `commit()` does not raise for a transaction that was rolled back: it returns the errors (tried).
It is judged here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from kazoo.exceptions import (
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)

from pvc_gitops.adapters.zk.records import dump
from pvc_gitops.errors import StoreConflict, StoreError, StoreUnavailable
from pvc_gitops.world.ports import Check, Create, Delete, Op, Put, Stamped

# ZooKeeper refuses 1 MiB by dropping the connection, which looks like a network fault (tried).
TRANSACTION_BYTES_MAX: Final = 900 * 1024
OP_BYTES: Final = 64  # what a path, versions and an ACL add, about

_CONFLICTS: Final = {
    BadVersionError: "another version stands there",
    NodeExistsError: "it exists already",
    NoNodeError: "it does not exist, or its parent does not",
    NotEmptyError: "records stand below it",
}


def build(transaction: Any, ops: Sequence[Op], nonce: str) -> None:  # noqa: ANN401  kazoo has no types
    """Put the operations into kazoo's transaction. Raises StoreError for one that is too large."""
    size = 0
    for op in ops:
        size += OP_BYTES + len(op.path)
        match op:
            case Check(version=None):
                # ZooKeeper has no check of absence: making and removing it is one.
                transaction.create(op.path, b"")
                transaction.delete(op.path)
            case Check():
                transaction.check(op.path, op.version)
            case Create():
                data = dump(op.value, nonce)
                size += len(data)
                transaction.create(op.path, data, ephemeral=op.is_ephemeral)
            case Put():
                data = dump(op.value, nonce)
                size += len(data)
                transaction.set_data(op.path, data, version=op.version)
            case Delete():
                transaction.delete(op.path, version=op.version)
    if size > TRANSACTION_BYTES_MAX:
        raise StoreError(
            "commit",
            ops[0].path,
            f"{size} bytes in one transaction, {TRANSACTION_BYTES_MAX} is the most",
            retryable=False,
        )


def judge(ops: Sequence[Op], results: Sequence[Any]) -> None:
    """Raise what the results say. The operation that failed is named, not those that were undone."""
    paths = [
        op.path
        for op in ops
        for _ in range(2 if isinstance(op, Check) and op.version is None else 1)
    ]
    for path, result in zip(paths, results, strict=True):
        if not isinstance(result, Exception) or isinstance(
            result, RolledBackError | RuntimeInconsistency
        ):
            continue
        for kind, reason in _CONFLICTS.items():
            if isinstance(result, kind):
                raise StoreConflict(path, reason)
        raise StoreError("commit", path, repr(result), retryable=False)
    if any(isinstance(result, Exception) for result in results):
        raise StoreError("commit", ops[0].path, repr(results), retryable=False)


def learn(
    ops: Sequence[Op], nonce: str, look: Callable[[str], tuple[Stamped, str | None] | None]
) -> None:
    """After a lost answer and a sync: return if the transaction was committed, raise otherwise.

    `look` reads a record with its nonce. One record with our nonce proves the whole transaction. That
    a write's successor has another nonce proves the contrary; what was overwritten since proves nothing.
    """
    for op in ops:
        if not isinstance(op, Create | Put):
            continue
        found = look(op.path)
        if found is not None and found[1] == nonce:
            return
        successor = 0 if isinstance(op, Create) else op.version + 1
        if found is not None and found[0].version == successor:
            raise StoreConflict(op.path, "another writer was first")
    raise StoreUnavailable(
        "commit", ops[0].path, "the answer was lost and the records do not tell what became of it"
    )
