"""The plan as a forge's comment: `lines`, drawn as markdown that fits, whatever the size of the plan.

A comment begins with a marker by which its writer finds it again and edits it in place. It is cut by
whole rows at the forge's limit, what is blocked or destroyed last of all, and says how many are missing
and how to see them. Texts come from proposals that nobody reviewed yet: nothing in them is markup here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from pvc_gitops.model.document import Place
from pvc_gitops.model.ids import Address, CommitId
from pvc_gitops.model.plan import Action, CapacityVerdict, ItemKind, Plan, Summary
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner import lines
from pvc_gitops.planner.lines import Item, Row, seconds, size

LIMIT: Final = 65_536  # characters of a comment at GitHub; GitLab and Forgejo take more
STATUS_MAX: Final = 140  # characters of a commit status at GitHub
LIMIT_MIN: Final = 4_096  # less does not hold the frame
_CELL_MAX: Final = 400  # of one cell: a value of a document may have 256 KiB
_NAME_MAX: Final = 200  # of a branch, a remedy's command or a file, as shown
_PROBLEMS_MAX: Final = 20
_PLACES_MAX: Final = 3  # of a row
_DIGITS: Final = 7

_SIGNS: Final = {
    (Action.CREATE,): "➕",
    (Action.UPDATE,): "🔁",
    (Action.DELETE,): "➖",
    (Action.DELETE, Action.CREATE): "♻️",
    (Action.RESTORE,): "↩️",
    (Action.MOVE,): "➡️",
    (Action.ADOPT,): "⬅️",
    (Action.FORGET,): "⏏️",
    (Action.NONE,): "🟰",
}
# What would be missed most is left out last.
_WEIGHT: Final = {(Action.DELETE,): 1, (Action.DELETE, Action.CREATE): 1, (Action.UPDATE,): 2}
_OTHER_WEIGHT: Final = 3
_HEAD: Final = ("| | what | effect | when | because |", "|---|---|---|---|---|")
_MARKUP: Final = re.compile(r"([\\`*\[\]<>|&~#!])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a plan does not know of itself: whose it is, of what, onto what, and by whom."""

    cluster: str
    head: str  # a commit's first digits, or "your tree"
    branch: str = ""
    base: str = ""  # the name of what it is planned onto
    base_commit: CommitId | None = None
    by: str = "pvc"  # who planned
    exact: str = ""  # whether the cluster would plan the same, in words
    again: str = ""  # the command that shows the same at home
    links: str = ""  # a file's address at the forge, with {file} and {line}
    already: frozenset[Address] = frozenset()  # changes that the base alone would make


def marker(cluster: str) -> str:
    """The first line of every comment about a cluster."""
    return f"<!-- pvc-plan {cluster} -->"


def markdown(plan: Plan, setting: Setting, *, limit: int = LIMIT) -> str:
    """The comment, of at most `limit` characters (never fewer than LIMIT_MIN are used)."""
    room = max(limit, LIMIT_MIN)
    top = [marker(setting.cluster), _title(plan, setting), _facts(plan, setting), ""]
    blocked = lines.items(plan.report, ItemKind.BLOCKED)
    table = [*_changes(plan, setting), *_refusals(blocked, setting)]
    bottom = ["", _foot(plan, setting)]
    home = _folded("Same at home", [f"`{_code(setting.again)}`"]) if setting.again else []
    room -= _length([*top, *bottom, *home])
    text = [*top]
    if table:
        shown = _fitting(table, room - _length([*_HEAD, _missing(len(table), plan)]))
        room -= _length([*_HEAD, *shown])
        text += [*_HEAD, *shown]
        if len(shown) < len(table):
            more = _missing(len(table) - len(shown), plan)
            room -= _length([more])
            text += [more]
    else:
        text += ["Nothing to do."]
        room -= _length(["Nothing to do."])
    for block in (_unblock(blocked), _remarks(plan, setting)):
        kept = _leading(block, room - 1)
        text += ["", *kept] if kept else []
        room -= _length(["", *kept]) if kept else 0
    where = _where(plan)
    if _length(where) <= room:
        text += where
    return "\n".join([*text, *home, *bottom]) + "\n"


def refused(problems: Sequence[Problem], setting: Setting, reason: str = "") -> str:
    """The comment on a proposal that could not be planned: its problems, or the reason."""
    count = len(problems)
    what = f"{count} problem{'s' if count > 1 else ''}" if count else "not planned"
    text = [
        marker(setting.cluster),
        f"### pvc plan · {_plain(setting.cluster)} · **{what}**",
        _onto(setting),
        "",
    ]
    if reason:
        text += [_cell(reason, _CELL_MAX), ""]
    for problem in problems[:_PROBLEMS_MAX]:
        where = _link(Place(file=problem.file, line=problem.line, column=1), setting)
        hint = f" ({_cell(problem.hint, _NAME_MAX)})" if problem.hint else ""
        text.append(f"- {where} {_cell(problem.message, _NAME_MAX)}{hint}")
    if count > _PROBLEMS_MAX:
        text.append(f"- … and {count - _PROBLEMS_MAX} more: `pvc validate`")
    return "\n".join([*text, "", f"Planned by {setting.by}."]) + "\n"


def status_line(summary: Summary) -> str:
    """What a forge shows beside a commit, in at most STATUS_MAX characters."""
    parts = [f"{summary.blocked} blocked"] if summary.blocked else []
    parts.append(f"+{summary.create + summary.restore} ~{summary.update} -{summary.delete}")
    if summary.downtime_s:
        parts.append(f"{seconds(summary.downtime_s)} down")
    parts.append(lines.VERDICTS[summary.n1])
    return " · ".join(parts)[:STATUS_MAX]


# --- the frame ---------------------------------------------------------------------------------------


def _title(plan: Plan, setting: Setting) -> str:
    counts = [
        f"**{each}**" if each.endswith("blocked") else each for each in lines.counts(plan.summary)
    ]
    return f"### pvc plan · {_plain(setting.cluster)} · {', '.join(counts)}"


def _facts(plan: Plan, setting: Setting) -> str:
    verdict = lines.VERDICTS[plan.summary.n1].removeprefix("N-1 ")
    return " · ".join(
        [
            _onto(setting),
            f"longest guest downtime **{seconds(plan.summary.downtime_s)}**",
            f"N-1 **{verdict}**",
            f"effect `{plan.effect}`",
            _moment(plan.now_s),
        ]
    )


def _onto(setting: Setting) -> str:
    words = f"`{_code(setting.head)}`"
    if setting.base:
        commit = (setting.base_commit or "")[:_DIGITS]
        words += f" onto `{_code(setting.base)}`" + (f" {commit}" if commit else "")
    return words


def _moment(now_s: int) -> str:
    return f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M} UTC"


def _foot(plan: Plan, setting: Setting) -> str:
    base = _code(setting.base or "the base")
    exact = f" {setting.exact}" if setting.exact else ""
    return (
        f"Policy and signers are read from `{base}`, not from this branch. Planned by {setting.by} "
        f"(planner {plan.planner_version}).{exact}"
    )


def _missing(count: int, plan: Plan) -> str:
    # A line of its own below the table, since a row would be counted as one.
    return f"\n… and {count} more: `pvc plan` shows all; effect `{plan.effect}`"


def _folded(summary: str, body: Iterable[str]) -> list[str]:
    return ["", f"<details><summary>{summary}</summary>", "", *body, "", "</details>"]


def _leading(block: Iterable[str], room: int) -> list[str]:
    """As many lines as fit, whole ones."""
    kept: list[str] = []
    for line in block:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept


def _length(text: Iterable[str]) -> int:
    return sum(len(line) + 1 for line in text)


# --- the table ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cells:
    """A row of the table, and how early it may be left out."""

    weight: int
    text: str


def _fitting(table: Sequence[_Cells], room: int) -> list[str]:
    """The rows that fit, whole ones, in their order; the weightiest were taken first."""
    kept: set[int] = set()
    for index in sorted(range(len(table)), key=lambda each: (table[each].weight, each)):
        cost = len(table[index].text) + 1
        if cost <= room:
            kept.add(index)
            room -= cost
    return [each.text for index, each in enumerate(table) if index in kept]


def _changes(plan: Plan, setting: Setting) -> Iterator[_Cells]:
    waits = {
        item.address: item.text
        for item in plan.report
        if item.kind is ItemKind.WAITING or item.code == "restart-pending"
    }
    for row in lines.rows(plan, without=setting.already):
        when = next((waits[each] for each in row.addresses if each in waits), "on merge")
        text = _row(_SIGNS[row.actions], row.title, _effect(row), when, _because(row, setting))
        yield _Cells(_WEIGHT.get(row.actions, _OTHER_WEIGHT), text)


def _refusals(blocked: Sequence[Item], setting: Setting) -> Iterator[_Cells]:
    for item in blocked:
        place = "" if item.place is None else _link(item.place, setting)
        effect = f"**blocked:** {_cell(item.text, _CELL_MAX)}"
        yield _Cells(0, _row("⛔", item.title, effect, "–", place))


def _row(sign: str, title: str, effect: str, when: str, because: str) -> str:
    when = when if when == "–" else _cell(when, _NAME_MAX)
    return f"| {sign} | `{_code(title)}` | {effect} | {when} | {because} |"


def _effect(row: Row) -> str:
    words = []
    for detail in row.details:
        text = _cell(detail.text, _CELL_MAX).replace(" -> ", " → ").replace(" -\\> ", " → ")
        words.append(f"**{text}**" if row.downtime_s and detail is row.details[-1] else text)
    if row.nodes:
        words.append(f"on {', '.join(row.nodes)}")
    return "; ".join(words)[: 2 * _CELL_MAX]


def _because(row: Row, setting: Setting) -> str:
    if row.places:
        more = f" and {len(row.places) - _PLACES_MAX} more" if len(row.places) > _PLACES_MAX else ""
        return ", ".join(_link(place, setting) for place in row.places[:_PLACES_MAX]) + more
    return _cell(row.remark, _NAME_MAX)


def _link(place: Place, setting: Setting) -> str:
    shown = f"{place.file}:{place.line}" if place.line else place.file
    if not setting.links or not place.file:
        return _cell(shown, _NAME_MAX)
    target = setting.links.replace("{file}", place.file).replace("{line}", str(place.line))
    return f"[{_cell(shown, _NAME_MAX)}]({target.replace(' ', '%20').replace(')', '%29')})"


# --- below the table ---------------------------------------------------------------------------------


def _unblock(blocked: Sequence[Item]) -> list[str]:
    return [
        f"**To unblock** `{_code(item.title)}`: {_prose(item.remedy)}  "
        for item in blocked
        if item.remedy
    ]


def _remarks(plan: Plan, setting: Setting) -> list[str]:
    """What is no change: held, waiting, drift, kept, warnings, and what comes without this branch."""
    found = []
    for kind, title in lines.ITEM_TITLES:
        for item in lines.items(plan.report, kind):
            remedy = f" ({_prose(item.remedy)})" if item.remedy else ""
            said = _cell(item.text, _CELL_MAX)
            found.append(f"- {title}: `{_code(item.title)}` {said}{remedy}")
    count = sum(change.address in setting.already for change in plan.changes)
    if count:
        base = _code(setting.base or "the base")
        found.append(f"- Not of this branch: `{base}` alone makes {count} of the changes counted")
    return found


def _where(plan: Plan) -> list[str]:
    """Placement, N-1 for every node and the size of the graph, folded away."""
    if not plan.capacity and not plan.placement:
        return []
    count = len(plan.steps)
    steps = f"{count} step{'s' if count != 1 else ''}"
    body = []
    if plan.placement:
        body += [f"Placement: {_cell(lines.spread(plan), _CELL_MAX)}", ""]
    if plan.capacity:
        body += ["| if this node dies | guests to move | without a place | spare |"]
        body += ["|---|---|---|---|"]
        for loss in plan.capacity:
            homeless = ", ".join(loss.homeless[:3]) if loss.homeless else "0"
            if len(loss.homeless) > len(loss.homeless[:3]):
                homeless += f" and {len(loss.homeless) - 3} more"
            moves = len(loss.certificate) or len(loss.homeless)
            if loss.verdict is CapacityVerdict.UNKNOWN:
                homeless = f"not proven: {homeless}"
            body.append(f"| {loss.label} | {moves} | {homeless} | {size(loss.spare_mib)} |")
    body += ["", f"About {seconds(plan.summary.duration_s)} in all."]
    return _folded(f"Where and why: placement, N-1 for every node, {steps}", body)


# --- texts that others wrote -------------------------------------------------------------------------


def _plain(text: str) -> str:
    """On one line, without anything that markdown, HTML or a forge would act upon."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    # A mention would call people to a proposal of anybody's; a mark of no width ends the name.
    return _MARKUP.sub(r"\\\1", flat).replace("@", "@\u200b")


def _cell(text: str, most: int) -> str:
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return _plain(cut)


def _code(text: str) -> str:
    """Between backticks, where nothing is markup but the backtick; and in a table, the bar."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    cut = flat if len(flat) <= _NAME_MAX else flat[: _NAME_MAX - 1] + "…"
    return cut.replace("`", "'").replace("|", "\\|")


def _prose(text: str) -> str:
    """Our own sentence, which may hold commands and lines between backticks."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _cell(text, _CELL_MAX)
    return "".join(
        f"`{_code(part)}`" if index % 2 else _spaced(part) for index, part in enumerate(parts)
    )


def _spaced(part: str) -> str:
    lead = " " if part[:1].isspace() else ""
    tail = " " if part.strip() and part[-1:].isspace() else ""
    return f"{lead}{_cell(part, _CELL_MAX)}{tail}"
