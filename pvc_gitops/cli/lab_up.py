"""`pvc lab up` put together: the clone, its founding secrets, the seeds, the hardware, and the wait.

The lab builds machines and knows nothing of the cluster's software; founding and documents know
nothing of the lab. They meet here, as an installer's author and a person with a repository would.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pvc_gitops.adapters.age import keys, sops
from pvc_gitops.cli.founding import write_founding
from pvc_gitops.formation import seed
from pvc_gitops.formation.secrets import SECRET_FILE
from pvc_gitops.lab import clone, image
from pvc_gitops.lab.clone import LabImage
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.lab import Lab
from pvc_gitops.lab.topology import NodeFacts

EXAMPLE_IMAGE: Final = "tiny-guest"
FORMED_TIMEOUT_S: Final = 300.0  # 30 s on an idle machine with two cores; others may be busy
LOOK_EVERY_S: Final = 1.0
FORMATION_STATE: Final = "/run/pvc/formation.json"
SECRETS_FILE: Final = "founding.json"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabKeys:
    """The private keys of a lab's cluster. In production they lie on paper and in the seeds."""

    cluster_key: str
    recovery_key: str


def prepare(lab: Lab, repo: Path, example: Path, say: Say) -> None:
    """Make the clone complete: facts of the machines, secrets, schemas; commit and push it.

    A clone that was pushed before is only pushed again; one that is gone, of a lab that was founded,
    is fetched from the lab's remote.
    """
    keys_file = lab.paths.home / SECRETS_FILE
    if keys_file.exists() and clone.fetch(lab.remote_path(), repo):
        say(f"clone {repo} of what this lab's remote holds")
    if clone.copy_example(example, repo):
        say(f"clone {repo}, a copy of the example repository")
    if not keys_file.exists():
        _found(lab, repo, keys_file)
        say("founding secrets drawn, encrypted to the cluster's and the recovery key")
    clone.connect(repo, lab.remote_path(), _host(lab))
    added = _add_machines(lab, repo, keys_file)
    if added:
        say(f"{', '.join(added)} added: the facts of the new machines are committed and pushed")


def _found(lab: Lab, repo: Path, keys_file: Path) -> None:
    lab.prepare(repo)
    founded = write_founding(repo)
    public = (keys.public_of(founded.cluster_key), keys.public_of(founded.recovery_key))
    for fact in lab.facts():
        _write_bmc_secret(repo, fact, public)
    guest = image.guest(lab.paths.root)
    url = lab.publish_image(guest.path, f"{EXAMPLE_IMAGE}.img")
    tiny = LabImage(name=EXAMPLE_IMAGE, url=url, sha256=guest.sha256)
    clone.write_facts(repo, lab.facts(), lab.remote_url(), (tiny,))
    clone.commit_all(repo, "the lab's machines, and the secrets of its founding")
    _write_secret(
        keys_file,
        LabKeys(cluster_key=founded.cluster_key, recovery_key=founded.recovery_key),
    )


def _add_machines(lab: Lab, repo: Path, keys_file: Path) -> list[str]:
    """Write the facts of machines whose documents came after the founding; their names."""
    lab.prepare(repo)
    new = [fact for fact in lab.facts() if "match" not in clone.identity(repo, fact.name)]
    if not new:
        return []
    known = json.loads(keys_file.read_text(encoding="utf-8"))
    public = (keys.public_of(known["cluster_key"]), keys.public_of(known["recovery_key"]))
    secrets = [_write_bmc_secret(repo, fact, public) for fact in new]
    clone.write_machines(repo, new)
    documents = [clone.document(repo, fact.name) for fact in new]
    names = [fact.name for fact in new]
    clone.commit_and_push(repo, [*documents, *secrets], f"the lab's machines {', '.join(names)}")
    return names


def _write_bmc_secret(repo: Path, fact: NodeFacts, public: tuple[str, str]) -> Path:
    name = clone.bmc_secret(fact.name)
    text = sops.write(
        name,
        f"password of {fact.name}'s management controller",
        {"password": fact.bmc_password},
        public,
        now_s=int(time.time()),
    )
    path = repo / "secrets" / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def seeds(lab: Lab, repo: Path) -> Callable[[str], bytes]:
    """What the installer leaves on each node: coordinators get the cluster's key, hypervisors the
    certificate by which they know the coordinators."""
    known = json.loads((lab.paths.home / SECRETS_FILE).read_text(encoding="utf-8"))
    founding = clone.founding_commit(repo)
    sealed = (repo / SECRET_FILE).read_bytes()
    authority = sops.read(sealed, known["cluster_key"])["ca_certificate"]
    url = lab.remote_url()

    def seed_for(node: str) -> bytes:
        document = (repo / "nodes" / f"{node}.yaml").read_text(encoding="utf-8")
        is_coordinator = "role: coordinator" in document
        return seed.make(
            url=url,
            founding_commit=founding,
            cluster_key=known["cluster_key"] if is_coordinator else None,
            authority=None if is_coordinator else authority,
        )

    return seed_for


def wait_until_formed(
    lab: Lab, say: Say, *, repo: Path | None = None, timeout_s: float = FORMED_TIMEOUT_S
) -> None:
    """Until every node has founded or joined and its agent answers; says each node's stages as they
    change.

    Args:
        lab: which.
        say: told one line a change.
        repo: the clone in which to name the key of a hypervisor whose document names none, as the
            person would who reads it off the machine; None leaves that to a person.
        timeout_s: seconds.
    """
    names = [node.name for node in lab.topology().nodes]
    told: dict[str, str] = {}
    end = time.monotonic() + timeout_s
    while True:
        waiting = []
        for name in names:
            state = formation_state(lab, name)
            stage = _stage_text(state)
            if told.get(name) != stage:
                told[name] = stage
                say(f"{name}: {stage}")
            if repo is not None and state.get("key"):
                _let_in(repo, name, state["key"], say)
            if state.get("stage") != "done" or lab.agent_socket(name) is None:
                waiting.append(name)
        if not waiting:
            return
        if time.monotonic() > end:
            raise LabError(
                f"{', '.join(waiting)} did not form the cluster in {timeout_s:.0f} s",
                hint=f"pvc lab log {waiting[0]} pvc-formation",
            )
        time.sleep(LOOK_EVERY_S)


def _let_in(repo: Path, node: str, key: str, say: Say) -> None:
    if "key" in clone.identity(repo, node):
        return  # this one, or another that somebody chose: not for a lab to decide
    clone.write_key(repo, node, key)
    clone.commit_and_push(repo, [clone.document(repo, node)], f"let {node} in by its key")
    say(f"{node}: its key {key} is named in nodes/{node}.yaml, committed and pushed")


def formation_state(lab: Lab, node: str) -> Mapping[str, Any]:
    """What formation last wrote down on a node: `stage`, `waiting_for`, `error`, `key`; only `stage`
    while there is nothing to read."""
    pid = lab.node(node).init_pid()
    if pid is None:
        return {"stage": "off"}
    try:
        text = Path(f"/proc/{pid}/root{FORMATION_STATE}").read_text(encoding="utf-8")
    except FileNotFoundError:
        return {"stage": "booting"}
    state: dict[str, Any] = json.loads(text)
    return state


def _stage_text(state: Mapping[str, Any]) -> str:
    words = str(state["stage"])
    if state.get("waiting_for"):
        words += f", waiting for {state['waiting_for']}"
    if state.get("error"):
        words += f": {state['error']}"
    return words


def _host(lab: Lab) -> str:
    """All nodes' sockets, so that the clone reaches the cluster while any node is up."""
    paths = [lab.socket_link(node.name) for node in lab.topology().nodes]
    return " ".join(f"unix://{path}" for path in paths)


def _write_secret(path: Path, value: LabKeys) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(value), file)
