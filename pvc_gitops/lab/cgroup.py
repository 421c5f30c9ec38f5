"""Control groups of version 2: one a node, so that each node has a tree of slices of its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.process import wait_for

# After cgroup.kill; measured well below 0.1 s.
EMPTY_LIMIT_S = 10.0


def root() -> Path:
    """The cgroup2 mount: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a machine with both
    versions.
    """
    found = find_root(Path("/proc/self/mounts").read_text(encoding="utf-8"))
    if found is None:
        raise LabError(
            "no cgroup version 2 is mounted", hint="mount -t cgroup2 none /sys/fs/cgroup"
        )
    return found


def find_root(mounts: str) -> Path | None:
    """The first cgroup2 of a mount table."""
    for line in mounts.splitlines():
        fields = line.split()
        if "cgroup2" in fields[2:3]:
            return Path(fields[1])
    return None


def of_lab(lab: str) -> Path:
    """The group that holds all of a lab's nodes."""
    return root() / "pvc-lab" / lab


def hand_down_controllers(group: Path) -> bool:
    """Let the groups below have every controller that this one has; False if they got none.

    Without any, libvirt in a node takes cgroups as absent and leaves guests in its own service's
    group, where nothing that kills by slice finds them. One is enough, even hugetlb; those that the
    kernel refuses are left out. It refuses all while a process is in the group itself.
    """
    control = group / "cgroup.subtree_control"
    for controller in (group / "cgroup.controllers").read_text(encoding="ascii").split():
        with contextlib.suppress(OSError):
            control.write_text(f"+{controller}", encoding="ascii")
    return bool(control.read_text(encoding="ascii").split())


def make(lab: str, node: str) -> Path:
    """A new, empty group for a node's boot.

    A group that handed controllers down takes no process itself (EBUSY), so an old one is removed
    first.
    """
    group = of_lab(lab) / node
    remove(group)
    group.mkdir(parents=True, exist_ok=True)
    for parent in (group.parent.parent.parent, group.parent.parent, group.parent):
        hand_down_controllers(parent)
    return group


def kill(group: Path) -> None:
    """Kill everything below a group and wait until it is empty."""
    try:
        (group / "cgroup.kill").write_text("1", encoding="ascii")
    except FileNotFoundError:
        return
    wait_for(lambda: not is_populated(group), limit_s=EMPTY_LIMIT_S)


def is_populated(group: Path) -> bool:
    """Whether a process lives in the group or below."""
    try:
        return "populated 1" in (group / "cgroup.events").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def remove(group: Path) -> None:
    """Remove a tree of empty groups, leaves first."""
    if not group.exists():
        return
    for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
