"""Writes a repository's founding secrets, once. `pvc init`, the lab and the demo call it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from pvc_gitops.adapters.age import keys, sops
from pvc_gitops.adapters.formation import pki
from pvc_gitops.errors import UsageError
from pvc_gitops.formation.secrets import SECRET_FILE, SECRET_NAME, draw

DESCRIPTION = "what the cluster was founded with; never edit, never copy to another cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingResult:
    """The private age keys, which stand nowhere else. Either opens the secrets."""

    recovery_key: str  # printed once, kept on paper
    cluster_key: str  # goes into the coordinators' seeds
    cluster_id: str
    path: Path  # of the document


def write_founding(repo: Path) -> FoundingResult:
    """Draw the founding secrets and write `secrets/founding.yaml`, encrypted to both keys.

    Raises:
        UsageError: there is one already. Drawing again would lock a running cluster out of its secrets.
    """
    path = repo / SECRET_FILE
    if path.exists():
        raise UsageError(
            f"{path} is there already: a cluster is founded once",
            hint="to begin another cluster, make a new repository with `pvc init`",
        )
    now_s = int(time.time())
    secrets = draw(os.urandom, now_s, lambda cluster_id: pki.new_authority(cluster_id, now_s))
    cluster, recovery = keys.generate(), keys.generate()
    text = sops.write(
        SECRET_NAME,
        DESCRIPTION,
        secrets.to_data(),
        (cluster.public, recovery.public),
        now_s=now_s,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return FoundingResult(
        recovery_key=recovery.secret,
        cluster_key=cluster.secret,
        cluster_id=secrets.cluster_id,
        path=path,
    )
