"""What is wrong with a document, and where."""

from __future__ import annotations

from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing that keeps a repository from being adopted.

    `line` and `column` count from 1; 0 means that the problem has no place (a missing file).
    `address` is "" where the document could not be understood far enough to have one.
    """

    file: str  # path inside the repository
    line: int
    column: int
    address: str
    code: str  # stable, kebab-case: `unknown-key`, `missing-unit`, `dangling-reference`
    message: str
    hint: str = ""  # what to write instead, or what to run
    source_line: str = ""  # the offending line, without its newline
    width: int = 1  # how many characters the caret underlines
