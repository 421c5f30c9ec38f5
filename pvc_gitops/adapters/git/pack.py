"""Objects of a commit from one mirror to another, without an origin between them: git's own pack format,
written and read by git's own programs in children with time limits.

What comes is named by its content. A pack that lacks something, or holds something broken, is refused
whole; nothing in it can be other than what the commit's id says.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import pygit2

from pvc_gitops.errors import RepoError
from pvc_gitops.model.ids import CommitId

LIMIT_S: Final = 60.0  # a mirror of 256 MiB takes a few seconds
WORDS_MAX: Final = 300
# Later fetches need not transfer again what came from a peer.
REF: Final = "refs/remotes/peers/accepted"
_ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "LC_ALL": "C.UTF-8",
}


def write(mirror: Path, head: CommitId, known: Sequence[CommitId]) -> BinaryIO:
    """A file, at its beginning, with all objects of `head` that `known` do not have. Raises RepoError."""
    body = tempfile.TemporaryFile()  # noqa: SIM115  handed over
    revisions = "".join([f"{head}\n", *(f"^{commit}\n" for commit in known)])
    argv = ("pack-objects", "--revs", "--stdout", "--quiet", "--delta-base-offset")
    try:
        _git(mirror, argv, revisions.encode(), "pack", head, stdout=body)
    except RepoError:
        body.close()
        raise
    body.seek(0)
    return body


def read(mirror: Path, head: CommitId, pack: bytes | BinaryIO) -> None:
    """Take up a pack, bytes or an open file at its beginning, whose newest commit is `head`.

    Raises:
        RepoError: it is broken or not whole. What is whole in it may be here then; no ref names it.
    """
    unpack = ("index-pack", "--stdin", "--strict", "--fix-thin")
    _git(mirror, unpack, pack, "unpack", head)
    # Whole: every object that the commit reaches is here, also those that were said to be here before.
    _git(mirror, ("rev-list", "--objects", "--quiet", head), b"", "verify", head)
    repository = pygit2.Repository(str(mirror))
    repository.references.create(REF, pygit2.Oid(hex=head), force=True)


def output(mirror: Path, argv: tuple[str, ...], operation: str, target: str) -> bytes:
    """What one of git's programs prints. Raises RepoError."""
    with tempfile.TemporaryFile() as printed:
        _git(mirror, argv, b"", operation, target, stdout=printed)
        printed.seek(0)
        return printed.read()


def _git(
    mirror: Path,
    argv: tuple[str, ...],
    stdin: bytes | BinaryIO,
    operation: str,
    target: str,
    *,
    stdout: BinaryIO | int = subprocess.DEVNULL,
) -> None:
    given: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    try:
        done = subprocess.run(
            ["git", f"--git-dir={mirror}", *argv],
            **given, stdout=stdout, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False,
            env={"PATH": os.environ.get("PATH", ""), **_ENVIRONMENT},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as err:
        raise RepoError(operation, target, str(err), retryable=True) from err
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-WORDS_MAX:]
        raise RepoError(operation, target, words or f"status {done.returncode}", retryable=True)
