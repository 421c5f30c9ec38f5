"""A person's checkout: what branch, what is not committed, where the tracked branch stands."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pygit2

from pvc_gitops.errors import RepoError, UsageError
from pvc_gitops.model.checkout import Checkout, Relation
from pvc_gitops.model.ids import CommitId

PUSH_TIMEOUT_S: Final = 120.0  # a slow forge with hooks; beyond that the person should see why


def read(repo: Path, tracked: str, cluster_tip: CommitId | None) -> Checkout:
    """The state of the checkout around `repo`, against the tracked branch.

    `cluster_tip` is where the cluster last saw the branch. The remote-tracking branch here may be newer
    (just pushed) or older; HEAD counts as pushed if either contains it.
    """
    git = _open(repo)
    if git.head_is_unborn:
        raise UsageError("the checkout has no commit yet", hint="git add -A && git commit")
    head = git.head.peel(pygit2.Commit).id
    branch = None if git.head_is_detached else git.head.shorthand
    remote = _remote(git, branch)
    tips = _tips(git, remote, tracked, cluster_tip)
    relation, ahead, behind, newest = _relation(git, head, tips)
    return Checkout(
        head=CommitId(str(head)),
        branch=branch,
        dirty=_dirty(git),
        remote=remote,
        relation=relation,
        ahead=ahead,
        behind=behind,
        newest_behind=newest,
    )


def push(repo: Path, remote: str, branch: str) -> None:
    """`git push` by the person's own git, with their keys, agents and hooks."""
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), "push", remote, branch],
            capture_output=True, text=True, timeout=PUSH_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        raise RepoError(
            "push", remote, f"no answer in {PUSH_TIMEOUT_S:.0f} s", retryable=True
        ) from err
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()
        raise RepoError("push", f"{remote}/{branch}", reason, retryable=True)


def commit_tree_of(repo: Path, commit: CommitId, message: str) -> CommitId:
    """A new commit on the branch that is checked out, with the content of an earlier one. Made by the
    person's own git, with their name, key and hooks; the checkout must have no changes."""
    _run(repo, "read-tree", "--reset", "-u", commit)
    _run(repo, "commit", "--quiet", "--message", message)
    return CommitId(_run(repo, "rev-parse", "HEAD"))


def _run(repo: Path, *argv: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(repo), *argv],
            capture_output=True, text=True, timeout=PUSH_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        raise RepoError(
            argv[0], str(repo), f"no end in {PUSH_TIMEOUT_S:.0f} s", retryable=True
        ) from err
    if done.returncode:
        reason = (done.stderr or done.stdout).strip()
        raise RepoError(argv[0], str(repo), reason, retryable=False)
    return done.stdout.strip()


def configured_host(repo: Path) -> str | None:
    """`pvc.host` of the checkout's git configuration."""
    found = pygit2.discover_repository(str(repo))
    if found is None:
        return None
    config = pygit2.Repository(found).config
    return str(config["pvc.host"]) if "pvc.host" in config else None


def _open(repo: Path) -> pygit2.Repository:
    found = pygit2.discover_repository(str(repo))
    if found is None:
        raise UsageError(
            f"{repo} is not inside a git checkout",
            hint="run this in a clone of the cluster's repository, or name one with --repo",
        )
    return pygit2.Repository(found)


def _remote(git: pygit2.Repository, branch: str | None) -> str:
    upstream = git.branches.local[branch].upstream if branch else None
    if upstream is not None:
        return str(upstream.remote_name)
    names = [remote.name for remote in git.remotes]
    if not names:
        raise UsageError(
            "the checkout has no remote, so the cluster cannot follow it",
            hint="git remote add origin URL && git push -u origin main",
        )
    return "origin" if "origin" in names else str(names[0])


def _tips(
    git: pygit2.Repository, remote: str, tracked: str, cluster_tip: CommitId | None
) -> list[pygit2.Oid | CommitId]:
    name = f"{remote}/{tracked}"
    tips: list[pygit2.Oid | CommitId] = []
    if name in git.branches.remote:
        tips.append(git.branches.remote[name].peel(pygit2.Commit).id)
    if cluster_tip is not None and str(cluster_tip) not in [str(tip) for tip in tips]:
        tips.append(cluster_tip)
    return tips


def _relation(
    git: pygit2.Repository, head: pygit2.Oid, tips: list[pygit2.Oid | CommitId]
) -> tuple[Relation, int, int, str]:
    """Against the furthest tip that is known here; a tip that is not here at all is news: behind."""
    best: tuple[Relation, int, int, str] = (Relation.AHEAD, _count(git, head), 0, "")
    for tip in tips:
        if tip not in git:
            return Relation.BEHIND, 0, 1, f"{str(tip)[:7]}, not fetched yet"
        ahead, behind = git.ahead_behind(head, _oid(tip))
        if not ahead and not behind:
            best = min(best, (Relation.SAME, 0, 0, ""), key=lambda each: each[1] + each[2])
        elif behind:
            newest = git[_oid(tip)].peel(pygit2.Commit)
            words = f"{newest.author.name}: {newest.message.splitlines()[0]}"
            return (Relation.DIVERGED if ahead else Relation.BEHIND), ahead, behind, words
        elif ahead < best[1]:
            best = (Relation.AHEAD, ahead, 0, "")
    return best


def _oid(tip: pygit2.Oid | CommitId) -> pygit2.Oid:
    return tip if isinstance(tip, pygit2.Oid) else pygit2.Oid(hex=tip)


def _count(git: pygit2.Repository, head: pygit2.Oid) -> int:
    return sum(1 for _ in git.walk(head))


def _dirty(git: pygit2.Repository) -> tuple[str, ...]:
    clean = pygit2.enums.FileStatus.CURRENT | pygit2.enums.FileStatus.IGNORED
    return tuple(sorted(path for path, flags in git.status().items() if flags & ~clean))
