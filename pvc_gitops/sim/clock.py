"""A machine's own clock: CLOCK_BOOTTIME, running as fast as its crystal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pvc_gitops.sim.kernel import Kernel

SANE: Final = (0.99, 1.01)  # what proofs allow for


@dataclass(slots=True)
class MachineClock:
    """`rate`: its seconds for each of the kernel's. At `_since_s` of the kernel's it showed `_read_s`."""

    kernel: Kernel
    rate: float = 1.0
    was_mad: bool = False  # did it ever run as no crystal does?
    _since_s: float = 0.0
    _read_s: float = 0.0

    def boot(self) -> None:
        """It begins at zero."""
        self._since_s, self._read_s = self.kernel.now_s, 0.0

    def run_at(self, rate: float) -> None:
        """From now on."""
        self.was_mad = self.was_mad or not SANE[0] <= rate <= SANE[1]
        self._read_s, self._since_s, self.rate = self.now_s(), self.kernel.now_s, rate

    def now_s(self) -> float:
        return self._read_s + (self.kernel.now_s - self._since_s) * self.rate

    def takes_s(self, own_s: float) -> float:
        """How long it is by the kernel until so much has passed here."""
        return own_s / self.rate
