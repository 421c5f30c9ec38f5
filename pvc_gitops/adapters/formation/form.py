"""The order of a node's first start. Everything is idempotent; marks that must survive stand in Progress.

    name and addresses -> certificate -> record written down -> all coordinators agree
      -> side by side: ZooKeeper and its first records | Ceph | libvirt | FRR
      -> what the daemons read -> founded -> daemons

After `founded.json` stands nothing of membership is ever written again; a later boot makes sure of the
node's own files and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pvc_gitops.adapters.formation import (
    agree,
    credentials,
    host,
    hypervisor,
    routing,
    storage,
    zookeeper,
)
from pvc_gitops.adapters.formation.context import Founding
from pvc_gitops.adapters.formation.finish import finish, run_lines
from pvc_gitops.adapters.formation.peer_server import PeerServer, Reply
from pvc_gitops.formation.identity import MachineFacts
from pvc_gitops.formation.peer_words import Answer, Asker, Question, Refusal, Verb
from pvc_gitops.formation.record import Told
from pvc_gitops.model.codec import encode

LINES: Final[Sequence[Callable[[Founding], None]]] = (
    routing.line,
    zookeeper.line,
    storage.line,
    hypervisor.line,
)


def form(founding: Founding, facts: MachineFacts) -> None:
    """Found, or finish what an interrupted run began."""
    local = host.local_files(founding.layout)
    _prepare(founding, facts, local)
    agree.write_down(founding.record)
    address = founding.layout.me.addresses["cluster"]
    with PeerServer(address, credentials.OWN, partial(_desk, founding)):
        agree.agree(founding)
        run_lines(founding, LINES)
    finish(founding, local)


def _prepare(founding: Founding, facts: MachineFacts, local: dict[str, str]) -> None:
    journal, layout = founding.journal, founding.layout
    journal.begin("network")
    host.check_interfaces(layout, facts)
    host.ensure(local, layout.me.name)
    host.verify_addresses(layout, facts)
    journal.end("network", "three networks up")
    journal.begin("certificate")
    credentials.ensure(layout, founding.secrets, int(time.time()))
    journal.end("certificate", "certificate signed")


def _desk(founding: Founding, asker: Asker | None, question: Question) -> Reply:
    """Before the cluster stands a coordinator tells its record, and that it is too early for more."""
    if asker is None or question.verb is not Verb.RECORD:
        me = founding.layout.me.name
        return Reply(answer=Refusal(reason=f"{me} is still founding the cluster", hint=""))
    told = Told(record=founding.record, is_founded=False)
    return Reply(answer=Answer(value=encode(told)))
