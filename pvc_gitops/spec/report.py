"""Problems as text for people, annotations for forges, and data for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from pvc_gitops.model.problem import Problem

NUMBER_WIDTH: Final = 5  # of the line number beside the source; documents have at most 99,999 lines


def place(problem: Problem) -> str:
    """`vms/mail.yaml:14:13`, or as much of it as is known."""
    if not problem.line:
        return problem.file
    return f"{problem.file}:{problem.line}:{problem.column}"


def pretty(problem: Problem, *, word: str = "error") -> str:
    """One problem: place and message, the line with a caret, and what to write instead."""
    where = place(problem)
    head = f"{word}: {where}  {problem.message}" if where else f"{word}: {problem.message}"
    if not problem.source_line.strip():
        return head + (f"\n       {problem.hint}" if problem.hint else "")
    gutter = f"{problem.line:>{NUMBER_WIDTH}} | "
    width = max(1, min(problem.width, len(problem.source_line) - problem.column + 1))
    under = " " * NUMBER_WIDTH + " | " + " " * (problem.column - 1) + "^" * width
    tail = f"  {problem.hint}" if problem.hint else ""
    return f"{head}\n{gutter}{problem.source_line}\n{under}{tail}"


def summary(problems: Sequence[Problem], *, files: int, elapsed_ms: float) -> str:
    """The last line."""
    took = f"({elapsed_ms:.0f} ms)"
    if not problems:
        return f"{files} file{_s(files)} valid {took}"
    wrong = len({problem.file for problem in problems if problem.file})
    count = len(problems)
    return f"{count} problem{_s(count)} in {wrong} file{_s(wrong)} of {files} {took}"


def as_json(problems: Iterable[Problem]) -> str:
    """A list of objects, one a problem."""
    keys = ("file", "line", "column", "address", "code", "message", "hint")
    rows = [{key: getattr(problem, key) for key in keys} for problem in problems]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def as_github(problem: Problem, *, word: str = "error") -> str:
    """One workflow command; forges show it beside the line."""
    place_words = f"file={_property(problem.file)}"
    if problem.line:
        place_words += f",line={problem.line},col={problem.column}"
    text = problem.message + (f" ({problem.hint})" if problem.hint else "")
    return f"::{word} {place_words},title={_property(problem.code)}::{_data(text)}"


def as_junit(problems: Sequence[Problem], *, files: int) -> str:
    """One test case a problem, or one that passed."""
    rows = ['<?xml version="1.0" encoding="UTF-8"?>']
    count = max(1, len(problems))
    rows.append(f'<testsuite name="pvc validate" tests="{count}" failures="{len(problems)}">')
    for problem in problems:
        case = f"{problem.address or problem.file or 'repository'} {problem.code}"
        rows.append(
            f"  <testcase classname={_attribute(problem.file or 'repository')}"
            f" name={_attribute(case)}>"
        )
        rows.append(
            f"    <failure message={_attribute(problem.message)}>"
            f"{escape(_xml(pretty(problem)))}</failure>"
        )
        rows.append("  </testcase>")
    if not problems:
        rows.append(f'  <testcase classname="repository" name="{files} files"/>')
    rows.append("</testsuite>")
    return "\n".join(rows)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _data(text: str) -> str:
    # https://github.com/actions/toolkit, packages/core/src/command.ts: the three that would end it.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _xml(text: str) -> str:
    # XML 1.0 has no way at all to write most control characters.
    return "".join(char for char in text if char.isprintable() or char == "\n")


def _attribute(text: str) -> str:
    return quoteattr(_xml(text))
