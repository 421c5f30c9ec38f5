"""What to do about a node that fell silent, until its death is proven and it is back (DESIGN D10).

One node in, acts out. Everything that takes time is an act that the controller carries out beside the
others and whose outcome comes back in the next view; so a leader that dies in the middle leaves a fence
that the next one reads and goes on with. Times are the leader's own: what it has not seen begin, begins
for it when it looks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pvc_gitops.model.ha import Fence, Proof, ProofKind
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.model.values import dataclass

GRACE_S: Final = 1.0  # a node is unknown L + 1 s after its counter last moved
# What clocks that run at different rates may lose over L + W, and a watchdog that is late (section 8).
PROOF_MARGIN_S: Final = 2.0


class BmcState(StrEnum):
    """What is known of a node's management controller in this fence."""

    NONE = "none"  # none is declared, or its identity is not: nothing it says counts
    IDLE = "idle"  # not asked yet, or to be asked again
    BUSY = "busy"  # an answer is being waited for
    CYCLED = "cycled"  # it took our OFF, read OFF twice while the node was silent, and took our ON


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One node, as the leader sees it now. Times are seconds on the leader's clock."""

    node: NodeName
    now_s: float
    state: NodeState  # by its heartbeat
    silent_s: float  # for how long its counter has stood still, as far as this leader has looked
    incarnation: IncarnationRecord | None
    fence: Fence | None
    proof: Proof | None
    fence_delay_s: float
    is_held: bool  # fencing is suspended
    may_decide: bool  # no other fence is undecided, and this node's turn has come
    cold_start_s: (
        float  # for how long a node that left in order may stay away with its guests' wishes
    )
    has_lost: bool  # guests of it are to run elsewhere when it is dead
    known_s: float  # for how long this leader has known of the acknowledged revocation
    bmc: BmcState
    is_blocking: bool
    wants_bmc: bool = False  # guests of it need more than a watchdog's word


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """End this incarnation: no heartbeat of it succeeds any more."""

    incarnation: IncarnationRecord
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Put all storage addresses of the incarnation on Ceph's blocklist, and mark its OSDs down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Check the BMC's identity, switch the node off, read OFF twice while it is silent, switch it on.

    In one go: a coordinator is a vote, and the one that is switched off may be the last that makes a
    quorum, without which nobody could give the order to switch it on.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOn:
    """Give back the power that a fence took: a coordinator is a vote. Its death was proven otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prove:
    """Write down that the incarnation is dead."""

    kind: ProofKind
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The node is back and clean: lift its blocklist entries, end the fence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing can be done now; look again then. `trouble`: what a person should know."""

    until_s: float | None
    trouble: str = ""


Act = Revoke | Block | Cycle | PowerOn | Prove | Release | Wait


def acts(view: NodeView) -> tuple[Act, ...]:
    """All that is to be done about one node now, side by side."""
    fence = view.fence
    if fence is None:
        return _before(view)
    if not is_dead(view):
        return (*_blocking(view, fence), *_proving(view, fence))
    if not is_back(view):
        after = _by_bmc(view) if view.wants_bmc else _power(view, fence)
        return (*_blocking(view, fence), *after)
    # What is on its way to the blocklist would outlive the release.
    return () if view.is_blocking else (Release(),)


def is_dead(view: NodeView) -> bool:
    """Is the death of the incarnation that is being fenced proven?"""
    return (
        view.fence is not None
        and view.proof is not None
        and view.proof.incarnation == view.fence.incarnation
    )


def is_back(view: NodeView) -> bool:
    """Has the node begun a new life? Its guard does so only when no guest is left in its slice."""
    now = view.incarnation
    return (
        view.fence is not None
        and now is not None
        and now.id != view.fence.incarnation
        and not now.is_revoked
    )


def may_recover(view: NodeView) -> bool:
    """May its guests start elsewhere? Proven dead, and nothing it sent late can reach a disk."""
    return is_dead(view) and view.fence is not None and view.fence.is_blocked


def _before(view: NodeView) -> tuple[Act, ...]:
    incarnation = view.incarnation
    if incarnation is None:
        return ()
    if view.state is NodeState.LEFT and view.has_lost:
        at_s = view.cold_start_s
    elif view.state is NodeState.UNKNOWN:
        at_s = incarnation.lease_s + GRACE_S + view.fence_delay_s
    else:
        return ()
    if view.is_held:
        return (Wait(until_s=None, trouble="is silent; fencing is on hold"),)
    if view.silent_s < at_s:
        return (Wait(until_s=view.now_s + at_s - view.silent_s),)
    if not view.may_decide:
        return (Wait(until_s=None, trouble="is silent; its turn to be fenced has not come"),)
    return (Revoke(incarnation=incarnation, why=f"silent for {view.silent_s:.1f} s"),)


def _blocking(view: NodeView, fence: Fence) -> tuple[Act, ...]:
    """The blocklist entry does not wait for the proof: a live node that it hits has lost its lease."""
    return () if fence.is_blocked or view.is_blocking else (Block(),)


def _power(view: NodeView, fence: Fence) -> tuple[Act, ...]:
    return (PowerOn(),) if fence.is_off and view.bmc is BmcState.IDLE else ()


def _proving(view: NodeView, fence: Fence) -> tuple[Act, ...]:
    incarnation = view.incarnation
    if incarnation is not None and incarnation.id != fence.incarnation:
        return (Prove(kind=ProofKind.NEW_LIFE, evidence=f"began a new life, {incarnation.id}"),)
    if incarnation is not None and not incarnation.guests_left:
        return (Prove(kind=ProofKind.LEFT, evidence="its guard's last word was: no guests"),)
    found = (*_by_bmc(view), *_by_watchdog(view, fence))
    proofs = [act for act in found if isinstance(act, Prove)]
    return (proofs[0],) if proofs else found


def _by_bmc(view: NodeView) -> tuple[Act, ...]:
    match view.bmc:
        case BmcState.NONE | BmcState.BUSY:
            return ()
        case BmcState.IDLE:
            return (Cycle(),)
        case BmcState.CYCLED:
            return (
                Prove(kind=ProofKind.BMC, evidence="its BMC read OFF twice, and it was silent"),
            )


def _by_watchdog(view: NodeView, fence: Fence) -> tuple[Act, ...]:
    if view.is_held:
        return (Wait(until_s=None, trouble="fencing is on hold: only its BMC proves anything"),)
    if fence.watchdog_s is None:
        if view.bmc is not BmcState.NONE:
            return ()
        text = "has neither a BMC that is known nor a watchdog: nothing proves its death but itself"
        return (Wait(until_s=None, trouble=text),)
    needed_s = fence.lease_s + fence.watchdog_s + PROOF_MARGIN_S
    if view.known_s < needed_s:
        return (Wait(until_s=view.now_s + needed_s - view.known_s),)
    evidence = (
        f"lease {fence.lease_s:g} s and watchdog {fence.watchdog_s:g} s ran out: "
        f"{view.known_s:.1f} s since the revocation"
    )
    return (Prove(kind=ProofKind.WATCHDOG, evidence=evidence),)
