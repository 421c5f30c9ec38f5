"""Names. Every name is its own type, so that a node is never passed for a guest."""

from __future__ import annotations

import hashlib
from typing import NewType

NodeName = NewType("NodeName", str)
VmName = NewType("VmName", str)
PoolName = NewType("PoolName", str)
ImageName = NewType("ImageName", str)
VolumeName = NewType("VolumeName", str)
NetworkName = NewType("NetworkName", str)
GroupName = NewType("GroupName", str)

Address = NewType(
    "Address", str
)  # kind/name[/part/name], as `vm/web1/disk/root` (DESIGN section 5)
CommitId = NewType("CommitId", str)  # 40 hex digits
PlanId = NewType("PlanId", str)  # first 16 hex digits of a SHA-256 (DESIGN D18)
Generation = NewType("Generation", int)  # how many targets this formation has published; from 1
Epoch = NewType("Epoch", int)  # the version of a role's epoch node; from 1
Vni = NewType("Vni", int)  # 1 to 16777215 (RFC 7348, section 5)
Mac = NewType("Mac", str)  # lower case, colons

_NAMESPACE = bytes.fromhex("6f3c9d0e6a525d0b9a513f6a6b1f0c11")


def address(kind: str, name: str, *parts: str) -> Address:
    """`address("vm", "web1", "disk", "root")` is `vm/web1/disk/root`."""
    return Address("/".join((kind, name, *parts)))


def znode_name(of: Address) -> str:
    """An address as one znode's name: `/` becomes `:` (DESIGN section 5)."""
    return of.replace("/", ":")


def address_of_znode(name: str) -> Address:
    """The inverse of `znode_name`."""
    return Address(name.replace(":", "/"))


def derived_uuid(cluster_id: str, of: Address, incarnation: int) -> str:
    """The identity of an object's Nth life. Derived, never drawn, never from a commit (D18, D19)."""
    # RFC 9562, section 5.5 (version 5). The standard library's takes six times as long, and a plan of
    # 10,000 guests derives 20,000.
    name = f"{cluster_id}/{of}/{incarnation}".encode()
    text = hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


def derived_mac(cluster_id: str, nic: Address, attempt: int = 0) -> Mac:
    """A stable MAC in QEMU's own prefix. `attempt` counts up while the result is taken."""
    digest = hashlib.sha256(f"{cluster_id}/{nic}/{attempt}".encode()).digest()
    return Mac("52:54:00:" + ":".join(f"{byte:02x}" for byte in digest[:3]))
