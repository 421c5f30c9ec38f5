"""The repository at the founding commit, through the node's own mirror, which the agent goes on with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from pvc_gitops.adapters.formation import files
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.adapters.formation.journal import Journal
from pvc_gitops.adapters.formation.peer_mirror import PeerMirror
from pvc_gitops.adapters.formation.peers import Peer
from pvc_gitops.adapters.git.mirror import HOME, Mirror
from pvc_gitops.errors import RepoError, UsageError
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.names import MIRROR

T = TypeVar("T")
KNOWN_HOSTS: Final = f"{HOME}/.ssh/known_hosts"
PATIENCE_S: Final = 60.0  # a switch port that comes up late; then systemd tries again
LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingCommit:
    """The commit that the seed names, and what is read of it."""

    commit: CommitId
    subject: str
    author: str
    files: Mapping[str, bytes]


def read(seed: Seed) -> FoundingCommit:
    """The founding commit, fetched if it is not here yet.

    Raises:
        RepoError: the repository does not answer or lacks the branch; worth another try.
        UsageError: the branch does not hold the commit.
        SpecError: something lies in the tree that must not.
    """
    mirror = mirror_of(seed)
    commit = seed.founding_commit
    if not mirror.has(commit):
        mirror.fetch()
    if not mirror.has(commit):
        raise UsageError(
            f"{seed.url} {seed.branch} does not hold the founding commit {commit[:12]}",
            hint="push that commit, or install the nodes from a seed that names a later one",
        )
    info = mirror.info(commit)
    return FoundingCommit(
        commit=commit, subject=info.subject, author=info.author, files=mirror.files(commit)
    )


def mirror_of(seed: Seed) -> Mirror:
    """This node's mirror, by what the seed says of the origin."""
    write_known_hosts(seed)
    return Mirror(
        Path(MIRROR),
        url=seed.url,
        branch=seed.branch,
        folder=seed.path,
        credential=seed.credential,
    )


def peer_mirror_of(seed: Seed, peers: Sequence[Peer]) -> PeerMirror:
    """The same, with coordinators to ask while the origin is away."""
    return PeerMirror(
        Path(MIRROR),
        peers=peers,
        credentials=OWN,
        url=seed.url,
        branch=seed.branch,
        folder=seed.path,
        credential=seed.credential,
    )


def newest(seed: Seed) -> CommitId:
    """The branch's tip, which holds a node that was declared after the founding.

    Raises:
        RepoError: the repository does not answer or lacks the branch; worth another try.
        UsageError: the tip does not descend from the founding commit: it is some other cluster's.
    """
    mirror = mirror_of(seed)
    tip = mirror.fetch().tip
    if not mirror.is_ancestor(seed.founding_commit, tip):
        raise UsageError(
            f"{seed.url} {seed.branch} is at {tip[:12]}, which does not descend from the founding "
            f"commit {seed.founding_commit[:12]}",
            hint="install the node from a seed of the cluster that this repository describes",
        )
    return tip


def write_known_hosts(seed: Seed) -> None:
    """The ssh servers that the mirror believes: libgit2 reads ~/.ssh/known_hosts, ssh's own format.

    Written even when there is none: then no ssh server is believed.
    """
    files.write(KNOWN_HOSTS, "".join(f"{line.strip()}\n" for line in seed.host_keys))


def wait_for(seed: Seed, journal: Journal) -> FoundingCommit:
    """As `read`, with patience for a repository that does not answer yet."""
    commit = patiently(lambda: read(seed), journal)
    journal.end("repository", f"repository read at {commit.commit[:12]}")
    return commit


def patiently(look: Callable[[], T], journal: Journal) -> T:
    """What `look` finds, tried again for a while as long as the repository does not answer."""
    journal.begin("repository")
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return look()
        except RepoError as err:
            if time.monotonic() > end:
                raise
            journal.wait_for("repository", f"the repository ({err.reason})")
            time.sleep(LOOK_S)
