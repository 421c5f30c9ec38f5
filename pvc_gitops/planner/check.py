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
from pvc_gitops.model.records import Applied, Phase, Wanted
from pvc_gitops.model.spec import Cluster
from pvc_gitops.planner.check_room import Room

_DESTROYING = frozenset(
    {
        Operation.RECORD_DROP,
        Operation.POOL_DELETE,
        Operation.IMAGE_DELETE,
        Operation.NETWORK_RETIRE,
        Operation.VM_RETIRE,
    }
)
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
    found += _promised(plan, final)
    found += _used_but_gone(final)
    found += _addresses_twice(final)
    found += _budgets(plan, inventory, final)
    found += Room(plan, inventory, final, replay.owners, replay.comes_after).problems()
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
    kind, name, *_ = of.split("/")
    return Address(f"{kind}/{name}")


class _Replay:
    """Plays the steps over the records, in the plan's order, asking at each."""

    def __init__(self, plan: Plan, inventory: Inventory) -> None:
        self.plan, self.inventory = plan, inventory
        self.records: dict[Address, Applied] = dict(inventory.applied)
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
        self._latest: dict[Address, list[str]] = {}
        self._maker: dict[str, str] = {}  # what a step makes -> its id
        self._ancestors: dict[str, frozenset[str]] = {}
        self._digests: dict[Address, tuple[Applied, str]] = {}

    def _digest(self, of: Address) -> str:
        """Of the record as it stands now, "" where none does."""
        record = self.records.get(of)
        if record is None:
            return ""
        known = self._digests.get(of)
        if known is None or known[0] is not record:
            known = self._digests[of] = (record, record.digest)
        return known[1]

    def run(self) -> Iterator[str]:
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
                case _:
                    pass
            if step.operation in _DESTROYING:
                yield from self._destroyed(step)
            if step.operation in (Operation.POOL_CREATE, Operation.NETWORK_PUT):
                self._maker[step.address] = step.id
            if step.operation is Operation.RECORD_DROP:
                self.records.pop(step.address, None)
            elif step.record is not None:
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
        if step.record is None and step.operation is not Operation.RECORD_DROP:
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
            ensure = next(
                (
                    other.id
                    for need in step.needs
                    if (other := self._steps[need]).operation is Operation.NETWORK_ENSURE
                    and other.address == of
                    and other.node == step.node
                    and other.inputs.get("digest") == wanted
                ),
                None,
            )
            if ensure is None:
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
        self.images.add(key)
        self._maker[key] = step.id

    def _lies_in_trash(self, step: Step) -> bool:
        storage = self.inventory.storage
        entries = [] if storage is None else storage.trash.get(step.inputs["pool"], ())
        return any(entry.name == step.inputs["image"] for entry in entries)

    def _unmade(self, step: Step) -> Iterator[str]:
        pool, image = step.inputs["pool"], step.inputs["image"]
        before = self.inventory.applied.get(_object(step.address))
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
        before = self.inventory.applied.get(step.address)
        if before is None:
            yield f"step {step.id} destroys {step.address}, which is not ours"
            return
        if before.spec.get("protect") and before.phase is Phase.PRESENT:
            yield f"step {step.id} destroys {step.address}, which is protected"
        if self.inventory.accepted is None:
            yield f"step {step.id} destroys, and no commit was accepted"
        if step.operation is Operation.RECORD_DROP and before.kind is Kind.VM:
            if before.name in self.running:
                yield f"step {step.id} forgets {before.name}, which runs"
            if any(key.split("/", 1)[1].startswith(f"vm.{before.name}.") for key in self.images):
                yield f"step {step.id} forgets {before.name}, and its disks are left"
        for other in self.plan.steps:
            uses = other.address in self._users(step.address)
            has_run = other.id in self._latest.get(other.address, ())
            if uses and has_run and not self._comes_after(step, other.id):
                yield f"step {step.id} does not wait for {other.id}, which uses it"

    def _users(self, of: Address) -> frozenset[Address]:
        return frozenset(a for a, r in self.inventory.applied.items() if of in r.needs)


# --- what is there afterwards ----------------------------------------------------------------------


def _promised(plan: Plan, final: Mapping[Address, Applied]) -> Iterator[str]:
    """Every change is carried out by the steps, and nothing but the changes."""
    changed = {change.address for change in plan.changes}
    for step in plan.steps:
        if _object(step.address) not in changed:
            yield f"step {step.id} changes {_object(step.address)}, which no change names"
    for change in plan.changes:
        record = final.get(change.address)
        if change.after is None or change.actions == (Action.DELETE,):
            if record is not None:
                yield f"{change.address} is to be destroyed, and no step does"
        elif record is None or record.spec != change.after:
            yield f"{change.address} does not become what its change says"


def _used_but_gone(final: Mapping[Address, Applied]) -> Iterator[str]:
    for of, record in sorted(final.items()):
        for need in record.needs:
            if need not in final and record.phase is Phase.PRESENT:
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


def _budgets(plan: Plan, inventory: Inventory, final: Mapping[Address, Applied]) -> Iterator[str]:
    cluster = _cluster(final)
    if cluster is None:
        return
    for kind, word in _BUDGETS.items():
        gone = [
            change.address
            for change in plan.changes
            if change.actions == (Action.DELETE,)
            and change.address.partition("/")[0] == kind
            and inventory.applied[change.address].phase is Phase.PRESENT
        ]
        allowed = getattr(cluster.max_destroy, word)
        if len(gone) > allowed:
            yield f"{len(gone)} {word} are destroyed; apply.max_destroy allows {allowed}"


def _cluster(final: Mapping[Address, Applied]) -> Cluster | None:
    for record in final.values():
        if record.kind is Kind.CLUSTER:
            return Cluster.from_spec(record.name, record.spec)
    return None
