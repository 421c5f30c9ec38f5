"""A program: the heads of all proposals into a mirror of their own, in a process of its own.

As `adapters.git.fetch`: JSON in, JSON out, no secret in argv or environment, no configuration of the
host, no hook. The mirror borrows the objects of the cluster's own one, so that a merge finds its base.
"""

from __future__ import annotations

import fcntl
import fnmatch
import json
import sys
from pathlib import Path
from typing import Any, Final

import pygit2

from pvc_gitops.adapters.git.fetch import (
    Callbacks,
    TooLargeError,
    forget_the_host,
    heads_of,
    open_mirror,
)
from pvc_gitops.adapters.git.fetch import Request as FetchRequest
from pvc_gitops.model.values import dataclass

LINE: Final = "{}\n"
OURS: Final = "refs/proposals/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to fetch."""

    path: str
    mirror: str  # whose objects are borrowed
    url: str
    credential: str | None
    patterns: list[str]  # of refs, with `*` for one word of a branch's name and more
    only_ours: bool  # leave out pull requests whose head is no branch of this very repository
    most: int
    bytes_max: int


def main() -> None:
    """Read the request, fetch, answer. A failure is an answer, too."""
    request = Request(**json.load(sys.stdin))
    forget_the_host()
    try:
        answer: dict[str, Any] = {"heads": fetch(request)}
    except (pygit2.GitError, TooLargeError, KeyError, ValueError, OSError) as err:
        answer = {"error": str(err.args[0]) if err.args else repr(err)}
    sys.stdout.write(LINE.format(json.dumps(answer)))


def fetch(request: Request) -> dict[str, str]:
    """Ref -> head, with all objects in the mirror; refs that are gone at the server are gone here."""
    path = Path(request.path)
    repository = open_mirror(path)
    with (path / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        alternates = path / "objects" / "info" / "alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        alternates.write_text(f"{request.mirror}/objects\n", encoding="utf-8")
        repository = open_mirror(path)
        remote = repository.remotes.create_anonymous(request.url)
        callbacks = FetchRequest(
            mirror=request.path,
            url=request.url,
            branch="",
            credential=request.credential,
            bytes_max=request.bytes_max,
        )
        wanted = chosen(heads_of(remote, Callbacks(callbacks)), request)
        for name in list(repository.references):
            if name.startswith(OURS) and f"refs/{name.removeprefix(OURS)}" not in wanted:
                repository.references.delete(name)
        missing = [ref for ref, tip in wanted.items() if _known(repository, ref) != tip]
        if missing:
            specs = [f"+{ref}:{_ours(ref)}" for ref in missing]
            remote.fetch(specs, callbacks=Callbacks(callbacks))
        return {ref: tip for ref, tip in wanted.items() if _known(repository, ref) == tip}


def chosen(heads: dict[str, str], request: Request) -> dict[str, str]:
    """The refs that are proposals; the first `most` by name, the newest pull requests first."""
    branches = {tip for name, tip in heads.items() if name.startswith("refs/heads/")}
    found = {}
    for name, tip in heads.items():
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in request.patterns):
            continue
        is_foreign = not name.startswith("refs/heads/") and tip not in branches
        if not (request.only_ours and is_foreign):
            found[name] = tip
    return dict(sorted(found.items(), key=_newest_first)[: request.most])


def _newest_first(item: tuple[str, str]) -> tuple[int, int, str]:
    numbers = [int(word) for word in item[0].split("/") if word.isdigit()]
    is_branch = item[0].startswith("refs/heads/")
    return (0, 0, item[0]) if is_branch else (1, -max(numbers, default=0), item[0])


def _ours(ref: str) -> str:
    return OURS + ref.removeprefix("refs/")


def _known(repository: Any, ref: str) -> str | None:  # noqa: ANN401  pygit2 has no types
    known = repository.references.get(_ours(ref))
    return None if known is None else str(known.target)


if __name__ == "__main__":
    main()
