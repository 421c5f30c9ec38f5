"""`pvc-peers`: a coordinator's door to the other nodes, on port 7481 of the cluster network.

A composition root, and a process of its own: it alone holds the authority's key while the cluster runs,
and what comes from the network reaches neither the agent nor the guard.
"""

from __future__ import annotations

import json
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Final

from pvc_gitops.adapters import system
from pvc_gitops.adapters.age import sops
from pvc_gitops.adapters.formation import agree, ceph, files, pki
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.adapters.formation.peer_server import PeerServer, Reply
from pvc_gitops.adapters.git import pack
from pvc_gitops.controllers.admission import Coordinator, reply
from pvc_gitops.errors import PvcError, UsageError
from pvc_gitops.formation import seed
from pvc_gitops.formation.peer_words import Asker, Question
from pvc_gitops.formation.record import FoundingRecord
from pvc_gitops.formation.secrets import SECRET_FILE, Authority, FoundingSecrets
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world import names
from pvc_gitops.world.ports import Repo
from pvc_node_agent.config import NodeConfig, load
from pvc_node_agent.main import Stop
from pvc_node_agent.wiring import Wake, repo_of, store_of

REST_S: Final = 1.0


def main() -> None:
    """Serve until told to stop."""
    stop, wake = Stop(), Wake()
    stop.listen()
    try:
        config = load(Path(names.NODE_CONFIG))
        here = _coordinator(config, wake)
        server = PeerServer(config.addresses.cluster, OWN, partial(_reply, here))
    except UsageError as err:
        sys.exit(f"{err.message}; {err.hint}")
    except (PvcError, OSError) as err:
        sys.exit(f"this node is not as formation leaves it: {err}; systemctl restart pvc-formation")
    with server:
        system.notify("READY=1")
        while not stop.is_asked:
            threading.Event().wait(REST_S)
            system.notify("WATCHDOG=1")


def _reply(here: Coordinator, asker: Asker | None, question: Question) -> Reply:
    answer, body = reply(here, asker, question)
    return Reply(answer=answer, body=body)


def _coordinator(config: NodeConfig, wake: Wake) -> Coordinator:
    """Raises UsageError, PvcError."""
    repo = repo_of(config)
    secrets = _secrets(repo)
    record = files.read(agree.RECORD)
    if record is None:
        raise UsageError(
            f"{agree.RECORD} is not there", hint="this coordinator was not founded by this release"
        )
    authority = Authority(key=secrets.ca_key, certificate=secrets.ca_certificate)
    return Coordinator(
        me=NodeName(config.node.name),
        record=decode(FoundingRecord, json.loads(record)),
        secrets=secrets.of_every_node,
        signer=pki.AuthoritySigner(authority),
        store=store_of(config, wake),
        repo=repo,
        clock=system.SystemClock(),
        journal=system.LineJournal(),
        bootstrap_key=_bootstrap_key,
        pack=partial(pack.write, Path(names.MIRROR)),
    )


def _secrets(repo: Repo) -> FoundingSecrets:
    """Of the founding commit, which the seed names: whoever may write to git could write a later one
    with an authority of their own."""
    text = files.read(names.SEED)
    mine = None if text is None else seed.parse(text)
    if mine is None or mine.cluster_key is None:
        raise UsageError("there is no seed with the cluster key", hint="install the node again")
    sealed = repo.files(mine.founding_commit)[SECRET_FILE]
    return FoundingSecrets.from_data(sops.read(sealed, mine.cluster_key))


def _bootstrap_key() -> str:
    with ceph.monitors() as monitors:
        return monitors.bootstrap_key()
