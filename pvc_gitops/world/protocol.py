"""The agent's socket: versioned JSON lines, one question, one or more answers (DESIGN section 11).

    -> {"pvc": 1, "id": 7, "op": "inventory", "args": {}}
    <- {"id": 7, "value": {...}}                        the answer, or
    <- {"id": 7, "error": {"code": "not-ready", "message": "...", "hint": "..."}}
    <- {"id": 7, "event": {...}}                        any number before the answer, for `follow`

A connection carries any number of questions, answered in order. A line is at most LINE_BYTES_MAX.

Who asks is said once, by the first line, before any question:

    -> {"pvc": 1, "operator": "alice"}  no answer of its own

`pvc agent-stdio --operator NAME` writes it: sshd runs that for the key that logged in, and what the
client sends comes after it. The agent's own account (root) may leave it out and is then no operator;
every other account must begin with it. A question of an operator who is not declared any more is
refused. Operations, with arguments and values (types of `model`, as `model.codec` encodes them):

    hello        {}                     Hello
    inventory    {}                     Inventory
    status       {}                     Status
    target       {}                     Target | null
    plan         {id}                   Plan
    results      {id}                   {step: StepResult}
    applied      {address}              {applied, placement, claim, result}: any may be null
    history      {limit, since_s, until_s, address}: all may be left out
                                        [Entry], the newest first
    export       {plan}: may be left out  Export: what is planned from now, or that plan was
    preview      {files: {path: base64}}  Answer: what they would do, by this node's own planner
    previews     {ref}: may be left out [Preview] without texts, or one whole
    intents      {}                     [Intent], the oldest first
    intent       {kind, subject, reason, for_s, data}
                                        Intent; for_s is seconds or null, data is text by key
    end-intent   {id, reason, stays}    Intent, as it was; stays: whom a drain moved does not come back
    rollback     {commit, reason, effect}
                                        Rollback; without `effect` nothing is done, with the effect of
                                        that answer's plan the commit is put in force. commit "": the
                                        last one before the one in force that was carried out whole
    release      {commit, reason}       Quarantined, which it was
    fence-check  {node}: may be left out [FenceReadiness]; a node that is named is tried first
    look-at-git  {}                     {seen: SourceSeen}; fetches now and answers after the fetch
    source       {}                     SourceState
    source-submit {head, base, pack}    {seen, accepted}: without accepted, `seen` says what is wrong;
                                        pack: all of `head` that `base` has not, git's format in base64
    source-accept {commit, reason}      {seen, accepted}: the branch's tip, although it is refused
    follow       {commit, timeout_s}    events {plan, step, status, ...} until that commit is applied, a
                                        step failed for good, or somebody must do something first, or
                                        the time is over; {outcome, plan, …}: applied, failed, refused,
                                        timeout, halted, withheld {withheld}, quarantined {held},
                                        superseded {commit}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from pvc_gitops.model.control import Quarantine, Quarantined, Withheld
from pvc_gitops.model.ids import Address, CommitId, NodeName, VmName
from pvc_gitops.model.intents import Intent
from pvc_gitops.model.inventory import NodeFacts, StorageFacts
from pvc_gitops.model.moves import Moves
from pvc_gitops.model.plan import Plan, ReportItem
from pvc_gitops.model.readiness import FenceReadiness
from pvc_gitops.model.records import (
    Accepted,
    Applied,
    Claim,
    PlacementRecord,
    SourceSeen,
    StepResult,
    Target,
)
from pvc_gitops.model.values import dataclass

PROTOCOL: Final = 1
LINE_BYTES_MAX: Final = 64 * 1024 * 1024  # an inventory of 10,000 guests is about 20 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One line from a client. `operator` is the connection's, never the line's; None is root."""

    id: int
    op: str
    args: Mapping[str, Any]
    operator: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who answers."""

    node: NodeName
    release: str  # of pvc-gitops
    planner_version: str
    cluster: str
    formation: int | None  # None before the cluster is founded
    operator: str | None = None  # whom it answers; None is root


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedFacts:
    """What the cluster knows of one address."""

    applied: Applied | None
    placement: PlacementRecord | None
    claim: Claim | None
    result: StepResult | None  # of the step that last changed it, if its plan is still kept


def question_line(question: Question) -> bytes:
    """As it is sent."""
    value = {"pvc": PROTOCOL, "id": question.id, "op": question.op, "args": question.args}
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def operator_line(operator: str) -> bytes:
    """The first line of an operator's connection."""
    return json.dumps({"pvc": PROTOCOL, "operator": operator}).encode() + b"\n"


def parse_operator(line: bytes) -> str | None:
    """Who asks, if this first line says so; None if it is something else, such as a question."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match value:
        case {"pvc": int(version), "operator": str(name), **rest} if (
            version == PROTOCOL and not rest
        ):
            return name
        case _:
            return None


def parse_question(line: bytes) -> Question:
    """The inverse. Raises ValueError with what was expected."""
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("a question is not that deep") from None
    match value:
        case {"pvc": int(version)} if version != PROTOCOL:
            raise ValueError(f"this agent speaks protocol {PROTOCOL}, you speak {version}")
        case {"pvc": int(), "id": int(number), "op": str(op), "args": dict(args)}:
            return Question(id=number, op=op, args=args)
        case _:
            raise ValueError('a question is {"pvc": 1, "id": 7, "op": "status", "args": {}}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """What going back to an earlier accepted commit does."""

    commit: CommitId
    subject: str
    author: str
    now: CommitId  # what is in force until then
    quarantined: tuple[Quarantined, ...]
    plan: Plan
    not_undone: tuple[ReportItem, ...]  # what stays although the commit says otherwise
    is_begun: bool


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
    intents: tuple[Intent, ...] = ()  # in force, the oldest first
    withheld: Withheld | None = None  # why nothing is published although there would be something
    quarantine: Quarantine | None = None  # after a rollback
    held: Mapping[CommitId, tuple[Address, ...]] = field(default_factory=dict)  # of it, by the head
    running: CommitId | None = None  # whose steps are carried out now, on nodes that answer
    fencing: tuple[FenceReadiness, ...] = ()  # all nodes as a fence would find them
    moves: Moves = field(default_factory=Moves)  # drains and how far they are
