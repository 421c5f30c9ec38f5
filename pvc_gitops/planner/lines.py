"""A plan as lines for people, before anybody decides how they are drawn.

Text (`render`) and markdown (`markdown`) draw the same lines, so that a terminal, a pull request and the
output of a push say the same in the same words. One line an object, only what changes, why and where;
guests whose change is the same share a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from pvc_gitops.model.document import Kind, Place, Spec
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address
from pvc_gitops.model.known import said_once
from pvc_gitops.model.plan import (
    Action,
    CapacityVerdict,
    Change,
    ItemKind,
    Plan,
    ReportItem,
    Summary,
)
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.diff import RESTARTING, shown

VERDICTS: Final[Mapping[CapacityVerdict, str]] = {
    CapacityVerdict.HOLDS: "N-1 holds",
    CapacityVerdict.FAILS: "N-1 fails",
    CapacityVerdict.UNKNOWN: "N-1 unknown",
}
ITEM_TITLES: Final = (
    (ItemKind.HELD, "Held, not part of this"),
    (ItemKind.WAITING, "Waiting"),
    (ItemKind.DRIFT, "Drift"),
    (ItemKind.ORPHAN, "Kept"),
    (ItemKind.WARNING, "Warning"),
)
_NAMES_SHOWN_MAX: Final = 6  # of guests that share a line
_MIB_PER_GIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What changes, and where that is written."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One change, of one object or of several that change alike."""

    actions: tuple[Action, ...]
    addresses: tuple[Address, ...]
    details: tuple[Detail, ...]
    remark: str  # why, where no place says so
    nodes: tuple[str, ...]  # where new guests go
    downtime_s: float
    places: tuple[Place, ...]  # that ask for it, of all its objects

    @property
    def title(self) -> str:
        return names(self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of the report, about one object or several of which the same is said."""

    kind: ItemKind
    code: str
    addresses: tuple[Address, ...]
    text: str
    remedy: str
    place: Place | None

    @property
    def title(self) -> str:
        return names(self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one change says, without its address: equal ones fold."""

    actions: tuple[Action, ...]
    kind: str
    details: tuple[Detail, ...]
    remark: str
    downtime_s: float


def rows(plan: Plan, *, without: frozenset[Address] = frozenset()) -> tuple[Row, ...]:
    """The changes, in order of address; `without` names those that are left out."""
    where = {f"{Kind.VM}/{choice.vm}": choice.node for choice in plan.placement}
    pending = {item.address for item in plan.report if item.code == "restart-pending"}
    folded: dict[_Said, list[Change]] = {}
    for change in plan.changes:
        if change.address not in without:
            folded.setdefault(_said(change, pending), []).append(change)
    return tuple(
        Row(
            actions=said.actions,
            addresses=tuple(each.address for each in same),
            details=said.details,
            remark=said.remark,
            nodes=tuple(sorted({str(where[e.address]) for e in same if e.address in where})),
            downtime_s=said.downtime_s,
            places=tuple(
                dict.fromkeys(
                    cause.place
                    for each in same
                    for cause in each.because
                    if cause.place is not None
                )
            ),
        )
        for said, same in folded.items()
    )


def items(report: Iterable[ReportItem], kind: ItemKind) -> tuple[Item, ...]:
    """The report's lines of one kind, in order of address."""
    found: dict[tuple[str, str, str, str], list[ReportItem]] = {}
    for item in report:
        if item.kind is kind:
            key = (item.address.partition("/")[0], item.code, item.text, item.remedy)
            found.setdefault(key, []).append(item)
    return tuple(
        Item(
            kind=kind,
            code=same[0].code,
            addresses=tuple(each.address for each in same),
            text=same[0].text,
            remedy=same[0].remedy,
            place=same[0].place,
        )
        for same in found.values()
    )


def last_line(summary: Summary) -> str:
    """`Plan: 3 to create, …`: exactly this form, since people and programs look for it."""
    downtime = f"longest guest downtime {seconds(summary.downtime_s)}"
    return f"Plan: {', '.join(counts(summary))}; {downtime}; {VERDICTS[summary.n1]}."


def counts(summary: Summary) -> list[str]:
    """`3 to create`, `1 to change`, …: what is not zero, and the first three always."""
    moved = f" ({summary.move} moved)" if summary.move else ""
    found = [f"{summary.create} to create", f"{summary.update} to change{moved}"]
    found.append(f"{summary.delete} to destroy")
    if summary.restore:
        found.insert(1, f"{summary.restore} to restore")
    if summary.adopt:
        found.insert(1, f"{summary.adopt} to adopt")
    if summary.forget:
        found.append(f"{summary.forget} to forget")
    if summary.blocked:
        found.append(f"{summary.blocked} blocked")
    return found


# --- one change --------------------------------------------------------------------------------------


def _said(change: Change, pending: AbstractSet[Address]) -> _Said:
    kind = change.address.partition("/")[0]
    remark, actions, code = "", change.actions, change.because[0].code if change.because else ""
    if Action.MOVE in actions:
        actions = (Action.MOVE,)  # whatever else it changes stands below
    match actions:
        case (Action.CREATE,) | (Action.RESTORE,):
            about = describe(kind, change.after or {})
            details = [Detail(text=about)] if about else []
            if change.actions == (Action.RESTORE,):
                details.insert(0, Detail(text="from the trash, with its data"))
        case (Action.ADOPT,):
            about = describe(kind, change.after or {})
            details = [Detail(text=f"{change.because[0].text}, and goes on as it is")]
            details += [Detail(text=about)] if about else []
        case (Action.MOVE,):
            details = [Detail(text=change.because[0].text)]
            details += (
                _updates(change, is_pending=change.address in pending) if change.fields else ()
            )
        case (Action.DELETE,) if code == "purged":
            details = [Detail(text=cause.text) for cause in change.because]
            remark = "purged from the trash"
        case (Action.FORGET,):
            details = [Detail(text=change.because[0].text)]
        case (Action.DELETE,):
            details = [Detail(text=_loss(kind, change.before or {}))]
            remark = change.because[0].text
        case _:
            details = list(_updates(change, is_pending=change.address in pending))
    return _Said(
        actions=actions,
        kind=kind,
        details=tuple(details),
        remark=remark,
        downtime_s=change.downtime_s,
    )


def _updates(change: Change, *, is_pending: bool) -> Iterator[Detail]:
    places = {cause.text.split(" ", 1)[0]: cause.place for cause in change.because}
    if not change.fields:
        for cause in change.because:
            yield Detail(text=cause.text)
    for each in change.fields:
        path = _short(each.path)
        text = f"{path} {_side(each.before)} -> {_side(each.after)}"
        yield Detail(text=text, place=places.get(each.path))
    if change.downtime_s:
        yield Detail(text=f"restart now, ~{seconds(change.downtime_s)} down")
    elif any(each.disposition in RESTARTING for each in change.fields):
        yield Detail(
            text="in force after its next restart" if is_pending else "not running: no downtime"
        )
    elif (
        change.fields
        and change.disposition is Disposition.LIVE
        and change.address.startswith("vm/")
    ):
        yield Detail(text="live")


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
            return _describe_vm(spec)
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


@said_once
def _describe_vm(spec: Spec) -> str:
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
    return ", ".join(words)


def _loss(kind: str, spec: Spec) -> str:
    if kind == Kind.VM:
        own = [n for n, disk in sorted(spec["disks"].items()) if not disk.get("volume")]
        return f"stop; {', '.join(own)} to the trash" if own else "stop"
    return {Kind.VOLUME: "to the trash", Kind.IMAGE: "the imported image goes"}.get(Kind(kind), "")


def names(addresses: Sequence[Address]) -> str:
    """`vm/web1`, `vm/web1, web2`, `vm/[20] web01 … web20`: all are of one kind."""
    kind = addresses[0].partition("/")[0]
    found = sorted((each.partition("/")[2] for each in addresses), key=_natural)
    if len(found) <= _NAMES_SHOWN_MAX:
        return f"{kind}/{', '.join(found)}"
    return f"{kind}/[{len(found)}] {found[0]} … {found[-1]}"


def _natural(name: str) -> list[tuple[int, str]]:
    # web2 before web10.
    return [(int(w), "") if w.isdigit() else (0, w) for w in re.split(r"(\d+)", name) if w]


# --- facts -------------------------------------------------------------------------------------------


def spread(plan: Plan) -> str:
    """Where new guests go: `hv1 2, hv3 1`; of a single one also why nowhere else."""
    found: dict[str, int] = {}
    for choice in plan.placement:
        found[choice.node] = found.get(choice.node, 0) + 1
    return ", ".join(f"{node} {count}" for node, count in sorted(found.items())) + _rejections(plan)


def _rejections(plan: Plan) -> str:
    # Of one guest there is room to say why it is not elsewhere; of many there is `--json`.
    if len(plan.placement) != 1:
        return ""
    (choice,) = plan.placement
    reasons = [f"{node} refused ({why})" for node, why in sorted(choice.rejected.items())]
    return "; " + ", ".join(reasons) if reasons else ""


def margin(plan: Plan) -> str:
    """What N-1 says: the tightest loss, or all that do not hold."""
    bad = [loss for loss in plan.capacity if loss.verdict is not CapacityVerdict.HOLDS]
    if bad:
        return "; ".join(
            f"without {loss.label}: "
            + (
                f"{', '.join(loss.homeless[:3])} without a place"
                if loss.verdict is CapacityVerdict.FAILS
                else "not proven"
            )
            for loss in bad
        )
    tightest = min(plan.capacity, key=lambda loss: (loss.spare_mib, loss.node))
    return f"holds; tightest without {tightest.label}: {size(tightest.spare_mib)} to spare"


def size(mib: int) -> str:
    return f"{mib / _MIB_PER_GIB:.1f} GiB" if abs(mib) >= _MIB_PER_GIB else f"{mib} MiB"


def seconds(value: float) -> str:
    return f"{value:.1f} s" if 0 < value < 1 else f"{value:.0f} s"
