"""The NetworkServices port: `pvc-dhcp@VNI.service`, started by us and kept by systemd, so that guests
go on being answered while the agent is restarted, upgraded or dead.

What dnsmasq has taken up is noted beside its files, last; the note is removed first. So what `dhcp`
shows is what runs, also after a kill between any two lines.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pvc_gitops.adapters.dnsmasq import config as files
from pvc_gitops.errors import LinkError
from pvc_gitops.model import codec
from pvc_gitops.world.ports import DhcpConfig

UNIT: Final = "pvc-dhcp@{}.service"
COMMAND_LIMIT_S: Final = 20.0  # systemd waits for dnsmasq to end; milliseconds at rest
_USER: Final = "dnsmasq"
_INTERFACES: Final = Path("/sys/class/net")
_PROCESSES: Final = Path("/proc")


class DnsmasqServices:
    """Implements `world.ports.NetworkServices`."""

    def __init__(self, folder: Path = Path(files.FOLDER)) -> None:
        self._folder = folder

    def dhcp(self) -> Mapping[int, DhcpConfig]:
        noted = {int(path.stem): path for path in self._folder.glob("*.json")}
        found = {vni: _read_note(noted[vni]) for vni in sorted(noted) if self._is_running(vni)}
        return {vni: config for vni, config in found.items() if config is not None}

    def serve_dhcp(self, config: DhcpConfig) -> None:
        try:
            settings, hosts = files.settings(config), files.hosts(config)
        except ValueError as err:
            raise LinkError("serve DHCP", str(config.vni), str(err), retryable=False) from err
        is_running = config.vni in self.dhcp()
        try:
            is_same = is_running and (self._file(config.vni, "conf").read_text() == settings)
            self._file(config.vni, "json").unlink(missing_ok=True)
            self._leases(config.vni)
            _write(self._file(config.vni, "conf"), settings)
            _write(self._file(config.vni, "hosts"), hosts)
        except OSError as err:
            raise LinkError("serve DHCP", str(config.vni), str(err), retryable=True) from err
        self._systemctl("reload" if is_same else "restart", UNIT.format(config.vni))
        note = {"config": codec.encode(config), "ifindex": _ifindex(config.bridge)}
        _write(self._file(config.vni, "json"), json.dumps(note, sort_keys=True))

    def stop_dhcp(self, vni: int) -> None:
        self._systemctl("stop", UNIT.format(vni))
        for ending in ("json", "hosts", "conf"):
            self._file(vni, ending).unlink(missing_ok=True)
        (self._folder / "leases" / str(vni)).unlink(missing_ok=True)

    def _file(self, vni: int, ending: str) -> Path:
        return self._folder / f"{vni}.{ending}"

    def _leases(self, vni: int) -> None:
        """The lease file belongs to dnsmasq, which has given up root by the time it writes it."""
        folder = self._folder / "leases"
        folder.mkdir(parents=True, exist_ok=True)
        leases = folder / str(vni)
        leases.touch()
        for path in (folder, leases):
            os.chown(path, *_owner())

    def _is_running(self, vni: int) -> bool:
        """Is there a process of this configuration? Asked of the kernel: it is asked every tick."""
        try:
            pid = int(self._file(vni, "pid").read_text())
            words = (_PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return False
        return f"--conf-file={self._file(vni, 'conf')}".encode() in words

    @staticmethod
    def _systemctl(verb: str, unit: str) -> None:
        try:
            done = subprocess.run(
                ["systemctl", verb, unit],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise LinkError(verb, unit, str(err), retryable=True) from err
        if done.returncode:
            reason = done.stderr.strip() or "failed"
            raise LinkError(verb, unit, f"{reason}; journalctl -u {unit}", retryable=True)


def _read_note(path: Path) -> DhcpConfig | None:
    """What was taken up; None if that cannot be said, or if its bridge is another one by now: dnsmasq
    stays bound to the interface that it found."""
    try:
        note: Mapping[str, Any] = json.loads(path.read_text())
        config = codec.decode(DhcpConfig, note["config"])
        return config if note["ifindex"] == _ifindex(config.bridge) else None
    except (OSError, ValueError, KeyError):
        return None


def _ifindex(interface: str) -> int | None:
    try:
        return int((_INTERFACES / interface / "ifindex").read_text())
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".new")
    part.write_text(text)
    part.replace(path)


def _owner() -> tuple[int, int]:
    import pwd  # lazily: a node's, not a laptop's

    found = pwd.getpwnam(_USER)
    return found.pw_uid, found.pw_gid
