"""Operators at the cluster's door, from outside of it: by ssh, as themselves, and not one thing more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import PVC, Cloud, until

from pvc_gitops.lab import network

pytestmark = pytest.mark.lab

HELLO = b'{"pvc":1,"id":1,"op":"hello","args":{}}\n'
SOON_S = 20.0  # "seconds", on a machine that emulates three of them
LIMIT_S = 120.0
OPERATOR = """apiVersion: pvc/v1
kind: Operator
metadata:
  name: carol
spec:
  keys:
    - {key}
"""
CONFIG = """Host *
  IdentityFile {home}/%r.key
  IdentitiesOnly yes
  UserKnownHostsFile {home}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  IdentityAgent none
"""


def upstream(cloud: Cloud) -> dict[str, str]:
    """Node -> where it is reached from outside."""
    return {
        node.name: node.nic("upstream").address.partition("/")[0]
        for node in cloud.lab.topology().nodes
    }


class Outside:
    """A person's machine on the upstream network: ssh with one key, and the checkout of the cluster."""

    def __init__(self, cloud: Cloud, home: Path, key: Path) -> None:
        home.mkdir()
        self.cloud = cloud
        (home / "bin").mkdir()
        shutil.copy(key, home / "pvc.key")
        addresses = upstream(cloud)
        known = [
            f"{address} {cloud.on(name, 'cat', '/var/lib/pvc/ssh/ssh_host_ed25519_key.pub')}"
            for name, address in addresses.items()
        ]
        (home / "known_hosts").write_text("".join(known))
        (home / "config").write_text(CONFIG.format(home=home))
        ssh = home / "bin" / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {home}/config "$@"\n')
        ssh.chmod(0o755)
        self.address = addresses["hv1"]
        self.env = {**os.environ, "PATH": f"{home}/bin:{os.environ['PATH']}"}
        self.env.pop("PVC_HOST", None)

    def run(
        self, *argv: str | Path, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            network.inside(self.cloud.lab.paths, *map(str, argv)), input=stdin, cwd=cwd,
            capture_output=True, timeout=LIMIT_S, check=False, env=self.env,
        )  # fmt: skip

    def ssh(self, *argv: str, stdin: bytes = HELLO) -> subprocess.CompletedProcess[bytes]:
        options = ("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes")
        return self.run("ssh", *options, *argv, stdin=stdin)

    def at(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return self.ssh(f"pvc@{self.address}", *command)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("carol", "mallory"):
        make = (
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            f"{name}@x",
            "-f",
            folder / name,
        )
        subprocess.run(make, check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def carol(cloud: Cloud, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """An operator by a commit; her document is taken back at the end."""
    cloud.write(
        "operators/carol.yaml", OPERATOR.format(key=(keys / "carol.pub").read_text().strip())
    )
    cloud.commit_and_push("carol: let in")
    cloud.pvc("apply", "--yes")
    outside = Outside(cloud, tmp_path_factory.mktemp("carol") / "home", keys / "carol")
    until("carol is let in", SOON_S, lambda: outside.at().returncode == 0)
    yield outside
    document = cloud.clone / "operators" / "carol.yaml"
    if document.exists():
        document.unlink()
        cloud.commit_and_push("carol: gone")
        cloud.pvc("apply", "--yes")


def hello(done: subprocess.CompletedProcess[bytes]) -> dict[str, object]:
    answer: dict[str, object] = json.loads(done.stdout)["value"]
    return answer


def test_the_operator_s_key_opens_and_names_its_owner(carol: Outside) -> None:
    answer = hello(carol.at())
    assert (answer["node"], answer["operator"]) == ("hv1", "carol")
    done = carol.run(PVC, "--host", f"ssh://pvc@{carol.address}", "status")
    assert done.returncode == 0, done.stderr
    assert b"HEALTHY" in done.stdout


def test_without_a_host_the_coordinators_are_asked(carol: Outside, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", carol.cloud.clone, clone], check=True, timeout=60)
    done = carol.run(PVC, "status", cwd=clone)
    assert done.returncode == 0, done.stderr
    assert b"HEALTHY" in done.stdout


def test_another_key_is_refused(carol: Outside, keys: Path, tmp_path: Path) -> None:
    mallory = Outside(carol.cloud, tmp_path / "home", keys / "mallory")
    done = mallory.at()
    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr
    assert done.stdout == b""
    root = carol.ssh("-i", f"{keys}/carol", f"root@{carol.address}", "id")
    assert b"Permission denied (publickey)" in root.stderr


def test_there_is_no_shell_no_terminal_no_way_through(carol: Outside) -> None:
    for command in (("id",), ("sh", "-c", "id"), ("pvc", "agent-stdio", "--operator", "alice")):
        assert hello(carol.at(*command))["operator"] == "carol"
    door = f"pvc@{carol.address}"
    assert b"PTY allocation request failed" in carol.ssh("-tt", door).stderr
    through = carol.ssh("-W", "127.0.0.1:2181", door, stdin=b"ruok")
    assert b"administratively prohibited" in through.stderr
    assert through.stdout == b""
    back = carol.ssh("-N", "-R", "9999:127.0.0.1:1", door)
    assert back.returncode == 255
    assert b"remote port forwarding failed" in back.stderr
    files = carol.ssh("-s", door, "sftp", stdin=HELLO)
    assert files.returncode != 0 or hello(files)["operator"] == "carol"


def test_sshd_listens_upstream_only(cloud: Cloud) -> None:
    for name, address in upstream(cloud).items():
        listening = cloud.on(name, "ss", "-Hltn", "sport = :22").split()
        assert [each for each in listening if each.endswith(":22")] == [f"{address}:22"]


def test_the_socket_is_for_root_and_the_one_user(cloud: Cloud) -> None:
    assert cloud.on("hv1", "stat", "-c", "%U:%G %a", "/run/pvc/agent.sock") == "root:pvc 660\n"
    refused = cloud.on(
        "hv1", "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
        "pvc", "agent-stdio", "--operator", "alice", ok=(1,),
    )  # fmt: skip
    assert refused == ""
    nameless = cloud.on(
        "hv1", "setpriv", "--reuid=pvc", "--regid=pvc", "--clear-groups", "sh", "-c",
        f"printf '%s\\n' '{HELLO.decode().strip()}' | pvc agent-stdio",
    )  # fmt: skip
    assert json.loads(nameless)["error"]["code"] == "no-operator"


def test_git_over_ssh_is_read_from_the_known_server_only(cloud: Cloud) -> None:
    script = Path(__file__).parent / "inside" / "git_over_ssh.py"
    folder = "/var/tmp/git-over-ssh"
    cloud.on("hv2", "mkdir", "-p", folder)
    shutil.copy(script, f"/proc/{cloud.lab.node('hv2').init_pid()}/root{folder}/{script.name}")
    try:
        assert "PASS" in cloud.on("hv2", "python3", f"{folder}/{script.name}", folder)
    finally:
        cloud.on("hv2", "rm", "-rf", folder)


def test_an_operator_removed_by_a_commit_is_locked_out_within_seconds(
    cloud: Cloud, carol: Outside
) -> None:
    standing = subprocess.Popen(
        network.inside(cloud.lab.paths, "ssh", "-o", "BatchMode=yes", f"pvc@{carol.address}"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=carol.env,
    )  # fmt: skip
    assert standing.stdin is not None
    assert standing.stdout is not None
    standing.stdin.write(HELLO)
    standing.stdin.flush()
    assert json.loads(standing.stdout.readline())["value"]["operator"] == "carol"

    (cloud.clone / "operators" / "carol.yaml").unlink()
    cloud.commit_and_push("carol: gone")
    cloud.pvc("apply", "--yes")

    def is_locked_out() -> bool:
        return b"Permission denied (publickey)" in carol.at().stderr

    def knows_her(node: str) -> bool:
        return "carol" in cloud.on(node, "cat", "/var/lib/pvc/authorized_keys")

    until("carol is locked out", SOON_S, is_locked_out)
    until("no node knows her", SOON_S, lambda: not any(map(knows_her, cloud.nodes())))
    try:  # whoever is in already is answered no more
        said, _ = standing.communicate(HELLO, timeout=LIMIT_S)
        assert json.loads(said)["error"]["code"] == "no-operator"
    finally:
        standing.kill()
