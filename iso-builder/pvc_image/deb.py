"""Our software as a Debian package, made from our wheel (docs/rfd/0002).

Nothing is listed twice: launchers come from the wheel's entry_points.txt, units from
node-agent/systemd, dependencies from the image's manifest.
"""

from __future__ import annotations

import configparser
import re
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvc_image.process import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PACKAGE = "pvc-gitops"
SITE = "usr/lib/python3/dist-packages"
PYTHON_PACKAGES = ("pvc_gitops", "pvc_node_agent", "pvc_guard")
VENDOR = "usr/lib/pvc/vendor"
# Folders of node-agent/ that systemd and sshd read, and where.
SYSTEM_FOLDERS = {
    "systemd": "usr/lib/systemd/system",
    "sysusers.d": "usr/lib/sysusers.d",
    "tmpfiles.d": "usr/lib/tmpfiles.d",
    "sshd_config.d": "etc/ssh/sshd_config.d",
}
UNIT_SUFFIXES = (".service", ".target", ".slice", ".socket", ".timer", ".path", ".mount")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPoint:
    """A console script: `name = module:function`."""

    name: str
    module: str
    function: str


def build(
    wheel: Path,
    *,
    vendored: Sequence[Path],
    node_agent: Path,
    depends: Sequence[str],
    source_digest: str,
    work: Path,
) -> Path:
    """Make the package in the folder `work`; its path."""
    tree = work / "tree"
    site = tree / SITE
    site.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = archive.namelist()
        info = next(name for name in names if name.endswith(".dist-info/METADATA")).partition("/")[
            0
        ]
    _launchers(tree, site / info / "entry_points.txt")
    _vendored(tree, vendored)
    units = _system_files(tree, node_agent)
    version = f"{info.removesuffix('.dist-info').rpartition('-')[2]}+{source_digest}"
    _control(tree, version, depends, units)
    target = work / f"{PACKAGE}_{version}_amd64.deb"
    # No compression: the package lives for the second between here and the layer.
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, target, timeout_s=120)
    return target


def parse_entry_points(text: str) -> tuple[EntryPoint, ...]:
    """The console scripts of an entry_points.txt, by name."""
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment]  # names are case sensitive
    parser.read_string(text)
    if not parser.has_section("console_scripts"):
        return ()
    found = []
    for name, value in sorted(parser.items("console_scripts")):
        module, _, function = value.partition(":")
        found.append(EntryPoint(name=name, module=module.strip(), function=function.strip()))
    return tuple(found)


def launcher(entry: EntryPoint) -> str:
    """A console script, for Debian's own Python, as pip would write it."""
    return (
        "#!/usr/bin/python3\n"
        "import sys\n"
        f"from {entry.module} import {entry.function.partition('.')[0]}\n"
        f"sys.exit({entry.function}())\n"
    )


def control(version: str, depends: Sequence[str]) -> str:
    """DEBIAN/control."""
    return (
        f"Package: {PACKAGE}\n"
        f"Version: {version}\n"
        "Architecture: amd64\n"
        "Maintainer: the pvc-gitops authors <root@localhost>\n"
        f"Depends: {', '.join(depends)}\n"
        "Section: admin\n"
        "Priority: optional\n"
        "Description: a private cloud described by one git repository: a node's software\n"
    )


def has_install_section(unit: str) -> bool:
    """Whether a unit file can be enabled."""
    return re.search(r"^\[Install\]", unit, re.MULTILINE) is not None


def _launchers(tree: Path, entry_points: Path) -> None:
    folder = tree / "usr/bin"
    folder.mkdir(parents=True)
    for entry in parse_entry_points(entry_points.read_text(encoding="utf-8")):
        path = folder / entry.name
        path.write_text(launcher(entry), encoding="utf-8")
        path.chmod(0o755)


def _vendored(tree: Path, wheels: Sequence[Path]) -> None:
    if not wheels:
        return
    folder = tree / VENDOR
    folder.mkdir(parents=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    # Appended to sys.path, so that Debian's own library wins as soon as there is one.
    (tree / SITE / "pvc-vendor.pth").write_text(f"/{VENDOR}\n", encoding="utf-8")


def _system_files(tree: Path, node_agent: Path) -> list[str]:
    """Units and the like; names of the units that can be enabled."""
    enable: list[str] = []
    for folder, where in SYSTEM_FOLDERS.items():
        for source in sorted((node_agent / folder).glob("*")):
            if folder == "systemd" and source.suffix not in UNIT_SUFFIXES and not source.is_dir():
                continue
            target = tree / where / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():  # a folder of drop-ins
                shutil.copytree(source, target)
                continue
            shutil.copyfile(source, target)
            if folder == "systemd" and has_install_section(source.read_text(encoding="utf-8")):
                enable.append(source.name)
    preset = tree / "usr/lib/systemd/system-preset/80-pvc.preset"
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text("".join(f"enable {unit}\n" for unit in enable), encoding="utf-8")
    return enable


def _control(tree: Path, version: str, depends: Sequence[str], units: Sequence[str]) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    (folder / "control").write_text(control(version, depends), encoding="utf-8")
    lines = [
        "#!/bin/sh",
        "set -e",
        '[ "$1" = configure ] || exit 0',
        # Compiled once here, or every start of every process on a read-only image would do it
        # again.
        f"cd /{SITE} && python3 -m compileall -q -j 0 " + " ".join(PYTHON_PACKAGES),
        "systemd-sysusers",
    ]
    if units:
        lines.append("systemctl preset --quiet " + " ".join(units))
    script = folder / "postinst"
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    script.chmod(0o755)
