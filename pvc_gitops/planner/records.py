"""What a document becomes when it is applied, and what it refers to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.model.document import Document, Kind, Spec, Value
from pvc_gitops.model.ids import Address, CommitId, address, derived_uuid
from pvc_gitops.model.known import said_once
from pvc_gitops.model.records import Applied, DiskRef, Lease, Phase, Wanted
from pvc_gitops.model.values import replace

_NO_LEASES: Final[Mapping[str, Lease]] = MappingProxyType({})
_NO_DISKS: Final[Mapping[str, DiskRef]] = MappingProxyType({})
_OF_DISKS: Final = (Kind.POOL.value, Kind.IMAGE.value, Kind.VOLUME.value)


def record_of(
    doc: Document,
    *,
    commit: CommitId | None,
    cluster_id: str,
    spec: Spec | None = None,
    incarnation: int = 1,
    like: Applied | None = None,
    wanted: Wanted | None = None,
    nics: Mapping[str, Lease] = _NO_LEASES,
    disks: Mapping[str, DiskRef] = _NO_DISKS,
    needs: tuple[Address, ...] | None = None,
) -> Applied:
    """The record of an object, most of which are nothing but their spec. `spec` where less than the
    document's is put in force; `like` where it goes on with the life of a record that stands, whose
    identity may be older than its address; `needs` where somebody has asked for its references already.
    The plan's id is not known yet: whoever writes the record adds it."""
    effective = doc.spec if spec is None else spec
    if like is not None:
        incarnation = like.incarnation
    derived = derived_uuid(cluster_id, doc.address, incarnation) if like is None else like.uuid
    return Applied(
        address=doc.address,
        kind=doc.kind,
        name=doc.name,
        spec=effective,
        tags=doc.tags,
        incarnation=incarnation,
        uuid=derived,
        phase=Phase.PRESENT,
        needs=references(doc.kind, effective) if needs is None else needs,
        commit=commit,
        plan=None,
        wanted=wanted,
        nics=nics,
        disks=disks,
        names=() if like is None else like.names,
    )


def sealed(doc: Document) -> Document:
    """A secret as plans, records and reports may show it: its keys, and the SHA-256 of each encrypted
    value, so that a laptop and the cluster agree on what changed and neither shows it."""
    return replace(doc, spec={key: _seal(value) for key, value in doc.spec.items()})


def _seal(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _seal(each) for key, each in value.items()}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def references(kind: Kind, spec: Spec) -> tuple[Address, ...]:
    """The addresses that a spec names and cannot be without, sorted."""
    return _of_vm(spec) if kind is Kind.VM else tuple(sorted(set(_references(kind, spec))))


def _references(kind: Kind, spec: Spec) -> Iterator[Address]:
    if kind is Kind.IMAGE:
        yield address(Kind.POOL, spec["pool"])
    elif kind is Kind.VOLUME:
        yield address(Kind.POOL, spec["pool"])
        image = (spec.get("source") or {}).get("image")
        if image is not None:
            yield address(Kind.IMAGE, image)
    elif kind is Kind.FORGE and spec.get("token"):
        yield address(Kind.SECRET, spec["token"]["secret"])
    elif kind is Kind.NODE and spec.get("bmc"):
        yield address(Kind.SECRET, spec["bmc"]["password"]["secret"])
    elif kind is Kind.CLUSTER:
        credentials = spec["source"].get("credentials")
        if credentials:
            yield address(Kind.SECRET, credentials["secret"])


@said_once
def _of_vm(spec: Spec) -> tuple[Address, ...]:
    # Nearly all references of a large cluster; a generator takes twice as long.
    found = {address(Kind.NETWORK, nic["network"]) for nic in spec["nics"].values()}
    for disk in spec["disks"].values():
        for key in _OF_DISKS:
            name = disk.get(key)
            if name is not None:
                found.add(address(key, name))
    found.update(address(Kind.GROUP, group) for group in spec["placement"]["groups"])
    return tuple(sorted(found))
