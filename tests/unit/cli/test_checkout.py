"""What `pvc apply` says of a checkout, against real repositories."""

import subprocess
from pathlib import Path

import pytest

from pvc_gitops.adapters.git import checkout as git_checkout
from pvc_gitops.model.checkout import Relation, refusal
from pvc_gitops.model.ids import CommitId


def git(repo: Path, *argv: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repo), "-c", "user.name=ann", "-c", "user.email=ann@example", *argv],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def commit(repo: Path, name: str) -> str:
    (repo / name).write_text(name)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", f"add {name}")
    return git(repo, "rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    bare, repo = tmp_path / "remote.git", tmp_path / "clone"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
    subprocess.run(["git", "clone", "-q", bare, repo], check=True, capture_output=True)
    git(repo, "switch", "-qc", "main")
    commit(repo, "one")
    git(repo, "push", "-qu", "origin", "main")
    return repo


def test_a_clean_pushed_checkout_is_not_refused(clone: Path) -> None:
    state = git_checkout.read(clone, "main", None)
    assert state.relation is Relation.SAME
    assert refusal(state, "main", may_push=False) is None


def test_uncommitted_files_are_named(clone: Path) -> None:
    (clone / "one").write_text("changed")
    (clone / "new").write_text("new")
    state = git_checkout.read(clone, "main", None)
    refused = refusal(state, "main", may_push=True)
    assert refused is not None
    assert refused.exit_code == 1
    assert "2 files are not committed (new, one)" in refused.message


def test_an_unpushed_commit_is_refused_unless_pushing(clone: Path) -> None:
    commit(clone, "two")
    state = git_checkout.read(clone, "main", None)
    refused = refusal(state, "main", may_push=False)
    assert refused is not None
    assert refused.message == "1 commit is not pushed."
    assert "pvc apply --push" in refused.hint
    assert refusal(state, "main", may_push=True) is None


def test_pushing_makes_the_checkout_the_same_as_the_branch(clone: Path) -> None:
    commit(clone, "two")
    git_checkout.push(clone, "origin", "main")
    assert git_checkout.read(clone, "main", None).relation is Relation.SAME


def test_a_just_pushed_commit_counts_as_pushed_before_the_cluster_saw_it(clone: Path) -> None:
    before = CommitId(git(clone, "rev-parse", "HEAD"))
    commit(clone, "two")
    git_checkout.push(clone, "origin", "main")
    assert git_checkout.read(clone, "main", before).relation is Relation.SAME


def test_a_commit_that_only_the_cluster_has_means_behind(clone: Path) -> None:
    state = git_checkout.read(clone, "main", CommitId("9" * 40))
    refused = refusal(state, "main", may_push=False)
    assert refused is not None
    assert refused.exit_code == 4
    assert refused.hint == "git pull --rebase"


def test_behind_names_the_commit_that_is_missing(clone: Path) -> None:
    commit(clone, "two")
    git(clone, "push", "-q")
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    refused = refusal(git_checkout.read(clone, "main", None), "main", may_push=True)
    assert refused is not None
    assert refused.exit_code == 4
    assert refused.message == "origin/main is 1 commit ahead of you (ann: add two)."


def test_diverged_says_both_sides(clone: Path) -> None:
    commit(clone, "two")
    git(clone, "push", "-q")
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    commit(clone, "three")
    refused = refusal(git_checkout.read(clone, "main", None), "main", may_push=True)
    assert refused is not None
    assert "1 commit here, 1 commit there" in refused.message


def test_another_branch_is_refused_with_the_way_out(clone: Path) -> None:
    git(clone, "switch", "-qc", "add-mail")
    refused = refusal(git_checkout.read(clone, "main", None), "main", may_push=True)
    assert refused is not None
    assert "You are on add-mail; the cluster follows main." in refused.message


def test_a_refused_push_says_why(clone: Path) -> None:
    from pvc_gitops.errors import RepoError

    commit(clone, "two")
    git(clone, "push", "-q")
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    commit(clone, "three")
    with pytest.raises(RepoError, match="rejected"):
        git_checkout.push(clone, "origin", "main")
