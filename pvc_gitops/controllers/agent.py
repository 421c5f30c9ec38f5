"""pvc-node-agent: one tick. Observe, report, look at git, carry out steps, realise networks and guests.

Level triggered: every tick looks at everything and does what is missing, so it does not matter when
it was killed. Nothing blocks: what may take long goes through `world.jobs`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Final

from pvc_gitops.controllers import (
    archive,
    guests,
    networks,
    operators,
    passwords,
    report,
    source,
    steps,
    storage,
    travel,
    view,
)
from pvc_gitops.controllers.archive import ArchiveMemory
from pvc_gitops.controllers.beats import read_beats
from pvc_gitops.controllers.guest_acts import GuestMemory
from pvc_gitops.controllers.networks import NetworkMemory
from pvc_gitops.controllers.passwords import PasswordMemory
from pvc_gitops.controllers.records import version_of, write
from pvc_gitops.controllers.report import REPORT_EVERY_S, ReportMemory
from pvc_gitops.controllers.source import SourceMemory
from pvc_gitops.controllers.steps import StepsMemory
from pvc_gitops.controllers.storage import LOOK_EVERY_S, StorageMemory
from pvc_gitops.controllers.view import View
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import StoreConflict, StoreError
from pvc_gitops.model import paths
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

BEATS_EVERY_S: Final = 2.0  # how often a coordinator looks at the others' counters
WITHOUT_STORE_S: Final = 1.0  # how soon to try again
WATCHED: Final = (
    paths.ASKED,
    paths.ACCEPTED,
    paths.TARGET,
    paths.PLACEMENT,
    paths.GUESTS,
    paths.NETWORKS,
    paths.OWNED,
    paths.INTENTS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMemory:
    """What an agent remembers from tick to tick. An empty one is always right, only slower.

    `is_woken`: something changed, look at everything now; set by the loop. `is_poked`: somebody asks
    to look at git now; set by the socket. `due_at_s`: when the next tick is due at the latest.
    """

    due_at_s: float = 0.0
    full_at_s: float = 0.0
    is_woken: bool = True
    is_poked: bool = False
    asked: int | None = None  # version of the last question to all nodes that was taken up
    is_watching: bool = False
    watch: NodeWatch = field(default_factory=NodeWatch)
    beats_at_s: float = 0.0
    report: ReportMemory = field(default_factory=ReportMemory)
    source: SourceMemory = field(default_factory=SourceMemory)
    storage: StorageMemory = field(default_factory=StorageMemory)
    storage_wanted_s: float = 0.0
    archive: ArchiveMemory = field(default_factory=ArchiveMemory)
    passwords: PasswordMemory = field(default_factory=PasswordMemory)
    networks: NetworkMemory = field(default_factory=NetworkMemory)
    guests: Mapping[VmName, GuestMemory] = field(default_factory=dict)
    steps: StepsMemory = field(default_factory=StepsMemory)
    faults: tuple[str, ...] = ()
    store_fault: str = ""


def tick(world: World, memory: AgentMemory) -> AgentMemory:
    """One look and what follows from it."""
    now_s = world.clock.monotonic_s()
    try:
        if not world.store.is_connected():
            return _without_store(world, memory, "not connected")
        guests_before = memory.guests
        if memory.is_woken:
            memory = replace(memory, guests=travel.at_once(world, memory.guests))
        has_come = memory.guests is not guests_before
        memory = _observe(world, memory, now_s)
        if not (memory.is_woken or memory.is_poked) and now_s < memory.full_at_s:
            return _due(memory)
        return _due(_with_store(world, _full(world, memory, now_s, has_come=has_come)))
    except StoreConflict as error:
        world.journal.event("conflict", path=error.target)
        return _after_conflict(world, memory, now_s)
    except StoreError as error:
        # Losing the store is a decision: guests run on, nothing new is begun, and what we do not know
        # about our own last transaction is read again.
        again = replace(memory, steps=memory.steps.unsure())
        return _without_store(world, again, str(error))


def _without_store(world: World, memory: AgentMemory, why: str) -> AgentMemory:
    if not memory.store_fault:
        world.journal.event("store_lost", why=why)
    due_s = world.clock.monotonic_s() + WITHOUT_STORE_S
    return replace(memory, due_at_s=due_s, full_at_s=due_s, store_fault=why)


def _after_conflict(world: World, memory: AgentMemory, now_s: float) -> AgentMemory:
    """What was read was old: catch up with the leader, and look again."""
    try:
        world.store.sync()
    except StoreError as error:
        return _without_store(world, memory, str(error))
    due_s = now_s + WITHOUT_STORE_S
    return replace(memory, due_at_s=due_s, full_at_s=due_s, steps=memory.steps.unsure())


def _with_store(world: World, memory: AgentMemory) -> AgentMemory:
    if not memory.store_fault:
        return memory
    world.journal.event("store_found")
    return replace(memory, store_fault="")


def _observe(world: World, memory: AgentMemory, now_s: float) -> AgentMemory:
    if not memory.is_watching:
        for path in WATCHED:
            world.store.watch(path)
        memory = replace(memory, is_watching=True)
    if not world.me.is_coordinator or now_s < memory.beats_at_s:
        return memory
    return replace(
        memory,
        watch=memory.watch.observe(now_s, read_beats(world.store)),
        beats_at_s=now_s + BEATS_EVERY_S,
    )


def _full(
    world: World, memory: AgentMemory, now_s: float, *, has_come: bool = False
) -> AgentMemory:
    """`has_come`: a guest has just left, or was let go on."""
    seen = view.take(world)
    if seen is None:
        return replace(memory, full_at_s=now_s + WITHOUT_STORE_S, is_woken=False)
    # Nobody answers for a guest that has come until its network knows where it is: before what can wait.
    travelled = travel.tick(world, seen, memory.guests, memory.storage.reach)
    memory = replace(memory, guests=travelled.memory)
    if travelled.has_acted or has_come:
        seen = view.take(world) or seen
        memory = replace(memory, networks=networks.tick(world, seen, memory.networks).memory)
    told = report.tick(world, seen, memory.report, memory.faults, memory.storage)
    memory = replace(memory, report=told)
    asked = version_of(world.store.read(paths.ASKED))
    is_poked = memory.is_poked or asked != memory.asked
    memory = replace(
        memory,
        source=source.tick(world, seen, memory.source, is_poked=is_poked),
        is_poked=False,
        asked=asked,
    )
    # Steps before networks and guests: what they find done is in the report that was just written.
    stepped = steps.tick(world, seen, memory.steps, memory.faults)
    memory = replace(memory, steps=stepped.memory)
    if stepped.has_acted:
        seen = view.take(world) or seen  # the records that were just put in force
    netted = networks.tick(world, seen, memory.networks)
    if netted.has_acted:
        seen = view.take(world) or seen  # a guest starts only once its bridge is seen
    guested = guests.tick(world, seen, memory.guests)
    memory = _storage(world, memory, seen, now_s, is_touched=stepped.touched_storage)
    memory = replace(
        memory,
        archive=archive.tick(world, memory.archive, now_s),
        passwords=passwords.tick(world, seen, memory.passwords),
    )
    faults = (
        *netted.faults,
        *travelled.faults,
        *guested.faults,
        *stepped.faults,
        *operators.tick(world),
    )
    faults = (
        *faults,
        *memory.passwords.faults,
        *(f for f in (memory.storage.fault, memory.archive.fault) if f),
    )
    has_acted = travelled.has_acted or stepped.has_acted or netted.has_acted or guested.has_acted
    dues = [now_s + REPORT_EVERY_S, memory.source.due_at_s]
    dues += [
        due for due in (stepped.due_at_s, travelled.due_at_s, guested.due_at_s) if due is not None
    ]
    is_restless = has_acted or faults != memory.faults
    return replace(
        memory,
        networks=netted.memory,
        guests=guested.memory,
        faults=faults,
        is_woken=False,
        full_at_s=now_s if is_restless else min(dues),
    )


def _storage(
    world: World, memory: AgentMemory, seen: View, now_s: float, *, is_touched: bool
) -> AgentMemory:
    asked = memory.storage.asked_at_s
    wanted_s = memory.storage_wanted_s
    if is_touched:
        wanted_s = now_s
    elif asked is None or now_s >= asked + LOOK_EVERY_S:
        wanted_s = max(wanted_s, now_s - LOOK_EVERY_S / 2)
    before = memory.storage
    after = storage.tick(
        world,
        before,
        wanted_since_s=wanted_s,
        is_whole=world.me.is_coordinator,
        disk=next(_disks(seen), None),
    )
    if after.facts is not None and after.facts != before.facts:
        write(world.store, paths.storage_report(world.me.node), after.facts)
    return replace(memory, storage=after, storage_wanted_s=wanted_s)


def _disks(seen: View) -> Iterator[tuple[str, str]]:
    """That guests of this node have open."""
    for facts in (seen.domains or {}).values():
        if facts.domain is not None:
            yield from ((disk.pool, disk.image) for disk in facts.domain.disks)


def _due(memory: AgentMemory) -> AgentMemory:
    dues = [memory.full_at_s]
    if memory.watch.looked_at_s is not None:
        dues.append(memory.beats_at_s)
    due_s = min(dues)
    return memory if memory.due_at_s == due_s else replace(memory, due_at_s=due_s)
