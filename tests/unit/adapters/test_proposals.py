"""Proposals of a real bare repository, fetched and planned by real children."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from test_forge_api import TOKEN
from test_forge_api import Forge as FakeForge

from pvc_gitops.adapters import proposals
from pvc_gitops.adapters.age import keys, sops
from pvc_gitops.adapters.git.mirror import Mirror
from pvc_gitops.adapters.git.tree import read_commit
from pvc_gitops.adapters.proposals import Proposals
from pvc_gitops.errors import RepoError, WorldError
from pvc_gitops.model.export import Export, files_to_text
from pvc_gitops.model.forge import Forge, ForgeType
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.preview import Ask, Outcome, Told
from pvc_gitops.planner.codec import export_to_bytes, plan_from_bytes
from pvc_gitops.planner.planner import POLICY
from pvc_gitops.planner.preview import applied, preview
from pvc_gitops.spec.load import load

EXAMPLE = Path(__file__).parents[3] / "example-cluster-repo"
ANN = {"GIT_AUTHOR_NAME": "ann", "GIT_AUTHOR_EMAIL": "ann@example.com",
       "GIT_COMMITTER_NAME": "ann", "GIT_COMMITTER_EMAIL": "ann@example.com",
       "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}  # fmt: skip


KEY = keys.generate()


class Server:
    """A bare repository with the example on main, and a node's mirror of it."""

    def __init__(self, home):
        self.bare, self.work = home / "prod.git", home / "work"
        shutil.copytree(EXAMPLE, self.work)
        self.run("git", "init", "-q", "--bare", "-b", "main", self.bare)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", self.bare)
        self.main = self.push("main", "first")
        self.mirror = Mirror(
            home / "mirror.git", url=str(self.bare), branch="main", folder=".", credential=None
        )
        self.mirror.fetch()
        self.proposals = Proposals(
            home / "proposals.git",
            mirror=home / "mirror.git",
            url=str(self.bare),
            folder=".",
            credential=None,
            key=lambda: KEY.secret,
        )

    def run(self, *argv):
        done = subprocess.run(
            [str(each) for each in argv], cwd=self.work, capture_output=True, text=True,
            check=False, env={**os.environ, **ANN}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def git(self, *argv):
        return self.run("git", *argv)

    def push(self, ref, message):
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("push", "-q", "-f", "origin", f"HEAD:{ref}")
        return CommitId(self.git("rev-parse", "HEAD"))

    def branch(self, name, ref=None):
        """A branch of one more guest."""
        self.git("checkout", "-q", "-B", "work", self.main)
        text = (self.work / "vms/app1.yaml").read_text()
        (self.work / f"vms/{name}.yaml").write_text(text.replace("name: app1", f"name: {name}"))
        return self.push(ref or f"refs/heads/review/{name}", name)

    def fetch(self, *patterns, only_ours=True, most=50):
        return self.proposals.fetch(
            patterns or ("refs/heads/review/*",), only_ours=only_ours, most=most
        )

    def inputs(self):
        _, files = read_commit(self.bare, "main")
        spec = load(files, commit=self.main)
        return Export(inventory=applied(spec, 0), policy=POLICY, parent=None, commit=self.main)

    def ask(self, head=None, files=None):
        return Ask(
            cluster="lab", base=self.main, head=head, files=files, branch="x", onto="main",
            again="pvc plan", links="",
        )  # fmt: skip


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


def test_heads_come_go_and_follow(server):
    assert server.fetch() == {}
    first = server.branch("web9")
    assert server.fetch() == {"refs/heads/review/web9": first}
    second = server.push("refs/heads/review/web9", "more")
    assert server.fetch() == {"refs/heads/review/web9": second}
    server.git("push", "-q", "origin", "--delete", "review/web9")
    assert server.fetch() == {}


def test_pull_requests_of_strangers_are_left_out_unless_asked_for(server):
    ours = server.branch("web9")
    server.git("push", "-q", "origin", f"{ours}:refs/pull/7/head")
    foreign = server.branch("web8", ref="refs/pull/8/head")
    pulls = ("refs/pull/*/head",)
    assert server.fetch(*pulls) == {"refs/pull/7/head": ours}
    assert server.fetch(*pulls, only_ours=False) == {
        "refs/pull/7/head": ours,
        "refs/pull/8/head": foreign,
    }
    assert server.fetch(*pulls, only_ours=False, most=1) == {"refs/pull/8/head": foreign}


def test_a_server_that_is_away_is_said(server):
    shutil.rmtree(server.bare)
    with pytest.raises(RepoError):
        server.fetch()


def test_the_childs_plan_is_the_one_made_here(server):
    head = server.branch("web9")
    server.fetch()
    inputs = server.inputs()
    answer = server.proposals.plan(server.ask(head), export_to_bytes(inputs))
    assert answer.outcome is Outcome.PLANNED
    _, files = read_commit(server.work, head)
    _, base = read_commit(server.bare, "main")
    mine = preview(load(files, commit=head), load(base, commit=server.main), inputs.inventory)
    assert plan_from_bytes(answer.plan.encode()) == mine.plan
    assert answer.effect == mine.plan.effect
    assert any(step.startswith("vm.put vm/web9 @ ") for step in answer.steps)


def test_files_of_a_client_are_planned_the_same(server):
    head = server.branch("web9")
    _, files = read_commit(server.work, head)
    inputs = export_to_bytes(server.inputs())
    by_files = server.proposals.plan(server.ask(files=files_to_text(files)), inputs)
    server.fetch()
    by_head = server.proposals.plan(server.ask(head), inputs)
    assert by_files.effect == by_head.effect
    assert by_files.steps == by_head.steps


def test_what_does_not_merge_or_is_not_valid_is_an_answer(server):
    (server.work / "vms/app1.yaml").write_text("spec: [" * 5_000)
    server.git("checkout", "-q", "-B", "work")
    bad = server.push("refs/heads/review/bad", "bad")
    server.fetch()
    inputs = export_to_bytes(server.inputs())
    answer = server.proposals.plan(server.ask(bad), inputs)
    assert answer.outcome is Outcome.INVALID
    assert any("vms/app1.yaml" in line for line in answer.problems)
    server.git("checkout", "-q", "--orphan", "alien")
    alien = server.push("refs/heads/review/alien", "alien")
    server.fetch()
    answer = server.proposals.plan(server.ask(alien), inputs)
    assert answer.outcome is Outcome.REFUSED
    assert answer.markdown.startswith("<!-- pvc-plan lab -->")


def test_a_child_over_its_limits_is_killed_and_says_so(server, monkeypatch):
    head = server.branch("web9")
    server.fetch()
    inputs = export_to_bytes(server.inputs())
    monkeypatch.setattr(proposals, "PLAN_MEMORY_BYTES", 16 * 1024 * 1024)
    with pytest.raises(RepoError, match="memory"):
        server.proposals.plan(server.ask(head), inputs)
    monkeypatch.undo()
    monkeypatch.setattr(proposals, "PLAN_S", 0.05)
    with pytest.raises(RepoError, match="no end within"):
        server.proposals.plan(server.ask(head), inputs)


def test_a_mirror_that_grew_too_large_is_begun_anew(server, monkeypatch):
    head = server.branch("web9")
    server.fetch()
    monkeypatch.setattr(proposals, "MIRROR_BYTES_MAX", 1)
    assert server.fetch() == {"refs/heads/review/web9": head}


@pytest.fixture
def forge():
    server = FakeForge(ForgeType.FORGEJO)
    yield server
    server.shutdown()
    server.server_close()


def told(**more):
    fields = {"number": 14, "commit": "a" * 40, "marker": "<!-- pvc-plan lab -->", "is_good": False,
              "comment": "<!-- pvc-plan lab -->\nplan", "context": "pvc/plan (lab)",
              "status": "1 blocked"}  # fmt: skip
    return Told(**(fields | more))


def sealed_for(key):
    return sops.write("forge-token", "", {"token": TOKEN}, [key.public], now_s=0).encode()


def test_a_forge_is_told_with_the_token_that_only_the_cluster_can_open(server, forge):
    where = Forge(
        name="origin", type=ForgeType.FORGEJO, repository="infra/prod", api=forge.url, web="",
        token_secret="forge-token", branches=(), pull_requests=True, from_forks=False, at_once=1,
    )  # fmt: skip
    sealed = sealed_for(KEY)
    server.proposals.tell(where, sealed, told())
    server.proposals.tell(where, sealed, told(comment="<!-- pvc-plan lab -->\nagain"))
    assert [each["body"] for each in forge.comments] == ["<!-- pvc-plan lab -->\nagain"]
    assert forge.statuses[0][1]["state"] == "failure"
    server.proposals.tell(where, sealed, told(number=None, is_good=True))
    assert len(forge.comments) == 1
    assert forge.statuses[-1][1]["state"] == "success"
    server.proposals.tell(where, sealed, told(number=None, is_good=True, is_open=True))
    assert forge.statuses[-1][1]["state"] == "pending"
    with pytest.raises(WorldError, match="open forge-token"):
        server.proposals.tell(where, sealed_for(keys.generate()), told())
