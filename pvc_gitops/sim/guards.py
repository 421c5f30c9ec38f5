"""Datagrams between simulated guards: `pvc_guard.talk` over wires that may lose, delay or change them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.sim.ensemble import Ensemble
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.sim.store import Tree
from pvc_gitops.sim.wires import Net, Wires
from pvc_guard.talk import Notebook, Witness

if TYPE_CHECKING:
    from pvc_gitops.sim.guard import SimGuard

KEY: Final = b"of simulated guards"
ONE_WAY_S: Final = 0.002


def as_it_is(data: bytes) -> bytes:
    """What honest wires do."""
    return data


@dataclass(slots=True)
class Post:
    """Carries questions and answers. `tamper` and `delay_s`: what an attacker or a bad switch does."""

    kernel: Kernel
    wires: Wires
    ensemble: Ensemble
    tree: Tree
    addresses: Mapping[str, NodeName]  # of the coordinators, on the cluster network
    guards: dict[NodeName, SimGuard] = field(default_factory=dict)
    delay_s: float = ONE_WAY_S
    tamper: Callable[[bytes], bytes] = as_it_is
    numbers: int = 0

    def notebook(self) -> Notebook:
        """Of a guard that begins."""
        return Notebook(key=KEY, voters=tuple(self.addresses), new_nonce=self._nonce)

    def witness(self, node: NodeName) -> Witness | None:
        """Of a coordinator's guard that begins; others have no server to speak of."""
        mine = [address for address, name in self.addresses.items() if name == node]
        return Witness(me=mine[0], voters=tuple(self.addresses), key=KEY) if mine else None

    def send(self, sender: SimGuard, questions: Mapping[str, bytes]) -> None:
        """Each to its address; what comes back is heard by the sender."""
        for to, data in questions.items():
            self.kernel.after(
                ONE_WAY_S,
                lambda to=to, data=data: self._ask(sender, self.addresses[to], data),  # type: ignore[misc]
            )

    def _ask(self, sender: SimGuard, name: NodeName, data: bytes) -> None:
        asked = self.guards[name]
        if not self.wires.talk(sender.node, name, Net.CLUSTER):
            return
        said = asked.asked(data, lambda: self._mark(name))
        if said is not None:
            self.kernel.after(self.delay_s, lambda: sender.hear(self.tamper(said)))

    def _mark(self, name: NodeName) -> str | None:
        """Of the server's disk, where it is certainly in no quorum."""
        is_in = self.ensemble.is_voting(name) and not self.ensemble.is_silent()
        return None if is_in else f"{self.ensemble.epoch}.{self.tree.writes}"

    def _nonce(self) -> str:
        self.numbers += 1
        return f"{self.numbers:032x}"
