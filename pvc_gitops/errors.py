"""Every exception of ours, as a tree. The class and its fields answer the catcher's four questions:
whose fault, did anything change, may I retry, what was the target. The text never does.

PvcError
├── SpecError(problems)       the operator's documents are wrong; nothing was touched
├── PrereqError(reason)       an applier's check refused; nothing was touched
├── ApplyError(reason)        an applier failed after its first write; state is between
├── UsageError(message, hint) the command line or the checkout is not usable as it stands
│   └── AgentLost             the node that was asked cannot answer any more; another one may
└── WorldError(operation, target, retryable)
    ├── StoreError            ZooKeeper
    │   ├── StoreConflict     a version or existence check failed; nothing was written
    │   └── StoreUnavailable  not connected, or the outcome stayed unknown
    ├── HypervisorError       libvirt, QEMU
    ├── LinkError             netlink, dnsmasq
    ├── PoolError             rados, rbd
    ├── RepoError             the git remote or the mirror
    ├── BmcError              a node's management controller
    └── DownloadError         an image's URL
InvariantViolation            our bug; never caught below main

Expected negative answers are values, never exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the tree stands on nothing; the name is for readers and mypy
    from pvc_gitops.model.problem import Problem


class PvcError(Exception):
    """Root of everything that is not a bug."""


class SpecError(PvcError):
    """Documents that cannot be adopted. Carries every problem found, in order of file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{len(self.problems)} problems in the repository")


class PrereqError(PvcError):
    """A step's prerequisite does not hold. Nothing was touched; the reason is for people."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ApplyError(PvcError):
    """A step failed after its first write. Running it again must be safe."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UsageError(PvcError):
    """The caller must do something else first; `hint` says what, as a command where possible."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        super().__init__(message)


class AgentLost(UsageError):
    """A client's connection ended, or its agent has lost the store. What was asked may have been done."""


class WorldError(PvcError):
    """Something outside of this process refused or did not answer.

    `retryable` is True where the same call may succeed later without anybody changing anything.
    """

    def __init__(self, operation: str, target: str, reason: str, *, retryable: bool) -> None:
        self.operation = operation
        self.target = target
        self.reason = reason
        self.retryable = retryable
        super().__init__(f"{operation} {target}: {reason}")


class StoreError(WorldError):
    """ZooKeeper."""


class StoreConflict(StoreError):
    """A version or existence check of a transaction failed. Nothing was written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__("commit", path, reason, retryable=False)


class StoreUnavailable(StoreError):
    """No connection, no quorum, or an outcome that stayed unknown after reading back."""

    def __init__(self, operation: str, path: str, reason: str) -> None:
        super().__init__(operation, path, reason, retryable=True)


class HypervisorError(WorldError):
    """libvirt or QEMU."""


class LinkError(WorldError):
    """netlink, dnsmasq, nftables."""


class PoolError(WorldError):
    """rados or rbd."""


class RepoError(WorldError):
    """The git remote or the local mirror."""


class BmcError(WorldError):
    """A node's management controller did not do what it was asked."""


class DownloadError(WorldError):
    """An image's source: unreachable, or not what its checksum says."""


class InvariantViolation(AssertionError):
    """A bug of ours. Never caught below main."""
