"""The text of a plan, from the plan and from nothing else (DESIGN section 5): `lines`, drawn for a
terminal of some width, with or without Unicode and colour."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import Address
from pvc_gitops.model.plan import Action, ItemKind, Plan
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner import lines, lines_moves
from pvc_gitops.planner.lines import last_line, seconds

__all__ = ["last_line", "text"]

_SIGNS: Final[Mapping[tuple[Action, ...], tuple[str, str, str]]] = {
    # actions: sign, word without Unicode, colour
    (Action.CREATE,): ("+", "+", "32"),
    (Action.UPDATE,): ("~", "~", "33"),
    (Action.DELETE,): ("-", "-", "31"),
    (Action.DELETE, Action.CREATE): ("±", "replace", "35"),
    (Action.RESTORE,): ("↺", "restore", "32"),
    (Action.MOVE,): ("→", "move", "33"),
    (Action.ADOPT,): ("←", "adopt", "33"),
    (Action.FORGET,): (".", "forget", "33"),
    (Action.NONE,): ("=", "=", "0"),
}
_COLUMN_MAX: Final = 26  # where the text of a line begins at the latest; longer names stand alone
_MARGIN: Final = 4  # before an address: two blanks, the sign, a blank
_FACT: Final = 11  # where the text of the last block begins
_GAP: Final = 2  # blanks that keep two columns apart
_TEXT_MIN: Final = 30  # narrower than this, text runs over the margin instead
_PAINT: Final = re.compile(r"\x1b\[\d+m")
_COMMIT_DIGITS: Final = 7
_ALREADY_MAX: Final = 6  # of what the base alone would do


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    width: int
    unicode: bool
    color: bool
    column: int

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code != "0" else text

    def ascii(self, text: str) -> str:
        if self.unicode:
            return text
        return text.replace("…", "...").replace("·", "-").replace("×", "x")


def text(
    plan: Plan,
    *,
    width: int = 80,
    unicode: bool = True,
    color: bool = False,
    elapsed_s: float | None = None,
    already: frozenset[Address] = frozenset(),
) -> str:
    """The plan for people.

    Args:
        plan: all that is shown.
        width: columns.
        unicode: signs beyond ASCII may be used.
        color: ANSI colours may be used.
        elapsed_s: what making it took, for the line that says `nothing`.
        already: changes that the base alone would make too; they are named, not shown.
    """
    style = _Style(width=width, unicode=unicode, color=color, column=_column(plan))
    body = [*_changes(plan, already, style), *_blocked(plan, style), *_notes(plan, style)]
    items = [*_items(plan, style), *_already(plan, already, style)]
    facts = [*_facts(plan, style), *map(style.ascii, lines_moves.rebalanced(plan))]
    parts = ["\n".join(block) for block in (body, items, facts) if block]
    parts.append("\n".join(_last_lines(plan, style, elapsed_s)))
    return "\n\n".join(parts)


def _last_lines(plan: Plan, style: _Style, elapsed_s: float | None) -> Iterator[str]:
    if plan.is_empty and plan.summary.waiting and not plan.summary.blocked:
        yield f"Nothing to do now: {plan.summary.waiting} of {plan.summary.objects} objects wait."
        return
    if plan.is_empty and not plan.summary.blocked:
        commit = plan.commit[:_COMMIT_DIGITS] if plan.commit else "the folder"
        took = "" if elapsed_s is None else f", {elapsed_s:.2f} s"
        yield f"Nothing to do: {commit} is applied ({plan.summary.objects} objects{took})."
        return
    yield last_line(plan.summary)
    yield style.ascii(f"effect {plan.effect} · plan {plan.id} · planner {plan.planner_version}")


# --- changes ---------------------------------------------------------------------------------------


def _changes(plan: Plan, already: frozenset[Address], style: _Style) -> Iterator[str]:
    for row in lines.rows(plan, without=already):
        sign, word, colour = _SIGNS[row.actions]
        head = f"  {style.paint(sign if style.unicode else word, colour)} "
        remark = f"on {', '.join(row.nodes)}" if row.nodes else row.remark
        details = [(each.text, str(each.place or "")) for each in row.details]
        yield from _rows(head, row.title, details, remark, style)


def _column(plan: Plan) -> int:
    """Where text begins: as far left as all addresses of ordinary length allow."""
    addresses = [each.address for each in plan.changes] + [each.address for each in plan.report]
    longest = max((len(each) for each in addresses), default=0)
    return min(_COLUMN_MAX, _MARGIN + longest + _GAP)


def _rows(
    head: str, title: str, details: Sequence[tuple[str, str]], remark: str, style: _Style
) -> Iterator[str]:
    """The address, what changes beside it, where or why at the right margin."""
    found: list[tuple[str, str]] = []
    for number, (detail, right) in enumerate(details or (("", ""),)):
        side = remark if remark and not number else right
        room = style.width - style.column - (len(side) + _GAP if side else 0)
        pieces = textwrap.wrap(style.ascii(detail), max(room, _TEXT_MIN), break_on_hyphens=False)
        found += [(piece, side if not index else "") for index, piece in enumerate(pieces or [""])]
    title = style.ascii(title)
    if len(title) + _MARGIN + _GAP > style.column and found[0][0]:
        found.insert(0, ("", found[0][1]))
        found[1] = (found[1][0], "")
    for index, (detail, right) in enumerate(found):
        left = f"{head}{title}" if not index else ""
        pad = style.column - (_MARGIN + len(title) if not index else 0)
        yield _two_sided(f"{left}{' ' * pad}{detail}", right, style.width + _painted(left))


def _painted(text: str) -> int:
    """Characters of a text that a terminal does not show."""
    return len(text) - len(_PAINT.sub("", text))


def _two_sided(left: str, right: str, width: int) -> str:
    """`left`, and `right` at the right margin, or on a line of its own where both do not fit."""
    left = left.rstrip()
    if not right:
        return left
    gap = width - len(left) - len(right)
    return left + " " * gap + right if gap >= _GAP else f"{left}\n{right.rjust(width)}"


# --- report ----------------------------------------------------------------------------------------


def _blocked(plan: Plan, style: _Style) -> Iterator[str]:
    for item in lines.items(plan.report, ItemKind.BLOCKED):
        details = (
            (f"BLOCKED: {item.text}", str(item.place or "")),
            (f"to allow: {item.remedy}", ""),
        )
        yield from _rows(f"  {style.paint('!', '31')} ", item.title, details, "", style)


def _notes(plan: Plan, style: _Style) -> Iterator[str]:
    for item in lines.items(plan.report, ItemKind.NOTE):
        yield from _rows("  = ", item.title, ((item.text, ""),), "", style)


def _items(plan: Plan, style: _Style) -> Iterator[str]:
    for kind, title in lines.ITEM_TITLES:
        for item in lines.items(plan.report, kind):
            remedy = f" ({item.remedy})" if item.remedy else ""
            yield from _wrapped(f"{title}: {item.title} {item.text}{remedy}", style, indent=2)


def _already(plan: Plan, already: frozenset[Address], style: _Style) -> Iterator[str]:
    named = [change.address for change in plan.changes if change.address in already]
    if not named:
        return
    more = f" and {len(named) - _ALREADY_MAX} more" if len(named) > _ALREADY_MAX else ""
    some = ", ".join(named[:_ALREADY_MAX])
    yield from _wrapped(f"Without this branch too: {some}{more}", style, indent=2)


def _wrapped(line: str, style: _Style, *, indent: int) -> list[str]:
    return textwrap.wrap(
        style.ascii(line), style.width, subsequent_indent=" " * indent, break_on_hyphens=False
    )


# --- facts -----------------------------------------------------------------------------------------


def _facts(plan: Plan, style: _Style) -> Iterator[str]:
    if plan.is_empty:
        return
    if plan.placement:
        yield from _wrapped(f"Placement  {lines.spread(plan)}", style, indent=_FACT)
    if plan.capacity:
        yield from _wrapped(f"N-1        {lines.margin(plan)}", style, indent=_FACT)
    steps = f"{len(plan.steps)} step{'s' if len(plan.steps) > 1 else ''}"
    yield f"Time       ~{seconds(plan.summary.duration_s)}, {steps}"
