"""What a record lacks that was applied before its field existed. A document never does: the loader
completes it, by the same values (a test compares them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.model.document import Spec, Value

CLUSTER: Final[Spec] = {
    "routing": {"asn": 65500},
    "source": {"branch": "main", "path": ".", "poll": "15s"},
    "apply": {
        "mode": "auto",
        "windows": [],
        "max_destroy": {
            "vms": 3,
            "volumes": 3,
            "networks": 1,
            "nodes": 1,
            "osds": 1,
            "pools": 0,
        },
        "max_disrupt": {"reboots": 5, "replaces": 0, "migrations": 50},
    },
    "ha": {
        "lease": "6s",
        "fence_delay": "2s",
        "cold_start": "2m",
        "fences_at_once": 1,
        "admission": "enforce",
        "tolerate_nodes": 1,
    },
    "scheduling": {"strategy": "mem", "reserve_memory": "auto", "vcpu_ratio": 4},
    "trash": {"keep": "7d"},
    "formation": "new",
}
HA: Final[Spec] = {
    "restart": True,
    "relocate": True,
    "tier": 3,
    "max_restarts": 3,
    "max_relocations": 3,
    "depends_on": [],
}
READINESS: Final[Spec] = {"agent": False, "timeout": "1m"}


def completed(spec: Spec, defaults: Spec) -> Spec:
    """With what it lacks, at every depth of the defaults. What it says stands."""
    found: dict[str, Value] = dict(spec)
    for key, default in defaults.items():
        if isinstance(default, Mapping):
            found[key] = completed(spec.get(key, {}), default)
        else:
            found.setdefault(key, default)
    return found
