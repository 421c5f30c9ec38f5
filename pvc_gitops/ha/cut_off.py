"""A node that lost its storage and nothing else: when it counts as lost, and what its agent does about a
guest that HA ordered away. Pure.

Such a node is not fenced: it answers. Its guests stand still in their writes, and go on if the storage
comes back soon. Later HA orders away whoever may start elsewhere and finds a place there; the owner's
own agent ends the guest, and gives it up by changing its record, as in every move. So the proof that it
ended is its owner's word. Where Ceph answers nobody, nobody is ordered away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.ha.migration import LOOK_S, CallOff, End, HandOver, Leave, Rest
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import GuestState, NodeFacts, StorageReach
from pvc_gitops.model.soundness import by_storage
from pvc_gitops.model.values import dataclass

# An end loses what the guest had in memory, and a cable that was pulled for a moment is no reason for
# that. After 40 s without a network Ceph's client may take 30 s until it asks the next monitor, a look
# that was under way takes another 30 s to give up, and the next begins 10 s later: 110 s.
LOST_S: Final = 120.0
# Looks that fail begin 40 s after each other, and a tick later. Who did not look for longer was blind
# itself (its host stood still), and has seen no silence meanwhile.
GAP_MAX_S: Final = 60.0
# Reports are at most 10 s apart. What is older is not the word of an agent at work.
FRESH_S: Final = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Looks at Ceph, one after the other, that neither a monitor nor an OSD answered."""

    since_s: float  # when the first began, on the looker's own clock
    at_s: int  # the same by its wall clock
    last_s: float  # when the latest began


def listened(
    before: Silence | None, *, is_answered: bool, began_s: float, at_s: int
) -> Silence | None:
    """With one more look that has ended; None: Ceph answers."""
    if is_answered:
        return None
    if before is None or began_s - before.last_s > GAP_MAX_S:
        return Silence(since_s=began_s, at_s=at_s, last_s=began_s)
    return Silence(since_s=before.since_s, at_s=before.at_s, last_s=began_s)


def reach(silence: Silence | None, *, has_looked: bool) -> StorageReach:
    """What a node says of its storage."""
    if not has_looked:
        return StorageReach.UNKNOWN
    if silence is None:
        return StorageReach.ANSWERS
    is_lost = silence.last_s - silence.since_s >= LOST_S
    return StorageReach.LOST if is_lost else StorageReach.SILENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A node's last report as one watcher knows it. `came_at_s`, on its clock; None: it was there when
    the watcher began, and may be old."""

    incarnation: str | None
    number: int
    came_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What the HA leader has heard of everybody's storage. All of it may be lost: it then takes longer.

    `alone_since_s`: nodes that Ceph does not answer, and since when they have said so while it answered
    others. When it comes back to all of them, one is the first to say so: the others are not alone yet.
    """

    looked_at_s: float | None = None
    words: Mapping[NodeName, Word] = field(default_factory=dict)
    alone_since_s: Mapping[NodeName, float] = field(default_factory=dict)
    lost: frozenset[NodeName] = frozenset()  # whose guests go elsewhere
    sound: frozenset[NodeName] = frozenset()  # where they may go


def heard(before: Hearing, reports: Mapping[NodeName, NodeFacts], now_s: float) -> Hearing:
    """With one more look at the reports, whose states are of now. No clocks are compared: a report is
    new when its number is."""
    is_blind = before.looked_at_s is None or now_s - before.looked_at_s > FRESH_S
    words = {} if is_blind else before.words
    known = {} if is_blind else before.alone_since_s
    words = {name: _word(words.get(name), facts, now_s) for name, facts in reports.items()}
    fresh = {name: facts for name, facts in reports.items() if _is_fresh(words[name], now_s)}
    alone = by_storage(fresh, (StorageReach.SILENT, StorageReach.LOST))
    since_s = {name: known.get(name, now_s) for name in sorted(alone)}
    lost = by_storage(fresh, (StorageReach.LOST,))
    return Hearing(
        looked_at_s=now_s,
        words=words,
        alone_since_s=since_s,
        lost=frozenset(name for name in lost if now_s - since_s[name] >= LOST_S),
        sound=by_storage(fresh, (StorageReach.ANSWERS,)),
    )


def _word(last: Word | None, facts: NodeFacts, now_s: float) -> Word:
    this = (facts.incarnation, facts.report_number)
    if last is not None and (last.incarnation, last.number) == this:
        return last
    return Word(incarnation=this[0], number=this[1], came_at_s=None if last is None else now_s)


def _is_fresh(word: Word, now_s: float) -> bool:
    return word.came_at_s is not None and now_s - word.came_at_s <= FRESH_S


def give_up(
    *,
    now_s: float,
    state: GuestState | None,
    is_wanted: bool,
    storage: StorageReach,
    is_destination_over: bool,
) -> Leave:
    """What the owner does next about a guest that it is to end and give to another node.

    Args:
        now_s: on the owner's clock.
        state: of its domain here; None: there is none.
        is_wanted: it should run.
        storage: as the owner knows it now, not as it said when it was asked to.
        is_destination_over: that life of the destination is revoked or has ended.
    """
    if is_destination_over:
        return CallOff(why="the node that it was to go to is gone")
    if state is None:
        return HandOver(is_whole=False)
    if not is_wanted:
        return CallOff(why="it is not to run any more")
    match storage:
        case StorageReach.LOST:
            return End(why=f"the storage of this node has been silent for {LOST_S:.0f} s")
        case StorageReach.ANSWERS:
            return CallOff(why="the storage of its node answers again")
        case _:
            return Rest(until_s=now_s + LOOK_S)  # this agent has just begun, and looks first
