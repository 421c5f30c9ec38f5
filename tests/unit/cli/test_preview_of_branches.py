"""`pvc plan --base`, the pre-receive hook with the real git, and replay in other processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pvc_gitops.adapters.git.tree import read_commit
from pvc_gitops.planner import codec
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import PLANNER_VERSION, POLICY, plan
from pvc_gitops.planner.preview import applied
from pvc_gitops.spec.load import load

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "example-cluster-repo"
PVC = Path(sys.executable).parent / "pvc"
HOOK = re.compile(r"```sh\n(#!/bin/sh\n# hooks/pre-receive.*?)```", re.DOTALL)
ANN = {"GIT_AUTHOR_NAME": "ann", "GIT_AUTHOR_EMAIL": "ann@example.com",
       "GIT_COMMITTER_NAME": "ann", "GIT_COMMITTER_EMAIL": "ann@example.com",
       "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}  # fmt: skip


def call(*argv, cwd, ok=(0,), **more):
    done = subprocess.run(
        [str(each) for each in argv], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, **ANN, **more}, check=False,
    )  # fmt: skip
    assert done.returncode in ok, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


class Clone:
    """A person's clone of a bare repository that holds the example on main."""

    def __init__(self, home):
        self.bare, self.path = home / "prod.git", home / "clone"
        call("git", "init", "-q", "--bare", "-b", "main", self.bare, cwd=home)
        shutil.copytree(EXAMPLE, self.path)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", self.bare)
        self.commit("first")
        self.git("push", "-q", "-u", "origin", "main")

    def git(self, *argv, ok=(0,)):
        return call("git", *argv, cwd=self.path, ok=ok)

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def branch(self, name, start="main"):
        self.git("checkout", "-q", "-b", name, start)

    def pvc(self, *argv, ok=(0,), **more):
        return call(PVC, *argv, cwd=self.path, ok=ok, **more)

    def edit(self, path, old, new):
        file = self.path / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    def add_guest(self, name, memory="96MiB"):
        text = (self.path / "vms/app1.yaml").read_text()
        text = text.replace("name: app1", f"name: {name}").replace("96MiB", memory)
        (self.path / f"vms/{name}.yaml").write_text(text)


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_a_branch_shows_its_difference_from_the_base_and_nothing_else(clone):
    clone.branch("review/web9")
    clone.add_guest("web9")
    head = clone.commit("web9")
    out = clone.pvc("plan", "--commit", "HEAD", "--base", "main", "--empty", ok=(2,))
    first, *rest = out.splitlines()
    assert re.fullmatch(rf"pvc lab · {head[:7]} against main [0-9a-f]{{7}}", first)
    assert [line for line in rest if line.startswith("  + ")] == [
        line for line in rest if line.startswith("  + vm/web9")
    ]
    assert "Plan: 1 to create, 0 to change, 0 to destroy;" in out
    # The working tree says the same before it is committed.
    assert "Plan: 1 to create" in clone.pvc("plan", "--base", "main", "--empty", ok=(2,))


def test_it_is_the_merge_that_is_planned(clone):
    clone.branch("review/web9")
    clone.add_guest("web9")
    clone.commit("web9")
    clone.git("checkout", "-q", "main")
    clone.add_guest("web8")
    clone.commit("web8")
    out = clone.pvc("plan", "--commit", "review/web9", "--base", "main", "--empty", ok=(2,))
    assert "Plan: 1 to create, 0 to change, 0 to destroy;" in out
    clone.git("checkout", "-q", "review/web9")
    said = clone.pvc("plan", "--base", "main", "--empty", ok=(1,))
    assert "does not hold main" in said
    assert "git rebase main" in said


def test_a_conflict_names_the_files(clone):
    clone.branch("review/memory")
    clone.edit("vms/app1.yaml", "memory: 96MiB", "memory: 128MiB")
    clone.commit("more")
    clone.git("checkout", "-q", "main")
    clone.edit("vms/app1.yaml", "memory: 96MiB", "memory: 160MiB")
    clone.commit("even more")
    said = clone.pvc("plan", "--commit", "review/memory", "--base", "main", "--empty", ok=(1,))
    assert "both changed vms/app1.yaml" in said


def test_two_good_branches_that_make_a_bad_merge_are_told(clone):
    clone.branch("one")
    clone.add_guest("web8")
    clone.edit("vms/web8.yaml", "{network: app}", "{network: app, address: 10.100.0.50}")
    clone.commit("web8")
    clone.git("checkout", "-q", "main")
    clone.add_guest("web9")
    clone.edit("vms/web9.yaml", "{network: app}", "{network: app, address: 10.100.0.50}")
    clone.commit("web9")
    said = clone.pvc("plan", "--commit", "one", "--base", "main", "--empty", ok=(1,))
    assert "10.100.0.50" in said


def test_a_branch_is_judged_by_the_budget_of_the_base(clone):
    clone.branch("review/all-gone")
    guests = sorted((clone.path / "vms").glob("[aw]*.yaml"))  # db1 is protected
    for file in guests:
        file.unlink()
    clone.edit("cluster.yaml", "max_destroy: {vms: 3", "max_destroy: {vms: 99")
    clone.commit("all gone")
    out = clone.pvc("plan", "--commit", "HEAD", "--base", "main", "--empty", ok=(3,))
    assert f"BLOCKED: {len(guests)} vms to destroy" in out
    assert "max_destroy" in out.split("BLOCKED")[1]
    assert " 0 to destroy," in out
    # Raised first, in a commit that does nothing else, the same deletions are allowed.
    clone.git("checkout", "-q", "main")
    clone.edit("cluster.yaml", "max_destroy: {vms: 3", "max_destroy: {vms: 99")
    clone.commit("raise")
    out = clone.pvc("plan", "--commit", "review/all-gone", "--base", "main", "--empty", ok=(2,))
    assert f"{len(guests)} to destroy;" in out


def test_the_comment_is_the_same_plan(clone, tmp_path):
    clone.branch("review/web9")
    clone.add_guest("web9")
    head = clone.commit("web9")
    file = tmp_path / "plan.md"
    ask = ("plan", "--commit", "HEAD", "--base", "main", "--empty")
    text = clone.pvc(*ask, "--markdown", file, ok=(2,))
    comment = file.read_text()
    assert comment.startswith("<!-- pvc-plan lab -->\n### pvc plan · lab · 1 to create, ")
    assert f"`{head[:7]}` onto `main` " in comment
    assert "| ➕ | `vm/web9` |" in comment
    effect = re.search(r"effect ([0-9a-f]{8})", text).group(1)
    assert f"effect `{effect}`" in comment
    assert "Policy and signers are read from `main`, not from this branch." in comment
    alone = clone.pvc(*ask, "--markdown", "-", ok=(2,))
    assert alone == comment


# --- the hook of docs/preview.md ---------------------------------------------------------------------


@pytest.fixture
def guarded(clone):
    """The bare repository with the documented hook, as an operator would set it up."""
    (text,) = HOOK.findall((ROOT / "docs/preview.md").read_text())
    hook = clone.bare / "hooks/pre-receive"
    hook.write_text(text)
    hook.chmod(0o755)
    _, files = read_commit(clone.bare, "main")
    spec = load(files, commit=clone.git("rev-parse", "main").strip())
    inventory = applied(spec, 0)
    export = codec.Export(inventory=inventory, policy=POLICY, parent=None, commit=spec.commit)
    (clone.bare / "pvc-inventory.json").write_bytes(codec.export_to_bytes(export))
    clone.environment = {"PATH": f"{PVC.parent}:{os.environ['PATH']}"}
    return clone


def push(clone, *refs, ok=(0,)):
    return call("git", "push", "origin", *refs, cwd=clone.path, ok=ok, **clone.environment)


def test_a_push_shows_the_plan_in_the_pushers_terminal(guarded):
    guarded.branch("review/web21")
    guarded.add_guest("web21")
    head = guarded.commit("web21")
    said = push(guarded, "review/web21")
    assert re.search(rf"remote: pvc lab · {head[:7]} against main [0-9a-f]{{7}}", said)
    assert re.search(r"remote:   \+ vm/web21 +1 vCPU, 96MiB.* +on hv\d", said)
    assert "remote: Plan: 1 to create, 0 to change, 0 to destroy;" in said
    assert "N-1 holds." in said
    assert f"remote: Exact if the cluster runs planner {PLANNER_VERSION}" in said
    assert call("git", "rev-parse", "review/web21", cwd=guarded.bare).strip() == head


def test_a_push_of_what_is_not_valid_is_refused_with_its_place(guarded):
    guarded.branch("review/typo")
    guarded.edit("vms/app1.yaml", "memory:", "memroy:")
    guarded.commit("typo")
    said = push(guarded, "review/typo", ok=(1,))
    assert re.search(r"remote: error: vms/app1.yaml:\d+:\d+ ", said)
    assert "pre-receive hook declined" in said
    assert "review/typo" not in call("git", "branch", "--list", cwd=guarded.bare)


def test_a_push_to_main_that_the_planner_blocks_is_refused(guarded):
    for file in (guarded.path / "vms").glob("*.yaml"):
        file.unlink()
    guarded.commit("all gone")
    said = push(guarded, "main", ok=(1,))
    assert "remote:   ! vm/" in said
    assert "BLOCKED" in said
    assert "remote: refused: main would be blocked" in said
    # On a branch it is only shown.
    assert "BLOCKED" in push(guarded, "main:review/all-gone")


def test_a_deleted_branch_is_no_business_of_the_hook(guarded):
    guarded.branch("review/web21")
    guarded.add_guest("web21")
    guarded.commit("web21")
    push(guarded, "review/web21")
    push(guarded, "--delete", "review/web21")


# --- replay ------------------------------------------------------------------------------------------


def export_of(spec, files, inventory):
    from pvc_gitops.model.export import Export, files_to_text

    return Export(
        inventory=inventory,
        policy=POLICY,
        parent=inventory.target,
        commit=spec.commit,
        files=files_to_text(files),
    )


def test_an_export_with_files_replays_anywhere_byte_for_byte(clone, tmp_path):
    commit, files = read_commit(clone.path, "main")
    spec = load(files, commit=commit)
    inventory = empty(spec, 1_800_000_000)
    expected = codec.plan_to_bytes(plan(spec, inventory, POLICY, inventory.target))
    file = tmp_path / "export.json"
    file.write_bytes(codec.export_to_bytes(export_of(spec, files, inventory)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for seed in ("1", "4711"):
        done = subprocess.run(
            [PVC, "plan", "--inventory", file, "--json", "-"], cwd=elsewhere, check=False,
            capture_output=True, timeout=120, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stdout == expected


def test_an_export_of_another_planner_says_that_it_is_not_exact(clone, tmp_path):
    commit, files = read_commit(clone.path, "main")
    spec = load(files, commit=commit)
    export = export_of(spec, files, empty(spec, 0))
    plain = json.loads(codec.export_to_bytes(export))
    plain["inventory"]["planner_version"] = "99.0.0"
    file = tmp_path / "export.json"
    file.write_text(json.dumps(plain))
    out = clone.pvc("plan", "--inventory", file, ok=(2,))
    assert f"NOT EXACT: the cluster plans with 99.0.0, this is {PLANNER_VERSION}" in out
    assert "pvc plan --remote" in out


def test_an_inventory_of_the_first_release_still_reads(clone):
    file = Path(__file__).parent / "inventory-of-0.1.0.json"
    out = clone.pvc("plan", "--inventory", file, ok=(2, 3))
    assert "Plan: " in out
