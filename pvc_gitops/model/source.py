"""Where commits come from, and what the store says about it besides the accepted one:

- `/pvc/source/ahead`: the accepted commit came by another way than the origin, which has to follow
- `/pvc/source/diverged`: the origin is back and does not hold it
- `/pvc/source/submitted`: commits that an operator handed over; their objects under /pvc/source/packs
- `/pvc/source/override`: a commit that somebody with authority wants adopted although it is refused
"""

from __future__ import annotations

from collections.abc import Mapping

from pvc_gitops.model.document import Spec
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.records import Accepted, SourceSeen
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The Cluster document's word on where to fetch. `url` None: what the node was installed with."""

    url: str | None
    branch: str
    mirrors: tuple[str, ...]
    host_keys: tuple[str, ...]  # lines of known_hosts
    secret: str | None  # the Secret that holds the credential
    commit: CommitId | None = None  # the accepted one, in which the Secret is looked up

    @classmethod
    def from_spec(cls, spec: Spec, commit: CommitId | None) -> Source:
        """From the Cluster document's spec."""
        source = spec["source"]
        return cls(
            url=source.get("url"),
            branch=source["branch"],
            mirrors=tuple(source["mirrors"]),
            host_keys=tuple(source["host_keys"]),
            secret=source.get("credentials", {}).get("secret"),
            commit=commit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """Commits that were handed over while the origin was away."""

    commit: CommitId
    base: CommitId  # the accepted commit that they were made from
    by: str  # an operator's name; "root" for who has a node's root
    at_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """The accepted commit is not the origin's yet."""

    commit: CommitId
    how: str  # "submitted by ann", "from the mirror https://…"
    since_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """The origin answers, and lacks what is in force."""

    commit: CommitId
    text: str  # what is so, and what to do
    since_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Somebody with authority wants this tip adopted, whatever its history and its signatures."""

    commit: CommitId
    base: CommitId  # the accepted commit that it is to follow; void once another one is
    by: str
    reason: str
    at_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """All that there is to say about where commits come from."""

    accepted: Accepted | None
    signers: str  # none, tip, every
    url: str | None  # None: what the nodes were installed with
    mirrors: tuple[str, ...]
    seen: Mapping[NodeName, SourceSeen]
    ahead: Ahead | None
    diverged: Diverged | None
    submitted: Submitted | None
    override: Override | None
    now_s: int
    answered_by: NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOutcome:
    """What became of a commit that somebody asked for. `accepted` None: `seen` says what is wrong."""

    seen: SourceSeen | None
    accepted: Accepted | None
