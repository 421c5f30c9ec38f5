"""The verifier's arithmetic: room on every node, and what the plan claims of losses.

As `check.py`, it shares no code with what it checks. It knows what guests ask before and after the plan
(records), which steps change that, and asks of each certificate: is it one, for every moment that the
graph allows? See `survival.py` for why a few situations are all moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import combinations
from math import comb

from pvc_gitops.model import room as reserve
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, NodeName, VmName
from pvc_gitops.model.inventory import Inventory, NodeState
from pvc_gitops.model.plan import CapacityVerdict, Loss, Operation, Plan
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.spec import Cluster, Group, Node, NodeRole
from pvc_gitops.model.units import size_mib
from pvc_gitops.model.values import dataclass

Records = Mapping[Address, Applied]
_VERDICTS = (CapacityVerdict.FAILS, CapacityVerdict.UNKNOWN, CapacityVerdict.HOLDS)
_LOSSES_MAX = 1_800  # of so many a plan need not speak of each, if it says that it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    """What a guest takes of its node. `only`: where it may be, None: anywhere."""

    memory_mib: int
    vcpus: int
    vfs: int
    only: frozenset[str] | None
    groups: frozenset[str]
    returns: bool  # somebody starts it elsewhere when its node dies

    def is_within(self, other: _Ask) -> bool:
        return (
            self.memory_mib <= other.memory_mib
            and self.vcpus <= other.vcpus
            and self.vfs <= other.vfs
            and self.groups <= other.groups
            and self.returns <= other.returns
            and (self.only is None or (other.only is not None and other.only <= self.only))
        )

    def joined(self, other: _Ask) -> _Ask:
        both = [each.only for each in (self, other) if each.only is not None]
        return _Ask(
            memory_mib=max(self.memory_mib, other.memory_mib),
            vcpus=max(self.vcpus, other.vcpus),
            vfs=max(self.vfs, other.vfs),
            only=frozenset.intersection(*both) if both else None,
            groups=self.groups | other.groups,
            returns=self.returns or other.returns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    memory_mib: int
    vcpus: float
    vfs: int


Seats = Mapping[str, tuple[_Ask, NodeName]]


class _Moment:
    """Who asks what where, under which strict rules, on nodes of which size."""

    def __init__(
        self, seats: Seats, rules: tuple[Group, ...], sizes: Mapping[NodeName, _Size]
    ) -> None:
        self.rules, self.sizes = rules, sizes
        self.on = _by_node(seats)
        self.members: dict[str, dict[NodeName, int]] = {}  # group -> node -> how many
        for ask, node in seats.values():
            for name in ask.groups:
                nodes = self.members.setdefault(name, {})
                nodes[node] = nodes.get(node, 0) + 1


def _by_node(seats: Seats) -> dict[NodeName, dict[str, _Ask]]:
    found: dict[NodeName, dict[str, _Ask]] = {}
    for name, (ask, node) in sorted(seats.items()):
        found.setdefault(node, {})[name] = ask
    return found


class Room:
    """Reads one plan. `final` and `owners`: records and places after it; `comes_after(a, b)`: whether
    the graph puts step `b` before step `a`."""

    def __init__(
        self,
        plan: Plan,
        inventory: Inventory,
        final: Records,
        owners: Mapping[str, NodeName],
        comes_after: Callable[[str, str], bool],
    ) -> None:
        self._plan, self._inventory, self._comes_after = plan, inventory, comes_after
        was: Mapping[str, NodeName] = {n: p.owner for n, p in inventory.placements.items()}
        self._steps = {step.id for step in plan.steps}
        self._sizes = dict(_sizes(inventory, final, final))
        asks = _Asks(final)
        self._old = asks.of(inventory.applied, was, self._sizes)
        self._new = asks.of(final, owners, self._sizes)
        self._rules = (_groups(inventory.applied), _groups(final))
        before = dict(_sizes(inventory, inventory.applied, final))
        self._shrunk = {
            node: self._on_the_way(node, size, before.get(node))
            for node, size in self._sizes.items()
        }

    def problems(self) -> Iterator[str]:
        yield from self._overfull()
        yield from self._crowded_on_the_way()
        yield from self._silent()
        yield from self._claims()

    def _on_the_way(self, node: NodeName, size: _Size, before: _Size | None) -> _Size:
        """A node that changes offers the least of both; one that joins, what its own guests need."""
        if before is None:
            own = [ask for ask, at in self._new.values() if at == node]
            return _Size(
                memory_mib=sum(ask.memory_mib for ask in own),
                vcpus=sum(ask.vcpus for ask in own),
                vfs=sum(ask.vfs for ask in own),
            )
        return _Size(
            memory_mib=min(size.memory_mib, before.memory_mib),
            vcpus=min(size.vcpus, before.vcpus),
            vfs=min(size.vfs, before.vfs),
        )

    # --- nodes ---

    def _overfull(self) -> Iterator[str]:
        """Only of nodes to which this plan brings a guest: what is full already is no fault of it."""
        on = _by_node(self._new)
        for node in sorted({choice.node for choice in self._plan.placement}):
            here = on.get(node, {}).values()
            size = self._sizes.get(node, _Size(memory_mib=0, vcpus=0, vfs=0))
            used = sum(ask.memory_mib for ask in here)
            if used > size.memory_mib:
                yield f"{node} would hold {used} MiB of guests and has {size.memory_mib} MiB for them"
            if sum(ask.vcpus for ask in here) > size.vcpus:
                yield f"{node} would hold more vCPUs than it has"
            if sum(ask.vfs for ask in here) > size.vfs:
                yield f"{node} would hold more virtual functions than it has"
        for choice in self._plan.placement:
            ask = on.get(choice.node, {}).get(choice.vm)
            if ask is None:
                continue
            if ask.only is not None and choice.node not in ask.only:
                yield f"{choice.vm} is placed on {choice.node}, where it may not be"
            for group in self._rules[1]:
                if group.policy != "apart" or group.name not in ask.groups:
                    continue
                count = sum(group.name in each.groups for each in on[choice.node].values())
                if count > group.max_per_node:
                    where = f"{choice.node}, where group {group.name} has too many"
                    yield f"{choice.vm} is placed on {where}"

    def _crowded_on_the_way(self) -> Iterator[str]:
        """A step that asks for more memory may come before one on its node that gives some."""
        was, will = _by_node(self._old), _by_node(self._new)
        calm = {
            node for node, size in self._sizes.items() if self._never_fills(node, size, was, will)
        }
        for name, (ask, node) in sorted(self._new.items()):
            old = self._old.get(name)
            if node in calm:
                continue
            put = f"{Operation.VM_PUT} {Kind.VM}/{name}"
            if put not in self._steps or (old is not None and old[0].memory_mib >= ask.memory_mib):
                continue
            beside = {*was.get(node, ()), *will.get(node, ())}
            used = sum(self._most_beside(put, other, node) for other in beside)
            size = self._sizes.get(node)
            if size is not None and used > size.memory_mib:
                yield f"step {put} may come while {node} holds {used} of {size.memory_mib} MiB"

    def _never_fills(
        self,
        node: NodeName,
        size: _Size,
        was: Mapping[NodeName, Mapping[str, _Ask]],
        will: Mapping[NodeName, Mapping[str, _Ask]],
    ) -> bool:
        """Whether it has room for all its guests at their largest at once: then no order matters, and
        nobody has to look at each guest beside each other."""
        before, after = was.get(node, {}), will.get(node, {})
        most = sum(
            max(each[name].memory_mib for each in (before, after) if name in each)
            for name in {*before, *after}
        )
        return most <= size.memory_mib

    def _most_beside(self, put: str, name: str, node: NodeName) -> int:
        """What a guest may take of the node while `put` happens."""
        old, new = (
            seat[0].memory_mib if seat is not None and seat[1] == node else 0
            for seat in (self._old.get(name), self._new.get(name))
        )
        ends = self._ends_of(name)
        if new < old and ends is not None and self._comes_after(put, ends):
            return new
        return max(old, new)

    def _ends_of(self, name: str) -> str | None:
        """The step after which a guest asks only what it asks at last."""
        of = f"{Kind.VM}/{name}"
        ending = (Operation.VM_RETIRE, Operation.VM_PUT, Operation.RECORD_DROP)
        return next((s for s in (f"{each} {of}" for each in ending) if s in self._steps), None)

    # --- losses ---

    def _silent(self) -> Iterator[str]:
        """Of every loss that leaves guests to be started again, the plan says something."""
        claimed = {loss.lost for loss in self._plan.capacity}
        many = {len(lost) for lost in claimed}
        if not claimed and self._sizes:
            yield "the plan says nothing of the loss of a node"
        for size in many:
            nodes = sorted(self._sizes)
            if comb(len(nodes), size) > _LOSSES_MAX:
                continue  # it says so by an entry of its own, which is unknown
            carrying = {node for ask, node in self._new.values() if ask.returns}
            for lost in combinations(nodes, size):
                if lost not in claimed and not carrying.isdisjoint(lost):
                    yield f"the plan says nothing of the loss of {' and '.join(lost)}"
        worst = min(
            (_VERDICTS.index(loss.verdict) for loss in self._plan.capacity),
            default=len(_VERDICTS) - 1,
        )
        if self._plan.summary.n1 is not _VERDICTS[worst]:
            yield f"the summary says that N-1 {self._plan.summary.n1}; of the losses one does not"

    def _claims(self) -> Iterator[str]:
        after = _Moment(self._new, self._rules[1], self._sizes)
        on_the_way = {loss.lost: loss for loss in self._plan.during}
        for loss in self._plan.capacity:
            holds = loss.verdict is CapacityVerdict.HOLDS
            if holds:
                yield from _wrong(after, loss)
            way = on_the_way.get(loss.lost)
            if way is None and self._plan.during:
                yield f"N-1 without {loss.label}: nothing is said of the way"
            elif (way or loss).verdict is CapacityVerdict.HOLDS:
                yield from self._unproven_on_the_way(loss, way or loss)

    def _unproven_on_the_way(self, after: Loss, way: Loss) -> Iterator[str]:
        """The widest moment proves all; else the beginning and the end do, where steps are ordered."""
        missing = next(_wrong(self._widest, way), None)
        if missing is None:
            return
        is_ordered = self._is_ordered and after.verdict is CapacityVerdict.HOLDS
        if not is_ordered or any(_wrong(self._beginning, way)) or any(_wrong(self._end, after)):
            yield f"{missing}, while the plan is carried out"

    @cached_property
    def _widest(self) -> _Moment:
        return self._moment(_most)

    @cached_property
    def _beginning(self) -> _Moment:
        return self._moment(lambda old, new: _most(old, new) if _is_both(old, new) else old)

    @cached_property
    def _end(self) -> _Moment:
        return self._moment(lambda old, new: _most(old, new) if _is_both(old, new) else new)

    def _moment(self, pick: Callable[[_Ask | None, _Ask | None], _Ask | None]) -> _Moment:
        seats: dict[str, tuple[_Ask, NodeName]] = {}
        for name in {*self._old, *self._new}:
            old, new = self._old.get(name), self._new.get(name)
            ask = pick(old and old[0], new and new[0])
            place = new or old
            if ask is not None and place is not None:
                seats[name] = ask, place[1]
        rules = tuple(dict.fromkeys((*self._rules[0], *self._rules[1])))
        return _Moment(seats, rules, self._shrunk)

    @cached_property
    def _is_ordered(self) -> bool:
        """Whether all steps that ask for more come after all that only give."""
        asking, giving = [], []
        for name in {*self._old, *self._new}:
            old, new = self._old.get(name), self._new.get(name)
            if new is not None and (old is None or not new[0].is_within(old[0])):
                asking.append(f"{Operation.VM_PUT} {Kind.VM}/{name}")
            elif old is not None and (new is None or not old[0].is_within(new[0])):
                ends = self._ends_of(name)
                giving += [ends] if ends is not None else []
        return all(
            put not in self._steps or self._comes_after(put, ends)
            for put in asking
            for ends in giving
        )


# --- one certificate -------------------------------------------------------------------------------


def _most(old: _Ask | None, new: _Ask | None) -> _Ask | None:
    return old.joined(new) if old is not None and new is not None else old or new


def _is_both(old: _Ask | None, new: _Ask | None) -> bool:
    """It asks for more of one thing and for less of another."""
    if old is None or new is None:
        return False
    return not old.is_within(new) and not new.is_within(old)


def _wrong(moment: _Moment, loss: Loss) -> Iterator[str]:
    """What is wrong with a certificate at a moment."""
    head = f"N-1 without {loss.label}"
    came: dict[NodeName, list[_Ask]] = {}
    for name, ask in ((n, a) for node in loss.lost for n, a in moment.on.get(node, {}).items()):
        if not ask.returns:
            continue
        to = loss.certificate.get(VmName(name))
        if to is None or to not in moment.sizes or to in loss.lost:
            yield f"{head}: the certificate has no place for {name}"
            continue
        came.setdefault(to, []).append(ask)
        if ask.only is not None and to not in ask.only:
            yield f"{head}: {name} may not go to {to}"
    for node, guests in sorted(came.items()):
        here = [*moment.on.get(node, {}).values(), *guests]
        size = moment.sizes[node]
        if sum(ask.memory_mib for ask in here) > size.memory_mib:
            yield f"{head}: {node} would be overfull"
        if sum(ask.vcpus for ask in here) > size.vcpus:
            yield f"{head}: {node} would hold too many vCPUs"
        if sum(ask.vfs for ask in here) > size.vfs:
            yield f"{head}: {node} would hold too many virtual functions"
    for rule in moment.rules:
        yield from _broken(f"{head}: group {rule.name}", moment, rule, loss.lost, came)


def _broken(
    head: str,
    moment: _Moment,
    rule: Group,
    lost: tuple[NodeName, ...],
    came: Mapping[NodeName, Iterable[_Ask]],
) -> Iterator[str]:
    counts = {to: sum(rule.name in ask.groups for ask in asks) for to, asks in came.items()}
    nodes = {to for to, count in counts.items() if count}
    members = moment.members.get(rule.name, {})
    if rule.policy == "apart":
        for node in sorted(nodes):
            if counts[node] + members.get(node, 0) > rule.max_per_node:
                yield f"{head} has too many on {node}"
        return
    stay = members.keys() - set(lost)
    if len(nodes) > 1 or (nodes and stay and not nodes <= stay):
        yield f"{head} would be apart"


# --- what records say ------------------------------------------------------------------------------


class _Asks:
    """What guests ask by their records, each spec read once."""

    def __init__(self, records: Records) -> None:
        self._sriov = {
            record.name
            for record in records.values()
            if record.kind is Kind.NETWORK and record.spec["type"] == "sriov"
        }
        self._known: dict[tuple[int, Phase], tuple[Applied, _Ask]] = {}

    def of(
        self, records: Records, owners: Mapping[str, NodeName], nodes: Mapping[NodeName, _Size]
    ) -> dict[str, tuple[_Ask, NodeName]]:
        found: dict[str, tuple[_Ask, NodeName]] = {}
        for record in records.values():
            owner = owners.get(record.name)
            if record.kind is not Kind.VM or owner is None or owner not in nodes:
                continue
            if record.spec["run_state"] != "disabled":
                found[record.name] = self._ask(record), owner
        return found

    def _ask(self, record: Applied) -> _Ask:
        key = (id(record.spec), record.phase)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = (record, self._read(record))
        return known[1]

    def _read(self, record: Applied) -> _Ask:
        # Six fields of fifty: not by the typed view, which would take most of the verifier's time.
        spec, placement, ha = record.spec, record.spec["placement"], record.spec["ha"]
        stops = spec["run_state"] == "stopped" or record.phase is Phase.REMOVING
        limits = frozenset(placement["nodes"]) if placement["strict"] else frozenset()
        return _Ask(
            memory_mib=size_mib(spec["memory"]) + reserve.GUEST_OVERHEAD_MIB,
            vcpus=spec["cpu"]["vcpus"],
            vfs=sum(nic["network"] in self._sriov for nic in spec["nics"].values()),
            only=limits or None,
            groups=frozenset(placement["groups"]),
            returns=ha["restart"] and ha["relocate"] and not stops,
        )


def _groups(records: Records) -> tuple[Group, ...]:
    groups = (
        Group.from_spec(record.name, record.spec)
        for _, record in sorted(records.items())
        if record.kind is Kind.GROUP
    )
    return tuple(group for group in groups if group.is_strict)


def _sizes(
    inventory: Inventory, records: Records, final: Records
) -> Iterator[tuple[NodeName, _Size]]:
    """What each online node that takes guests in the end offers them by these records: what is declared
    and reported, less what the cluster itself needs there. The amounts are the scheduler's constants;
    the sum is made here again."""
    cluster = next((r for r in records.values() if r.kind is Kind.CLUSTER), None)
    if cluster is None:
        return
    words = Cluster.from_spec(cluster.name, cluster.spec)
    for of, record in records.items():
        last = final.get(of)
        if record.kind is not Kind.NODE or last is None:
            continue
        facts = inventory.nodes.get(NodeName(record.name))
        if facts is None or facts.state is not NodeState.ONLINE:
            continue
        if not Node.from_spec(last.name, last.spec).runs_guests:
            continue
        node = Node.from_spec(record.name, record.spec)
        memory_mib, cpus = node.memory_mib, node.cpus
        if facts.hardware is not None:
            memory_mib = min(memory_mib, facts.hardware.memory_mib)
            cpus = min(cpus, facts.hardware.cpus)
        yield (
            node.name,
            _Size(
                memory_mib=max(0, memory_mib - _kept_mib(node, words, memory_mib)),
                vcpus=cpus * words.vcpu_ratio,
                vfs=node.vfs,
            ),
        )


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
