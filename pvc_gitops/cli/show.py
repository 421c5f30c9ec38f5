"""The words of `pvc status`, in the shape that answers at the first line (and `pvc try` uses too)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pvc_gitops.cli import wishes
from pvc_gitops.model.control import Obstacle
from pvc_gitops.model.intents import CLUSTER, IntentKind
from pvc_gitops.model.inventory import Inventory, NodeFacts, NodeState
from pvc_gitops.model.readiness import Grade
from pvc_gitops.model.records import GuestPhase
from pvc_gitops.model.spec import Node, VirtualMachine
from pvc_gitops.world.protocol import Status

WAITING_SHOWN_MAX: Final = 8  # more do not fit one screen; the last line says how many there are
_COLORS: Final = {"HEALTHY": "32", "DEGRADED": "33", "CRITICAL": "31", "UNKNOWN": "33"}
_MEANT: Final = (Obstacle.FROZEN, Obstacle.HALTED, Obstacle.APPROVAL)
_HELD: Final = {
    Obstacle.FROZEN: "frozen",
    Obstacle.HALTED: "halted",
    Obstacle.APPROVAL: "a plan waits for approval",
    Obstacle.RUNAWAY: "the planner stopped itself",
    Obstacle.OSCILLATION: "the planner stopped itself",
    Obstacle.GIVEN_UP: "a commit was given up",
}
_MIB_PER_GIB: Final = 1024
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86400


# Nodes that do not answer, and what is said of them.
_SILENT: Final[Mapping[NodeState, str]] = {
    NodeState.UNKNOWN: "silent",
    NodeState.FENCING: "silent, its death is not proven yet",
    NodeState.FENCED: "dead, its guests may run elsewhere",
}


_AT_WORK: Final = (NodeState.ONLINE, NodeState.DEGRADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One word and one clause."""

    word: str  # HEALTHY DEGRADED CRITICAL UNKNOWN
    clause: str


def health(state: Status) -> Health:  # noqa: PLR0911  the worst thing first, one a line
    """Is it all right? The worst thing first."""
    if not state.is_store_connected or 2 * state.quorum <= state.quorum_of:
        return Health(word="UNKNOWN", clause="no ZooKeeper quorum: what is shown may be old")
    silent = sorted(n for n, facts in state.nodes.items() if facts.state in _SILENT)
    failed = sorted(n for n, guest in state.guests.items() if guest.state is GuestPhase.FAILED)
    unknown = sum(1 for guest in state.guests.values() if guest.state is GuestPhase.UNKNOWN)
    if state.storage is not None and state.storage.health == "HEALTH_ERR":
        return Health(word="CRITICAL", clause="Ceph reports errors")
    if silent:
        clause = f"{', '.join(silent)} silent"
        if unknown:
            clause += f", {unknown} guests unknown"
        return Health(word="DEGRADED", clause=clause)
    if failed:
        return Health(word="DEGRADED", clause=f"{', '.join(failed[:3])} does not start")
    if state.steps_failed:
        return Health(word="DEGRADED", clause=f"{len(state.steps_failed)} steps failed")
    exposed = [row.node for row in state.fencing if row.grade is Grade.NOT]
    if exposed:
        return Health(word="DEGRADED", clause=f"{', '.join(exposed[:3])} cannot be fenced")
    if state.storage is not None and state.storage.health != "HEALTH_OK":
        return Health(word="DEGRADED", clause="Ceph is not clean")
    if state.problems:
        return Health(word="DEGRADED", clause="the last commit is not adopted")
    if state.quarantine is not None:
        return Health(word="DEGRADED", clause=f"rolled back to {state.quarantine.commit[:7]}")
    return _health_of_planning(state)


def _health_of_planning(state: Status) -> Health:
    """What people, or the planner itself, hold back: to be known, and mostly meant so."""
    held = state.withheld
    if held is not None and held.obstacle not in _MEANT:
        return Health(word="DEGRADED", clause=_HELD[held.obstacle])
    stops = (
        (IntentKind.MAINTENANCE, "in maintenance"),
        (IntentKind.HOLD, "fencing on hold"),
        (IntentKind.HALT, "halted"),
        (IntentKind.FREEZE, "frozen"),
    )
    for kind, word in stops:
        of_all = [intent for intent in state.intents if intent.subject == CLUSTER]
        found = [intent for intent in of_all if intent.kind is kind]
        if found:
            return Health(word="HEALTHY", clause=f"{word} by {found[0].by}")
    if held is not None:
        return Health(word="HEALTHY", clause=_HELD[held.obstacle])
    return Health(word="HEALTHY", clause="")


def status_text(
    state: Status, inventory: Inventory | None = None, *, width: int = 80, color: bool = False
) -> str:
    """One screen. `inventory` adds what the nodes' documents say: roles and memory."""
    lines = [_first(state, width, color=color), *_sections(state)]
    lines += ["", *_nodes(state, inventory)]
    needs = list(_needs(state, width))
    if needs:
        lines += ["", f"needs you ({len(needs)})"]
        lines += [" " + line for line in needs[:WAITING_SHOWN_MAX]]
        if len(needs) > WAITING_SHOWN_MAX:
            lines.append(f" and {len(needs) - WAITING_SHOWN_MAX} more: pvc plan")
    return "\n".join(_cut(line, width) for line in "\n".join(lines).splitlines())


def _first(state: Status, width: int, *, color: bool) -> str:
    verdict = health(state)
    now = datetime.fromtimestamp(state.now_s, tz=UTC).strftime("%a %d %b %H:%M:%S UTC")
    online = sum(1 for facts in state.nodes.values() if facts.state in _AT_WORK)
    nodes = f"{online}" if online == len(state.nodes) else f"{online}/{len(state.nodes)}"
    left = f"{state.cluster:8} {verdict.word}"
    if verdict.clause:
        left += f"  {verdict.clause}"
    right = f"{nodes} nodes · {len(state.guests)} guests · {now}"
    gap = max(2, width - len(left) - len(right))
    if len(left) + 2 + len(right) > width:  # the clock gives way first
        right = f"{nodes} nodes · {len(state.guests)} guests"
        gap = max(2, width - len(left) - len(right))
    line = f"{left}{' ' * gap}{right}"
    if not color:
        return line
    paint = f"\x1b[1;{_COLORS[verdict.word]}m{verdict.word}\x1b[0m"
    return line.replace(verdict.word, paint, 1)


def _sections(state: Status) -> Iterator[str]:
    yield f"source   {_source(state)}"
    yield f"plan     {_plan(state)}"
    yield f"zk       quorum {state.quorum} of {state.quorum_of}"
    storage = state.storage
    if storage is not None:
        used = f"{storage.used_ratio * 100:.0f} % used"
        yield f"storage  {storage.health} · {storage.osds_up}/{storage.osds_total} OSDs · {used}"
        for check in storage.checks[:2]:
            yield f"         {check}"


def _source(state: Status) -> str:
    accepted = state.accepted
    if accepted is None:
        return "no commit is accepted yet"
    words = f'{accepted.commit[:7]} "{accepted.subject}" ({accepted.author})'
    aside = state.quarantine
    if aside is not None:
        because = f": {aside.reason}" if aside.reason else ""
        return f"{aside.commit[:7]} in force, not {words}; rolled back by {aside.by}{because}"
    words += " applied" if state.is_applied else " accepted"
    errors = sorted({seen.error for seen in state.seen.values() if seen.error})
    fetched = max((seen.fetched_at_s for seen in state.seen.values()), default=0)
    if errors:
        return f"{words}; origin: {errors[0]}"
    if fetched:
        words += f" · seen {ago(state.now_s - fetched)} ago"
    return words


def _plan(state: Status) -> str:
    words = "no plan is published yet"
    if state.target is not None:
        words = "nothing to do" if state.is_applied else f"{state.steps_left} steps left"
        if state.steps_failed:
            words += f", {len(state.steps_failed)} failed"
    waits = len(state.waiting)
    if waits:
        words += f"; {waits} waiting"
    leader = (
        f"planner {state.planner_version} on {state.planner}" if state.planner else "no planner"
    )
    return f"{words} · {leader}"


def _nodes(state: Status, inventory: Inventory | None) -> Iterator[str]:
    common = _common_faults(state)
    yield "NODE      STATE    ROLE         GUESTS  MEMORY         NOTE"
    for name, facts in sorted(state.nodes.items()):
        placed = [vm for vm, guest in state.guests.items() if guest.owner == name]
        role, used = _declared(inventory, name, placed)
        is_fine = facts.state is NodeState.ONLINE
        shown = str(facts.state) if is_fine else str(facts.state).upper()
        running = sum(1 for vm in placed if state.guests[vm].state is GuestPhase.RUNNING)
        guests = str(running) if running == len(placed) else f"{running}/{len(placed)}"
        note = _note(state, facts, common)
        yield f"{name:9} {shown:8} {role:12} {guests:>6}  {used:14} {note}".rstrip()
    for fault in sorted(common):
        yield f"everywhere: {fault}"


def _declared(inventory: Inventory | None, name: str, placed: Sequence[str]) -> tuple[str, str]:
    if inventory is None:
        return "", ""
    record = inventory.applied.get(f"node/{name}")  # type: ignore[call-overload]
    if record is None:
        return "", ""
    node = Node.from_spec(record.name, record.spec)
    used = 0
    for vm in placed:
        guest = inventory.applied.get(f"vm/{vm}")  # type: ignore[call-overload]
        if guest is not None:
            used += VirtualMachine.from_spec(vm, guest.spec).memory_mib
    return str(node.role), f"{_gib(used)}/{_gib(node.memory_mib)} GiB"


def _common_faults(state: Status) -> frozenset[str]:
    """What all nodes that answer say is said once: in each line it would hide what one of them has."""
    found = [set(each.faults) for each in state.nodes.values() if each.state in _AT_WORK]
    return frozenset(set.intersection(*found)) if found else frozenset()


def _note(state: Status, facts: NodeFacts, common: frozenset[str]) -> str:
    if facts.state in _SILENT:
        return _SILENT[facts.state]
    notes = ["planner"] if state.planner == facts.name else []
    notes += [fault for fault in facts.faults if fault not in common][:1]
    return ", ".join(notes)


def _needs(state: Status, width: int) -> Iterator[str]:
    for problem in state.problems[:3]:
        yield f"git        {problem.strip()}"
    if state.problems:
        yield "git        all of it, and what to do   pvc source status"
    for step, error in sorted(state.steps_failed.items()):
        yield f"{step.partition(' ')[2]:10} {error}"
    for intent in state.intents:
        shown, command = wishes.shown(intent), f"pvc intent end {intent.id}"
        yield _need(intent.subject, shown, command, width)
    for node, staying in sorted(state.moves.cut_off.items()):
        for name, why in sorted(staying.items()):
            yield _need(f"vm/{name}", f"stands still: {node} lost its storage; {why}", "", width)
    for address, what, command in state.waiting:
        yield _need(address, what, command, width)


def _need(address: str, what: str, command: str, width: int) -> str:
    """Who reads of it must see what to type: on a line of its own where one line is too short."""
    line = f"{address:10} {what}   {command}".rstrip()
    is_short = len(line) < width or not command
    return line if is_short else f"{address:10} {what}\n{'':12}{command}"


def _gib(mib: int) -> str:
    return f"{mib / _MIB_PER_GIB:.1f}"


def ago(seconds: int) -> str:
    """How long, in one unit."""
    if seconds < 2 * _MINUTE_S:
        return f"{max(seconds, 0)} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds // _HOUR_S} h"
    return f"{seconds // _DAY_S} d"


def _cut(line: str, width: int) -> str:
    # Colour adds invisible characters to the first line only, which is fitted before.
    return line if len(line) <= width or "\x1b" in line else line[: width - 1] + "…"
