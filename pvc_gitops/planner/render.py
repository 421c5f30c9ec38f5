"""The text of a plan, from the plan and from nothing else (DESIGN section 5).

One line an object, only what changes, why and where; guests whose change is the same share a line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address
from pvc_gitops.model.plan import (
    Action,
    CapacityVerdict,
    Change,
    ItemKind,
    Plan,
    ReportItem,
    Summary,
)
from pvc_gitops.planner.diff import RESTARTING, shown

_SIGNS: Final[Mapping[tuple[Action, ...], tuple[str, str, str]]] = {
    # actions: sign, word without Unicode, colour
    (Action.CREATE,): ("+", "+", "32"),
    (Action.UPDATE,): ("~", "~", "33"),
    (Action.DELETE,): ("-", "-", "31"),
    (Action.DELETE, Action.CREATE): ("±", "replace", "35"),
    (Action.RESTORE,): ("↺", "restore", "32"),
    (Action.MOVE,): ("→", "move", "33"),
    (Action.ADOPT,): ("←", "adopt", "33"),
    (Action.NONE,): ("=", "=", "0"),
}
_VERDICTS: Final = {
    CapacityVerdict.HOLDS: "N-1 holds",
    CapacityVerdict.FAILS: "N-1 fails",
    CapacityVerdict.UNKNOWN: "N-1 unknown",
}
_ITEM_TITLES: Final = (
    (ItemKind.HELD, "Held, not part of this"),
    (ItemKind.WAITING, "Waiting"),
    (ItemKind.DRIFT, "Drift"),
    (ItemKind.ORPHAN, "Kept"),
    (ItemKind.WARNING, "Warning"),
)
_COLUMN_MAX: Final = 26  # where the text of a line begins at the latest; longer names stand alone
_MARGIN: Final = 4  # before an address: two blanks, the sign, a blank
_FACT: Final = 11  # where the text of the last block begins
_GAP: Final = 2  # blanks that keep two columns apart
_TEXT_MIN: Final = 30  # narrower than this, text runs over the margin instead
_PAINT: Final = re.compile(r"\x1b\[\d+m")
_NAMES_SHOWN_MAX: Final = 6  # of guests that share a line
_COMMIT_DIGITS: Final = 7
_MIB_PER_GIB: Final = 1024


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What one change says, without its address: equal ones fold."""

    actions: tuple[Action, ...]
    kind: str
    details: tuple[tuple[str, str], ...]  # text, right-hand remark
    remark: str


def text(
    plan: Plan,
    *,
    width: int = 80,
    unicode: bool = True,
    color: bool = False,
    elapsed_s: float | None = None,
) -> str:
    """The plan for people. `elapsed_s` is what making it took, for the line that says `nothing`."""
    style = _Style(width=width, unicode=unicode, color=color, column=_column(plan))
    blocks = [
        list(_changes(plan, style)),
        list(_blocked(plan, style)),
        list(_notes(plan, style)),
        list(_items(plan, style)),
        list(_facts(plan, style)),
    ]
    body = [*blocks[0], *blocks[1], *blocks[2]]
    parts = ["\n".join(block) for block in (body, blocks[3], blocks[4]) if block]
    parts.append("\n".join(_last_lines(plan, style, elapsed_s)))
    return "\n\n".join(parts)


def last_line(summary: Summary) -> str:
    """`Plan: 3 to create, …`: exactly this form, since people and programs look for it."""
    counts = [f"{summary.create} to create", f"{summary.update} to change"]
    counts.append(f"{summary.delete} to destroy")
    if summary.restore:
        counts.insert(1, f"{summary.restore} to restore")
    if summary.blocked:
        counts.append(f"{summary.blocked} blocked")
    downtime = f"longest guest downtime {_seconds(summary.downtime_s)}"
    return f"Plan: {', '.join(counts)}; {downtime}; {_VERDICTS[summary.n1]}."


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


def _changes(plan: Plan, style: _Style) -> Iterator[str]:
    where = {f"{Kind.VM}/{choice.vm}": choice.node for choice in plan.placement}
    folded: dict[_Line, list[Address]] = {}
    for change in plan.changes:
        folded.setdefault(_line(change, plan), []).append(change.address)
    for line, addresses in folded.items():
        sign, word, colour = _SIGNS[line.actions]
        head = f"  {style.paint(sign if style.unicode else word, colour)} "
        nodes = sorted({str(where[each]) for each in addresses if each in where})
        remark = f"on {', '.join(nodes)}" if nodes else line.remark
        title = _names(line.kind, addresses)
        yield from _rows(head, title, line, remark, style)


def _column(plan: Plan) -> int:
    """Where text begins: as far left as all addresses of ordinary length allow."""
    addresses = [each.address for each in plan.changes] + [each.address for each in plan.report]
    longest = max((len(each) for each in addresses), default=0)
    return min(_COLUMN_MAX, _MARGIN + longest + _GAP)


def _rows(head: str, title: str, line: _Line, remark: str, style: _Style) -> Iterator[str]:
    """The address, what changes beside it, where or why at the right margin."""
    rights = [remark, *(right for _, right in line.details)] if remark else []
    rights = rights or [right for _, right in line.details]
    lines: list[tuple[str, str]] = []
    for number, (detail, right) in enumerate(line.details or (("", ""),)):
        side = rights[0] if number == 0 and rights else ("" if remark and not number else right)
        room = style.width - style.column - (len(side) + _GAP if side else 0)
        pieces = textwrap.wrap(style.ascii(detail), max(room, _TEXT_MIN), break_on_hyphens=False)
        lines += [(piece, side if not index else "") for index, piece in enumerate(pieces or [""])]
    title = style.ascii(title)
    if len(title) + _MARGIN + _GAP > style.column and lines[0][0]:
        lines.insert(0, ("", lines[0][1]))
        lines[1] = (lines[1][0], "")
    for index, (detail, right) in enumerate(lines):
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


def _line(change: Change, plan: Plan) -> _Line:
    kind, _, name = change.address.partition("/")
    places = [cause.place for cause in change.because if cause.place is not None]
    remark = str(places[0]) if places and change.actions == (Action.UPDATE,) else ""
    match change.actions:
        case (Action.CREATE,) | (Action.RESTORE,):
            about = describe(kind, change.after or {})
            details = [(about, "")] if about else []
            if change.actions == (Action.RESTORE,):
                details.insert(0, ("from the trash, with its data", ""))
        case (Action.DELETE,):
            details = [(_loss(kind, change.before or {}), "")]
            remark = change.because[0].text
        case _:
            details = list(_updates(change, plan, name))
            remark = ""
    return _Line(actions=change.actions, kind=kind, details=tuple(details), remark=remark)


def _updates(change: Change, plan: Plan, name: str) -> Iterator[tuple[str, str]]:
    places = {cause.text.split(" ", 1)[0]: cause.place for cause in change.because}
    if not change.fields:
        for cause in change.because:
            yield cause.text, ""
    for each in change.fields:
        place = places.get(each.path)
        path = _short(each.path)
        yield f"{path} {_side(each.before)} -> {_side(each.after)}", str(place or "")
    if change.downtime_s:
        yield f"restart now, ~{_seconds(change.downtime_s)} down", ""
    elif any(each.disposition in RESTARTING for each in change.fields):
        pending = any(
            item.code == "restart-pending" and item.address == change.address
            for item in plan.report
        )
        yield ("in force after its next restart" if pending else "not running: no downtime"), ""
    elif (
        change.fields
        and change.disposition is Disposition.LIVE
        and change.address.startswith("vm/")
    ):
        yield "live", ""
    del name


def _short(path: str) -> str:
    """`disks.root.size` is `disk root size` to people; others keep their path."""
    words = path.split(".")
    if words[0] in ("disks", "nics") and len(words) > 1:
        return " ".join([words[0][:-1], *words[1:]])
    return path.removeprefix("cpu.")


def _side(value: object) -> str:
    return "{" + shown(value) + "}" if isinstance(value, dict) else shown(value)


def describe(kind: str, spec: Spec) -> str:
    """What a new object is, in one line."""
    words: list[str] = []
    match kind:
        case Kind.VM:
            words = _describe_vm(spec)
        case Kind.NETWORK:
            tag = f"vni {spec['vni']}" if spec.get("vni") else f"vlan {spec.get('vlan')}"
            subnet = (spec.get("ipv4") or {}).get("subnet")
            words = [spec["type"], tag, *([subnet] if subnet else [])]
        case Kind.POOL:
            words = [f"{spec['copies']} copies", f"writable with {spec['min_copies']}"]
        case Kind.IMAGE:
            words = [f"{spec['format']} into pool/{spec['pool']}", f"{spec['checksum'][:19]}…"]
        case Kind.VOLUME:
            source = (spec.get("source") or {}).get("image")
            origin = f" from image/{source}" if source else ""
            words = [f"{spec['size']} in pool/{spec['pool']}{origin}"]
        case Kind.GROUP:
            limit = [f"{spec['max_per_node']} a node"] if spec["policy"] == "apart" else []
            words = [spec["policy"], *limit, *(["strict"] if spec["strict"] else [])]
        case Kind.NODE:
            hardware = spec["hardware"]
            words = [spec["role"], f"{hardware['cpus']} CPUs", hardware["memory"]]
        case _:
            pass
    return ", ".join(words)


def _describe_vm(spec: Spec) -> list[str]:
    vcpus = spec["cpu"]["vcpus"]
    words = [f"{vcpus} vCPU{'s' if vcpus > 1 else ''}", spec["memory"]]
    for name, disk in sorted(spec["disks"].items()):
        if disk.get("volume"):
            words.append(f"{name} is volume/{disk['volume']}")
            continue
        image = f" from image/{disk['image']}" if disk.get("image") else ""
        words.append(f"{name} {disk['size']}{image}")
    for _, nic in sorted(spec["nics"].items()):
        address = nic.get("address")
        words.append(nic["network"] + (f" {address}" if address not in (None, "auto") else ""))
    if spec["run_state"] != "running":
        words.append(spec["run_state"])
    return words


def _loss(kind: str, spec: Spec) -> str:
    if kind == Kind.VM:
        own = [n for n, disk in sorted(spec["disks"].items()) if not disk.get("volume")]
        return f"stop; {', '.join(own)} to the trash" if own else "stop"
    return {Kind.VOLUME: "to the trash", Kind.IMAGE: "the imported image goes"}.get(Kind(kind), "")


def _names(kind: str, addresses: Sequence[Address]) -> str:
    """`vm/web1`, `vm/web1, web2`, `vm/[20] web01 … web20`."""
    names = sorted((each.partition("/")[2] for each in addresses), key=_natural)
    if len(names) <= _NAMES_SHOWN_MAX:
        return f"{kind}/{', '.join(names)}"
    return f"{kind}/[{len(names)}] {names[0]} … {names[-1]}"


def _natural(name: str) -> list[tuple[int, str]]:
    # web2 before web10.
    return [(int(w), "") if w.isdigit() else (0, w) for w in re.split(r"(\d+)", name) if w]


# --- report ----------------------------------------------------------------------------------------


def _folded_items(items: Iterable[ReportItem]) -> Iterator[tuple[ReportItem, str]]:
    """Items that say the same, with the names of all their objects."""
    found: dict[tuple[str, str, str, str], list[ReportItem]] = {}
    for item in items:
        key = (item.address.partition("/")[0], item.code, item.text, item.remedy)
        found.setdefault(key, []).append(item)
    for (kind, *_), same in found.items():
        yield same[0], _names(kind, [item.address for item in same])


def _blocked(plan: Plan, style: _Style) -> Iterator[str]:
    blocked = [item for item in plan.report if item.kind is ItemKind.BLOCKED]
    for item, title in _folded_items(blocked):
        place = "" if item.place is None else str(item.place)
        details = ((f"BLOCKED: {item.text}", place), (f"to allow: {item.remedy}", ""))
        line = _Line(actions=(), kind="", details=details, remark="")
        yield from _rows(f"  {style.paint('!', '31')} ", title, line, "", style)


def _notes(plan: Plan, style: _Style) -> Iterator[str]:
    notes = [item for item in plan.report if item.kind is ItemKind.NOTE]
    for item, title in _folded_items(notes):
        line = _Line(actions=(), kind="", details=((item.text, ""),), remark="")
        yield from _rows("  = ", title, line, "", style)


def _items(plan: Plan, style: _Style) -> Iterator[str]:
    for kind, title in _ITEM_TITLES:
        items = [item for item in plan.report if item.kind is kind]
        for item, names in _folded_items(items):
            remedy = f" ({item.remedy})" if item.remedy else ""
            yield from _wrapped(f"{title}: {names} {item.text}{remedy}", style, indent=2)


def _wrapped(line: str, style: _Style, *, indent: int) -> list[str]:
    return textwrap.wrap(
        style.ascii(line), style.width, subsequent_indent=" " * indent, break_on_hyphens=False
    )


# --- facts -----------------------------------------------------------------------------------------


def _facts(plan: Plan, style: _Style) -> Iterator[str]:
    if plan.is_empty:
        return
    if plan.placement:
        counts: dict[str, int] = {}
        for choice in plan.placement:
            counts[choice.node] = counts.get(choice.node, 0) + 1
        spread = ", ".join(f"{node} {count}" for node, count in sorted(counts.items()))
        yield from _wrapped(f"Placement  {spread}{_rejections(plan)}", style, indent=_FACT)
    if plan.capacity:
        yield from _wrapped(f"N-1        {_margin(plan)}", style, indent=_FACT)
    steps = f"{len(plan.steps)} step{'s' if len(plan.steps) > 1 else ''}"
    yield f"Time       ~{_seconds(plan.summary.duration_s)}, {steps}"


def _rejections(plan: Plan) -> str:
    # Of one guest there is room to say why it is not elsewhere; of many there is `--json`.
    if len(plan.placement) != 1:
        return ""
    (choice,) = plan.placement
    reasons = [f"{node} refused ({why})" for node, why in sorted(choice.rejected.items())]
    return "; " + ", ".join(reasons) if reasons else ""


def _margin(plan: Plan) -> str:
    bad = [loss for loss in plan.capacity if loss.verdict is not CapacityVerdict.HOLDS]
    if bad:
        return "; ".join(
            f"without {loss.node}: "
            + (
                f"{', '.join(loss.homeless[:3])} without a place"
                if loss.verdict is CapacityVerdict.FAILS
                else "not proven"
            )
            for loss in bad
        )
    tightest = min(plan.capacity, key=lambda loss: (loss.spare_mib, loss.node))
    return f"holds; tightest without {tightest.node}: {_size(tightest.spare_mib)} to spare"


def _size(mib: int) -> str:
    return f"{mib / _MIB_PER_GIB:.1f} GiB" if mib >= _MIB_PER_GIB else f"{mib} MiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if 0 < seconds < 1 else f"{seconds:.0f} s"
