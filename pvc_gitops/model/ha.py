"""What autonomy writes down: fences, proofs of death (DESIGN D10, section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass


class ProofKind(StrEnum):
    """By what an incarnation of a node is known to be dead."""

    BMC = "bmc"  # it read OFF twice a second apart after our OFF, and the node was silent
    WATCHDOG = "watchdog"  # lease and watchdog have run out since the revocation
    NEW_LIFE = "new-life"  # another boot, or a guard that showed the slice empty, has registered
    WORD = "word"  # root on the last coordinator has seen it without power
    LEFT = "left"  # its guard's last word was: no guests


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """An incarnation is dead: for ever, and no other one. `/pvc/nodes/<name>/proof`."""

    incarnation: str
    kind: ProofKind
    evidence: str
    at_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A fence under way, of one incarnation: `/pvc/ha/fence/<node>`. It is there from the revocation
    until the node is back, clean, or was retired; whoever leads takes it up where it stands."""

    node: NodeName
    incarnation: str
    revoked_at_s: int
    why: str
    # What that incarnation recorded of itself, for the second proof and the blocklist.
    lease_s: float
    watchdog_s: float | None
    storage_addresses: tuple[str, ...]
    is_blocked: bool = False  # all its storage addresses, acknowledged
    is_off: bool = False  # we took its power, or were about to, and have not given it back
    trouble: str = ""  # what stands in the way, as people read it
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRecord:
    """Nobody is fenced and no guard ends guests: `/pvc/ha/hold`, for the guards. It follows the intents
    that ask for it, and keeps its name as long as one of them stands; a guard observes it when the
    incarnation of its node names it."""

    id: str
    ends_at_s: int
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Which boots of the coordinators the last leader of HA knew: `/pvc/ha/memory`."""

    boots: Mapping[NodeName, str]
    version: int = 0
