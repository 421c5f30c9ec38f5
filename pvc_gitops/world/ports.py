"""The ports: every way in which we touch reality, in our own words.

A port is a Protocol of few methods, each a domain act. Adapters implement them on the real libraries,
`sim` implements them all in memory, and only controllers and appliers hold a `World`. Every method
is bounded in time by its implementation and raises the WorldError of its kind when it fails; a
StoreError, for example, from every method of Store. Nothing here decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from pvc_gitops.model.forge import Forge
from pvc_gitops.model.ids import CommitId, Mac, NodeName
from pvc_gitops.model.inventory import (
    Ending,
    GuestState,
    Hardware,
    ImageFacts,
    PoolFacts,
    TrashFacts,
    UnmanagedNetwork,
)
from pvc_gitops.model.preview import Answer, Ask, Told
from pvc_gitops.model.source import Source
from pvc_gitops.model.spec import Bmc
from pvc_gitops.model.trust import Signature, SignerKey
from pvc_gitops.model.values import dataclass

Json = Mapping[str, Any]


class Clock(Protocol):
    """Time. Durations come from `monotonic_s` only; `now_s` is for people and for windows."""

    def now_s(self) -> int:
        """Wall clock, seconds since 1970."""
        ...

    def monotonic_s(self) -> float:
        """This machine's CLOCK_BOOTTIME; never compared across machines."""
        ...


# --- the store ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """A record as read, and the version that a write must name."""

    value: Json
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The record exists with this version; version None: it does not exist."""

    path: str
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """A new record. Fails where one stands. Parents must exist. Ephemeral: gone with the session."""

    path: str
    value: Json
    is_ephemeral: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A record's new value, by compare-and-set."""

    path: str
    value: Json
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """A record's removal, by compare-and-set."""

    path: str
    version: int


Op = Check | Create | Put | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Leadership:
    """Proof, for use in one's own transactions, of leading a role.

    `checks` are the candidacy's and the epoch's: put them first into every transaction of a leader.
    """

    role: str
    epoch: int
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """How many servers serve, of how many; for people, nothing decides by it."""

    serving: int
    servers: int


class Store(Protocol):
    """ZooKeeper. Reads may lag behind; a transaction decides."""

    def read(self, path: str) -> Stamped | None: ...

    def read_children(self, path: str) -> Mapping[str, Stamped]:
        """The records one level below, by name; {} where the path does not exist."""
        ...

    def commit(self, ops: Sequence[Op]) -> None:
        """All or nothing. Raises StoreConflict if a check fails, StoreUnavailable if the outcome
        could not be learnt even by reading back our own nonce."""
        ...

    def sync(self) -> None:
        """After it, reads show everything that was committed before it."""
        ...

    def is_connected(self) -> bool: ...

    def lead(self, role: str, node: NodeName) -> Leadership | None:
        """Stand for election (idempotent) and return the proof while this process leads, else None.

        A new leader raises the role's epoch once."""
        ...

    def resign(self, role: str) -> None:
        """Stand no more, until `lead` is called again: another one leads at once. Idempotent."""
        ...

    def watch(self, prefix: str) -> None:
        """From now on any change at or one level below the path wakes the process (World.wake)."""
        ...

    def quorum(self) -> Quorum:
        """Which servers answer. At most two seconds old; never raises."""
        ...


# --- guests ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAttachment:
    """A disk in a domain. `serial` shows inside the guest and names the disk."""

    name: str
    pool: str
    image: str
    bus: str  # virtio-scsi, virtio-blk
    boot: int | None
    size_mib: int = 0  # that its record says; of a running domain: that the guest was last told


@dataclass(frozen=True, slots=True, kw_only=True)
class NicAttachment:
    """A NIC in a domain. `tap` is its interface on the node, at most 15 characters."""

    name: str
    mac: Mac
    bridge: str
    tap: str
    model: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What a hypervisor needs to run a guest. `digest` is of the applied record behind it and is kept
    in the domain's metadata, as the disks' sizes and `starts` are: the guest's own incarnation.
    `ends_at_reboot`: a reboot from inside ends the domain, so that its owner starts it anew."""

    name: str
    uuid: str
    digest: str
    starts: int
    vcpus: int
    cpu_model: str
    memory_mib: int
    firmware: str
    disks: tuple[DiskAttachment, ...]
    nics: tuple[NicAttachment, ...]
    console_log: bool
    ends_at_reboot: bool = False
    agent: bool = False  # a channel to the guest agent


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFacts:
    """A domain as found. `domain` is None for one that is not ours."""

    name: str
    uuid: str
    state: GuestState
    domain: Domain | None
    reason: str  # why paused or crashed, in the hypervisor's words; ""
    # One that is not ours, as far as it is a lawful domain of ours but for its mark: disks by libvirt's
    # names, NICs by their MACs. None: it has what we could not run, or is ours.
    foreign: Domain | None = None
    hindrance: str = ""  # why `foreign` is None of one that is not ours


# `DomainFacts.reason` of a paused domain that comes from another node.
ARRIVING: Final = "migration"  # not all of it is here, or this one is what is left of what has gone
ARRIVED: Final = "not resumed"  # all of it is here


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How a migration to another node stands. Without an error at its end, the domain is whole on the
    other node, paused, and its process here has ended."""

    is_done: bool
    error: str  # "" as long as it is not done


class Hypervisor(Protocol):
    """libvirt on this node. Domains are transient: a rebooted node has none."""

    def domains(self) -> Mapping[str, DomainFacts]: ...

    def create_paused(self, domain: Domain) -> None: ...

    def resume(self, name: str) -> None: ...

    def shutdown(self, name: str) -> None:
        """Ask the guest to power off (ACPI). Returns at once."""
        ...

    def send(self, name: str, to: NodeName, *, max_downtime_s: float) -> None:
        """Begin to migrate a running domain alive, over the cluster network, encrypted. It goes on
        whatever becomes of this process. The other node makes its copy and leaves it paused. Goes on
        with what an earlier process began."""
        ...

    def sending(self, name: str) -> Sending | None:
        """How the last migration of a domain stands that this process began; None: it began none, or
        was told to forget it."""
        ...

    def forget_sending(self, name: str) -> None:
        """Drop the answer of one that is done."""
        ...

    def destroy(self, name: str) -> None:
        """End it now. Returns when the process is gone; no error if it was not there."""
        ...

    def attach_nic(self, name: str, nic: NicAttachment) -> None: ...

    def detach_nic(self, name: str, nic: str) -> None: ...

    def attach_disk(self, name: str, disk: DiskAttachment) -> None: ...

    def detach_disk(self, name: str, disk: str) -> None: ...

    def resize_disk(self, name: str, disk: str, size_mib: int) -> None:
        """Tell a running guest that a disk has grown. The image itself must be so large already: a
        smaller size is refused, since QEMU would cut the image off."""
        ...

    def end_at_reboot(self, name: str, *, ends: bool) -> None:
        """Whether a reboot from inside ends the domain, or goes on with what it has."""
        ...

    def mark(self, name: str, digest: str, sizes_mib: Mapping[str, int]) -> None:
        """Write the applied record's digest, and the sizes that the guest was told by disk, into a
        running domain after a live change."""
        ...

    def adopt(self, name: str, domain: Domain) -> None:
        """Write our mark into a running domain that is nobody's. `domain` gives its devices the names
        that we know them by from now on: disks by their images, NICs by their MACs. Its digest is
        empty: it shows no record yet. Nothing else of it is touched."""
        ...

    def disown(self, name: str) -> None:
        """Take our mark off a running domain. Nothing else of it is touched."""
        ...

    def hardware(self) -> Hardware: ...

    def load(self) -> float:
        """Runnable tasks of this node, averaged over the last minute."""
        ...

    def faults(self) -> tuple[str, ...]:
        """What limits guests on this node, as sentences: no hardware virtualisation, for example."""
        ...


class Probes(Protocol):
    """What a guest of this node shows of itself. Each answer takes two seconds at most."""

    def accepts(self, address: str, port: int) -> str:
        """Does it take TCP connections there? "" or what is in the way."""
        ...

    def agent_answers(self, name: str) -> str:
        """Does the guest agent in a domain answer? "" or what is in the way."""
        ...

    def ending(self, name: str) -> Ending:
        """How the last domain of a name ended, as far as is known."""
        ...


# --- networks -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A managed network's bridge and VXLAN as they should be, or as found, on a node.

    Interface names derive from the VNI: `br1000`, `vx1000`. `gateway` is ADDRESS/PREFIX or None. The
    anycast MAC derives from the VNI too and is the same on every node. `digest`: the record's, kept
    as the bridge's alias.
    """

    vni: int
    mtu_bytes: int
    local_address: str  # of the VXLAN end, on the cluster network
    gateway: str | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One NIC of a guest that runs on this node. `address` is None on a network without IPv4."""

    mac: Mac
    address: str | None
    tap: str


class Links(Protocol):
    """The kernel's network, by netlink and nftables; touches only what is ours."""

    def bridges(self) -> Mapping[int, Bridge]:
        """By VNI."""
        ...

    def foreign(self) -> tuple[UnmanagedNetwork, ...]:
        """Bridges that are not ours, by name, for those who would adopt one: `create` then takes what
        bears its names as it is, with the guests that are plugged in."""
        ...

    def create(self, bridge: Bridge) -> None:
        """Bridge, VXLAN, gateway, and the rules that keep DHCP, router advertisements and the anycast
        MAC on this node (DESIGN section 9). Finishes what an interrupted call began."""
        ...

    def update(self, bridge: Bridge) -> None:
        """MTU, gateway, digest of an existing one."""
        ...

    def delete(self, vni: int) -> None: ...

    def set_neighbours(self, vni: int, neighbours: Sequence[Neighbour]) -> None:
        """Make the network's neighbour, forwarding and host-route entries of this node's own guests
        exactly these, so that a guest that never spoke is reachable and announced. Entries of a tap
        that is not there yet are left out. No error if the bridge is not there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpHost:
    """One NIC's reservation."""

    mac: Mac
    address: str
    hostname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpConfig:
    """DHCP of one network on this node, for the NICs of its own guests only."""

    vni: int
    bridge: str
    subnet: str
    gateway: str | None
    domain: str | None
    dns_servers: tuple[str, ...]
    mtu_bytes: int
    hosts: tuple[DhcpHost, ...]  # sorted by MAC


class NetworkServices(Protocol):
    """The daemons that serve guests on this node."""

    def dhcp(self) -> Mapping[int, DhcpConfig]:
        """What runs now, by VNI; a dead daemon is not in it."""
        ...

    def serve_dhcp(self, config: DhcpConfig) -> None:
        """Start, or take up changed hosts without losing an answer."""
        ...

    def stop_dhcp(self, vni: int) -> None: ...


# --- storage --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CephStatus:
    """Ceph's own health."""

    health: str
    checks: tuple[str, ...]
    osds_up: int
    osds_total: int
    used_ratio: float


class Pools(Protocol):
    """The Ceph cluster, by rados."""

    def status(self) -> CephStatus: ...

    def pools(self) -> Mapping[str, PoolFacts]:
        """Ours: those with the application rbd."""
        ...

    def create_pool(self, name: str, *, copies: int, min_copies: int, pgs: int) -> None:
        """Idempotent; the pool is initialised for RBD and open to client.pvc afterwards."""
        ...

    def update_pool(self, name: str, *, copies: int, min_copies: int) -> None: ...

    def delete_pool(self, name: str) -> None: ...

    def blocklist(self) -> frozenset[str]:
        """Entries as `ADDRESS:PORT/NONCE`; a whole address is `ADDRESS:0/0`."""
        ...

    def block(self, address: str, seconds: int) -> None: ...

    def unblock(self, address: str) -> None:
        """Idempotent."""
        ...

    def mark_down(self, node: NodeName) -> None:
        """All OSDs of a host, at once. Harmless if wrong: a live OSD marks itself up again."""
        ...


class Images(Protocol):
    """RBD images, by rbd. Opened read-only wherever nothing is written."""

    def images(self, pool: str) -> Mapping[str, ImageFacts]: ...

    def trash(self, pool: str) -> tuple[TrashFacts, ...]: ...

    def watchers(self, pool: str, image: str) -> tuple[str, ...]:
        """Who has it open for writing, as `ADDRESS:PORT/NONCE`."""
        ...

    def create(self, pool: str, image: str, size_mib: int) -> None: ...

    def clone(self, parent: tuple[str, str, str], pool: str, image: str, size_mib: int) -> None:
        """`parent` is pool, image, snapshot. Grown to `size_mib` in the same act."""
        ...

    def grow(self, pool: str, image: str, size_mib: int) -> None: ...

    def import_url(
        self,
        url: str,
        *,
        checksum: str,
        image_format: str,
        pool: str,
        image: str,
        progress: Callable[[float], None],
    ) -> None:
        """Download, verify the checksum before anything is written to the pool, convert to raw, write
        under a temporary name, snapshot `base`, protect, rename. An interrupted call leaves nothing
        that `images` shows under the final name, and a second call finishes. Raises DownloadError."""
        ...

    def trash_move(self, pool: str, image: str, keep_s: int) -> None: ...

    def trash_restore(self, pool: str, trash_id: str, image: str) -> None: ...

    def trash_purge(self, pool: str, trash_id: str) -> None:
        """For ever, with its snapshots. Refused by Ceph before its time; no error if it is gone."""
        ...

    def delete_image(self, pool: str, image: str) -> None:
        """An imported image with its snapshot, refused while clones need it."""
        ...


# --- source ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """A commit, for people. `tree` is the same for commits of the same content."""

    commit: CommitId
    subject: str
    author: str
    message: str
    tree: str
    parents: tuple[CommitId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a fetch brought. `mirror`: who answered instead of the origin, "" if it did; `error` then
    says why it did not."""

    tip: CommitId
    mirror: str = ""
    error: str = ""


class Repo(Protocol):
    """This node's bare mirror of the cluster's repository."""

    def fetch(self, source: Source | None = None) -> Fetched:
        """The tip of the tracked branch after a fetch, by a subprocess that is killed at its time
        limit: from the origin, or while that is away from the first mirror that answers. None: from
        where this node was installed from. Raises RepoError: unreachable, branch deleted, too large.
        The mirror is then as before."""
        ...

    def take(self, pack: bytes, head: CommitId) -> None:
        """Take up commits that came by another way. Raises RepoError: not whole, too large."""
        ...

    def has(self, commit: CommitId) -> bool: ...

    def is_ancestor(self, older: CommitId, newer: CommitId) -> bool: ...

    def files(self, commit: CommitId) -> Mapping[str, bytes]:
        """What is read of the tree. Raises SpecError where an entry may not lie there."""
        ...

    def info(self, commit: CommitId) -> CommitInfo: ...

    def find(self, name: str) -> CommitId | None:
        """The commit whose id begins so; None where there is none, or several."""
        ...

    def new_commits(self, base: CommitId, tip: CommitId, most: int) -> tuple[CommitId, ...]:
        """What `tip` holds and `base` does not, parents before children. Raises RepoError beyond
        `most`."""
        ...

    def changed(self, before: CommitId | None, commit: CommitId) -> tuple[str, ...]:
        """Paths in which they differ, without the folder that is read; all of them without `before`."""
        ...

    def is_clean_merge(self, commit: CommitId) -> bool:
        """Is it a merge of two, whose tree is what merging them without a conflict gives?"""
        ...

    def signature(self, commit: CommitId, keys: Sequence[SignerKey], now_s: int) -> Signature:
        """What its signature is, by these keys at this instant. Raises RepoError where that cannot be
        found out."""
        ...


class Proposals(Protocol):
    """What others would like to have merged. Nothing of it is read in this process: both methods are
    done by children with limits."""

    def fetch(
        self, patterns: Sequence[str], *, only_ours: bool, most: int
    ) -> Mapping[str, CommitId]:
        """The heads of the refs that match, at most `most`, by ref. `only_ours` leaves out pull requests
        whose head is no branch of this repository. Raises RepoError."""
        ...

    def plan(self, ask: Ask, inputs: bytes) -> Answer:
        """Plan one as if it were merged. `inputs`: an export. Raises WorldError: over a limit of time or
        memory, or it crashed."""
        ...

    def tell(self, forge: Forge, sealed: bytes, told: Told) -> None:
        """Make the proposal's comment and its head's status say this, with the token of a Secret document
        that has one value, or one named `token`. Raises WorldError."""
        ...


# --- this process ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A long job: still running, or ended with a value or an error."""

    is_done: bool
    value: Any
    error: Exception | None
    progress: float | None


class Jobs(Protocol):
    """Work that may take long, off the deciding thread. Keys are chosen by the caller."""

    def start(self, key: str, work: Callable[[Callable[[float], None]], Any]) -> None:
        """Run `work(progress)`; no-op if a job of the key is known."""
        ...

    def state(self, key: str) -> JobState | None: ...

    def forget(self, key: str) -> None:
        """Drop a finished job."""
        ...


class Journal(Protocol):
    """One line per transition, key=value, to the journal."""

    def event(self, kind: str, **fields: object) -> None: ...


class Notes(Protocol):
    """A few small values that this node keeps over reboots: the highest generation it obeyed."""

    def get(self, key: str) -> Json | None: ...

    def put(self, key: str, value: Json) -> None:
        """Durable when it returns."""
        ...


class Machines(Protocol):
    """Other nodes from outside: by their management controllers, and on the core networks.

    Every call is bounded in time, ends with its caller, and raises BmcError."""

    def expected(self, node: NodeName, bmc: Bmc | None) -> str | None:
        """The identity that a node's controller must report; None where it cannot be asked from here:
        none is declared, its identity is not known, or its password is not on this node."""
        ...

    def hindrance(self, node: NodeName, bmc: Bmc | None) -> str:
        """Why `expected` is None, for people; "" where it is not."""
        ...

    def is_on(self, node: NodeName, bmc: Bmc | None) -> bool:
        """The power's state as the controller reads it."""
        ...

    def guid(self, node: NodeName, bmc: Bmc | None) -> str:
        """The identity that the controller itself reports, as 32 hex digits."""
        ...

    def switch_off(self, node: NodeName, bmc: Bmc | None, *, by_s: float) -> None:
        """Power off; returns when the controller has read OFF twice, a second apart.

        The order begins before `by_s` on `Clock.monotonic_s`, or never, also where this process is
        stopped right before it: what was true when it was decided may not be true any more.
        """
        ...

    def switch_on(self, node: NodeName, bmc: Bmc | None) -> None: ...

    def answering(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Those at which anything answers within a second."""
        ...


class Vault(Protocol):
    """The passwords that this node keeps in the clear, readable by root only."""

    def keep(self, node: NodeName, sealed: bytes, secret: str) -> None:
        """A node's BMC password, out of a Secret document that has one value, or one named `password`.
        Raises WorldError where it cannot be opened."""
        ...

    def forget_others(self, known: frozenset[NodeName]) -> None:
        """Those of all other nodes."""
        ...


class Archive(Protocol):
    """What this node keeps of the ledger for good, in the order of the entries' numbers."""

    def last(self) -> int:
        """The number of the last entry; 0 of an empty archive. Raises WorldError."""
        ...

    def append(self, entries: Sequence[Json]) -> None:
        """Durable when it returns. An entry cut short by a power cut is dropped by the next reader."""
        ...

    def read(self, first: int, last: int) -> Sequence[Json]:
        """The entries with these numbers that are here. Raises WorldError."""
        ...


class Logins(Protocol):
    """Who may log in to this node as the system user pvc."""

    def allow(self, authorized_keys: str) -> None:
        """Make sshd's list exactly this, at once and over reboots; nothing is written if it is.
        Raises WorldError; the list is then as before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which node this is, and which of its lives.

    `incarnation` is what its guard has written to the store now; None before the guard has."""

    node: NodeName
    is_coordinator: bool
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything a controller may touch."""

    me: Identity
    clock: Clock
    store: Store
    hypervisor: Hypervisor
    links: Links
    services: NetworkServices
    pools: Pools
    images: Images
    repo: Repo
    proposals: Proposals
    jobs: Jobs
    journal: Journal
    notes: Notes
    archive: Archive
    machines: Machines
    vault: Vault
    logins: Logins
    probes: Probes
