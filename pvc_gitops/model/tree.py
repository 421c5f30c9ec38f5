"""What may lie in a repository (DESIGN section 4), for the git mirror and for a working tree alike.

Pure: entries go in, the paths to read and the refusals come out. Nobody follows a link or looks
into a submodule, because an entry that is one is refused here before anything is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.values import dataclass

KIB: Final = 1024
DOCUMENT_BYTES_MAX: Final = (
    256 * KIB
)  # a VM of 20 lines has half a KiB; 256 stops a bomb, not a person
USERDATA_BYTES_MAX: Final = 64 * KIB  # cloud-init's metadata services stop there too
SCRIPT_BYTES_MAX: Final = 256 * KIB
TFTP_BYTES_MAX: Final = 16 * KIB * KIB  # ipxe.efi is about 1 MiB, an installer's kernel about 10
TOTAL_BYTES_MAX: Final = 64 * KIB * KIB
ENTRIES_MAX: Final = 50_000  # five times the largest cluster of DESIGN section 15

# Folders that hold documents of kinds that this release does not know yet: read, so that their
# documents can be refused with a reason instead of being passed over in silence.
FUTURE_FOLDERS: Final = frozenset({"profiles", "sets", "templates", "policies"})
# Folders of files that documents refer to by name. They are not documents.
FILE_FOLDERS: Final = {
    "userdata": USERDATA_BYTES_MAX,
    "scripts": SCRIPT_BYTES_MAX,
    "tftp": TFTP_BYTES_MAX,
    "trust": DOCUMENT_BYTES_MAX,
}
UNREAD_FOLDERS: Final = frozenset({"docs", "tests"})
DOCUMENT_FOLDERS: Final = frozenset(
    folder for _, folder in DOCUMENT_KINDS.values() if folder and folder not in UNREAD_FOLDERS
)
TOP_DOCUMENTS: Final = frozenset({"cluster.yaml", "transitions.yaml"})

_PART: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}\Z")
# What nearly all entries are, seen to be good at one look.
_GOOD_DOCUMENT: Final = re.compile(
    rf"(?:cluster|(?:{'|'.join(sorted(DOCUMENT_FOLDERS))})/[a-z0-9][a-z0-9._-]{{0,122}})\.yaml\Z"
)
_FILE_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


class EntryType(StrEnum):
    """What an entry of a tree is, before anybody opens it."""

    FILE = "file"
    SYMLINK = "symlink"
    SUBMODULE = "submodule"  # a commit in a tree; in a folder: another repository's checkout
    OTHER = "other"  # a socket, a device, a pipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a tree. `path` is relative to its root, with `/`."""

    path: str
    type: EntryType
    size_bytes: int


def is_read(path: str) -> bool:
    """Does this path lie where anything is read at all? Used to prune a walk, folders included."""
    if path.startswith(".") or "/." in path:
        return False
    return path.partition("/")[0] not in UNREAD_FOLDERS


def admit(entries: Iterable[Entry]) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """Say which paths are read, and refuse what must not be there.

    Returns:
        The paths in order, and the problems in order of path. Where there are problems, nothing of
        the tree may be adopted.
    """
    admitted: list[str] = []
    problems: list[Problem] = []
    total = 0
    for count, entry in enumerate(sorted(entries, key=lambda entry: entry.path)):
        if count >= ENTRIES_MAX:
            problems.append(_problem("", "too-many-files", f"more than {ENTRIES_MAX} entries"))
            break
        if (
            entry.type is EntryType.FILE
            and entry.size_bytes <= DOCUMENT_BYTES_MAX
            and _GOOD_DOCUMENT.match(entry.path)
        ):
            admitted.append(entry.path)
            total += entry.size_bytes
            continue
        if not is_read(entry.path):
            continue
        refusal = _refusal(entry)
        if refusal is not None:
            problems.append(refusal)
        elif _is_wanted(entry.path):
            admitted.append(entry.path)
            total += entry.size_bytes
    if total > TOTAL_BYTES_MAX:
        problems.append(
            _problem(
                "",
                "too-large",
                f"the files that are read have {_mib(total)} in all, {_mib(TOTAL_BYTES_MAX)} is the most",
                hint="large files belong on the server that images come from",
            )
        )
    return tuple(admitted), tuple(problems)


def _is_wanted(path: str) -> bool:
    top, slash, _ = path.partition("/")
    if not slash:
        return path in TOP_DOCUMENTS
    if top in FILE_FOLDERS:
        return True
    return path.endswith(".yaml")


def _refusal(entry: Entry) -> Problem | None:  # noqa: PLR0911  one return a rule
    path = entry.path
    top, slash, rest = path.partition("/")
    is_top_file = not slash
    in_read_folder = top in DOCUMENT_FOLDERS | FUTURE_FOLDERS | FILE_FOLDERS.keys()
    is_yaml_like = path.lower().endswith((".yaml", ".yml"))
    # A submodule stands for a whole folder; it counts where its folder would be read.
    if entry.type is not EntryType.FILE and (is_top_file or in_read_folder or is_yaml_like):
        return _link_refusal(entry, is_read=in_read_folder or is_yaml_like or top in _ALL_FOLDERS)
    if entry.type is not EntryType.FILE:
        return None
    if top in FILE_FOLDERS and slash:
        return _name_refusal(path, _FILE_PART) or _size_refusal(entry, FILE_FOLDERS[top])
    if is_yaml_like and not path.endswith(".yaml"):
        stem = path.rsplit(".", 1)[0]
        return _problem(
            path,
            "wrong-ending",
            "documents end in .yaml; this file would never be read",
            hint=f"git mv {path} {stem}.yaml",
        )
    if not path.endswith(".yaml"):
        return None
    if is_top_file and path not in TOP_DOCUMENTS:
        return _problem(
            path,
            "foreign-file",
            "only cluster.yaml and transitions.yaml may stand at the top",
            hint=_folder_hint(path),
        )
    if not is_top_file and not in_read_folder:
        return _problem(
            path,
            "foreign-folder",
            f'no documents are read from "{top}/"',
            hint=_folder_hint(path),
        )
    if top in DOCUMENT_FOLDERS and "/" in rest:
        return _problem(
            path,
            "foreign-folder",
            f"documents stand directly in {top}/",
            hint=f"git mv {path} {top}/{path.rsplit('/', 1)[1]}",
        )
    return _name_refusal(path, _PART) or _size_refusal(entry, DOCUMENT_BYTES_MAX)


_ALL_FOLDERS: Final = DOCUMENT_FOLDERS | FUTURE_FOLDERS | FILE_FOLDERS.keys()


def _link_refusal(entry: Entry, *, is_read: bool) -> Problem | None:
    if not is_read:
        return None
    if entry.type is EntryType.SUBMODULE:
        hint = "put the documents themselves here; a cluster reads one repository"
    elif entry.type is EntryType.SYMLINK:
        hint = "replace it by the file it points to"
    else:
        hint = "remove it"
    words = {
        EntryType.SYMLINK: "is a symbolic link; links are never followed",
        EntryType.SUBMODULE: "is another repository (a submodule); none is looked into",
    }
    message = words.get(entry.type, "is not a regular file")
    return _problem(entry.path, entry.type.value, message, hint=hint)


def _name_refusal(path: str, part: re.Pattern[str]) -> Problem | None:
    # `[a-z0-9._-]` leaves no case clash, no look-alike letters and no control characters (DESIGN D8).
    if all(part.match(name) for name in path.split("/")):
        return None
    return _problem(
        path,
        "bad-name",
        "names have small letters a-z, digits, `-`, `_` and `.`, and begin with a letter or digit"
        if part is _PART
        else "names have letters a-z, digits, `-`, `_` and `.`",
        hint="rename it with git mv",
    )


def _size_refusal(entry: Entry, limit_bytes: int) -> Problem | None:
    if entry.size_bytes <= limit_bytes:
        return None
    return _problem(
        entry.path,
        "too-large",
        f"has {entry.size_bytes} bytes, {limit_bytes} is the most here",
        hint="large files belong on the server that images come from",
    )


def _folder_hint(path: str) -> str:
    import difflib

    top, slash, rest = path.partition("/")
    close = difflib.get_close_matches(top, sorted(_ALL_FOLDERS), n=1) if slash else []
    if close:
        return f"did you mean {close[0]}/? git mv {path} {close[0]}/{rest}"
    return "documents stand in " + ", ".join(sorted(DOCUMENT_FOLDERS)) + "; docs/ is not read"


def _mib(count: int) -> str:
    return f"{count / KIB / KIB:.1f} MiB"


def _problem(path: str, code: str, message: str, *, hint: str = "") -> Problem:
    return Problem(file=path, line=0, column=0, address="", code=code, message=message, hint=hint)
