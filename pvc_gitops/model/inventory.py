"""What was observed, with its time. Absence is explicit: None means not seen, never zero.

An inventory is all that the planner knows of the world. It serialises to JSON and back without loss
(`pvc export`, `pvc plan --inventory`); `now_s` is in whole minutes, so that two runs within a minute
over the same observations give the same plan id (DESIGN D1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from pvc_gitops.model.ids import Address, CommitId, Mac, NodeName, PlanId, PoolName, VmName
from pvc_gitops.model.intents import Intent, IntentId
from pvc_gitops.model.records import Applied, Claim, Lease, PlacementRecord
from pvc_gitops.model.values import dataclass


class NodeState(StrEnum):
    """What is known of a node. What each means, and what leads to it: `model/node_states.py`."""

    ABSENT = "absent"
    ONLINE = "online"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"
    FENCING = "fencing"
    FENCED = "fenced"
    LEFT = "left"


class StorageReach(StrEnum):
    """Whether Ceph answers a node, by its own agent's looks."""

    UNKNOWN = "unknown"  # its agent has not looked yet
    ANSWERS = "answers"
    SILENT = "silent"  # neither a monitor nor an OSD does
    LOST = "lost"  # for so long that its guests go elsewhere, if somebody has room


class GuestState(StrEnum):
    """What a hypervisor says of a domain."""

    RUNNING = "running"
    PAUSED = "paused"  # created, not resumed; or halted by an I/O error
    STOPPING = "stopping"  # was asked to shut down
    CRASHED = "crashed"


class Ending(StrEnum):
    """How a guest's process came to its end without our doing."""

    POWERED_OFF = "powered-off"  # from inside, in order
    ENDED = "ended"  # it crashed or was killed, or nobody knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a machine reports."""

    cpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A part of a running guest or of a realised network that is not as its record says, in words."""

    part: str  # `memory`, `nic app`, `disk data bus`
    live: str
    applied: str
    needs_restart: bool  # else its owner's agent is at it, or the policy is to report only
    is_drift: bool  # it was as recorded, and somebody changed it; else the record has changed


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFacts:
    """A domain as its node sees it. `digest` is of the applied record that it shows; `starts` tells
    which of the guest's lives this is, by the count in its placement."""

    state: GuestState
    uuid: str
    digest: str
    starts: int = 0
    deviations: tuple[Deviation, ...] = ()
    bears: str = ""  # the name that libvirt knows it by, where that is not its own (yet)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmanagedDisk:
    """A disk in Ceph of a domain that is not ours. `name` is libvirt's, as `vda`, or what it was called
    while the domain was ours."""

    name: str
    pool: PoolName
    image: str
    bus: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmanagedNic:
    """A NIC of a domain that is not ours. `name`, if any, is what it was called while it was ours."""

    mac: Mac
    bridge: str
    model: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmanagedGuest:
    """A domain that runs on a node and is not ours. `hindrance` says why it cannot be adopted, or ""."""

    name: str
    uuid: str
    vcpus: int
    memory_mib: int
    disks: tuple[UnmanagedDisk, ...]
    nics: tuple[UnmanagedNic, ...]
    hindrance: str
    console_log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmanagedNetwork:
    """A bridge on a node that is not ours. `vni`: the network that ours would be made as in its place;
    None where it is in nobody's way. `hindrance` says why it cannot be adopted, or ""."""

    bridge: str
    vni: int | None
    mtu_bytes: int
    gateway: str | None  # ADDRESS/PREFIX
    hindrance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """A guest network as realised on a node. `digest` is of the applied record."""

    digest: str
    deviations: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node's last report, and what its heartbeat says now.

    `observed_at_s` is the reporter's wall clock, for display; nothing decides by comparing clocks.
    `report_number` grows by one with each report of an incarnation.
    """

    name: NodeName
    state: NodeState
    incarnation: str | None
    hardware: Hardware | None
    guests: Mapping[VmName, GuestFacts]
    networks: Mapping[str, NetworkFacts]
    faults: tuple[str, ...]  # sentences: what is wrong on this node
    report_number: int
    observed_at_s: int
    unmanaged: tuple[UnmanagedGuest, ...] = ()  # domains that are not ours, by name
    bridges: tuple[UnmanagedNetwork, ...] = ()  # those that are not ours, by name
    load: float | None = None  # runnable tasks over a minute, in quarters; only ranks nodes
    storage: StorageReach = StorageReach.UNKNOWN
    storage_silent_at_s: int | None = None  # since when, by the reporter's wall clock, for display


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """A Ceph pool as the monitors see it."""

    copies: int
    min_copies: int
    pgs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An RBD image. `parent` is `pool/image@snapshot` of a clone."""

    size_mib: int
    parent: str | None
    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashFacts:
    """An RBD image in the trash."""

    id: str
    name: str
    until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFacts:
    """Ceph as one coordinator saw it."""

    health: str  # HEALTH_OK, HEALTH_WARN, HEALTH_ERR
    checks: tuple[str, ...]  # the summaries of what is not OK
    osds_up: int
    osds_total: int
    used_ratio: float
    pools: Mapping[PoolName, PoolFacts]
    images: Mapping[str, ImageFacts]  # by `pool/image`
    trash: Mapping[PoolName, tuple[TrashFacts, ...]]
    observed_at_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What commits cost in the last 24 hours, by the ledger (D5). Keys are the words of
    `apply.max_destroy` and `apply.max_disrupt`."""

    destroyed: Mapping[str, int] = field(default_factory=dict)
    disrupted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything the planner reads besides the spec."""

    cluster_id: str
    formation: int
    now_s: int  # whole minutes
    accepted: CommitId | None
    target: PlanId | None
    nodes: Mapping[NodeName, NodeFacts]
    applied: Mapping[Address, Applied]
    placements: Mapping[VmName, PlacementRecord]
    claims: Mapping[Address, Claim]
    storage: StorageFacts | None
    planner_version: str | None  # highest that has published
    # What the target plan chose and is not done yet, so that a plan made while it runs does not choose
    # again: nodes of guests that have no placement, leases of NICs (`planner.remaining.amid` fills both).
    chosen: Mapping[VmName, NodeName] = field(default_factory=dict)
    leases: Mapping[VmName, Mapping[str, Lease]] = field(default_factory=dict)
    intents: Mapping[IntentId, Intent] = field(default_factory=dict)  # in force
    spent: Spent = field(default_factory=Spent)
    # Seconds that an operation took lately (median of the ledger's last ones), in whole tenths.
    estimates: Mapping[str, float] = field(default_factory=dict)
