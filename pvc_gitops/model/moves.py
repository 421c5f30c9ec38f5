"""What is under way of the moves that operators asked for, as the leading HA manager sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.intents import IntentId
from pvc_gitops.model.values import dataclass

# How a guest goes whose node lost its storage: the owner ends it without asking, and gives it up.
END_HERE: Final = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainState:
    """How far a node is emptied."""

    intent: IntentId
    left: tuple[VmName, ...]  # whoever it still owns; a drain is done when nobody is left
    moving: Mapping[VmName, NodeName]  # of those: under way to
    staying: Mapping[VmName, str]  # of those: who cannot leave now, and why

    @property
    def is_done(self) -> bool:
        return not self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """`/pvc/ha/moves`."""

    drains: Mapping[NodeName, DrainState] = field(default_factory=dict)
    refused: Mapping[IntentId, str] = field(default_factory=dict)  # why one cannot be moved now
    # By node that lost its storage: its guests that stay there all the same, and why.
    cut_off: Mapping[NodeName, Mapping[VmName, str]] = field(default_factory=dict)
    version: int = 0
