"""What stands in ZooKeeper, typed. Paths are in `model/paths.py`; JSON by `model/codec.py`.

Every record is a JSON object. Besides its fields it may hold `nonce`, the writer's own mark, by which
a write whose answer was lost is recognised (DESIGN section 6); the store adapter adds and removes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum

from pvc_gitops.model.codec import canonical_json
from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.ids import Address, CommitId, Generation, Mac, NodeName, PlanId
from pvc_gitops.model.values import dataclass


class Phase(StrEnum):
    """Where an applied object stands in its life."""

    PRESENT = "present"  # it should exist
    REMOVING = "removing"  # a plan is taking it away; nobody makes it again meanwhile
    TRASHED = "trashed"  # it is gone; its data lies in the trash, and this is what it comes back as


class Wanted(StrEnum):
    """The power a guest should have, by the last applied plan."""

    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What was allocated to a NIC, once, and is kept (D19)."""

    mac: Mac
    address: str | None  # IPv4; None on a network without one


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRef:
    """Where a disk's data lies. The RBD name is unique to one life of the disk: a disk of the same
    address made later never meets the trash of this one."""

    pool: str
    image: str  # RBD image name
    size_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """An object as the last plan put it in force: all a node needs to realise it, with git down.

    Written in the same transaction as the step's result. `needs` are the addresses it refers to, as
    they were then: deletion follows them in reverse. `version` is the znode's, filled in on reading.
    """

    address: Address
    kind: Kind
    name: str
    spec: Spec  # Document.spec
    tags: tuple[str, ...]
    incarnation: int  # which life of this address: 1, 2, …; ids derive from it
    uuid: str
    phase: Phase
    needs: tuple[Address, ...]
    commit: CommitId | None
    plan: PlanId | None
    wanted: Wanted | None  # guests only
    nics: Mapping[str, Lease]  # guests only, by NIC name
    disks: Mapping[str, DiskRef]  # guests by disk name; a volume or image under "data"
    names: tuple[Address, ...] = ()  # addresses that it had before, the oldest first
    pending_since_s: int | None = None  # since when a guest runs with less than this says
    version: int = 0

    @property
    def digest(self) -> str:
        """Of everything that a realisation depends on: not of commit, plan, wanted, times, version."""
        return digest_of(
            {
                "address": self.address,
                "spec": self.spec,
                "incarnation": self.incarnation,
                "nics": {k: [v.mac, v.address] for k, v in self.nics.items()},
                "disks": {k: [v.pool, v.image, v.size_mib] for k, v in self.disks.items()},
            }
        )


def digest_of(value: object) -> str:
    """The first 16 hex digits of the SHA-256 of canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:16]


class GuestPhase(StrEnum):
    """A guest's state in its placement record."""

    WAITING = "waiting"  # no place or not started yet; `why` says
    STARTING = "starting"  # its owner's agent is starting it
    RUNNING = "running"
    MIGRATING = "migrating"  # it has arrived at its owner, whole and paused, and is to go on there
    STOPPING = "stopping"
    STOPPED = "stopped"
    RECOVERING = (
        "recovering"  # its owner is proven dead; `why` says where it goes or what is missing
    )
    FAILED = "failed"  # starting was given up; `why` says
    UNKNOWN = "unknown"  # shown by readers while the owner is unknown; never written


class Ready(StrEnum):
    """Whether others may count on a running guest that says when they may."""

    AWAITED = "awaited"
    READY = "ready"
    LATE = "late"  # its time is over: others go on without it, and it is still asked


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRecord:
    """Who owns a guest now. Belongs to the cluster, never to git (D4).

    A good run of some minutes empties `restarts` and `tried`; so does an operator's word.
    """

    owner: NodeName
    incoming: NodeName | None  # where it is on its way to; both nodes count as its owner then
    incarnation: str | None  # the owner's node incarnation under which it was last started
    starts: int  # how often it was started: the guest's own incarnation
    state: GuestPhase
    why: str
    since_s: int
    method: str = ""  # how it goes to `incoming`: live, shutdown or end
    order: str = ""  # the intent for which it goes there
    moved_for: str = ""  # the intent for which it came to its owner; "" if it came by itself
    ready: Ready | None = None  # None: it does not run, or says nothing of it
    restarts: int = 0  # ends and failed starts at this owner
    tried: tuple[NodeName, ...] = ()  # owners that gave it up, or lost its storage
    rests: bool = False  # it is not started again by itself; `why` says
    version: int = 0

    @property
    def is_counted_on(self) -> bool:
        """May those that wait for it go on?"""
        return self.state is GuestPhase.RUNNING and self.ready is not Ready.AWAITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who changes an object now. Outlives its process; released with the step's result.

    The claim of a move is nobody's step: its `plan` is "", and it is released with `incoming`.
    """

    address: Address
    plan: PlanId
    step: str
    node: NodeName
    incarnation: str  # of the node
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IncarnationRecord:
    """One life of a node's guard: what a proof of death is about (D10). Written by the guard."""

    id: str  # boot id and guard start
    boot_id: str
    started_at_s: int
    lease_s: float
    is_revoked: bool
    watchdog: str | None  # its identity, None without one
    storage_addresses: tuple[str, ...]
    guests_left: bool  # False in the last word of an orderly leave
    watchdog_s: float | None = None  # how long this machine's watchdog waits, as measured
    hold: str = ""  # the hold that its guard observes: its silence proves nothing then
    version: int = 0

    @property
    def is_over(self) -> bool:
        """Nothing may be started under it: others may have taken its guests by now."""
        return self.is_revoked or not self.guests_left


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The counter that a guard moves once a second."""

    counter: int
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The plan in force. `version` is what a new target must name (D3)."""

    plan: PlanId
    generation: Generation
    planner_version: str
    commit: CommitId
    published_at_s: int
    version: int = 0


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"  # its needs are not done
    RUNNING = "running"  # its object is claimed
    DONE = "done"
    FAILED = "failed"  # its error says why and what to do
    BLOCKED = "blocked"  # a step that it needs has failed
    SKIPPED = "skipped"  # the plan was replaced before it began


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """A step's status and evidence."""

    step: str
    node: NodeName
    status: StepStatus
    started_at_s: int
    ended_at_s: int | None
    error: str  # reason, and what to do next
    is_retryable: bool
    evidence: Mapping[str, str]  # what was seen afterwards
    progress: float | None  # 0 to 1 on long work
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSeen:
    """What a node's mirror holds."""

    head: CommitId | None  # verified and parsed, or None
    tip: CommitId | None  # what the branch pointed at when last fetched
    problems: tuple[str, ...]  # why the tip is not adopted, as people read it
    fetched_at_s: int
    error: str  # why the last fetch failed, or ""
    signer: str = ""  # who answers for the head: an operator or "the forge"; "" where nobody has to
    via: str = ""  # how the head came, if not from the origin: "submitted by ann"
    diverged: str = ""  # what the origin lacks of what is in force, and what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Somebody wants everybody to look at git now, and what failed to be tried again.

    Only its version matters: every question raises it.
    """

    by: NodeName  # whose socket the question came to
    operator: str | None  # who asked; None is root
    at_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The commit in force, and those it came from by fast-forward."""

    commit: CommitId
    subject: str
    author: str
    accepted_at_s: int
    before: CommitId | None = None  # the one in force before it, by whose rules it is judged
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Formation:
    """The founding of this cluster: `/pvc/format`."""

    cluster_id: str
    tree: int  # layout version of the znodes
    formation: int
    founded_at_s: int
    commit: CommitId
