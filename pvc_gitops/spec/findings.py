"""From "this field of that document" to a `Problem` with its line, caret and neighbours.

Checks collect findings by field; places are looked up once for each document that has any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from pvc_gitops.model.document import Document, FieldPath, Value
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.places import field_spots
from pvc_gitops.spec.scalars import Ambiguous, Resolver

if TYPE_CHECKING:  # the parser is imported where there are findings
    from pvc_gitops.spec.documents import Spot

SHOWN_MAX: Final = 60  # characters of a value in a message
LINE_MAX: Final = 160  # characters of a source line; what is longer is not for people
CANDIDATES_MAX: Final = 200  # names that a misspelled one is compared with
NAMES_SHOWN_MAX: Final = 6  # of what exists, when nothing is close to what was written


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong with a field of a document that its schema accepts."""

    document: Document
    path: FieldPath
    code: str
    message: str
    hint: str = ""
    at_key: bool = False  # point at the key; else at the value, where that is a scalar


def shown(value: Value) -> str:
    """A value in a message: short, on one line, without control characters."""
    if isinstance(value, Ambiguous):
        return value.text[:SHOWN_MAX]
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    told = json.dumps(value, ensure_ascii=True)
    return told if len(told) <= SHOWN_MAX else told[: SHOWN_MAX - 4] + '…"'


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that is closest to `word`, if one is close."""
    candidates = sorted(known)
    if len(candidates) > CANDIDATES_MAX:
        # Comparing costs 20 us a name. People get the first letter right, and about the length.
        near = [
            name
            for name in candidates
            if name[:1] == word[:1].lower() and abs(len(name) - len(word)) <= 2  # noqa: PLR2004
        ]
        candidates = near[:CANDIDATES_MAX]
    import difflib  # only for a mistake

    close = difflib.get_close_matches(word[:100].lower(), candidates, n=1, cutoff=0.6)
    if close:
        return close[0]
    starting = [name for name in candidates if word and name.startswith(word)]
    return starting[0] if len(starting) == 1 else None


def path_text(path: Iterable[str | int]) -> str:
    """`("spec", "disks", 0, "size")` is `spec.disks[0].size`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part if part.isprintable() else shown(part)
            text += f".{word[:SHOWN_MAX]}" if text else word[:SHOWN_MAX]
    return text


def source_line(lines: list[str], line: int) -> str:
    """Line `line` (from 1), cut, with what would move a terminal's cursor made visible."""
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    cut = text[:LINE_MAX].replace("\t", " ")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)


def located(findings: Iterable[Finding], files: Mapping[str, bytes]) -> list[Problem]:
    """Findings with their places."""
    from pvc_gitops.spec.documents import Spots, decode, lines_of, parse

    by_file: dict[str, list[Finding]] = {}
    for finding in findings:
        by_file.setdefault(finding.document.file, []).append(finding)
    result: list[Problem] = []
    for file, of_file in by_file.items():
        spots = Spots()
        value = parse(files[file], Resolver(), spots)
        lines = lines_of(decode(files[file]))
        at = field_spots(of_file[0].document.kind, value, spots)
        result.extend(_problem(finding, at, lines) for finding in of_file)
    return result


def _problem(finding: Finding, at: Mapping[FieldPath, Spot], lines: list[str]) -> Problem:
    path = finding.path
    while path and path not in at:
        path = path[:-1]
    spot = at.get(path)
    line, column, width = (1, 1, 1) if spot is None else caret(spot, at_key=finding.at_key)
    return Problem(
        file=finding.document.file,
        line=line,
        column=column,
        address=finding.document.address,
        code=finding.code,
        message=finding.message,
        hint=finding.hint,
        source_line=source_line(lines, line),
        width=width,
    )


def caret(spot: Spot, *, at_key: bool) -> tuple[int, int, int]:
    """Line, column and width to underline: the value if it is a scalar with text, else the key."""
    if at_key or spot.text is None or (spot.text == "" and spot.is_plain):
        return spot.key_line, spot.key_column, spot.key_width
    return spot.line, spot.column, spot.width
