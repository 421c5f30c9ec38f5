"""All znode names in one place (DESIGN section 6)."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, CommitId, NodeName, PlanId, VmName, znode_name
from pvc_gitops.model.intents import IntentId

ROOT: Final = "/pvc"
FORMAT: Final = "/pvc/format"
ACCEPTED: Final = "/pvc/source/accepted"
SEEN: Final = "/pvc/source/seen"
ASKED: Final = "/pvc/source/asked"
TARGET: Final = "/pvc/target"
PLANS: Final = "/pvc/plans"
NODES: Final = "/pvc/nodes"
GUESTS: Final = "/pvc/guests"
NETWORKS: Final = "/pvc/networks"
OWNED: Final = "/pvc/owned"
PLACEMENT: Final = "/pvc/placement"
CLAIMS: Final = "/pvc/claims"
HA: Final = "/pvc/ha"
FENCES: Final = "/pvc/ha/fence"
HOLD: Final = "/pvc/ha/hold"
READY: Final = "/pvc/ha/ready"
ROLL: Final = "/pvc/ha/memory"
MOVES: Final = "/pvc/ha/moves"
INTENTS: Final = "/pvc/intents"
LEDGER: Final = "/pvc/ledger"
LEDGER_HEAD: Final = "/pvc/ledger/head"
LEDGER_ENTRIES: Final = "/pvc/ledger/entries"
LEDGER_ARCHIVED: Final = "/pvc/ledger/archived"
QUARANTINED: Final = "/pvc/source/quarantined"
SUBMITTED: Final = "/pvc/source/submitted"
PACKS: Final = "/pvc/source/packs"
AHEAD: Final = "/pvc/source/ahead"
DIVERGED: Final = "/pvc/source/diverged"
OVERRIDE: Final = "/pvc/source/override"
PACE: Final = "/pvc/pace"
WITHHELD: Final = "/pvc/withheld"
PREVIEWS: Final = "/pvc/previews"
EPOCH: Final = "/pvc/epoch"
ELECTION: Final = "/pvc/election"
# Made by formation, so that nobody has to make parents later.
SKELETON: Final = (
    ROOT, "/pvc/source", SEEN, PLANS, NODES, GUESTS, NETWORKS, OWNED, PLACEMENT, CLAIMS, HA, FENCES,
    READY, INTENTS,
    LEDGER, LEDGER_ENTRIES, LEDGER_ARCHIVED, EPOCH, ELECTION,
)  # fmt: skip


def epoch(role: str) -> str:
    return f"{EPOCH}/{role}"


def election(role: str) -> str:
    return f"{ELECTION}/{role}"


def pack(of: CommitId) -> str:
    """The objects of a commit that was handed over."""
    return f"{PACKS}/{of}"


def seen(node: NodeName) -> str:
    return f"{SEEN}/{node}"


def node(name: NodeName) -> str:
    return f"{NODES}/{name}"


def lease(name: NodeName) -> str:
    return f"{NODES}/{name}/lease"


def incarnation(name: NodeName) -> str:
    return f"{NODES}/{name}/incarnation"


def report(name: NodeName) -> str:
    return f"{NODES}/{name}/report"


def storage_report(name: NodeName) -> str:
    """What a coordinator saw of Ceph."""
    return f"{NODES}/{name}/storage"


def applied(of: Address) -> str:
    """Guests and networks have trees of their own; a node lists what it must realise."""
    kind, _, name = of.partition("/")
    if kind == Kind.VM:
        return f"{GUESTS}/{name}"
    if kind == Kind.NETWORK:
        return f"{NETWORKS}/{name}"
    return f"{OWNED}/{znode_name(of)}"


def placement(vm: VmName) -> str:
    return f"{PLACEMENT}/{vm}"


def claim(of: Address) -> str:
    return f"{CLAIMS}/{znode_name(of)}"


def plan(of: PlanId) -> str:
    return f"{PLANS}/{of}"


def plan_head(of: PlanId) -> str:
    return f"{PLANS}/{of}/head"


def plan_slice(of: PlanId, node: NodeName) -> str:
    return f"{PLANS}/{of}/slice/{node}"


def plan_results(of: PlanId) -> str:
    return f"{PLANS}/{of}/results"


def plan_result(of: PlanId, step: str) -> str:
    return f"{PLANS}/{of}/results/{step.replace('/', ':')}"


def plan_inputs(of: PlanId) -> str:
    """What it was computed from."""
    return f"{PLANS}/{of}/inputs"


def preview(ref: str) -> str:
    """Of a branch or a pull request, by its ref without `refs/`."""
    return f"{PREVIEWS}/{znode_name(Address(ref.removeprefix('refs/')))}"


def intent(of: IntentId) -> str:
    return f"{INTENTS}/{of}"


def ledger_entry(number: int) -> str:
    """Ten digits, so that names sort as numbers do."""
    return f"{LEDGER_ENTRIES}/{number:010d}"


def ledger_archived(node: NodeName) -> str:
    """How far a node's archive goes."""
    return f"{LEDGER_ARCHIVED}/{node}"


def proof(name: NodeName) -> str:
    """Of the death of one incarnation of a node."""
    return f"{NODES}/{name}/proof"


def fence(name: NodeName) -> str:
    return f"{FENCES}/{name}"


def ready(candidate: NodeName) -> str:
    """What a candidate for HA found out about fencing, from its node."""
    return f"{READY}/{candidate}"
