"""What a first start reads: seed, repository, machine, secrets; joined into one `Founding`."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pvc_gitops.adapters.age import sops
from pvc_gitops.adapters.formation import files, form, machine, source
from pvc_gitops.adapters.formation.context import Founding
from pvc_gitops.adapters.formation.journal import Journal, Progress
from pvc_gitops.errors import UsageError
from pvc_gitops.formation import identity, seed
from pvc_gitops.formation.layout import layout
from pvc_gitops.formation.record import record_of
from pvc_gitops.formation.secrets import SECRET_FILE, FoundingSecrets
from pvc_gitops.model.records import Accepted
from pvc_gitops.model.spec import NodeRole
from pvc_gitops.spec.load import load
from pvc_gitops.world.names import SEED


def run(journal: Journal) -> None:
    """Found, or finish what an interrupted run began."""
    form.form(*_founding(journal))


def _founding(journal: Journal) -> tuple[Founding, identity.MachineFacts]:
    text = files.read(SEED)
    if text is None:
        raise UsageError(f"{SEED} is not there", hint="the installer or the lab writes it")
    mine = seed.parse(text)
    commit = source.wait_for(mine, journal)
    spec = load(commit.files, commit=commit.commit)
    facts = machine.facts()
    me = identity.match(spec.nodes.values(), facts)
    if me.role is not NodeRole.COORDINATOR or mine.cluster_key is None:
        raise UsageError(
            f"{me.name} is a {me.role}; its seed holds {'a' if mine.cluster_key else 'no'} cluster key",
            hint="this release founds coordinators, with the cluster key in their seed; "
            "hypervisors join in a later one",
        )
    secrets = _secrets(commit.files, mine.cluster_key)
    where = layout(spec, me.name, secrets.cluster_id)
    journal.say(f"this machine is {me.name}, {me.role} of {where.cluster.name}")
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
        layout=where,
        record=record_of(where, commit.commit),
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
