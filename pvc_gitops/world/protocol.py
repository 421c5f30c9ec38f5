"""The agent's socket: versioned JSON lines, one question, one or more answers (DESIGN section 11).

    -> {"pvc": 1, "id": 7, "op": "inventory", "args": {}}
    <- {"id": 7, "value": {...}}                        the answer, or
    <- {"id": 7, "error": {"code": "not-ready", "message": "...", "hint": "..."}}
    <- {"id": 7, "event": {...}}                        any number before the answer, for `follow`

A connection carries any number of questions, answered in order. A line is at most LINE_BYTES_MAX.
Operations, with arguments and values (types of `model`, as `model.codec` encodes them):

    hello        {}                     {node, version, planner_version, cluster, formation}
    inventory    {}                     Inventory
    status       {}                     Status
    target       {}                     Target | null
    plan         {id}                   Plan
    results      {id}                   {step: StepResult}
    applied      {address}              {applied, placement, claim, result}: any may be null
    look-at-git  {}                     {seen: SourceSeen}; fetches now and answers after the fetch
    follow       {commit, timeout_s}    events {plan, step, status, ...} until that commit is applied, a
                                        step failed for good, or the time is over; {outcome, plan}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.inventory import NodeFacts, StorageFacts
from pvc_gitops.model.records import Accepted, PlacementRecord, SourceSeen, Target

PROTOCOL: Final = 1
LINE_BYTES_MAX: Final = 64 * 1024 * 1024  # an inventory of 10,000 guests is about 20 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `pvc status` shows, from one node's view of the store."""

    cluster: str
    now_s: int
    answered_by: NodeName
    is_store_connected: bool
    quorum: int  # ZooKeeper servers in the quorum
    quorum_of: int
    accepted: Accepted | None
    seen: Mapping[NodeName, SourceSeen]
    target: Target | None
    is_applied: bool  # the target holds the accepted commit and nothing of it is left
    steps_left: int
    steps_failed: Mapping[str, str]  # step -> error
    problems: tuple[str, ...]  # why the tip is not adopted
    planner: NodeName | None  # who leads
    planner_version: str
    nodes: Mapping[NodeName, NodeFacts]
    guests: Mapping[VmName, PlacementRecord]
    storage: StorageFacts | None
    waiting: tuple[tuple[str, str, str], ...]  # address, what, command
