"""The founding secrets: what a cluster draws once, before its first node boots, and keeps for life.

Private age keys are not among them: `secrets/founding.yaml` is encrypted to those. Drawing is done by the
caller's `random_bytes`, so that a test can repeat it.
"""

from __future__ import annotations

import base64
import dataclasses
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import address, derived_uuid

SECRET_NAME: Final = "founding"  # noqa: S105  the document's name
SECRET_FILE: Final = f"secrets/{SECRET_NAME}.yaml"
PASSWORD_BYTES: Final = 24  # 192 bits; 32 letters and digits of base64, no quoting needed anywhere
HMAC_BYTES: Final = 32  # as long as SHA-256's result: more adds nothing (RFC 2104, section 3)
CEPH_KEY_BYTES: Final = 16  # AES-128, the only cipher that cephx of Ceph 18 has
CEPH_KEY_TYPE_AES: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSecrets:
    """The part that every node holds; a hypervisor is given it and no more."""

    cluster_id: str
    ceph_fsid: str
    ceph_pvc: str  # guests' disks
    zookeeper_pvc: str  # guard, agent
    guard_hmac: str  # base64

    @property
    def libvirt_secret_uuid(self) -> str:
        """Under which libvirt knows the key of client.pvc: the same on every node."""
        return derived_uuid(self.cluster_id, address("secret", "ceph-client-pvc"), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingSecrets:
    """Values of `secrets/founding.yaml`, by their keys there."""

    cluster_id: str
    ceph_fsid: str
    ca_key: str  # PEM, PKCS 8
    ca_certificate: str  # PEM
    zookeeper_quorum: str  # between the servers
    zookeeper_super: str  # may change the ensemble
    zookeeper_pvc: str  # guard, agent, planner
    ceph_mon: str
    ceph_admin: str
    ceph_pvc: str  # guests' disks
    guard_hmac: str  # base64

    @property
    def of_every_node(self) -> NodeSecrets:
        """What a node needs to be one, and nothing with which it could be more."""
        return NodeSecrets(
            cluster_id=self.cluster_id,
            ceph_fsid=self.ceph_fsid,
            ceph_pvc=self.ceph_pvc,
            zookeeper_pvc=self.zookeeper_pvc,
            guard_hmac=self.guard_hmac,
        )

    def to_data(self) -> dict[str, str]:
        return dataclasses.asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, str]) -> FoundingSecrets:
        """Read back. Raises UsageError on a missing or unknown key."""
        known = {field.name for field in dataclasses.fields(cls)}
        missing, unknown = sorted(known - data.keys()), sorted(data.keys() - known)
        if missing or unknown:
            raise UsageError(
                f"{SECRET_FILE}: missing {', '.join(missing) or 'nothing'}, "
                f"unknown {', '.join(unknown) or 'nothing'}",
                hint="take the file as `pvc init` wrote it; its values belong together",
            )
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The cluster's certificate authority, as PEM."""

    key: str
    certificate: str


def draw(
    random_bytes: Callable[[int], bytes],
    now_s: int,
    make_authority: Callable[[str], Authority],
) -> FoundingSecrets:
    """Draw everything.

    Args:
        random_bytes: N bytes that nobody can guess.
        now_s: seconds since 1970; stands in Ceph's keys.
        make_authority: a new certificate authority for a cluster id.
    """

    def password() -> str:
        return base64.urlsafe_b64encode(random_bytes(PASSWORD_BYTES)).decode()

    def identity() -> str:
        return str(uuid.UUID(bytes=random_bytes(16), version=4))

    def ceph() -> str:
        return ceph_key(random_bytes(CEPH_KEY_BYTES), now_s)

    cluster_id = identity()
    authority = make_authority(cluster_id)
    return FoundingSecrets(
        cluster_id=cluster_id,
        ceph_fsid=identity(),
        ca_key=authority.key,
        ca_certificate=authority.certificate,
        zookeeper_quorum=password(),
        zookeeper_super=password(),
        zookeeper_pvc=password(),
        ceph_mon=ceph(),
        ceph_admin=ceph(),
        ceph_pvc=ceph(),
        guard_hmac=base64.b64encode(random_bytes(HMAC_BYTES)).decode(),
    )


def ceph_key(key: bytes, created_s: int) -> str:
    """A key as Ceph writes it: little endian type, creation time (seconds, nanoseconds), length, bytes.

    Source: Ceph, src/auth/Crypto.cc, CryptoKey::encode.
    """
    return base64.b64encode(
        struct.pack("<HIIH", CEPH_KEY_TYPE_AES, created_s, 0, len(key)) + key
    ).decode()
