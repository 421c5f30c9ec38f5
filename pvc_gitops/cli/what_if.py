"""`pvc plan --what-if node=hv2`, `--every-node`: what a loss means for each guest."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import UsageError
from pvc_gitops.planner.what_if import Fate, Told, WhatIf, every_node, without

if TYPE_CHECKING:  # imported by who made it
    from pvc_gitops.cli.planning import Planned

_WIDTH = 80
_INDENT = 22
_HELD = 0
_NOT_HELD = 3
_WORDS = {
    Fate.MOVES: "-> {node}",
    Fate.RESTARTS: "starts again on {node}",
    Fate.DOWN: "stays down: {why}",
    Fate.HALTS: "halts on {node}: {why}",
}


def show(found: Planned, losses: Sequence[str], *, every_node: bool, json_file: str | None) -> int:
    """Print the answers; returns 0 if every guest that should find a place does, 3 if one does not."""
    if json_file not in (None, "-"):
        raise UsageError("--json of a what-if goes to standard output", hint="--json -")
    answers = [without(each, found.plan, found.spec, found.inventory) for each in losses]
    if every_node:
        answers += _every(found)
    if json_file == "-":
        from pvc_gitops.model.codec import encode

        click.echo(json.dumps(encode(answers), indent=2, sort_keys=True))
    else:
        click.echo("\n\n".join("\n".join(_text(answer)) for answer in answers))
    return _HELD if all(_is_good(answer) for answer in answers) else _NOT_HELD


def _every(found: Planned) -> list[WhatIf]:
    return list(every_node(found.plan, found.spec, found.inventory))


def _is_good(answer: WhatIf) -> bool:
    """Does nobody stay down who asked not to?"""
    return not any(
        told.fate is Fate.DOWN and not told.why.startswith("ha.") for told in answer.guests
    )


def _text(answer: WhatIf) -> Iterator[str]:
    yield f"without {answer.lost}: {_counts(answer.guests)}"
    for told in answer.guests:
        order = str(told.order) if told.order else "-"
        left = f"  {order:>3}  {'vm/' + told.vm:<14}"
        right = _WORDS[told.fate].format(node=told.node, why=told.why)
        yield from textwrap.wrap(
            f"{left} tier {told.tier}  {right}",
            _WIDTH,
            subsequent_indent=" " * _INDENT,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        )
    yield from (f"  {fact}" for fact in answer.facts)


def _counts(guests: Sequence[Told]) -> str:
    words = {
        Fate.MOVES: "start elsewhere",
        Fate.RESTARTS: "start again",
        Fate.HALTS: "halt",
        Fate.DOWN: "stay down",
    }
    found = []
    for fate, word in words.items():
        count = sum(told.fate is fate for told in guests)
        if count:
            found.append(f"{count} {word}")
    return ", ".join(found) or "no guest is concerned"
