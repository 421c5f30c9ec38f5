"""The order of a node's first start. Everything is idempotent; marks that must survive stand in Progress.

    name and addresses -> certificate -> record written down -> all coordinators agree
      -> side by side: ZooKeeper and its first records | Ceph | libvirt | FRR
      -> what the daemons read -> founded -> daemons

After `founded.json` stands nothing of membership is ever written again; a later boot makes sure of the
node's own files and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Final

from pvc_gitops.adapters.formation import (
    agree,
    credentials,
    files,
    host,
    hypervisor,
    login,
    routing,
    storage,
    systemd,
    zookeeper,
)
from pvc_gitops.adapters.formation.context import Founding
from pvc_gitops.adapters.formation.peers import RecordServer
from pvc_gitops.formation.identity import MachineFacts
from pvc_gitops.formation.render import node as render
from pvc_gitops.world.names import FOUNDED, NODE_CONFIG

Line = Callable[[Founding], None]
LINES: Final[Sequence[Line]] = (routing.line, zookeeper.line, storage.line, hypervisor.line)


def form(founding: Founding, facts: MachineFacts) -> None:
    """Found, or finish what an interrupted run began."""
    local = host.local_files(founding.layout)
    _prepare(founding, facts, local)
    agree.write_down(founding.record)
    with RecordServer(founding.layout.me.addresses["cluster"], founding.record, credentials.OWN):
        agree.agree(founding)
        _run_lines(founding)
    _finish(founding, local)


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


def _run_lines(founding: Founding) -> None:
    """All side by side; the first failure stops the waits of the others."""
    with ThreadPoolExecutor(len(LINES)) as pool:
        running = [pool.submit(line, founding) for line in LINES]
        first: Future[None] | None = None
        for done in as_completed(running):
            if done.exception() is not None and first is None:
                first = done
                founding.stopping.set()
    if first is not None:
        first.result()


def _finish(founding: Founding, local: dict[str, str]) -> None:
    founding.journal.begin("daemons")
    layout, secrets, seed = founding.layout, founding.secrets, founding.seed
    files.write(render.PASSWORD, f"{secrets.zookeeper_pvc}\n", mode=0o600)
    if seed.credential is not None:
        files.write(render.CREDENTIAL, seed.credential, mode=0o600)
    texts = {**local, NODE_CONFIG: render.toml(layout, seed, secrets)}
    files.write(NODE_CONFIG, texts[NODE_CONFIG])
    login.ensure_host_key()
    state = {
        "cluster_id": secrets.cluster_id,
        "commit": founding.record.commit,
        "files": texts,
        "formation": founding.record.formation,
        "node": layout.me.name,
    }
    files.write(FOUNDED, json.dumps(state, indent=1, sort_keys=True) + "\n", mode=0o600)
    units = [unit for unit in render.daemons(layout.me.role) if systemd.exists(unit)]
    if units:
        systemd.enable(*units)
        systemd.start_later(*units)
    founding.journal.end("daemons", f"{layout.me.name} is founded")
