"""Which disk a document means, and which OSD lies on it: the wrong answer would overwrite data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pvc_gitops.errors import UsageError

FACTS: Final = ("path", "serial", "wwn", "model")


def osd_number(listed: Mapping[str, Sequence[Mapping[str, Any]]], uuid: str) -> int | None:
    """The OSD with this uuid in the output of `ceph-volume lvm list`."""
    for number, volumes in listed.items():
        if any(volume["tags"].get("ceph.osd_fsid") == uuid for volume in volumes):
            return int(number)
    return None


def device(disks: Sequence[Mapping[str, str | None]], wanted: Mapping[str, str]) -> str:
    """The one disk that every fact fits. Raises UsageError: the wrong disk would be overwritten."""
    unknown = sorted(wanted.keys() - set(FACTS))
    fitting = [
        disk
        for disk in disks
        if disk["type"] == "disk" and all(disk[key] == wanted.get(key, disk[key]) for key in FACTS)
    ]
    if unknown or len(fitting) != 1:
        found = ", ".join(
            f"{disk['path']} serial {disk['serial']} wwn {disk['wwn']}" for disk in disks
        )
        raise UsageError(
            f"{len(fitting)} disks match {wanted}",
            hint=f"name exactly one by serial or wwn: {found}",
        )
    return str(fitting[0]["path"])
