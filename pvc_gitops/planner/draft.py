"""A plan while it is written. The one mutable thing of a planner run; it decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, cast

from pvc_gitops.model.document import Place, Value
from pvc_gitops.model.ids import Address, NodeName, VmName
from pvc_gitops.model.plan import (
    Change,
    ItemKind,
    Operation,
    Permit,
    PlacementChoice,
    Rebalance,
    ReportItem,
    Step,
)
from pvc_gitops.model.records import Applied
from pvc_gitops.planner.context import object_of
from pvc_gitops.planner.operations import COSTS, estimate_s

_NOTHING: Final = frozenset({None})
NOTHING_ELSE: Final[Mapping[Address, str]] = MappingProxyType({})


class Draft:
    """Steps, changes and report so far, and what each object will be."""

    def __init__(self, estimates: Mapping[str, float] | None = None) -> None:
        self._learnt = estimates or {}  # what operations took lately
        self._estimates: dict[Operation, float] = {}
        self.steps: dict[str, Step] = {}
        self.changes: dict[Address, Change] = {}
        self.report: list[ReportItem] = []
        self.placement: list[PlacementChoice] = []
        self.after: dict[Address, Applied] = {}  # every object that exists once the plan is done
        self.last: dict[Address, str] = {}  # an object's last step: after it, it is usable
        self.retiring: dict[NodeName, list[str]] = {}  # steps that free memory on a node
        self.places: dict[VmName, NodeName] = {}
        self.rebalance: Rebalance | None = None  # where it was asked for
        self.moves: dict[Address, str] = {}  # the step that gives an object its new address

    def step(
        self,
        operation: Operation,
        of: Address,
        node: NodeName,
        *,
        needs: Iterable[str | None] = (),
        pre: str,
        record: Applied | None = None,
        inputs: Mapping[str, Value] | None = None,
        also_pre: Mapping[Address, str] = NOTHING_ELSE,
        qualifier: str = "",
        downtime_s: float = 0.0,
        extra_s: float = 0.0,
    ) -> str:
        """Add a step and return its id. `pre` is the digest that the object's record must have;
        `extra_s` is what this step's timeout has over its kind's."""
        cost = COSTS[operation]
        # An f-string would take four times as long to make text of an enumeration's member.
        name = " ".join((operation, of, qualifier) if qualifier else (operation, of))
        assert name not in self.steps, name
        owner = object_of(of)
        # What is renamed bears the record that this step is about only after its move.
        asked = {*needs, self.moves.get(owner)} - _NOTHING
        assert self.steps.keys() >= asked, (name, asked)
        before = tuple(sorted(cast("set[str]", asked)))
        self.steps[name] = Step(
            id=name,
            address=of,
            operation=operation,
            node=node,
            needs=before,
            pre={owner: pre, **also_pre},
            record=record,
            inputs={} if inputs is None else inputs,
            estimate_s=self.estimate_s(operation),
            timeout_s=cost.timeout_s + extra_s,
            downtime_s=downtime_s,
            undo=cost.undo,
        )
        self.last[owner] = name
        return name

    def estimate_s(self, operation: Operation) -> float:
        """Seconds that a step of this kind takes."""
        known = self._estimates.get(operation)
        if known is None:
            known = self._estimates[operation] = estimate_s(operation, self._learnt)
        return known

    def item(
        self,
        kind: ItemKind,
        of: Address,
        code: str,
        text: str,
        *,
        remedy: str = "",
        place: Place | None = None,
        permits: tuple[Permit, ...] = (),
    ) -> None:
        self.report.append(
            ReportItem(
                kind=kind,
                address=of,
                code=code,
                text=text,
                remedy=remedy,
                place=place,
                permits=permits,
            )
        )

    def blocked(
        self, of: Address, code: str, text: str, remedy: str, place: Place | None = None
    ) -> None:
        self.item(ItemKind.BLOCKED, of, code, text, remedy=remedy, place=place)

    def waiting(
        self, of: Address, code: str, text: str, remedy: str = "", place: Place | None = None
    ) -> None:
        self.item(ItemKind.WAITING, of, code, text, remedy=remedy, place=place)

    def lasts(self, of: Iterable[Address]) -> list[str]:
        """The last steps, so far, of those of the objects that have any."""
        return [self.last[each] for each in of if each in self.last]

    def missing(self, needs: Iterable[Address]) -> list[Address]:
        """Those that will not exist once the plan is done."""
        return [each for each in needs if each not in self.after]
