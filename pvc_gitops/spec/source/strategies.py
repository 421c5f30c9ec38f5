"""What can be spread evenly: said by the cluster, and by a guest that wants it otherwise."""

from __future__ import annotations

from typing import Final

STRATEGIES: Final = {
    "mem": "memory of running guests",
    "memprov": "memory of all guests, running or not",
    "load": "the load that nodes report",
    "vcpus": "virtual CPUs",
    "vms": "the number of guests",
}
