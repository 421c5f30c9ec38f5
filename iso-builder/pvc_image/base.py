"""The base layer: Debian as the manifest lists it, by mmdebstrap."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pvc_image import mirror
from pvc_image.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from pvc_image.manifest import Manifest

# Measured 65 to 90 s on two cores; a slow mirror may take much longer.
MMDEBSTRAP_TIMEOUT_S = 1800

# mmdebstrap leaves the mirror's name here, and ids that every machine must have of its own.
_LEFT_OVERS = (
    "etc/apt/sources.list",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/hostname",
    "etc/resolv.conf",
)


def build(manifest: Manifest, root: Path, log: Path) -> None:
    """Make the base root file system in the empty folder `root`."""
    options = (
        'Acquire::Languages "none"',
        'APT::Install-Recommends "false"',
        *mirror.apt_options(),
    )
    run(
        "mmdebstrap",
        f"--variant={manifest.variant}",
        "--format=directory",
        "--mode=root",
        f"--components={','.join(manifest.components)}",
        f"--include={','.join(manifest.packages)}",
        *(f"--aptopt={option}" for option in options),
        "--dpkgopt=force-unsafe-io",
        manifest.suite,
        root,
        mirror.find_mirror(),
        timeout_s=MMDEBSTRAP_TIMEOUT_S,
        log=log,
    )
    _customize(manifest, root)


def _customize(manifest: Manifest, root: Path) -> None:
    for unit in manifest.disabled:
        if _unit_exists(root, unit):
            run("chroot", root, "systemctl", "--quiet", "disable", unit, timeout_s=60)
    run("chroot", root, "systemctl", "--quiet", "enable", *manifest.enabled, timeout_s=60)
    for unit in manifest.masked:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for file in manifest.files:
        target = root / file.path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.content, encoding="utf-8")
    for name in _LEFT_OVERS:
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("", encoding="utf-8")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for folder in ("var/cache/apt", "var/lib/apt/lists", "var/log/apt"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)


def _unit_exists(root: Path, unit: str) -> bool:
    return any(
        (root / folder / unit).exists()
        for folder in ("usr/lib/systemd/system", "etc/systemd/system")
    )
