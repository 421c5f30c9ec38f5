"""A program: one fetch into a bare mirror, in a process of its own. Imports pygit2 and nothing of ours.

The request comes as JSON on standard input (no secret in argv, none in the environment), the answer goes
as JSON to standard output. libgit2 can hang in a connection for as long as the other side likes, and a
C library that reads foreign bytes had better crash here than in the agent. No configuration of the host
is read, no hook or filter runs, nothing is checked out; one branch comes to a ref of ours.

What comes is looked at here, where it can do no harm: this process may have little memory, and a blob
that unpacks to gigabytes ends it and not the agent.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pygit2
from pygit2.enums import ConfigLevel, CredentialType, Option

LINE: Final = "{}\n"
INSPECTED: Final = "refs/inspected"
SUBMODULE: Final = 0o160000
OUT_OF_MEMORY: Final = "Out of memory"  # libgit2's
BOMB: Final = "something in it unpacks to more than a fetch may have memory for"
MAPPED_BYTES_MAX: Final = 512 * 1024 * 1024
# Pages of a pack that libgit2 is still writing; a killed fetch leaves them behind.
PACK_PARTS: Final = frozenset({".pack", ".idx", ".rev", ".keep", ".bitmap"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to fetch. `credential`: an ssh private key (PEM), or a password or token for http."""

    mirror: str
    url: str
    branch: str
    credential: str | None
    bytes_max: int
    objects_max: int = 1_000_000
    blob_bytes_max: int = 64 * 1024 * 1024  # four times what is read of the largest file
    memory_bytes_max: int | None = None  # of this process; None: as the parent's
    ref: str = ""  # where the branch comes to; "" is refs/remotes/source/BRANCH


class TooLargeError(Exception):
    """The pack, or something in it, went over a limit."""


class Callbacks(pygit2.RemoteCallbacks):
    """Our credential once, only to the server that we know, and a stop at the size limit."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self._request = request
        self._tried = False

    def credentials(self, url: str, username_from_url: str | None, allowed_types: int) -> Any:  # noqa: ANN401
        secret = self._request.credential
        if secret is None:
            raise pygit2.GitError(f"{url} asks for a login and the seed of this node has none")
        if self._tried:  # libgit2 asks again and again for one that is refused
            raise pygit2.GitError("the login is refused")
        self._tried = True
        if allowed_types & CredentialType.SSH_KEY:
            return pygit2.KeypairFromMemory(username_from_url or "git", None, secret, "")
        return pygit2.UserPass(username_from_url or "git", secret.strip())

    def certificate_check(self, certificate: Any, valid: bool, host: Any) -> bool:  # noqa: ANN401  pygit2's
        """Without this pygit2 takes every ssh server, whatever known_hosts says."""
        del certificate
        if not valid:
            name = host.decode(errors="replace") if isinstance(host, bytes) else host
            raise pygit2.GitError(
                f"{name} does not prove who it is: its ssh key is not in known_hosts (source.host_keys),"
                " or its certificate is not valid"
            )
        return True

    def transfer_progress(self, stats: Any) -> None:  # noqa: ANN401
        if stats.total_objects > self._request.objects_max:
            raise TooLargeError(
                f"it sends {stats.total_objects} objects, {self._request.objects_max} is the most"
            )
        if stats.received_bytes > self._request.bytes_max:
            raise TooLargeError(
                f"more than {self._request.bytes_max // 1024 // 1024} MiB come from it;"
                " large files belong on the server that images come from"
            )


def main() -> None:
    """Read the request, fetch, answer. A failure is an answer, too."""
    request = Request(**json.load(sys.stdin))
    forget_the_host()
    if request.memory_bytes_max is not None:
        resource.setrlimit(resource.RLIMIT_AS, (request.memory_bytes_max, request.memory_bytes_max))
    try:
        answer = {"tip": fetch(request)}
    except MemoryError:
        answer = {"error": BOMB}
    except (pygit2.GitError, TooLargeError, TypeError, KeyError, ValueError, OSError) as err:
        reason = str(err.args[0]) if err.args else repr(err)
        answer = {"error": BOMB if reason == OUT_OF_MEMORY else reason}
    sys.stdout.write(LINE.format(json.dumps(answer)))


def fetch(request: Request) -> str:
    """The branch's tip, with all its objects in the mirror."""
    mirror = Path(request.mirror)
    open_mirror(mirror)
    with (mirror / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ours = request.ref or f"refs/remotes/source/{request.branch}"
        if _is_torn(mirror, ours):
            _empty(mirror)
        repository = open_mirror(mirror)
        remote = repository.remotes.create_anonymous(request.url)
        tip = _tip(remote, request)
        known = repository.references.get(ours)
        if known is None or str(known.target) != tip:
            _sweep(mirror)
            # A plus: what the branch holds now is taken down as it is. Whether it may be adopted is
            # decided elsewhere, by ancestry.
            remote.fetch([f"+refs/heads/{request.branch}:{ours}"], callbacks=Callbacks(request))
            tip = str(repository.references[ours].target)
        _inspect(repository, tip, f"{INSPECTED}/{ours.removeprefix('refs/')}", request)
        return tip


def _inspect(repository: Any, tip: str, mark: str, request: Request) -> None:  # noqa: ANN401
    """Refuse a tip that is no commit, or whose files nobody could want. The mark remembers the last
    one that was fine, so that only what changed since is looked at."""
    known = repository.references.get(mark)
    if known is not None and str(known.target) == tip:
        return  # the usual case
    found = repository[tip]
    if not isinstance(found, pygit2.Commit):
        raise TypeError(
            f"the branch {request.branch} points at a {found.type_str}, and not at a commit"
        )
    before = None if known is None else repository.get(known.target)
    if isinstance(before, pygit2.Commit):
        deltas = before.tree.diff_to_tree(found.tree).deltas
    else:
        deltas = found.tree.diff_to_tree(swap=True).deltas
    for delta in deltas:
        file = delta.new_file
        if delta.status_char() == "D" or file.mode == SUBMODULE:
            continue
        size = repository[file.id].size
        if size > request.blob_bytes_max:
            raise TooLargeError(
                f"{file.path} has {size // 1024 // 1024} MiB, {request.blob_bytes_max // 1024 // 1024}"
                " is the most; large files belong on the server that images come from"
            )
    repository.references.create(mark, found.id, force=True)


def open_mirror(path: Path) -> Any:  # noqa: ANN401
    """The bare repository; made where none stands."""
    if (path / "HEAD").exists():
        return pygit2.Repository(str(path))
    path.mkdir(parents=True, exist_ok=True)
    return pygit2.init_repository(str(path), bare=True)


def _is_torn(mirror: Path, ref: str) -> bool:
    """Whether a power cut left a ref without the objects that it names. libgit2 would take it for the
    tip, transfer nothing, and the mirror would never be whole again. And whether HEAD was left empty,
    which libgit2 passes over and git itself takes for no repository."""
    if not (mirror / "HEAD").read_bytes().strip():
        return True
    try:
        repository = pygit2.Repository(str(mirror))
        known = repository.references.get(ref)
        return known is not None and repository[known.target].peel(pygit2.Tree) is None
    except (pygit2.GitError, KeyError, ValueError):
        return True


def _empty(mirror: Path) -> None:
    """Everything comes from the origin again. The lock's file stays: others wait at it."""
    for folder in ("refs", "objects"):
        shutil.rmtree(mirror / folder, ignore_errors=True)
    for file in ("packed-refs", "HEAD"):
        (mirror / file).unlink(missing_ok=True)


def _tip(remote: Any, request: Request) -> str:  # noqa: ANN401
    wanted = f"refs/heads/{request.branch}"
    heads = heads_of(remote, Callbacks(request))
    if wanted in heads:
        return heads[wanted]
    branches = sorted(
        name.removeprefix("refs/heads/") for name in heads if name.startswith("refs/heads/")
    )
    if not branches:
        raise ValueError(f"the repository is empty: it has no branch {request.branch}")
    raise ValueError(
        f"the branch {request.branch} is not there any more; the repository has {', '.join(branches[:5])}"
    )


def heads_of(remote: Any, callbacks: Callbacks) -> dict[str, str]:  # noqa: ANN401
    """What the server has: ref -> commit."""
    if hasattr(remote, "list_heads"):  # pygit2 1.18 and later
        return {str(head.name): str(head.oid) for head in remote.list_heads(callbacks=callbacks)}
    return {str(head["name"]): str(head["oid"]) for head in remote.ls_remotes(callbacks=callbacks)}


def _sweep(mirror: Path) -> None:
    packs = mirror / "objects" / "pack"
    for left in packs.iterdir() if packs.is_dir() else ():
        if left.suffix not in PACK_PARTS:
            left.unlink()


def forget_the_host() -> None:
    """No configuration of this machine or its environment counts."""
    for level in (ConfigLevel.SYSTEM, ConfigLevel.GLOBAL, ConfigLevel.XDG):
        pygit2.settings.search_path[level] = ""
    # A bare repository on this machine may belong to another account; nothing of it is executed.
    pygit2.option(Option.SET_OWNER_VALIDATION, 0)
    # Packs are mapped as far as this process's memory allows.
    pygit2.option(Option.SET_MWINDOW_MAPPED_LIMIT, MAPPED_BYTES_MAX)
    # Objects are on the disk before the ref that names them.
    pygit2.option(Option.ENABLE_FSYNC_GITDIR, 1)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]


if __name__ == "__main__":
    main()
