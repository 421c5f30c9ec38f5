"""What waits for a guest's next start, and whether a plan may bring that start about.

A change that only a stop and a start brings into force is put on record at once: whoever starts the
guest next (its operator, autonomy, itself from inside) brings it along. The plan itself restarts a
guest only as `reboot_for_changes`, its window, or an operator's word allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.intents import IntentKind, is_answered
from pvc_gitops.model.inventory import Deviation, GuestState
from pvc_gitops.model.plan import FieldChange, ItemKind
from pvc_gitops.model.records import Applied, Wanted
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.diff import RESTARTING, shown
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.windows import MISSED_MAX, missed

RESTART_PENDING: Final = "restart-pending"
WINDOW_MISSED: Final = "window-missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether this plan may restart a guest, and else what the restart waits for."""

    is_given: bool
    text: str  # why, or until when
    by: str  # the operator who asked for it; ""


def pending(context: Context, applied: Applied) -> tuple[Deviation, ...]:
    """What the running guest has not taken of the record in force, and what somebody changed in it that
    is to be made as recorded. Nothing that a report from before its last start says."""
    name = VmName(applied.name)
    facts, placement = context.guest(name), context.inventory.placements.get(name)
    if facts is None or placement is None or facts.state is GuestState.CRASHED:
        return ()
    if facts.starts != placement.starts:
        return ()
    return tuple(
        each
        for each in facts.deviations
        if each.needs_restart and (not each.is_drift or context.heals(Kind.VM))
    )


def is_asked(context: Context, doc: Document) -> str | None:
    """Who wants it restarted and has not got it yet. A start after the asking was the answer, whatever
    brought it about."""
    placement = context.inventory.placements.get(VmName(doc.name))
    if placement is None:
        return None
    asked = context.standing(IntentKind.RESTART, doc.address)
    return next((i.by for i in asked if not is_answered(i, placement)), None)


def permission(context: Context, doc: Document) -> Permission:
    """As of now. Windows are asked for `window` and `now` alike: what a cluster's windows say holds for
    every guest that has no window of its own."""
    asker = is_asked(context, doc)
    if asker is not None:
        return Permission(is_given=True, text=f"asked for by {asker}", by=asker)
    if doc.address in context.calm:
        return _refused("waits for the word on so many at once")
    vm = context.vm(doc.name, doc.spec)
    if doc.spec["run_state"] != "running":
        # Whether a manual guest runs is its operator's word: git does not restart it either.
        return _refused("waits until its operator restarts it")
    if vm.reboot_for_changes == "never":
        return _refused("waits until somebody restarts it")
    opening = context.opening(vm.window if vm.reboot_for_changes == "window" else None)
    text = opening.text if opening.is_open else f"waits for {opening.text}"
    return Permission(is_given=opening.is_open, text=text, by="")


def _refused(text: str) -> Permission:
    return Permission(is_given=False, text=text, by="")


def what(changes: Iterable[FieldChange], waiting: Iterable[Deviation]) -> str:
    """`memory 8GiB -> 16GiB, vcpus 2 -> 4`: of this plan, and from before."""
    found: dict[str, str] = {}
    for each in waiting:
        found[each.part] = f"{each.part} {each.live} -> {each.applied}"
    for change in changes:
        if change.disposition in RESTARTING:
            part = part_of(change.path)
            before = found.get(part, "").rpartition(" -> ")[0] or f"{part} {shown(change.before)}"
            found[part] = f"{before} -> {shown(change.after)}"
    return ", ".join(text for _, text in sorted(found.items()))


def part_of(path: str) -> str:
    """`disk root bus` of `disks.root.bus`: as nodes call it."""
    words = path.removeprefix("cpu.").split(".")
    if words[0] in ("disks", "nics"):
        words[0] = words[0][:-1]
    return " ".join(words)


def report(
    context: Context,
    draft: Draft,
    doc: Document,
    *,
    told: str,
    given: Permission,
    since_s: int | None,
) -> None:
    """What waits, since when, for what; and whether somebody should look."""
    since = "" if since_s is None else f" since {_shown_time(since_s)}"
    parts = f" ({told})" if told else ""
    draft.waiting(
        doc.address,
        RESTART_PENDING,
        f"restart pending{since}{parts}: {given.text}",
        f"pvc vm restart {doc.name}",
        doc.place(("reboot_for_changes",)),
    )
    vm = context.vm(doc.name, doc.spec)
    if since_s is None or vm.reboot_for_changes != "window":
        return
    passed = missed(context.windows_of(vm.window), since_s, context.inventory.now_s)
    if passed >= MISSED_MAX:
        draft.item(
            ItemKind.WARNING,
            doc.address,
            WINDOW_MISSED,
            f"has waited through {passed} windows and was not restarted; it is tried in the next one",
            remedy=f"pvc explain {doc.address}",
            place=doc.place(("window",)),
        )


def report_waiting(context: Context, draft: Draft, doc: Document, applied: Applied) -> None:
    """What waits of a guest whose document says nothing new."""
    waiting = pending(context, applied)
    if waiting and applied.wanted is Wanted.RUNNING:
        given, since_s = permission(context, doc), applied.pending_since_s
        report(context, draft, doc, told=what((), waiting), given=given, since_s=since_s)


def _shown_time(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%a %d %b %H:%M UTC")
