"""What `pvc status` shows: one node's view of the store, put together without deciding anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from pvc_gitops.controllers import holding, intents, quarantine, ready, slices
from pvc_gitops.controllers.observe import Observed, inventory
from pvc_gitops.controllers.records import read, read_all
from pvc_gitops.controllers.watch import NodeWatch
from pvc_gitops.errors import RepoError, SpecError
from pvc_gitops.model import guest_states, paths, soundness
from pvc_gitops.model.control import Quarantine, Withheld
from pvc_gitops.model.guest_states import GuestEvent
from pvc_gitops.model.ids import Address, CommitId, NodeName, VmName
from pvc_gitops.model.inventory import Inventory, NodeState, StorageFacts
from pvc_gitops.model.moves import Moves
from pvc_gitops.model.plan import ItemKind, ReportItem
from pvc_gitops.model.records import (
    Accepted,
    GuestPhase,
    PlacementRecord,
    Ready,
    SourceSeen,
    StepResult,
    StepStatus,
)
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner import drift
from pvc_gitops.planner.planner import PLANNER_VERSION, is_outdated
from pvc_gitops.planner.trash import due_soon
from pvc_gitops.world.ports import Store, World
from pvc_gitops.world.protocol import Status

_FOR_PEOPLE = (
    ItemKind.BLOCKED,
    ItemKind.WAITING,
    ItemKind.DRIFT,
    ItemKind.ORPHAN,
    ItemKind.HELD,
)
_OPEN = (StepStatus.PENDING, StepStatus.RUNNING, StepStatus.BLOCKED)


def status(world: World, watch: NodeWatch, storage: StorageFacts | None) -> Status | None:
    """Everything at a glance; None before the cluster is founded. Raises StoreError."""
    observed = inventory(world, watch, storage)
    if observed is None:
        return None
    store, inv = world.store, observed.inventory
    quorum = store.quorum()
    seen = {NodeName(n): s for n, s in read_all(store, paths.SEEN, SourceSeen).items()}
    results = observed.results
    left, failed = _steps(observed, results)
    accepted = read(store, paths.ACCEPTED, Accepted)
    held = _held(world, accepted)
    tried = ready.recorded(world)
    fencing = ready.everybody(world, tried)
    is_silent = holding.is_in_maintenance(inv.intents.values(), world.clock.now_s())
    return Status(
        cluster=next((a.partition("/")[2] for a in inv.applied if a.startswith("cluster/")), ""),
        now_s=world.clock.now_s(),
        answered_by=world.me.node,
        is_store_connected=store.is_connected(),
        quorum=quorum.serving,
        quorum_of=quorum.servers,
        accepted=accepted,
        seen=seen,
        target=observed.target,
        is_applied=accepted is not None
        and observed.target is not None
        and observed.target.commit == accepted.commit
        and left == 0
        and not failed,
        steps_left=left,
        steps_failed={name: results[name].error for name in failed},
        problems=_problems(seen, world.me.node),
        planner=_leader(store),
        planner_version=PLANNER_VERSION,
        nodes=soundness.judged(inv.nodes),
        guests=_guests(observed),
        storage=inv.storage,
        waiting=(
            *_control(world, inv, held),
            *(() if is_silent else ready.alarms(fencing, tried)),
            *_waiting(observed),
        ),
        intents=tuple(sorted(inv.intents.values(), key=lambda each: (each.made_at_s, each.id))),
        withheld=held.withheld,
        quarantine=held.quarantine,
        held=held.addresses,
        running=_running(observed),
        fencing=fencing,
        moves=read(store, paths.MOVES, Moves) or Moves(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What keeps the cluster from following the head."""

    withheld: Withheld | None
    quarantine: Quarantine | None
    addresses: Mapping[CommitId, tuple[Address, ...]]  # of what is put aside, that the head holds


def _held(world: World, accepted: Accepted | None) -> _Held:
    aside = read(world.store, paths.QUARANTINED, Quarantine)
    held: Mapping[CommitId, tuple[Address, ...]] = {}
    if aside is not None and accepted is not None:
        # A mirror that is behind, or a commit of a newer release: what is held is not told then.
        with suppress(RepoError, SpecError):
            held = quarantine.holding(world.repo, aside, accepted.commit)
    withheld = read(world.store, paths.WITHHELD, Withheld)
    return _Held(withheld=withheld, quarantine=aside, addresses=held)


def _running(observed: Observed) -> CommitId | None:
    """Whose steps are being carried out, or can be, on nodes that answer."""
    if observed.plan is None or observed.target is None:
        return None
    statuses = slices.statuses(observed.plan, observed.results)
    nodes = observed.inventory.nodes
    for step in observed.plan.steps:
        facts = nodes.get(step.node)
        if facts is None or facts.state is not NodeState.ONLINE:
            continue
        if statuses[step.id] in (StepStatus.PENDING, StepStatus.RUNNING):
            return observed.target.commit
    return None


def _control(world: World, inv: Inventory, held: _Held) -> Iterator[tuple[str, str, str]]:
    """What people hold back, and what holds itself back: subject, what, command."""
    now_s = world.clock.now_s()
    if held.withheld is not None:
        yield "plan", held.withheld.text, held.withheld.remedy
    aside = held.quarantine
    if aside is not None:
        for each in aside.commits:
            still = held.addresses.get(each.commit, ())
            if still:
                more = f" and {len(still) - 2} more" if len(still) > 2 else ""  # noqa: PLR2004
                name = each.commit[:7]
                what = f"put aside by {aside.by}; the head still holds {', '.join(still[:2])}{more}"
                yield (
                    f"git {name}",
                    what,
                    f"git revert {name} && git push, or: pvc source release {name}",
                )
    if is_outdated(inv.planner_version):
        newer = f"planner {inv.planner_version} has published"
        what = f"{newer}; this release, {PLANNER_VERSION}, leaves planning to it"
        yield "plan", what, "pvc retry, after a downgrade"
    on_hold = holding.observed(world.store, inv.intents.values(), now_s)
    if on_hold:
        yield "hold", on_hold, "pvc hold status"
    for intent in intents.ending_soon(inv.intents.values(), now_s):
        minutes = max(1, (intent.expires_at_s or now_s) - now_s) // 60
        yield (
            intent.subject,
            f"{intent.id} ends in {minutes} min: {intents.DOES_SOMETHING[intent.kind]}",
            f"pvc intent end {intent.id}, or make another",
        )


def _steps(observed: Observed, results: Mapping[str, StepResult]) -> tuple[int, tuple[str, ...]]:
    if observed.plan is None:
        return 0, ()
    statuses = slices.statuses(observed.plan, results)
    left = sum(1 for each in statuses.values() if each in _OPEN)
    failed = tuple(sorted(n for n, each in statuses.items() if each is StepStatus.FAILED))
    return left, failed


def _problems(seen: Mapping[NodeName, SourceSeen], me: NodeName) -> tuple[str, ...]:
    """Why the tip is not adopted: this node's word first, since it is the one that was asked."""
    mine = seen.get(me)
    for each in (mine, *seen.values()):
        if each is not None and each.problems:
            return each.problems
    return ()


def _leader(store: Store) -> NodeName | None:
    """Whose candidacy is the oldest. Only shown, never relied on."""
    candidates = store.read_children(paths.election("planner"))
    if not candidates:
        return None
    first = candidates[min(candidates, key=lambda name: name[-10:])]  # ZooKeeper's sequence number
    node = first.value.get("node")
    return None if node is None else NodeName(node)


def _guests(observed: Observed) -> Mapping[VmName, PlacementRecord]:
    """Placements, with what readers show of guests whose owner is silent."""
    found = {}
    for name, placement in observed.inventory.placements.items():
        owner = observed.inventory.nodes.get(placement.owner)
        is_known = owner is not None and owner.state is NodeState.ONLINE
        state = placement.state
        if not is_known and state is not GuestPhase.RECOVERING:
            state = guest_states.after(state, GuestEvent.OWNER_SILENT)
        found[name] = replace(placement, state=state)
    return found


def _waiting(observed: Observed) -> tuple[tuple[str, str, str], ...]:
    """What needs a person: the plan's own words first, then what is so since: drift, restarts that
    wait, guests that do not come up."""
    items: list[ReportItem] = []
    if observed.plan is not None:
        items += [item for item in observed.plan.report if item.code not in drift.OF_NOW]
    items += drift.standing(observed.inventory)
    found: list[tuple[str, str, str]] = [
        (each.address, each.text, each.remedy) for each in items if each.kind in _FOR_PEOPLE
    ]
    known = {address for address, _, _ in found}
    for name, placement in sorted(observed.inventory.placements.items()):
        needs = _need(name, placement)
        if needs is not None and f"vm/{name}" not in known:
            found.append((f"vm/{name}", *needs))
    found += [
        (of, text, "declare it again to keep it") for of, text in due_soon(observed.inventory)
    ]
    found += _old_names(observed.inventory)
    return tuple(found)


def _need(name: VmName, placement: PlacementRecord) -> tuple[str, str] | None:
    """What people should know of a guest that does not run as it should, and the command that helps."""
    if placement.rests:
        return f"{placement.state}: {placement.why}", f"pvc vm start {name}"
    if placement.state is GuestPhase.FAILED:
        return placement.why, f"pvc explain vm/{name}"
    if placement.state is GuestPhase.RECOVERING and placement.incarnation is not None:
        return f"recovering: {placement.why}", f"pvc explain vm/{name}"
    if placement.ready is Ready.LATE:
        return placement.why, f"pvc explain vm/{name}"
    return None


def _old_names(inv: Inventory) -> Iterator[tuple[str, str, str]]:
    """Guests that bear another name in libvirt than their own."""
    for facts in inv.nodes.values():
        for name, guest in sorted(facts.guests.items()):
            if guest.bears:
                yield (
                    f"vm/{name}",
                    f"still {guest.bears} in libvirt on {facts.name}, until its next start",
                    f"pvc vm restart {name}",
                )
