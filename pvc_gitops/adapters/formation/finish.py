"""How every first start ends, a coordinator's and a hypervisor's: lines side by side, then the files that
the daemons read, then `founded.json`, then the daemons.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

from pvc_gitops.adapters.formation import daemons, files, login
from pvc_gitops.adapters.formation.context import FirstStart
from pvc_gitops.formation.render import node as render
from pvc_gitops.world.names import FOUNDED, NODE_CONFIG

S = TypeVar("S", bound=FirstStart)


def run_lines(start: S, lines: Sequence[Callable[[S], None]]) -> None:
    """All side by side; the first failure stops the waits of the others."""
    with ThreadPoolExecutor(len(lines)) as pool:
        running = [pool.submit(line, start) for line in lines]
        first: Future[None] | None = None
        for done in as_completed(running):
            if done.exception() is not None and first is None:
                first = done
                start.stopping.set()
    if first is not None:
        first.result()


def finish(start: FirstStart, local: Mapping[str, str]) -> None:
    """Everything is there: say so on the disk, and start what runs from now on."""
    start.journal.begin("daemons")
    layout, secrets, seed = start.layout, start.node_secrets, start.seed
    files.write(render.PASSWORD, f"{secrets.zookeeper_pvc}\n", mode=0o600)
    files.write(render.GUARDS_KEY, f"{secrets.guard_hmac}\n", mode=0o600)
    if seed.credential is not None:
        files.write(render.CREDENTIAL, seed.credential, mode=0o600)
    texts = {**local, NODE_CONFIG: render.toml(layout, seed, secrets.libvirt_secret_uuid)}
    files.write(NODE_CONFIG, texts[NODE_CONFIG])
    login.ensure_host_key()
    units = render.daemons(layout.me.role)
    state = {
        "cluster_id": secrets.cluster_id,
        "commit": start.commit,
        "daemons": list(units),
        "files": texts,
        "formation": start.formation,
        "node": layout.me.name,
    }
    files.write(FOUNDED, json.dumps(state, indent=1, sort_keys=True) + "\n", mode=0o600)
    daemons.ensure_started(units, start.progress)
    start.journal.end("daemons", f"{layout.me.name} is founded")
