"""Whose commits a real cluster adopts, and what it does while its git server is away."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Cloud, until

from pvc_gitops.lab.remote import RemoteMode

pytestmark = pytest.mark.lab

SEEN_LIMIT_S = 90.0  # a poll interval of 15 s, a majority, the leader; with room for a busy machine
OPERATOR = """apiVersion: pvc/v1
kind: Operator
metadata: {{name: {name}}}
spec:
  keys: ["{key}"]
  roles: [{roles}]
"""
ROLE = """apiVersion: pvc/v1
kind: Role
metadata: {name: web}
spec:
  commit: [{may: [create, change, delete], addresses: ["vm/web*"]}]
"""


class People:
    """Who signs, and how they commit in the clone."""

    def __init__(self, cloud: Cloud, home: Path) -> None:
        self.cloud = cloud
        self.home = home

    def key(self, name: str) -> str:
        path = self.home / name
        if not path.exists():
            argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
            subprocess.run(argv, check=True, timeout=30)
        return path.with_suffix(".pub").read_text().strip()

    def operator(self, name: str, roles: str) -> None:
        text = OPERATOR.format(name=name, key=self.key(name), roles=roles)
        (self.cloud.clone / "operators").mkdir(exist_ok=True)
        self.cloud.write(f"operators/{name}.yaml", text)

    def commit(self, message: str, *, by: str | None) -> str:
        signing = ("-c", "commit.gpgsign=false")
        if by is not None:
            signing = ("-c", "commit.gpgsign=true", "-c", "gpg.format=ssh", "-c",
                       f"user.signingkey={self.home / by}")  # fmt: skip
        self.cloud.git("add", "--all")
        self.cloud.git(*signing, "commit", "--quiet", "--allow-empty", "-m", message)
        return self.cloud.git("rev-parse", "HEAD")

    def pushed(self, message: str, *, by: str | None) -> str:
        commit = self.commit(message, by=by)
        self.cloud.git("push", "--quiet")
        return commit

    def describe(self, guest: str, words: str) -> None:
        """Change what a guest is called in words: live, and nobody in it notices."""
        path = f"vms/{guest}.yaml"
        lines = [
            line for line in self.cloud.read(path).splitlines() if "  description:" not in line
        ]
        at = lines.index(f"  name: {guest}") + 1
        self.cloud.write(
            path, "\n".join([*lines[:at], f"  description: {words}", *lines[at:]]) + "\n"
        )


@pytest.fixture
def people(cloud: Cloud, tmp_path: Path) -> Iterator[People]:
    """A cluster that wants the newest commit signed: ann may do everything, bob the web guests. In the
    end it is as it was before."""
    until("all is applied", 180.0, lambda: cloud.status()["is_applied"])
    before = cloud.git("rev-parse", "HEAD")
    guests = cloud.domains()
    someone = People(cloud, tmp_path)
    someone.operator("ann", "admin")
    someone.operator("bob", "web")
    (cloud.clone / "roles").mkdir(exist_ok=True)
    cloud.write("roles/web.yaml", ROLE)
    cluster = cloud.read("cluster.yaml")
    assert "  source:\n" in cluster
    cloud.write("cluster.yaml", cluster.replace("  source:\n", "  source:\n    signers: tip\n", 1))
    accepts(cloud, someone.pushed("signatures from now on", by=None))
    yield someone
    cloud.lab.git(RemoteMode.ON)
    cloud.git("checkout", "--quiet", before, "--", ".")
    cloud.git("rm", "--quiet", "operators/ann.yaml", "operators/bob.yaml", "roles/web.yaml")
    last = someone.pushed("as before", by="ann")
    # No commit takes the role from the last admin; root of a node may say that it is meant.
    expect(cloud, "takes the role admin from the last operator who has it")
    said = cloud.pvc("source", "accept", last, "--reason", "the test is over")
    assert f"Accepted: {last[:7]}" in said
    until("all is applied", 180.0, lambda: cloud.status()["is_applied"])
    assert cloud.git("diff", "--stat", before, "HEAD") == ""
    assert cloud.domains() == guests


def accepts(cloud: Cloud, commit: str) -> None:
    until(f"{commit[:7]} is in force", SEEN_LIMIT_S, lambda: cloud.accepted() == commit)


def source(cloud: Cloud) -> str:
    """`pvc source status`, whatever it exits with."""
    done = cloud.try_pvc("source", "status")
    return done.stdout if done.returncode in (0, 1) else ""


def expect(cloud: Cloud, *words: str) -> None:
    for word in words:
        until(f"source status says {word!r}", SEEN_LIMIT_S, lambda word=word: word in source(cloud))


def test_what_is_not_signed_by_whom_it_must_is_held_back(cloud: Cloud, people: People) -> None:
    accepted = cloud.accepted()
    people.describe("db1", "changed by nobody")
    unsigned = people.pushed("not signed", by=None)
    expect(
        cloud,
        f"refused: {unsigned[:7]} is not adopted; {accepted[:7]} stays in force",
        "no signature; signers: tip wants one on the newest commit",
        f"Pvc-Vouch: {accepted[:7]}..{unsigned[:7]}",
    )
    assert cloud.try_pvc("source", "status").returncode == 1
    assert "pvc source status" in cloud.pvc("status")
    assert cloud.accepted() == accepted
    # Who may change only the web guests cannot answer for db1 by a commit on top.
    people.pushed("bob's", by="bob")
    expect(cloud, "vm/db1", "bob may change vm/web*", "Ask an admin to merge it")
    assert cloud.accepted() == accepted
    accepts(cloud, people.pushed("ann's", by="ann"))
    expect(cloud, "signed by  ann")
    people.describe("web1", "changed by bob")
    accepts(cloud, people.pushed("bob's own", by="bob"))
    assert cloud.try_pvc("source", "status").returncode == 0


def test_a_branch_that_was_set_back_is_held_back(cloud: Cloud, people: People) -> None:
    before = cloud.accepted()
    after = people.pushed("newer", by="ann")
    accepts(cloud, after)
    cloud.git("push", "--quiet", "--force", "origin", f"{before}:main")
    expect(cloud, f"set back to {before[:7]}", f"pvc source accept {before[:7]} --reason")
    assert cloud.accepted() == after
    cloud.git("push", "--quiet", "origin", "main")
    until("the branch is well again", SEEN_LIMIT_S, lambda: "not adopted" not in source(cloud))
    assert cloud.accepted() == after
    # Meant, and said so: the older one is in force, and the ledger keeps who wanted it.
    cloud.git("push", "--quiet", "--force", "origin", f"{before}:main")
    said = cloud.pvc("source", "accept", before, "--reason", "the newer one never was")
    assert f"Accepted: {before[:7]}" in said
    assert cloud.accepted() == before
    assert "the newer one never was" in cloud.pvc("history", "-o", "json")
    cloud.git("push", "--quiet", "origin", "main")
    accepts(cloud, after)


def test_commits_by_hand_while_the_origin_is_away(cloud: Cloud, people: People) -> None:
    refused = cloud.try_pvc("source", "submit")
    assert refused.returncode in (0, 1)
    assert "in force already" in refused.stdout
    before = cloud.accepted()
    people.describe("web2", "changed by hand")
    unsigned = people.commit("by hand, not signed", by=None)
    cloud.lab.git(RemoteMode.OFF)
    refused = cloud.try_pvc("source", "submit")
    assert refused.returncode == 1
    assert "no signature; signers: tip" in refused.stderr, refused.stdout + refused.stderr
    assert cloud.accepted() == before
    mine = people.commit("by hand", by="ann")
    said = cloud.pvc("source", "submit")
    assert f"Accepted: {mine[:7]}" in said, said
    assert "git push" in said
    assert cloud.accepted() == mine != unsigned
    expect(cloud, f"ahead      {mine[:7]} submitted by root")
    until("it is applied", 120.0, lambda: cloud.status()["is_applied"])
    cloud.lab.git(RemoteMode.ON)
    expect(cloud, "diverged: the origin answers and does not hold", "git push")
    assert cloud.accepted() == mine
    cloud.git("push", "--quiet")
    until(
        "nothing is wrong", SEEN_LIMIT_S, lambda: cloud.try_pvc("source", "status").returncode == 0
    )
    until("it is not ahead", SEEN_LIMIT_S, lambda: "ahead" not in source(cloud))
    assert cloud.accepted() == mine
