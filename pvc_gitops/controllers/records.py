"""Typed reading and writing of the store: one place where JSON becomes values and back."""

from __future__ import annotations

from typing import Final, TypeVar, cast

from pvc_gitops.errors import StoreConflict, StoreError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.model.values import replace
from pvc_gitops.world.ports import Check, Create, Op, Put, Stamped, Store

T = TypeVar("T")


def read(store: Store, path: str, cls: type[T]) -> T | None:
    """A record, or None where none stands. Raises StoreError, also on one of another release."""
    stamped = store.read(path)
    return None if stamped is None else typed(path, stamped, cls)


def read_all(store: Store, path: str, cls: type[T]) -> dict[str, T]:
    """All records one level below, by name, in order."""
    children = store.read_children(path)
    return {name: typed(f"{path}/{name}", children[name], cls) for name in sorted(children)}


# Records are values: the very object that was decoded before decodes to the same again. Stores that
# keep what they read behind watches hand out such objects, and a tick reads everything.
_KNOWN: Final[dict[tuple[type, str], tuple[Stamped, object]]] = {}
_KNOWN_MAX: Final = 50_000  # records of the largest cluster of DESIGN section 15; then begun anew


def typed(path: str, stamped: Stamped, cls: type[T]) -> T:
    """One record, with its version if its type has room for it."""
    known = _KNOWN.get((cls, path))
    if known is not None and known[0] is stamped:
        return cast("T", known[1])
    value = _decoded(path, stamped, cls)
    if len(_KNOWN) >= _KNOWN_MAX:
        _KNOWN.clear()
    _KNOWN[cls, path] = (stamped, value)
    return value


def _decoded(path: str, stamped: Stamped, cls: type[T]) -> T:
    try:
        value = decode(cls, stamped.value)
    except ValueError as err:
        raise StoreError(
            "decode", path, f"{err}; another release wrote it", retryable=False
        ) from err
    if "version" in cls.__dataclass_fields__:  # type: ignore[attr-defined]
        return replace(value, version=stamped.version)  # type: ignore[type-var]
    return value


def put(path: str, value: object, before: int | None) -> Op:
    """Create where `before` is None, else compare-and-set."""
    if before is None:
        return Create(path=path, value=encode(value))
    return Put(path=path, value=encode(value), version=before)


def write(store: Store, path: str, value: object, *checks: Check) -> None:
    """Set a record that only this process writes, whether it stands or not."""
    try:
        store.commit((*checks, put(path, value, version_of(store.read(path)))))
    except StoreConflict:
        store.sync()  # our own last write had not reached the server that we read from
        store.commit((*checks, put(path, value, version_of(store.read(path)))))


def version_of(stamped: Stamped | None) -> int | None:
    return None if stamped is None else stamped.version


def check_incarnation(node: NodeName, incarnation: IncarnationRecord) -> Check:
    """Put into every transaction that starts or changes something: it fails once the node's life is
    revoked or over."""
    return Check(path=paths.incarnation(node), version=incarnation.version)
