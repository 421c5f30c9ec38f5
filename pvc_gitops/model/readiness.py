"""Whether nodes could be fenced now: what each candidate tried, and what that means for a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate at one node's BMC: logged in, identity and power read, nothing pressed."""

    at_s: int
    trouble: str = ""  # why a fence from there would get no proof by the BMC
    is_declared: bool = True  # False: the node's document names no BMC


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What one candidate for HA tried, from its own node: `/pvc/ha/ready/<node>`."""

    trials: Mapping[NodeName, Trial] = field(default_factory=dict)
    blocklist_at_s: int | None = None  # when an entry was made and taken back; None: not tried yet
    blocklist: str = ""  # why it could not be


class Grade(StrEnum):
    """How bad it is, the worst first."""

    NOT = "not"  # nothing would prove this node's death but its own return
    PARTLY = "partly"  # something would, later than declared, or not from every coordinator
    READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceReadiness:
    """One node as fencing would find it."""

    node: NodeName
    grade: Grade
    bmc: str  # `ready`, `none declared`, or what is wrong
    watchdog: str  # `armed, 10 s`, or `none`
    troubles: tuple[str, ...]  # sentences without the node's name
    tried_at_s: int | None  # when its BMC was last tried by anybody
