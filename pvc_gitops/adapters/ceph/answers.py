"""The monitors' JSON as our values. Pure; the captured answers are in tests/facts/ceph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pvc_gitops.errors import PoolError
from pvc_gitops.model.inventory import PoolFacts
from pvc_gitops.world.ports import CephStatus

APPLICATION: Final = "rbd"
_OSD_PROFILE: Final = re.compile(r"profile rbd pool=([^\s,]+)")


def status(answer: Mapping[str, Any]) -> CephStatus:
    """Of `ceph status`. An empty cluster is 0 full.

    Raises PoolError: a monitor without a quorum answers this one question, with what it knew (tried).
    """
    if not answer["quorum"]:
        raise PoolError("ask", "ceph", "the monitor that answers is in no quorum", retryable=True)
    health, osds, groups = answer["health"], answer["osdmap"], answer["pgmap"]
    total = groups.get("bytes_total", 0)
    return CephStatus(
        health=health["status"],
        checks=tuple(check["summary"]["message"] for _, check in sorted(health["checks"].items())),
        osds_up=osds["num_up_osds"],
        osds_total=osds["num_osds"],
        used_ratio=round(groups.get("bytes_used", 0) / total, 4) if total else 0.0,
    )


def pools(answer: Iterable[Mapping[str, Any]]) -> Mapping[str, PoolFacts]:
    """Of `ceph osd pool ls detail`: those made for RBD, in order of name."""
    ours = [pool for pool in answer if APPLICATION in pool["application_metadata"]]
    return {
        pool["pool_name"]: PoolFacts(
            copies=pool["size"], min_copies=pool["min_size"], pgs=pool["pg_num_target"]
        )
        for pool in sorted(ours, key=lambda pool: str(pool["pool_name"]))
    }


def blocklist(answer: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Of `ceph osd blocklist ls`, without the ranges."""
    return frozenset(entry["addr"] for entry in answer)


def granted_pools(answer: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Of `ceph auth get`: the pools that a client's disks may lie in."""
    return frozenset(
        pool for entity in answer for pool in _OSD_PROFILE.findall(entity["caps"].get("osd", ""))
    )


def caps(names: Iterable[str]) -> list[str]:
    """For `ceph auth caps`: a guest's client reads and writes these pools and may block a dead
    holder of an image's lock, nothing else. Raises ValueError without a pool: no list would mean all."""
    profiles = [f"profile rbd pool={name}" for name in sorted(names)]
    if not profiles:
        raise ValueError("a client without pools")
    return ["mgr", "profile rbd", "mon", "profile rbd", "osd", ", ".join(profiles)]


def osds_of(tree: Mapping[str, Any], host: str) -> tuple[int, ...]:
    """The ids of a host's OSDs that are up, from `osd tree`."""
    by_id = {node["id"]: node for node in tree["nodes"]}
    mine = [
        child
        for node in tree["nodes"]
        if node["type"] == "host" and node["name"] == host
        for child in node["children"]
    ]
    return tuple(sorted(each for each in mine if by_id[each].get("status") == "up"))
