"""The clone that a person edits: a copy of an example repository with this lab's facts written in.

What stands on a delivered machine's sticker (MACs, the BMC) and what only this lab has (its image
server, its remote) is edited into the documents with their comments kept; everything else is the
example's. Making it again touches nothing: a clone that has commits belongs to the person.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.process import run
from pvc_gitops.lab.topology import NodeFacts

BRANCH: Final = "main"
_WIDTH: Final = 100  # as `pvc fmt`: a value is not broken over lines for the sake of our edit
# Who commits in a lab's clone, where the person has no identity of their own.
_AUTHOR: Final = ("-c", "user.name=pvc lab", "-c", "user.email=lab@localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabImage:
    """The test guest as this lab serves it."""

    name: str
    url: str
    sha256: str


def copy_example(example: Path, clone: Path) -> bool:
    """Copy the example; False if the folder is there already and is left as it is."""
    if clone.exists():
        if not (clone / "cluster.yaml").exists():
            raise LabError(
                f"{clone} is there and holds no cluster.yaml",
                hint="name another folder with --repo",
            )
        return False
    shutil.copytree(example, clone)
    run("git", "-C", clone, "init", "--quiet", f"--initial-branch={BRANCH}")
    return True


def fetch(remote: Path, clone: Path) -> bool:
    """A clone of a remote that holds a repository; False if the folder is there already."""
    if clone.exists():
        return False
    run("git", "clone", "--quiet", remote, clone)
    return True


def write_facts(
    clone: Path, facts: Sequence[NodeFacts], source_url: str, images: Sequence[LabImage]
) -> None:
    """Write what only this lab knows into the Node, Image and Cluster documents."""
    _edit(
        clone / "cluster.yaml",
        {("spec", "source", "url"): source_url, ("spec", "source", "branch"): BRANCH},
    )
    write_machines(clone, facts)
    for image in images:
        _edit(
            clone / "images" / f"{image.name}.yaml",
            {("spec", "url"): image.url, ("spec", "checksum"): f"sha256:{image.sha256}"},
        )


def write_machines(clone: Path, facts: Sequence[NodeFacts]) -> None:
    """Write what stands on the machines' stickers into their Node documents."""
    for node in facts:
        changes: dict[tuple[str, ...], Any] = {
            ("spec", "identity", "match"): {"macs": list(node.macs.values())},
            ("spec", "interfaces"): {network: {"mac": mac} for network, mac in node.macs.items()},
            ("spec", "bmc"): {
                "agent": "ipmilan",
                "address": node.bmc_address,
                "username": node.bmc_username,
                "password": {"secret": bmc_secret(node.name)},
                "guid": node.bmc_guid,
            },
        }
        if _spec(clone, node.name).get("osds") != []:  # a document may say that there is no disk
            changes["spec", "osds"] = [{"file": {"path": node.osd_path, "size": node.osd_size}}]
        _edit(document(clone, node.name), changes)


def identity(clone: Path, node: str) -> Mapping[str, Any]:
    """What a Node document says of how its machine is recognised."""
    found: Mapping[str, Any] = _spec(clone, node).get("identity") or {}
    return found


def write_key(clone: Path, node: str, key: str) -> None:
    """Name a machine's key in its document."""
    _edit(document(clone, node), {("spec", "identity", "key"): key})


def document(clone: Path, node: str) -> Path:
    """The Node document of a machine."""
    return clone / "nodes" / f"{node}.yaml"


def bmc_secret(node: str) -> str:
    """The name of the Secret document with a node's BMC password."""
    return f"bmc-{node}"


def commit_all(clone: Path, message: str) -> str:
    """Commit everything; the commit's id."""
    run("git", "-C", clone, "add", "--all")
    run("git", "-C", clone, *_author(clone), "commit", "--quiet", "--message", message)
    return head(clone)


def commit_and_push(clone: Path, paths: Sequence[Path], message: str) -> None:
    """Commit these files and nothing else that the person may be at, and push."""
    run("git", "-C", clone, "add", "--", *paths)
    run(
        "git", "-C", clone, *_author(clone), "commit", "--quiet", "--message", message, "--", *paths
    )
    run("git", "-C", clone, "push", "--quiet", "origin", BRANCH)


def head(clone: Path) -> str:
    """The clone's HEAD."""
    return run("git", "-C", clone, "rev-parse", "HEAD").stdout.strip()


def founding_commit(clone: Path) -> str:
    """The first commit of the clone, which is the one that the cluster is founded from."""
    return run("git", "-C", clone, "rev-list", "--max-parents=0", "HEAD").stdout.split()[0]


def connect(clone: Path, remote: Path, host: str) -> None:
    """Name the lab's remote `origin`, push, and tell `pvc` where the cluster is reached from here."""
    names = run("git", "-C", clone, "remote").stdout.split()
    run("git", "-C", clone, "remote", "set-url" if "origin" in names else "add", "origin", remote)
    command = ("git", "-C", clone, "push", "--quiet", "--set-upstream", "origin", BRANCH)
    pushed = run(*command, check=False)
    if pushed.returncode != 0:
        raise LabError(
            f"{clone} cannot be pushed to this lab's remote: {pushed.stderr.strip()}",
            hint=f"the lab was founded from another clone? `git clone {remote}` is what it holds; "
            "`pvc lab down --wipe` begins anew",
        )
    run("git", "-C", clone, "config", "pvc.host", host)


def _spec(clone: Path, node: str) -> Mapping[str, Any]:
    text = document(clone, node).read_text(encoding="utf-8")
    spec: Mapping[str, Any] = YAML(typ="safe").load(text)["spec"]
    return spec


def _author(clone: Path) -> tuple[str, ...]:
    known = run("git", "-C", clone, "config", "user.email", check=False)
    return () if known.returncode == 0 else _AUTHOR


def _edit(path: Path, changes: Mapping[tuple[str, ...], Any]) -> None:
    yaml = YAML()
    yaml.width = _WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.preserve_quotes = True
    document = yaml.load(path.read_text(encoding="utf-8"))
    for keys, value in changes.items():
        inner = document
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
    out = StringIO()
    yaml.dump(document, out)
    path.write_text(out.getvalue(), encoding="utf-8")
