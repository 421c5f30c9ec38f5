"""The order of a hypervisor's first start. Killed anywhere and started again, it goes on.

    name and addresses -> own key -> certificate -> secrets and the accepted commit
      -> side by side: Ceph's client and OSDs | libvirt | FRR | the store answers
      -> what the daemons read -> founded -> daemons

Everything is rendered from the accepted commit, as a coordinator names it; what the branch holds besides
is good for finding the coordinators and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pvc_gitops.adapters.formation import (
    credentials,
    host,
    hypervisor,
    pki,
    routing,
    source,
    storage,
)
from pvc_gitops.adapters.formation.agree import founding_store
from pvc_gitops.adapters.formation.context import Joining, Waiting
from pvc_gitops.adapters.formation.door import Door, Welcome, door_of
from pvc_gitops.adapters.formation.finish import finish, run_lines
from pvc_gitops.adapters.formation.journal import Journal, Progress
from pvc_gitops.errors import RepoError, StoreUnavailable, UsageError
from pvc_gitops.formation.identity import MachineFacts
from pvc_gitops.formation.layout import Layout
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.ids import CommitId

ASK_EVERY_S: Final = 2.0  # a person writes the key down and pushes; coordinators poll every 15 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A machine that found its document and nothing else yet."""

    seed: Seed
    facts: MachineFacts
    layout: Layout  # of a commit that may not be accepted; without the cluster's id
    layout_at: Callable[[CommitId, str], Layout]  # this machine's at a commit, cluster id
    journal: Journal


def join(new: Newcomer) -> None:
    """Join, or finish what an interrupted run began."""
    waiting = Waiting(journal=new.journal)
    _prepare(new, new.layout)
    door = _door(new)
    _certificate(waiting, door)
    welcome = _secrets(waiting, door)
    _accepted_here(waiting, new, door, welcome.commit)
    layout = new.layout_at(welcome.commit, welcome.secrets.cluster_id)
    _prepare(new, layout)
    joining = Joining(
        seed=new.seed,
        layout=layout,
        node_secrets=welcome.secrets,
        commit=welcome.commit,
        formation=welcome.formation,
        journal=new.journal,
        progress=Progress.load(),
        bootstrap_key=welcome.ceph_bootstrap_osd,
    )
    run_lines(joining, LINES)
    finish(joining, host.local_files(layout))


def _prepare(new: Newcomer, layout: Layout) -> None:
    new.journal.begin("network")
    host.check_interfaces(layout, new.facts)
    host.ensure(host.local_files(layout), layout.me.name)
    host.verify_addresses(layout, new.facts)
    new.journal.end("network", "three networks up")


def _door(new: Newcomer) -> Door:
    assert new.seed.authority is not None  # a hypervisor's seed
    new.journal.begin("key")
    key = pki.fingerprint(credentials.own_key())
    new.journal.tell_key(key)
    new.journal.end("key", f"this node's key is {key}")
    return door_of(new.layout, new.seed.authority)


def _certificate(waiting: Waiting, door: Door) -> None:
    waiting.journal.begin("certificate")
    given = waiting.wait_for("certificate", door.certificate, lambda: door.why_not, ASK_EVERY_S)
    credentials.install(door.authority, given, credentials.own_key())
    waiting.journal.end("certificate", "certificate signed")


def _secrets(waiting: Waiting, door: Door) -> Welcome:
    waiting.journal.begin("secrets")
    given = waiting.wait_for("secrets", door.secrets, lambda: door.why_not, ASK_EVERY_S)
    waiting.journal.end("secrets", f"secrets given at {given.commit[:12]}")
    return given


def _accepted_here(waiting: Waiting, new: Newcomer, door: Door, commit: CommitId) -> None:
    """The accepted commit is in the mirror: from the origin, or from a coordinator while it is away."""
    waiting.journal.begin("commit")

    mirror = source.peer_mirror_of(new.seed, door.peers)
    failed = ""

    def missing() -> str | None:
        nonlocal failed
        if not mirror.has(commit):
            try:
                mirror.fetch()  # a tip that is news, from wherever it comes
            except RepoError as err:
                failed = err.reason
        return None if mirror.has(commit) else f"commit {commit[:12]} ({failed})"

    waiting.wait("commit", missing)
    if not mirror.is_ancestor(new.seed.founding_commit, commit):
        raise UsageError(
            f"the cluster has accepted {commit[:12]}, which does not descend from the founding commit "
            f"{new.seed.founding_commit[:12]} of the seed",
            hint="install the node from a seed of this cluster",
        )
    waiting.journal.end("commit", f"accepted commit {commit[:12]} is here")


def _store_line(joining: Joining) -> None:
    """The store lets this node in and is the one that its secrets belong to."""
    joining.journal.begin("store")
    joining.wait("store", lambda: _store_missing(joining))
    joining.journal.end("store", "the store answers")


def _store_missing(joining: Joining) -> str | None:
    try:
        formed = founding_store(joining).formation()
    except StoreUnavailable as err:
        return f"the store ({err.reason})"
    if formed is None:
        return "the cluster's first records"
    if formed.cluster_id != joining.node_secrets.cluster_id:
        raise UsageError(
            f"the store belongs to cluster {formed.cluster_id}, the secrets to "
            f"{joining.node_secrets.cluster_id}",
            hint="addresses of two clusters lie in one network: give one of them others",
        )
    return None


LINES: Final[Sequence[Callable[[Joining], None]]] = (
    routing.line,
    storage.client_line,
    hypervisor.line,
    _store_line,
)
