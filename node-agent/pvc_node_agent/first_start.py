"""What a first start reads: seed, repository, machine, secrets. A coordinator founds, others join."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pvc_gitops.adapters.age import sops
from pvc_gitops.adapters.formation import files, form, join, machine, source
from pvc_gitops.adapters.formation.context import Founding
from pvc_gitops.adapters.formation.journal import Journal, Progress
from pvc_gitops.adapters.git.mirror import Mirror
from pvc_gitops.errors import PvcError, RepoError, SpecError, UsageError
from pvc_gitops.formation import identity, seed
from pvc_gitops.formation.identity import MachineFacts
from pvc_gitops.formation.layout import Layout, layout
from pvc_gitops.formation.record import record_of
from pvc_gitops.formation.secrets import SECRET_FILE, FoundingSecrets
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.records import Accepted
from pvc_gitops.model.spec import ClusterSpec, NodeRole
from pvc_gitops.spec.load import load
from pvc_gitops.world.names import SEED


def run(journal: Journal) -> None:
    """Found or join, or finish what an interrupted run began."""
    text = files.read(SEED)
    if text is None:
        raise UsageError(f"{SEED} is not there", hint="the installer or the lab writes it")
    mine = seed.parse(text)
    if mine.cluster_key is None:
        join.join(_newcomer(mine, journal))
    else:
        form.form(*_founding(mine, mine.cluster_key, journal))


# --- a coordinator --------------------------------------------------------------------------------


def _founding(mine: Seed, cluster_key: str, journal: Journal) -> tuple[Founding, MachineFacts]:
    commit = source.wait_for(mine, journal)
    spec = load(commit.files, commit=commit.commit)
    facts = machine.facts()
    me = identity.match(spec.nodes.values(), facts)
    if me.role is not NodeRole.COORDINATOR:
        raise UsageError(
            f"{me.name} is a {me.role}, and its seed holds the cluster key",
            hint="install it from a hypervisor's seed, which holds the authority's certificate",
        )
    secrets = _secrets(commit.files, cluster_key)
    where = layout(spec, me.name, secrets.cluster_id)
    journal.say(f"this machine is {me.name}, {me.role} of {where.cluster.name}")
    record = record_of(where, commit.commit)
    founding = Founding(
        spec=spec,
        accepted=Accepted(
            commit=commit.commit,
            subject=commit.subject,
            author=commit.author,
            accepted_at_s=int(time.time()),
        ),
        seed=mine,
        secrets=secrets,
        node_secrets=secrets.of_every_node,
        layout=where,
        record=record,
        commit=commit.commit,
        formation=record.formation,
        journal=journal,
        progress=Progress.load(),
    )
    return founding, facts


def _secrets(tree: Mapping[str, bytes], cluster_key: str) -> FoundingSecrets:
    text = tree.get(SECRET_FILE)
    if text is None:
        raise UsageError(
            f"the founding commit has no {SECRET_FILE}", hint="`pvc init` writes it; commit it"
        )
    return FoundingSecrets.from_data(sops.read(text, cluster_key))


# --- a hypervisor ---------------------------------------------------------------------------------


def _newcomer(mine: Seed, journal: Journal) -> join.Newcomer:
    mirror = source.mirror_of(mine)
    facts = machine.facts()
    commit = source.patiently(lambda: _readable(mine, mirror, facts), journal)
    journal.end("repository", f"repository read at {commit[:12]}")

    def layout_at(commit: CommitId, cluster_id: str) -> Layout:
        spec = _spec(mirror, commit)
        me = identity.match(spec.nodes.values(), facts)
        if me.role is not NodeRole.HYPERVISOR:
            raise UsageError(
                f"{me.name} is a {me.role}, and its seed holds no cluster key",
                hint="install it from a coordinator's seed",
            )
        return layout(spec, me.name, cluster_id)

    where = layout_at(commit, "")
    journal.say(f"this machine is {where.me.name}, {where.me.role} of {where.cluster.name}")
    return join.Newcomer(seed=mine, facts=facts, layout=where, layout_at=layout_at, journal=journal)


def _readable(mine: Seed, mirror: Mirror, facts: MachineFacts) -> CommitId:
    """Where this machine's document is: at the branch's tip, or, while that is not valid or the origin is
    away, at the founding commit.

    Raises:
        RepoError, SpecError, UsageError: in neither; what is wrong with the better one.
    """
    why: PvcError
    try:
        tip = source.newest(mine)
        identity.match(_spec(mirror, tip).nodes.values(), facts)
    except (RepoError, SpecError, UsageError) as err:
        why = err
    else:
        return tip
    try:
        identity.match(_spec(mirror, mine.founding_commit).nodes.values(), facts)
    except (RepoError, SpecError, UsageError):
        raise why from None
    return mine.founding_commit


def _spec(mirror: Mirror, commit: CommitId) -> ClusterSpec:
    return load(mirror.files(commit), commit=commit)
