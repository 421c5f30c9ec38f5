"""`pvc rollback --push`: the person's own git makes a commit with the content of an earlier one."""

from __future__ import annotations

import subprocess

import pytest

from pvc_gitops.adapters.git.checkout import commit_tree_of
from pvc_gitops.errors import RepoError


@pytest.fixture
def repo(tmp_path, monkeypatch):
    for key, value in (("HOME", str(tmp_path)), ("GIT_CONFIG_NOSYSTEM", "1")):
        monkeypatch.setenv(key, value)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "ann")
    git(tmp_path, "config", "user.email", "ann@lab.example")
    return tmp_path


def git(repo, *argv):
    done = subprocess.run(
        ["git", "-C", str(repo), *argv], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(repo, **files):
    for name, text in files.items():
        (repo / name).write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", " ".join(files))
    return git(repo, "rev-parse", "HEAD")


def test_the_content_is_that_of_the_earlier_commit_over_merges_and_new_files(repo):
    good = commit(repo, web="2GiB", mail="4GiB")
    git(repo, "checkout", "-q", "-b", "side")
    commit(repo, side="new")
    git(repo, "checkout", "-q", "main")
    commit(repo, web="4GiB")
    git(repo, "merge", "-q", "--no-edit", "side")
    git(repo, "rm", "-q", "mail")
    bad = commit(repo, web="8GiB")
    made = commit_tree_of(repo, good, "Revert to good\n\nThis takes back bad.\n")
    assert git(repo, "rev-parse", "HEAD") == made
    assert git(repo, "rev-parse", "HEAD~") == bad
    assert git(repo, "rev-parse", "HEAD^{tree}") == git(repo, "rev-parse", f"{good}^{{tree}}")
    assert (repo / "web").read_text() == "2GiB"
    assert not (repo / "side").exists()
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "log", "-1", "--format=%an %s") == "ann Revert to good"


def test_a_hook_that_refuses_is_heard(repo):
    good = commit(repo, web="2GiB")
    bad = commit(repo, web="4GiB")
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RepoError, match="not on a Friday"):
        commit_tree_of(repo, good, "Revert")
    assert git(repo, "rev-parse", "HEAD") == bad
