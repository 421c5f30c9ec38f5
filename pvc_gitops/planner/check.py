"""An independent reader of a finished plan: does it keep the promises, whoever made it?

It shares no code with the planner. It knows the plan, the inventory, and what operations mean; it plays
the steps over the records and asks at each: may this happen here, now, once? Read before a plan is
published, on every node before its slice is taken up, in every test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, NodeName
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import Action, Operation, Plan, Step
from pvc_gitops.model.records import Applied, DiskRef, Phase, Wanted
from pvc_gitops.model.spec import Cluster
from pvc_gitops.planner import check_order, check_words
from pvc_gitops.planner.check_room import Room

_DESTROYING = frozenset(
    {
        Operation.RECORD_DROP,
        Operation.RECORD_KEEP,
        Operation.POOL_DELETE,
        Operation.IMAGE_DELETE,
        Operation.NETWORK_RETIRE,
        Operation.VM_RETIRE,
    }
)
_NONE: frozenset[str] = frozenset()
_LAST = (Operation.RECORD_DROP, Operation.RECORD_KEEP)
_BUDGETS = {
    Kind.VM: "vms",
    Kind.VOLUME: "volumes",
    Kind.NETWORK: "networks",
    Kind.NODE: "nodes",
    Kind.POOL: "pools",
}


def problems(plan: Plan, inventory: Inventory) -> tuple[str, ...]:
    """What is wrong with the plan, as sentences; () if nothing is."""
    shape = tuple(_shape(plan, inventory))
    if shape:
        return shape  # nothing can be played in an order that is none
    replay = _Replay(plan, inventory)
    found = [*replay.run()]
    final = replay.records
    found += check_order.unordered(plan, inventory, replay.words, replay.comes_after)
    found += _promised(plan, final)
    found += _used_but_gone(final)
    found += _addresses_twice(final)
    found += check_words.twins(final)
    found += _budgets(plan, replay.before, final, replay.words)
    found += _disruptions(plan, inventory, final, replay.words)
    found += Room(plan, replay.before, final, replay.owners, replay.comes_after).problems()
    return tuple(sorted(set(found)))


# --- the graph -------------------------------------------------------------------------------------


def _shape(plan: Plan, inventory: Inventory) -> Iterator[str]:
    seen: set[str] = set()
    names = {step.id for step in plan.steps}
    for step in plan.steps:
        if step.id in seen:
            yield f"step {step.id} stands twice"
        for need in step.needs:
            if need not in names:
                yield f"step {step.id} needs {need}, which is no step"
            elif need not in seen:
                yield f"step {step.id} stands before {need}, which it needs"
        seen.add(step.id)
        facts = inventory.nodes.get(step.node)
        if facts is None or facts.state is not NodeState.ONLINE:
            yield f"step {step.id} is bound to {step.node}, which is not online"


def _object(of: Address) -> Address:
    if of.count("/") == 1:  # most are objects themselves
        return of
    kind, name, *_ = of.split("/")
    return Address(f"{kind}/{name}")


class _Replay:
    """Plays the steps over the records, in the plan's order, asking at each."""

    def __init__(self, plan: Plan, inventory: Inventory) -> None:
        self.plan, self.inventory = plan, inventory
        self.before = check_words.under_new_names(plan, inventory)
        self.words = check_words.kept_words(plan, inventory)
        trashed = Phase.TRASHED
        self.records = {of: r for of, r in inventory.applied.items() if r.phase is not trashed}
        self.kept = {of: r for of, r in inventory.applied.items() if r.phase is trashed}
        self.emptied: set[str] = set()  # entries of the trash that are not there any more
        self.owners: dict[str, NodeName] = {
            vm: placement.owner for vm, placement in inventory.placements.items()
        }
        self.running: dict[str, NodeName] = {
            vm: name for name, facts in sorted(inventory.nodes.items()) for vm in facts.guests
        }
        storage = inventory.storage
        self.images = set() if storage is None else set(storage.images)
        self.pools = set() if storage is None else set(storage.pools)
        self._steps = {step.id: step for step in plan.steps}
        # Steps after which a node shows a network by the record of this digest.
        self._showing: dict[tuple[Address, NodeName, str], set[str]] = {}
        for step in plan.steps:
            if step.operation is Operation.NETWORK_ENSURE:
                shown = (step.address, step.node, str(step.inputs.get("digest")))
                self._showing.setdefault(shown, set()).add(step.id)
        self._latest: dict[Address, list[str]] = {}
        self._maker: dict[str, str] = {}  # what a step makes -> its id
        self._ancestors: dict[str, frozenset[str]] = {}
        self._digests: dict[Address, tuple[Applied, str]] = {}

    def _digest(self, of: Address) -> str:
        """Of the record as it stands now, "" where none does."""
        record = self.records.get(of) or self.kept.get(of)
        if record is None:
            return ""
        known = self._digests.get(of)
        if known is None or known[0] is not record:
            known = self._digests[of] = (record, record.digest)
        return known[1]

    def run(self) -> Iterator[str]:  # noqa: C901, PLR0912  a table: one case an operation
        for step in self.plan.steps:
            yield from self._in_turn(step)
            yield from self._preconditions(step)
            match step.operation:
                case Operation.VM_PUT:
                    yield from self._vm_put(step)
                case Operation.VM_STOP | Operation.VM_RETIRE:
                    self.running.pop(_object(step.address).partition("/")[2], None)
                case (
                    Operation.DISK_CREATE
                    | Operation.DISK_RESTORE
                    | Operation.DISK_GROW
                    | Operation.IMAGE_IMPORT
                ):
                    yield from self._made(step)
                case Operation.DISK_TRASH | Operation.IMAGE_DELETE:
                    yield from self._unmade(step)
                case Operation.DISK_PURGE:
                    yield from check_words.purged_wrong(step, self.inventory, self.records)
                    self.emptied.add(str(step.inputs["trash_id"]))
                case Operation.RECORD_MOVE:
                    yield from self._moved(step)
                case Operation.VM_ADOPT:
                    yield from check_words.adopted_wrong(
                        step, self.inventory, self.records, self.words
                    )
                    yield from self._has_disks(step, step.record) if step.record else ()
                    name = step.address.partition("/")[2]
                    self.owners[name] = self.running[name] = step.node
                case Operation.VM_FORGET:
                    yield from self._forgotten(step)
                case Operation.NETWORK_PUT:
                    yield from check_words.taken_over_wrong(
                        step, self.inventory, self.records, self.words
                    )
                case _:
                    pass
            if step.operation in _DESTROYING:
                yield from self._destroyed(step)
            if step.operation in (Operation.POOL_CREATE, Operation.NETWORK_PUT):
                self._maker[step.address] = step.id
            if step.operation in (Operation.RECORD_DROP, Operation.VM_FORGET):
                self.records.pop(step.address, None)
                self.kept.pop(step.address, None)
            elif step.operation is Operation.RECORD_KEEP and step.record is not None:
                self.records.pop(step.address, None)
                self.kept[step.address] = step.record
            elif step.record is not None:
                self.kept.pop(step.address, None)
                self.records[step.address] = step.record

    def comes_after(self, step: str, earlier: str) -> bool:
        """Whether the graph, not just this listing, puts `earlier` before `step`."""
        return self._comes_after(self._steps[step], earlier)

    def _comes_after(self, step: Step, earlier: str) -> bool:
        if earlier in step.needs:
            return True
        known = self._ancestors.get(step.id)
        if known is None:
            found: set[str] = set()
            stack = list(step.needs)
            while stack:
                name = stack.pop()
                if name not in found:
                    found.add(name)
                    stack.extend(self._steps[name].needs)
            known = self._ancestors[step.id] = frozenset(found)
        return earlier in known

    def _in_turn(self, step: Step) -> Iterator[str]:
        """Two steps that write one record never run side by side."""
        drops = (Operation.RECORD_DROP, Operation.VM_FORGET)
        if step.record is None and step.operation not in drops:
            return
        writers = self._latest.setdefault(_object(step.address), [])
        for earlier in writers[-1:]:
            if not self._comes_after(step, earlier):
                yield f"{earlier} and {step.id} may run side by side and change the same object"
        writers.append(step.id)

    def _preconditions(self, step: Step) -> Iterator[str]:
        for of, digest in step.pre.items():
            stands = self._digest(of)
            if stands != digest:
                yield f"step {step.id} expects {of} as {digest or 'absent'}, it is {stands or 'absent'}"

    # --- words ---

    def _moved(self, step: Step) -> Iterator[str]:
        old = Address(str(step.inputs["from"]))
        source = self.records.pop(old, None)
        was, now = (of.partition("/")[2] for of in (old, step.address))
        is_guest = step.address.startswith(f"{Kind.VM}/")
        owner = self.owners.pop(was, None) if is_guest else None
        yield from check_words.moved_wrong(step, source, owner, self.words)
        if step.address in self.records or step.address in self.kept:
            yield f"step {step.id} moves {old} onto another {step.address}"
        if owner is not None:
            self.owners[now] = owner
        if is_guest and was in self.running:
            self.running[now] = self.running.pop(was)

    def _forgotten(self, step: Step) -> Iterator[str]:
        name = step.address.partition("/")[2]
        if f"forgotten {step.address}" not in self.words:
            yield f"step {step.id} forgets {step.address}, and nobody said so"
        if self.owners.pop(name, step.node) != step.node:
            yield f"step {step.id} forgets {name} where it does not run"
        self.running.pop(name, None)

    # --- guests ---

    def _vm_put(self, step: Step) -> Iterator[str]:
        record = step.record
        if record is None:
            yield f"step {step.id} has no record to put"
            return
        name = record.name
        owner = self.owners.get(name)
        if owner is not None and owner != step.node:
            yield f"step {step.id} would start {name} on {step.node}; {owner} owns it"
        if self.running.get(name, step.node) != step.node:
            yield f"step {step.id} would start {name} twice: it runs on {self.running[name]}"
        self.owners[name] = step.node
        if record.wanted is Wanted.RUNNING:
            self.running[name] = step.node
        else:
            self.running.pop(name, None)
        yield from self._has_disks(step, record)
        yield from self._has_networks(step, record)

    def _has_disks(self, step: Step, record: Applied) -> Iterator[str]:
        if set(record.disks) != set(record.spec["disks"]):
            yield f"step {step.id} does not say where every disk of {record.name} lies"
        for name, ref in sorted(record.disks.items()):
            key = f"{ref.pool}/{ref.image}"
            maker = self._maker.get(key)
            if maker is not None and not self._comes_after(step, maker):
                yield f"step {step.id} does not wait for {maker}"
            if key not in self.images:
                yield f"step {step.id} uses disk {name} of {record.name}, which does not exist"

    def _has_networks(self, step: Step, record: Applied) -> Iterator[str]:
        if set(record.nics) != set(record.spec["nics"]):
            yield f"step {step.id} has not a lease for every NIC of {record.name}"
        for nic in record.spec["nics"].values():
            network = nic["network"]
            of = Address(f"{Kind.NETWORK}/{network}")
            wanted = self._digest(of)
            if not wanted:
                yield f"step {step.id} uses {of}, which does not exist"
                continue
            shown = self.inventory.nodes[step.node].networks.get(network)
            if shown is not None and shown.digest == wanted:
                continue
            if self._showing.get((of, step.node, wanted), _NONE).isdisjoint(step.needs):
                yield f"step {step.id} does not wait until {step.node} shows {of}"

    # --- data ---

    def _made(self, step: Step) -> Iterator[str]:
        key = f"{step.inputs['pool']}/{step.inputs['image']}"
        pool = Address(f"{Kind.POOL}/{step.inputs['pool']}")
        if pool not in self.records:
            yield f"step {step.id} needs {pool}, which does not exist"
        elif pool in self._maker and not self._comes_after(step, self._maker[pool]):
            yield f"step {step.id} does not wait for {self._maker[pool]}"
        parent = step.inputs.get("parent")
        if parent:
            source = f"{parent['pool']}/{parent['image']}"
            if source not in self.images:
                yield f"step {step.id} clones {source}, which does not exist"
            elif source in self._maker and not self._comes_after(step, self._maker[source]):
                yield f"step {step.id} does not wait for {self._maker[source]}"
        if step.operation is Operation.DISK_CREATE and self._lies_in_trash(step):
            yield f"step {step.id} makes an empty disk; its data lies in the trash"
        if step.operation is Operation.DISK_RESTORE:
            yield from check_words.restored_wrong(step, self.inventory, frozenset(self.emptied))
            self.emptied.add(str(step.inputs["trash_id"]))
        self.images.add(key)
        self._maker[key] = step.id

    def _lies_in_trash(self, step: Step) -> bool:
        storage = self.inventory.storage
        entries = [] if storage is None else storage.trash.get(step.inputs["pool"], ())
        return any(entry.name == step.inputs["image"] for entry in entries)

    def _unmade(self, step: Step) -> Iterator[str]:
        pool, image = step.inputs["pool"], step.inputs["image"]
        before = self.before.applied.get(_object(step.address))
        named = before is not None and any(
            (ref.pool, ref.image) == (pool, image) for ref in before.disks.values()
        )
        # What the record does not name any more was let go by an earlier plan.
        now = self.records.get(_object(step.address))
        is_kept = now is not None and bool(now.spec.get("protect"))
        if before is not None and named and is_kept and before.spec.get("protect"):
            yield f"step {step.id} destroys data of {before.address}, which is protected"
        for of, record in sorted(self.records.items()):
            if of.partition("/")[0] == Kind.IMAGE and step.operation is Operation.IMAGE_DELETE:
                continue
            is_own = of == _object(step.address) and of.partition("/")[0] == Kind.VOLUME
            uses = any((r.pool, r.image) == (pool, image) for r in record.disks.values())
            if uses and record.phase is Phase.PRESENT and not is_own:
                yield f"step {step.id} takes {pool}/{image} away while {of} uses it"
        kind, name, *_ = step.address.split("/")
        if kind == Kind.VM:
            yield from self._is_released(step, name)
        self.images.discard(f"{pool}/{image}")

    def _is_released(self, step: Step, vm: str) -> Iterator[str]:
        """The guest was stopped, or its record no longer names the disk, before this step."""
        releasing = (Operation.VM_RETIRE, Operation.VM_STOP, Operation.VM_PUT)
        of = Address(f"{Kind.VM}/{vm}")
        before = [s.id for s in self.plan.steps if s.address == of and s.operation in releasing]
        if before and not any(self._comes_after(step, each) for each in before):
            yield f"step {step.id} does not wait until {vm} has let go of the disk"
        record = self.records.get(of)
        if not before and vm in self.running and record and record.phase is Phase.REMOVING:
            yield f"step {step.id} takes a disk of {vm}, which runs"

    def _destroyed(self, step: Step) -> Iterator[str]:
        before = self.before.applied.get(step.address)
        if before is None and step.address in self.kept:
            yield from self._purged_whole(step, self.kept[step.address])
            return
        if before is None or before.kind is Kind.TRANSITIONS:
            if before is None:
                yield f"step {step.id} destroys {step.address}, which is not ours"
            return
        if f"forgotten {step.address}" in self.words:
            return  # its data and whatever else it is stay as they are
        if before.spec.get("protect") and before.phase is Phase.PRESENT:
            yield f"step {step.id} destroys {step.address}, which is protected"
        if self.inventory.accepted is None:
            yield f"step {step.id} destroys, and no commit was accepted"
        if step.operation in _LAST:
            yield from self._ended(step, before)
        for other in self.plan.steps:
            uses = other.address in self._users(step.address)
            has_run = other.id in self._latest.get(other.address, ())
            if uses and has_run and not self._comes_after(step, other.id):
                yield f"step {step.id} does not wait for {other.id}, which uses it"

    def _ended(self, step: Step, before: Applied) -> Iterator[str]:
        """The last step of a removal: nothing of it runs or lies about, and what comes back is known."""
        if before.kind is Kind.VM and before.name in self.running:
            yield f"step {step.id} forgets {before.name}, which runs"
        if any(f"{ref.pool}/{ref.image}" in self.images for ref in _own(before)):
            yield f"step {step.id} forgets {before.name}, and its disks are left"
        if step.operation is Operation.RECORD_DROP and _own(before):
            yield f"step {step.id} forgets what the data of {step.address} is to come back as"

    def _purged_whole(self, step: Step, record: Applied) -> Iterator[str]:
        """What came of its data must be over before its identity is forgotten."""
        storage = self.inventory.storage
        mine = {(ref.pool, ref.image) for ref in _own(record)}
        for pool, entries in () if storage is None else sorted(storage.trash.items()):
            for entry in entries:
                if (pool, entry.name) in mine and entry.id not in self.emptied:
                    yield f"step {step.id} forgets {step.address}, whose data lies in the trash"

    def _users(self, of: Address) -> frozenset[Address]:
        return frozenset(a for a, r in self.before.applied.items() if of in r.needs)


def _own(record: Applied) -> tuple[DiskRef, ...]:
    """Data that is its own, and nobody else's: of guests and volumes."""
    if record.kind is Kind.VOLUME:
        return tuple(record.disks.values())
    if record.kind is not Kind.VM:
        return ()
    spec = record.spec["disks"]
    return tuple(r for name, r in record.disks.items() if not spec[name].get("volume"))


# --- what is there afterwards ----------------------------------------------------------------------


def _promised(plan: Plan, final: Mapping[Address, Applied]) -> Iterator[str]:
    """Every change is carried out by the steps, and nothing but the changes."""
    changed = {change.address for change in plan.changes}
    for step in plan.steps:
        if _object(step.address) not in changed and step.address != check_words.WORDS:
            yield f"step {step.id} changes {_object(step.address)}, which no change names"
    for change in plan.changes:
        record = final.get(change.address)
        if change.after is None or change.actions == (Action.DELETE,):
            if record is not None:
                yield f"{change.address} is to be destroyed, and no step does"
        elif record is None or record.spec != change.after:
            yield f"{change.address} does not become what its change says"


def _used_but_gone(final: Mapping[Address, Applied]) -> Iterator[str]:
    older = {name for record in final.values() for name in record.names}
    for of, record in sorted(final.items()):
        for need in record.needs:
            if need not in final and need not in older and record.phase is Phase.PRESENT:
                yield f"{of} needs {need}, which is gone afterwards"


def _addresses_twice(final: Mapping[Address, Applied]) -> Iterator[str]:
    macs: dict[str, Address] = {}
    addresses: dict[tuple[str, str], Address] = {}
    for of, record in sorted(final.items()):
        for name, lease in sorted(record.nics.items()):
            if macs.setdefault(lease.mac, of) != of:
                yield f"{of} and {macs[lease.mac]} have the same MAC {lease.mac}"
            if lease.address is None:
                continue
            key = (record.spec["nics"][name]["network"], lease.address)
            if addresses.setdefault(key, of) != of:
                yield f"{of} and {addresses[key]} have the same address {lease.address}"


def _budgets(
    plan: Plan, inventory: Inventory, final: Mapping[Address, Applied], words: frozenset[str]
) -> Iterator[str]:
    cluster = _cluster(final)
    if cluster is None:
        return
    for kind, word in _BUDGETS.items():
        gone = [
            change.address
            for change in plan.changes
            if change.actions == (Action.DELETE,)
            and change.address.partition("/")[0] == kind
            and change.address in inventory.applied
            and inventory.applied[change.address].phase is Phase.PRESENT
            and not {f"{said} {change.address}" for said in ("removed", "forgotten")} & words
        ]
        allowed = getattr(cluster.max_destroy, word)
        spent = inventory.spent.destroyed.get(word, 0)
        if gone and len(gone) + spent > allowed:
            before = f" after {spent} today" if spent else ""
            yield f"{len(gone)} {word} are destroyed{before}; apply.max_destroy allows {allowed}"


def _disruptions(
    plan: Plan, inventory: Inventory, final: Mapping[Address, Applied], words: frozenset[str]
) -> Iterator[str]:
    cluster = _cluster(final)
    if cluster is None:
        return
    asked = {each.subject for each in inventory.intents.values()}
    stopped = {
        step.address
        for step in plan.steps
        if step.operation is Operation.VM_STOP and step.downtime_s > 0
    }
    meant = {of for of in stopped if f"disrupted {of}" in words}
    count = len(stopped - meant - asked)
    spent = inventory.spent.disrupted.get("reboots", 0)
    if count and count + spent > cluster.max_disrupt.reboots:
        before = f" after {spent} today" if spent else ""
        allowed = cluster.max_disrupt.reboots
        yield f"{count} guests are restarted{before}; apply.max_disrupt allows {allowed}"


def _cluster(final: Mapping[Address, Applied]) -> Cluster | None:
    for record in final.values():
        if record.kind is Kind.CLUSTER:
            return Cluster.from_spec(record.name, record.spec)
    return None
