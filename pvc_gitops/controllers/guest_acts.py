"""What a guest's owner does about it now: one guest in, one act out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from pvc_gitops.controllers.migrate import MoveMemory
from pvc_gitops.ha.migration import ASK_AGAIN_S
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.records import (
    Applied,
    GuestPhase,
    IncarnationRecord,
    Phase,
    PlacementRecord,
    Wanted,
)
from pvc_gitops.model.spec import VirtualMachine
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import DomainFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start under way."""

    starts: int
    incarnation: str

    def key(self, name: VmName) -> str:
        return f"guest.start {name} {self.starts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMemory:
    """What one guest's owner remembers. All of it may be lost: the records decide."""

    start: Start | None = None
    refusals: int = 0  # of its disks, one after the other
    retry_at_s: float = 0.0
    held_since_s: float | None = None  # since when it waits for others to be up
    beats: Mapping[NodeName, int] = field(default_factory=dict)  # as they were then
    ask_at_s: float = 0.0  # when it may be asked again whether it is ready
    up_since_s: float | None = None
    stop_asked_at_s: float | None = None  # for the first time
    asked_again_at_s: float | None = None
    move: MoveMemory | None = None  # while it is on its way to or from another node


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One guest that this node owns, as one tick sees it."""

    name: VmName
    now_s: float
    record: Applied | None
    placement: PlacementRecord
    facts: DomainFacts | None
    incarnation: IncarnationRecord
    memory: GuestMemory

    @property
    def domain(self) -> str:
        """What libvirt knows it by: a renamed guest keeps its name there until its next start."""
        return self.name if self.facts is None else self.facts.name


# --- what may be done -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing; look again at `until_s`, None: when something changes."""

    until_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complain:
    """Nothing can be decided; a person must look."""

    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """The placement record should say so."""

    event: GuestEvent
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """It ran, and its process is gone without our doing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Start it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """A start is under way: see how far it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskDown:
    """Ask it to power off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Destroy its domain."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """It runs, as it should; see whether its record changed."""


Act = Rest | Complain | Note | Crashed | Begin | Follow | AskDown | End | Keep


def decide(guest: Guest) -> Act:  # noqa: PLR0911  a table: one return a case
    """What to do with one guest now."""
    record, facts = guest.record, guest.facts
    if record is None:
        if facts is None:
            return Rest()
        return Complain(
            fault=f"guest {guest.name} runs here without a record; nothing is done to it"
        )
    if guest.memory.start is not None:
        return Follow()
    if not is_wanted(record):
        return _down(guest, record)
    if facts is None:
        return _absent(guest)
    if facts.state in (GuestState.PAUSED, GuestState.CRASHED):
        return End(why=f"it is {facts.state} ({facts.reason or 'no reason given'})")
    if facts.state is GuestState.STOPPING:
        return _down(guest, record)
    if guest.placement.incarnation != guest.incarnation.id:
        return Complain(
            fault=f"guest {guest.name} runs, but was started in another life of this node; "
            "the guard should have ended it"
        )
    if guest.placement.state is not GuestPhase.RUNNING:
        return Note(event=GuestEvent.STARTED, why="")
    return Keep()


def is_wanted(record: Applied) -> bool:
    """Should it run? `wanted` of a guest is always written by the planner."""
    return record.phase is Phase.PRESENT and record.wanted is Wanted.RUNNING


def _absent(guest: Guest) -> Act:
    placement, memory = guest.placement, guest.memory
    is_ours = placement.incarnation == guest.incarnation.id
    if is_ours and placement.state is GuestPhase.RUNNING:
        return Crashed()
    if placement.rests and (is_ours or placement.state is GuestPhase.STOPPED):
        return Rest()
    # A record that counts nothing was judged anew since.
    if memory.retry_at_s > guest.now_s and (placement.restarts or memory.refusals):
        return Rest(until_s=memory.retry_at_s)
    return Begin()


def _down(guest: Guest, record: Applied) -> Act:  # noqa: PLR0911  as above
    facts, asked = guest.facts, guest.memory.stop_asked_at_s
    if facts is None:
        if guest.placement.state is GuestPhase.STOPPED:
            return Rest()
        return Note(event=GuestEvent.DOWN, why="")
    if facts.state in (GuestState.PAUSED, GuestState.CRASHED):
        return End(why=f"it is {facts.state} and should be stopped")
    if asked is None:
        return AskDown()
    timeout_s = VirtualMachine.from_spec(record.name, record.spec).stop_timeout_s
    if guest.now_s >= asked + timeout_s:
        return End(why=f"it did not power off within {timeout_s:.0f} s")
    last_s = guest.memory.asked_again_at_s or asked
    if facts.state is GuestState.RUNNING and guest.now_s >= last_s + ASK_AGAIN_S:
        return AskDown()
    return Rest(until_s=min(asked + timeout_s, last_s + ASK_AGAIN_S))
