"""The seed: all that an installer hands to a new node, outside of the repository (mode 0600).

Invariant: nothing about the cluster stands in it that the repository says; only how to reach and judge
the repository, and what a node believes the cluster by: on coordinators the age key that opens the
founding secrets, on hypervisors the certificate of the cluster's authority.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import CommitId

_KEYS: Final = frozenset(
    {
        "url", "branch", "path", "host_keys", "founding_commit", "signers", "credential",
        "cluster_key", "authority",
    }
)  # fmt: skip
_COMMIT: Final = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """What stands in /var/lib/pvc/seed.json."""

    url: str
    branch: str
    path: str  # of the cluster's folder inside the repository
    host_keys: tuple[str, ...]  # as lines of known_hosts
    founding_commit: CommitId
    signers: str  # none, tip, every
    credential: str | None  # an ssh private key or a token that reads git
    cluster_key: str | None  # age identity; coordinators only
    authority: str | None  # PEM, the certificate; hypervisors only, coordinators open their own


def make(
    *,
    url: str,
    founding_commit: str,
    cluster_key: str | None,
    authority: str | None = None,
    branch: str = "main",
    path: str = ".",
    host_keys: tuple[str, ...] = (),
    signers: str = "none",
    credential: str | None = None,
) -> bytes:
    """The seed of one node: `cluster_key` for a coordinator, `authority` (PEM) for a hypervisor."""
    seed = {
        "url": url,
        "branch": branch,
        "path": path,
        "host_keys": list(host_keys),
        "founding_commit": founding_commit,
        "signers": signers,
        "credential": credential,
        "cluster_key": cluster_key,
        "authority": authority,
    }
    return (json.dumps(seed, indent=1, sort_keys=True) + "\n").encode()


def parse(text: bytes) -> Seed:
    """Read a seed. Raises UsageError: one that is half understood would found a wrong cluster."""
    try:
        raw = json.loads(text)
    except ValueError as err:
        raise _refused(f"is not JSON: {err}") from err
    if not isinstance(raw, dict) or raw.keys() != _KEYS:
        found = sorted(raw) if isinstance(raw, dict) else type(raw).__name__
        raise _refused(f"has {found}, expected exactly {sorted(_KEYS)}")
    _check_types(raw)
    return Seed(**{**raw, "host_keys": tuple(raw["host_keys"])})


def _check_types(raw: Mapping[str, Any]) -> None:
    for key in ("url", "branch", "path", "founding_commit", "signers"):
        if not isinstance(raw[key], str):
            raise _refused(f"{key} is no text")
    for key in ("credential", "cluster_key", "authority"):
        if not isinstance(raw[key], str | None):
            raise _refused(f"{key} is neither text nor null")
    if (raw["cluster_key"] is None) == (raw["authority"] is None):
        raise _refused(
            "holds not exactly one of cluster_key (a coordinator's) and authority (a hypervisor's)"
        )
    if not isinstance(raw["host_keys"], list):
        raise _refused("host_keys is no list")
    if not _COMMIT.match(raw["founding_commit"]):
        raise _refused("founding_commit is not 40 hex digits")


def _refused(reason: str) -> UsageError:
    return UsageError(
        f"the seed {reason}",
        hint="install the node again, or write the seed that its installer wrote",
    )
