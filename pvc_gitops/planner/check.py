"""An independent reader of a finished plan: does it keep the promises, whoever made it?

It shares no code with the planner. It knows the plan, the inventory, and what operations mean; it plays
the steps over the records and asks at each: may this happen here, now, once? Read before a plan is
published, on every node before its slice is taken up, in every test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.ids import Address, NodeName
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import Action, CapacityVerdict, Loss, Operation, Plan, Step
from pvc_gitops.model.records import Applied, Phase, Wanted
from pvc_gitops.model.spec import Cluster, Group, Node, NodeRole, VirtualMachine
from pvc_gitops.model.values import dataclass
from pvc_gitops.scheduler import capacity as reserve

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
    room = _Room(plan, inventory, final, replay.owners)
    found += room.overfull()
    found += room.false_certificates()
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

    def _comes_after(self, step: Step, earlier: str) -> bool:
        """Whether the graph, not just this listing, puts `earlier` before `step`."""
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


# --- room ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """A guest that takes room on a node."""

    vm: VirtualMachine
    node: NodeName
    memory_mib: int


class _Room:
    """Memory of the nodes after the plan, counted anew."""

    def __init__(
        self,
        plan: Plan,
        inventory: Inventory,
        final: Mapping[Address, Applied],
        owners: Mapping[str, NodeName],
    ) -> None:
        self._plan = plan
        self._limits = dict(_limits(inventory, final))
        self._groups = {
            record.name: Group.from_spec(record.name, record.spec)
            for record in final.values()
            if record.kind is Kind.GROUP
        }
        self._seats = {
            record.name: _seat(record.name, record.spec, owners[record.name])
            for record in final.values()
            if record.kind is Kind.VM
            and record.name in owners
            and record.spec["run_state"] != "disabled"
        }
        self._used: dict[NodeName, int] = {}
        self._on: dict[NodeName, list[tuple[str, _Seat]]] = {}
        self._members: dict[str, list[str]] = {}
        for name, seat in sorted(self._seats.items()):
            self._used[seat.node] = self._used.get(seat.node, 0) + seat.memory_mib
            self._on.setdefault(seat.node, []).append((name, seat))
            for group in seat.vm.placement.groups:
                self._members.setdefault(group, []).append(name)

    def overfull(self) -> Iterator[str]:
        """Only of nodes to which this plan brings a guest: what is full already is no fault of it."""
        for node in sorted({choice.node for choice in self._plan.placement}):
            used, limit = self._used.get(node, 0), self._limits.get(node, 0)
            if used > limit:
                yield f"{node} would hold {used} MiB of guests and has {limit} MiB for them"

    def false_certificates(self) -> Iterator[str]:
        for loss in self._plan.capacity:
            if loss.verdict is CapacityVerdict.HOLDS:
                yield from self._false_certificate(loss)

    def _false_certificate(self, loss: Loss) -> Iterator[str]:
        used = {node: self._used.get(node, 0) for node in self._limits if node != loss.node}
        moved: dict[str, NodeName] = {}
        for name, seat in self._on.get(loss.node, ()):
            ha = seat.vm.ha
            if not (ha.restart and ha.relocate) or seat.vm.run_state == "stopped":
                continue
            to = loss.certificate.get(seat.vm.name)
            if to is None or to not in used:
                yield f"N-1 without {loss.node}: the certificate has no place for {name}"
                continue
            used[to] += seat.memory_mib
            moved[name] = to
            limits = seat.vm.placement.nodes if seat.vm.placement.is_strict else ()
            if limits and to not in limits:
                yield f"N-1 without {loss.node}: {name} may not go to {to}"
        for node in sorted(set(loss.certificate.values())):
            if used.get(node, 0) > self._limits.get(node, 0):
                yield f"N-1 without {loss.node}: {node} would be overfull"
        yield from self._broken_groups(loss, moved)

    def _broken_groups(self, loss: Loss, moved: Mapping[str, NodeName]) -> Iterator[str]:
        for name, group in sorted(self._groups.items()):
            members = self._members.get(name, ())
            if not group.is_strict or not any(vm in moved for vm in members):
                continue
            counts: dict[NodeName, int] = {}
            for vm in members:
                node = moved.get(vm, self._seats[vm].node)
                if node != loss.node:
                    counts[node] = counts.get(node, 0) + 1
            touched = {moved[vm] for vm in members if vm in moved}
            if group.policy == "apart":
                for node in sorted(touched):
                    if counts[node] > group.max_per_node:
                        yield f"N-1 without {loss.node}: group {name} has too many on {node}"
            elif len(counts) > 1:
                yield f"N-1 without {loss.node}: group {name} would be apart"


def _seat(name: str, spec: Spec, node: NodeName) -> _Seat:
    vm = VirtualMachine.from_spec(name, spec)
    return _Seat(vm=vm, node=node, memory_mib=vm.memory_mib + reserve.GUEST_OVERHEAD_MIB)


def _limits(
    inventory: Inventory, final: Mapping[Address, Applied]
) -> Iterable[tuple[NodeName, int]]:
    """Memory for guests of each online node: what is declared and reported, less what the cluster
    itself needs there. The amounts are the scheduler's constants; the sum is made here again."""
    cluster = _cluster(final)
    for record in final.values():
        if record.kind is not Kind.NODE or cluster is None:
            continue
        node = Node.from_spec(record.name, record.spec)
        facts = inventory.nodes.get(node.name)
        if facts is None or facts.state is not NodeState.ONLINE or not node.runs_guests:
            continue
        memory_mib = node.memory_mib
        if facts.hardware is not None:
            memory_mib = min(memory_mib, facts.hardware.memory_mib)
        yield node.name, max(0, memory_mib - _kept_mib(node, cluster, memory_mib))


def _kept_mib(node: Node, cluster: Cluster, memory_mib: int) -> int:
    if cluster.reserve_memory_mib is not None:
        return cluster.reserve_memory_mib
    kept = reserve.SYSTEM_MIB
    if node.role is NodeRole.COORDINATOR:
        kept += reserve.COORDINATOR_MIB
    disks = len([osd for osd in node.osds if osd.disk is not None])
    files = len(node.osds) - disks
    share = int(memory_mib * reserve.OSD_SHARE_MAX)
    return kept + min(reserve.OSD_DISK_MIB * disks, share) + reserve.OSD_FILE_MIB * files
