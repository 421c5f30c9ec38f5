"""Units: told by `systemctl`, which knows links, presets and dependencies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pvc_gitops.adapters.formation import commands

UNITS: Final = "/etc/systemd/system"


def reload_units() -> None:
    """Read unit files again."""
    commands.run("systemctl", "daemon-reload")


def enable(*units: str) -> None:
    """From now on started at boot. A mask of the image's is taken off: it meant `until configured`."""
    masked = [unit for unit in units if (Path(UNITS) / unit).is_symlink()]
    masked = [unit for unit in masked if str((Path(UNITS) / unit).readlink()) == "/dev/null"]
    for unit in masked:
        (Path(UNITS) / unit).unlink()
    commands.run("systemctl", "enable", "--quiet", *units)


def start(*units: str) -> None:
    """No-op for those that run."""
    commands.run("systemctl", "start", *units)


def start_later(*units: str) -> None:
    """Queue a start without waiting: the unit may be ordered after the caller's own."""
    commands.run("systemctl", "start", "--no-block", *units)


def stop(*units: str) -> None:
    """No-op for those that do not run."""
    commands.run("systemctl", "stop", *units)


def restart(*units: str) -> None:
    commands.run("systemctl", "restart", *units)


def is_active(unit: str) -> bool:
    return commands.succeeds("systemctl", "is-active", "--quiet", unit)


def exists(unit: str) -> bool:
    """Whether there is a unit file of this name."""
    return commands.succeeds("systemctl", "cat", "--", unit)
