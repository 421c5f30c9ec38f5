"""A plan while it is written. The one mutable thing of a planner run; it decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pvc_gitops.model.document import Place, Value
from pvc_gitops.model.ids import Address, NodeName, VmName
from pvc_gitops.model.plan import (
    Change,
    ItemKind,
    Operation,
    PlacementChoice,
    ReportItem,
    Step,
)
from pvc_gitops.model.records import Applied
from pvc_gitops.planner.context import object_of
from pvc_gitops.planner.operations import COSTS


class Draft:
    """Steps, changes and report so far, and what each object will be."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.changes: dict[Address, Change] = {}
        self.report: list[ReportItem] = []
        self.placement: list[PlacementChoice] = []
        self.after: dict[Address, Applied] = {}  # every object that exists once the plan is done
        self.last: dict[Address, str] = {}  # an object's last step: after it, it is usable
        self.retiring: dict[NodeName, list[str]] = {}  # steps that free memory on a node
        self.places: dict[VmName, NodeName] = {}

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
        qualifier: str = "",
        downtime_s: float = 0.0,
        extra_s: float = 0.0,
    ) -> str:
        """Add a step and return its id. `pre` is the digest that the object's record must have;
        `extra_s` is what this step's timeout has over its kind's."""
        cost = COSTS[operation]
        name = f"{operation} {of} {qualifier}".rstrip()
        assert name not in self.steps, name
        owner = object_of(of)
        before = tuple(sorted({need for need in needs if need is not None}))
        assert all(need in self.steps for need in before), (name, before)
        self.steps[name] = Step(
            id=name,
            address=of,
            operation=operation,
            node=node,
            needs=before,
            pre={owner: pre},
            record=record,
            inputs={} if inputs is None else inputs,
            estimate_s=cost.estimate_s,
            timeout_s=cost.timeout_s + extra_s,
            downtime_s=downtime_s,
            undo=cost.undo,
        )
        self.last[owner] = name
        return name

    def item(
        self,
        kind: ItemKind,
        of: Address,
        code: str,
        text: str,
        *,
        remedy: str = "",
        place: Place | None = None,
    ) -> None:
        self.report.append(
            ReportItem(kind=kind, address=of, code=code, text=text, remedy=remedy, place=place)
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
