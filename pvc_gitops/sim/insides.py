"""What happens inside guests: how long they boot until somebody may count on them, how they ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pvc_gitops.model.inventory import Ending, GuestState
from pvc_gitops.sim.kernel import Kernel

if TYPE_CHECKING:
    from pvc_gitops.sim.hardware import Guests

NEVER: Final = "none"


@dataclass(slots=True)
class Insides:
    """Of all guests of the cluster: they take what is in them along."""

    kernel: Kernel
    boot_s: dict[str, float] = field(
        default_factory=dict
    )  # until they answer; 0 where nothing is said
    started_s: dict[str, float] = field(default_factory=dict)
    endings: dict[str, Ending] = field(default_factory=dict)

    def say_boot(self, name: str, words: str) -> None:
        """`words`: seconds, or `none` where it never answers."""
        self.boot_s[name] = float("inf") if words == NEVER else float(words)

    def started(self, name: str) -> None:
        self.started_s[name] = self.kernel.now_s
        self.endings.pop(name, None)

    def power_off(self, name: str, guests: Guests) -> None:
        """From inside, in order."""
        if name in guests.domains:
            self.endings[name] = Ending.POWERED_OFF
            guests.end(name, is_clean=True)

    def answers(self, name: str) -> bool:
        up_s = self.kernel.now_s - self.started_s.get(name, self.kernel.now_s)
        return up_s >= self.boot_s.get(name, 0.0)


@dataclass(slots=True)
class ProbesPort:
    """The Probes port of one node."""

    insides: Insides
    guests: Guests
    name_of: Callable[[str], str | None]  # the guest that has an address

    def accepts(self, address: str, port: int) -> str:
        name = self.name_of(address)
        return self._answers(name, f"port {port} of {address} does not answer")

    def agent_answers(self, name: str) -> str:
        return self._answers(name, "its guest agent does not answer")

    def ending(self, name: str) -> Ending:
        return self.insides.endings.get(name, Ending.ENDED)

    def _answers(self, name: str | None, what: str) -> str:
        each = None if name is None else self.guests.domains.get(name)
        runs = each is not None and each.state is GuestState.RUNNING
        return "" if name is not None and runs and self.insides.answers(name) else what
