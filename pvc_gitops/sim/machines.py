"""Simulated management controllers: each has power of its own, and lies only where it was told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pvc_gitops.errors import BmcError
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import Bmc
from pvc_gitops.sim.process import Process


class Mood(StrEnum):
    """How a controller behaves."""

    ON = "on"
    OFF = "off"  # dead
    HANG = "hang"  # never answers
    LIE = "lie"  # says off, does nothing


class Power(Protocol):
    """The mains switch that a controller works on."""

    def switch(self, node: NodeName, *, on: bool) -> None: ...

    def is_on(self, node: NodeName) -> bool: ...


@dataclass(slots=True)
class Bmcs:
    """All of them. `wired`: whose controller really stands behind a node's address."""

    moods: dict[NodeName, Mood] = field(default_factory=dict)
    wired: dict[NodeName, NodeName] = field(default_factory=dict)
    denied: set[NodeName] = field(default_factory=set)  # that were said to be off, and are on

    def behind(self, node: NodeName) -> NodeName:
        return self.wired.get(node, node)

    def mood(self, node: NodeName) -> Mood:
        return self.moods.get(self.behind(node), Mood.ON)


@dataclass(slots=True)
class MachinesPort:
    """The Machines port of one process."""

    bmcs: Bmcs
    power: Power
    process: Process
    is_answering: Callable[[str], bool]  # an address on the core networks
    on_off: Callable[[NodeName], None]  # a machine is switched off by us

    def expected(self, node: NodeName, bmc: Bmc | None) -> str | None:
        del bmc
        return _guid(node)

    def hindrance(self, node: NodeName, bmc: Bmc | None) -> str:
        del node, bmc
        return ""

    def is_on(self, node: NodeName, bmc: Bmc | None) -> bool:
        del bmc
        self._ask("read the power of", node)
        is_lying = self.bmcs.mood(node) is Mood.LIE
        return not is_lying and self.power.is_on(self.bmcs.behind(node))

    def guid(self, node: NodeName, bmc: Bmc | None) -> str:
        del bmc
        self._ask("identify", node)
        return _guid(self.bmcs.behind(node))

    def switch_off(self, node: NodeName, bmc: Bmc | None, *, by_s: float) -> None:
        del bmc
        self._ask("switch off", node)
        self.process.spend()
        if self.process.clock.now_s() >= by_s:
            raise BmcError("switch off", f"the BMC of {node}", "it is too late", retryable=True)
        victim = self.bmcs.behind(node)
        if self.bmcs.mood(node) is Mood.LIE:
            self.bmcs.denied.add(victim)
        else:
            self.on_off(victim)
            self.power.switch(victim, on=False)

    def switch_on(self, node: NodeName, bmc: Bmc | None) -> None:
        del bmc
        self._ask("switch on", node)
        self.process.spend()
        if self.bmcs.mood(node) is not Mood.LIE:
            self.power.switch(self.bmcs.behind(node), on=True)

    def answering(self, addresses: Sequence[str]) -> tuple[str, ...]:
        return tuple(address for address in addresses if self.is_answering(address))

    def _ask(self, operation: str, node: NodeName) -> None:
        mood = self.bmcs.mood(node)
        if mood in (Mood.OFF, Mood.HANG):
            why = "it does not answer" if mood is Mood.OFF else "no answer within the limit"
            raise BmcError(operation, f"the BMC of {node}", why, retryable=True)


def _guid(node: NodeName) -> str:
    return node.encode().hex().ljust(32, "0")
