"""The plan: an immutable graph of steps, each bound to a node, that leaves nothing to choose.

`format: pvc-plan/1`. `id` covers everything it was computed from; `effect` covers what it does
(addresses, actions, before and after, dispositions, blocked), so that a preview on a branch, its
merge and its approval are recognised as the same change (DESIGN D18).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pvc_gitops.model.document import Place, Value
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address, CommitId, NodeName, PlanId, VmName
from pvc_gitops.model.records import Applied
from pvc_gitops.model.transitions import Word
from pvc_gitops.model.values import dataclass


class Action(StrEnum):
    """What happens to an address. A replacement is (DELETE, CREATE)."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    RESTORE = "restore"
    MOVE = "move"
    ADOPT = "adopt"
    FORGET = "forget"
    NONE = "none"


class Operation(StrEnum):
    """What a step does. The applier of the same name carries it out.

    `Step.inputs` by operation (`image` is always an RBD name, sizes are MiB):
        pool.create pool.update   pool, copies, min_copies; create also pgs
        pool.delete               pool
        image.import              url, checksum, format, pool, image, snapshot
        image.delete              pool, image, snapshot
        disk.create               pool, image, size_mib, parent: {pool, image, snapshot} or null
        disk.grow                 pool, image, size_mib
        disk.trash                pool, image, keep_s
        disk.restore              pool, image, trash_id, size_mib (grown to it if it is smaller)
        network.ensure            digest: what the node must report; "" when the network must be gone
        disk.purge                pool, image, trash_id
        record.move               from: the address whose record, and placement, become this one's
        vm.forget vm.adopt        uuid; adopt also domain: its name in libvirt
        vm.put                    is_deferred: a running domain keeps what only a restart changes
        vm.stop vm.retire         stop_timeout_s
    All others need nothing but the record. `record.drop` and `record.keep` of a guest
    drop its placement too; with `is_free` it is no deletion that a budget counts. A disk
    of a guest has no record of its own (`record` is None); a volume's has.
    """

    RECORD_PUT = "record.put"  # the applied record only: cluster, node, group, secret, operator
    RECORD_DROP = "record.drop"  # the last step of every deletion
    RECORD_MOVE = "record.move"  # under another address, in one transaction; nothing else changes
    RECORD_KEEP = "record.keep"  # of what went to the trash: placement gone, identity kept
    POOL_CREATE = "pool.create"
    POOL_UPDATE = "pool.update"
    POOL_DELETE = "pool.delete"
    IMAGE_IMPORT = "image.import"
    IMAGE_DELETE = "image.delete"
    DISK_CREATE = "disk.create"  # empty, or a clone of an image's snapshot
    DISK_GROW = "disk.grow"
    DISK_TRASH = "disk.trash"
    DISK_RESTORE = "disk.restore"  # out of the trash: a name keeps its data (D6)
    DISK_PURGE = "disk.purge"  # out of the trash for ever, once its time has come
    NETWORK_PUT = "network.put"  # the record; nodes realise it
    NETWORK_ENSURE = "network.ensure"  # on one node: wait until it is realised as recorded
    NETWORK_RETIRE = "network.retire"  # the record says removing; nodes take it down
    VM_PUT = "vm.put"  # the record and its wanted power; done when the domain shows it
    VM_STOP = "vm.stop"  # wanted: stopped; done when the domain is gone
    VM_RETIRE = "vm.retire"  # as stop, and the record says removing
    VM_FORGET = "vm.forget"  # a running domain loses our mark and goes on; the record is dropped
    VM_ADOPT = "vm.adopt"  # a running domain that is not ours gets our mark, and a record


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPolicy:
    """What the planner is told besides spec and inventory. Part of the plan's id."""

    planner_version: str
    rebalance: bool = False  # look for moves that spread the guests better
    # What the commit before says of budgets, windows, admission and trash, where a commit is not judged
    # by its own words (`planner.rules`).
    rules: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why: a stable code, a sentence, and the place in the repository if there is one."""

    code: str
    text: str
    place: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One changed field. `path` is dotted: `disks.root.size`."""

    path: str
    before: Value
    after: Value
    disposition: Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the plan does to one address."""

    address: Address
    actions: tuple[Action, ...]
    fields: tuple[FieldChange, ...]  # of an update, sorted by path
    before: Mapping[str, Value] | None  # the applied spec
    after: Mapping[str, Value] | None  # the wanted spec
    disposition: Disposition | None  # the costliest of the fields
    downtime_s: float
    because: tuple[Cause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An operation on one address by one node's agent.

    `id` is readable and unique in the plan (`vm.put vm/web1`, `network.ensure network/app hv2`).
    `pre` maps an address to the digest its applied record must have, "" where there must be none.
    `record` is what the applied record becomes; `inputs` all else the applier needs, plain JSON.
    """

    id: str
    address: Address
    operation: Operation
    node: NodeName
    needs: tuple[str, ...]
    pre: Mapping[Address, str]
    record: Applied | None
    inputs: Mapping[str, Value]
    estimate_s: float
    timeout_s: float
    downtime_s: float
    undo: str  # what a person would do to take it back


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementChoice:
    """Where a new or moved guest goes, and why nowhere else."""

    vm: VmName
    node: NodeName
    score: float
    rejected: Mapping[NodeName, str]  # reason


class ItemKind(StrEnum):
    """What a line of the report is about."""

    BLOCKED = "blocked"  # refused, with the text that would allow it
    WAITING = "waiting"  # for a claim, a restart, a node
    HELD = "held"  # by an operator's intent
    DRIFT = "drift"  # live differs from applied
    ORPHAN = "orphan"  # owned, undeclared, not removed
    WARNING = "warning"
    NOTE = "note"  # `= used at the next rebuild`


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """An entry of transitions.yaml that would allow what is refused (`pvc allow` writes it)."""

    word: Word
    address: Address
    source: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportItem:
    """One thing that the planner waits for or refuses."""

    kind: ItemKind
    address: Address
    code: str
    text: str
    remedy: str  # the exact command or lines
    place: Place | None
    permits: tuple[Permit, ...] = ()


class CapacityVerdict(StrEnum):
    """Whether the loss of one node leaves every guest with `ha.restart` a place."""

    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"  # counted as not holding


class Bound(StrEnum):
    """What shows that a loss cannot be survived, or that it is not known."""

    RULE = "rule"  # a strict rule leaves a guest no node, whatever room there is
    BIGGEST = "biggest"  # one guest is larger than every room
    VOLUME = "volume"  # all together ask for more than there is
    PIGEONHOLE = "pigeonhole"  # more guests of a kind than places that take one
    SEARCH = "search"  # every way to divide them was tried
    LIMIT = "limit"  # the search was ended before it knew: the verdict is `unknown`


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the loss of one node, or of `ha.tolerate_nodes` of them at once, would mean.

    `homeless` are guests that the best division found leaves without a place; whether others could
    be chosen in their stead makes no difference to the verdict.
    """

    node: NodeName
    verdict: CapacityVerdict
    certificate: Mapping[VmName, NodeName]  # where each guest would go
    homeless: tuple[VmName, ...]  # the counter-example
    spare_mib: int  # memory left over; negative: how much is missing
    others: tuple[NodeName, ...] = ()  # lost with it
    bound: Bound | None = None  # None: it holds
    why: str = ""  # the bound as a sentence, with its numbers

    @property
    def lost(self) -> tuple[NodeName, ...]:
        return (self.node, *self.others)

    @property
    def label(self) -> str:
        """`hv1`, `hv1 and hv2`."""
        return " and ".join(self.lost)


class MoveMethod(StrEnum):
    """How a guest is moved; its `migration.method`."""

    LIVE = "live"  # it runs on, with a short pause; its memory counts on both nodes
    SHUTDOWN = "shutdown"  # it is stopped and started again


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A guest that goes from one node to another. `after`: ids of moves that must have ended first,
    since they make its room, move the same guest, or share its nodes' limit."""

    id: str  # `web1 hv1 hv2`; unique in its list
    vm: VmName
    source: NodeName
    to: NodeName
    method: MoveMethod
    memory_mib: int
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """A guest that should leave its node and cannot, and why."""

    vm: VmName
    code: str  # method-none, no-place, limit
    text: str
    missing_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalance:
    """Moves that spread the guests better. `before` and `after` are imbalances: the standard deviation
    of the nodes' used shares in percent; nothing is moved below the threshold."""

    moves: tuple[Move, ...]
    before: float
    after: float
    threshold: float
    why: str  # why these, or why none


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStamp:
    """Which report of a node the plan was made from."""

    report_number: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The last line, as numbers."""

    objects: int  # declared in the repository
    create: int
    update: int
    delete: int
    restore: int
    blocked: int
    waiting: int
    downtime_s: float  # the longest of any guest
    duration_s: float  # along the critical path
    n1: CapacityVerdict
    move: int = 0
    adopt: int = 0
    forget: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `planner.plan` returns and ZooKeeper holds."""

    id: PlanId
    effect: str
    parent: PlanId | None
    planner_version: str
    commit: CommitId | None
    cluster_id: str
    now_s: int
    inventory: Mapping[NodeName, NodeStamp]
    changes: tuple[Change, ...]  # by address
    steps: tuple[Step, ...]  # in one topological order, ties by id
    placement: tuple[PlacementChoice, ...]
    report: tuple[ReportItem, ...]
    capacity: tuple[Loss, ...]  # of the state after the plan
    summary: Summary
    during: tuple[Loss, ...] = ()  # of all states on the way; () where `capacity` says that too
    rebalance: Rebalance | None = None  # where it was asked for

    @property
    def is_empty(self) -> bool:
        return not self.steps
