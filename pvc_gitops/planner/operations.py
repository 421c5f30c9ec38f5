"""What each operation costs until the ledger has learnt better, how long it may take, how one undoes
it. Estimates were seen in a lab of three nodes on one machine; disks and networks there are slow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.model.plan import Operation as O  # noqa: N817  a table is read by its columns
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds a step takes, seconds after which it is given up, and the way back."""

    estimate_s: float
    timeout_s: float
    undo: str


_REVERT: Final = "git revert the commit"
_FROM_TRASH: Final = "git revert the commit: the data comes back from the trash"

COSTS: Final[Mapping[O, Cost]] = MappingProxyType(
    {
        # One transaction of ZooKeeper.
        O.RECORD_PUT: Cost(estimate_s=0.1, timeout_s=30, undo=_REVERT),
        O.RECORD_DROP: Cost(estimate_s=0.1, timeout_s=30, undo=_REVERT),
        O.RECORD_MOVE: Cost(estimate_s=0.1, timeout_s=60, undo=_REVERT),
        O.RECORD_KEEP: Cost(estimate_s=0.1, timeout_s=30, undo=_FROM_TRASH),
        # Placement groups peer one after another.
        O.POOL_CREATE: Cost(estimate_s=5, timeout_s=300, undo=_REVERT),
        O.POOL_UPDATE: Cost(estimate_s=1, timeout_s=120, undo=_REVERT),
        O.POOL_DELETE: Cost(estimate_s=3, timeout_s=300, undo="none: a pool has no trash"),
        # A download of unknown size: an hour is a 40 GiB image at 100 Mbit/s.
        O.IMAGE_IMPORT: Cost(estimate_s=30, timeout_s=3600, undo=_REVERT),
        O.IMAGE_DELETE: Cost(estimate_s=2, timeout_s=300, undo="git revert: imported again"),
        # RBD headers only.
        O.DISK_CREATE: Cost(estimate_s=1, timeout_s=120, undo=_REVERT),
        O.DISK_GROW: Cost(estimate_s=1, timeout_s=120, undo="none: disks do not shrink"),
        O.DISK_TRASH: Cost(estimate_s=1, timeout_s=120, undo=_FROM_TRASH),
        O.DISK_RESTORE: Cost(estimate_s=1, timeout_s=120, undo=_REVERT),
        # As many objects as it has blocks: 100 GiB take about a minute.
        O.DISK_PURGE: Cost(estimate_s=5, timeout_s=3600, undo="none: purged is gone"),
        O.NETWORK_PUT: Cost(estimate_s=0.1, timeout_s=30, undo=_REVERT),
        # The agent's next tick and its report.
        O.NETWORK_ENSURE: Cost(estimate_s=2, timeout_s=120, undo=_REVERT),
        O.NETWORK_RETIRE: Cost(estimate_s=0.1, timeout_s=30, undo=_REVERT),
        O.VM_PUT: Cost(estimate_s=3, timeout_s=180, undo=_REVERT),
        # An orderly shutdown of a Linux guest; `stop_timeout` is added to the limit.
        O.VM_STOP: Cost(estimate_s=15, timeout_s=60, undo=_REVERT),
        O.VM_RETIRE: Cost(estimate_s=15, timeout_s=60, undo=_FROM_TRASH),
        O.VM_FORGET: Cost(estimate_s=0.5, timeout_s=60, undo="pvc adopt"),
        O.VM_ADOPT: Cost(estimate_s=0.5, timeout_s=60, undo="`forgotten` in transitions.yaml"),
    }
)

# A plan says 20 s, not 18.4: what is learnt moves a little all the time, and plans should not.
_GRAINS_S: Final = ((1.0, 0.1), (10.0, 1.0), (60.0, 5.0), (600.0, 30.0), (math.inf, 300.0))


def estimate_s(operation: O, learnt: Mapping[str, float]) -> float:
    """What a step takes: as lately, rounded up, else as seen in a lab."""
    seconds = learnt.get(operation)
    if seconds is None:
        return COSTS[operation].estimate_s
    grain_s = next(grain_s for limit_s, grain_s in _GRAINS_S if seconds <= limit_s)
    return round(max(1, math.ceil(round(seconds / grain_s, 6))) * grain_s, 1)
