"""Whether this machine can carry a lab, and making it so. Looks first, touches nothing while
looking.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pvc_gitops.lab import cgroup, paths
from pvc_gitops.lab.process import run

MEMORY_MIN_BYTES: Final = (
    6 * 1024**3
)  # three nodes: 2.4 GiB measured, six guests 1 GiB, the image's build and page cache
DISK_MIN_BYTES: Final = 12 * 1024**3  # image 1.7, three nodes 1.5 and their OSD files as they fill
INSTALL_TIMEOUT_S: Final = 900

# Debian package: a program, a file or a Python module that only it brings.
HOST_PACKAGES: Final = {
    "mmdebstrap": "mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "systemd-container": "systemd-nspawn",
    "openipmi": "ipmi_sim",
    "ipmitool": "ipmitool",
    "iproute2": "ip",
    "iputils-ping": "ping",
    "procps": "sysctl",
    "util-linux": "unshare",
    "git": "git",
    "curl": "curl",
    "mtools": "mformat",
    "syslinux": "syslinux",
    "syslinux-common": "/usr/lib/syslinux/modules/bios/menu.c32",
    "dpkg": "dpkg-deb",
    "python3-venv": "import ensurepip",
}


def missing(root: Path | None = None) -> list[str]:
    """What the machine lacks for a lab, one sentence each, empty if nothing.

    Packages that apt can install are not missing: see `missing_packages` and
    `install_host_packages`.
    """
    return list(_missing(root or paths.default_root()))


def _missing(root: Path) -> Iterator[str]:
    if os.geteuid() != 0:
        yield "root: run it as root (containers, network name spaces and mounts need it)"
        return
    if not Path("/etc/debian_version").exists():
        yield "Debian: the lab installs its tools with apt-get; this is another distribution"
    if cgroup.find_root(Path("/proc/self/mounts").read_text(encoding="utf-8")) is None:
        yield "control groups version 2: mount -t cgroup2 none /sys/fs/cgroup"
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii") and not _loads(
        "overlay"
    ):
        yield "overlayfs: the kernel has no module `overlay`"
    for device in ("/dev/net/tun", "/dev/fuse"):
        if not Path(device).exists():
            yield f"{device}: the nodes' guests and storage tools need it"
    if not _can("unshare", "--mount", "--net", "--pid", "--fork", "true"):
        yield "name spaces: this machine (a container itself?) does not let us make any"
    elif shutil.which("ip") and not _can(
        "unshare", "--net", "--", "ip", "link", "add", "name", "pvc0", "type", "bridge"
    ):
        yield "bridges: the kernel does not make any (module `bridge`)"
    available = memory_available_bytes(Path("/proc/meminfo").read_text(encoding="ascii"))
    if available < MEMORY_MIN_BYTES:
        needed = MEMORY_MIN_BYTES / 1024**3
        yield f"memory: {available / 1024**3:.1f} GiB are free, {needed:.0f} GiB are needed"
    free = shutil.disk_usage(_existing_parent(root)).free
    if free < DISK_MIN_BYTES:
        needed = DISK_MIN_BYTES / 1024**3
        yield f"disk: {free / 1024**3:.1f} GiB are free at {root}, {needed:.0f} GiB are needed"
    # Not whether apt knows the packages: on a bare machine it knows none before its first update,
    # which `install_host_packages` does.
    if missing_packages() and shutil.which("apt-get") is None:
        yield f"packages: {', '.join(missing_packages())}, and there is no apt-get to install them"


def missing_packages() -> list[str]:
    """Debian packages that the lab needs and that are not installed."""
    return sorted(package for package, brings in HOST_PACKAGES.items() if not _is_there(brings))


def install_host_packages() -> list[str]:
    """Install what `missing_packages` names; the list of what was installed."""
    wanted = missing_packages()
    if wanted:
        run("apt-get", "update", "--quiet", timeout_s=INSTALL_TIMEOUT_S)
        run(
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "install",
            "--yes",
            "--quiet",
            "--no-install-recommends",
            *wanted,
            timeout_s=INSTALL_TIMEOUT_S,
        )
    return wanted


def memory_available_bytes(meminfo: str) -> int:
    """MemAvailable of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> int:
    """`python -m pvc_gitops.lab.preflight`: 0 if a lab can run here, else 1 and what is missing on
    one line.
    """
    lacking = missing()
    if lacking:
        print("; ".join(lacking))
    return 1 if lacking else 0


def _is_there(brings: str) -> bool:
    if brings.startswith("import "):
        return importlib.util.find_spec(brings.removeprefix("import ")) is not None
    return Path(brings).exists() if brings.startswith("/") else shutil.which(brings) is not None


def _loads(module: str) -> bool:
    return _can("modprobe", module)


def _can(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


if __name__ == "__main__":
    sys.exit(main())
