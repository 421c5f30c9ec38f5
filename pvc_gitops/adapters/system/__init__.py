"""This process and its machine: clock, journal, notes, service manager, hardware, the guard's file."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from pvc_gitops.errors import WorldError
from pvc_gitops.model.inventory import Hardware
from pvc_gitops.world.ports import Json

GUARD_FILE: Final = Path("/run/pvc/guard.json")
_QUOTED: Final = frozenset(' "=\\')


class SystemClock:
    """world.ports.Clock: the wall for people, CLOCK_BOOTTIME for durations."""

    def now_s(self) -> int:
        return int(time.time())

    def monotonic_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class LineJournal:
    """world.ports.Journal: `event=step_done step=… node=…`, one line each; journald adds the time."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out

    def event(self, kind: str, **fields: object) -> None:
        print(line(kind, fields), file=self._out or sys.stdout, flush=True)


def line(kind: str, fields: Mapping[str, object]) -> str:
    """Fields in the order given; what is None is left out. Never more than one line."""
    parts = [f"event={kind}"]
    parts += [f"{key}={_text(value)}" for key, value in fields.items() if value is not None]
    return " ".join(parts)


def _text(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not _QUOTED.intersection(text):
        return text
    return json.dumps(text, ensure_ascii=False)


class FileNotes:
    """world.ports.Notes: a file a key, written aside, flushed, renamed, and the folder flushed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Json | None:
        path = self._path(key)
        try:
            value: Any = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as err:
            raise WorldError("read", str(path), str(err), retryable=False) from err
        if not isinstance(value, dict):
            raise WorldError("read", str(path), "not a note of ours", retryable=False)
        return value

    def put(self, key: str, value: Json) -> None:
        path = self._path(key)
        part = path.with_suffix(".part")
        try:
            with part.open("w", encoding="utf-8") as stream:
                json.dump(dict(value), stream, sort_keys=True)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as err:
            raise WorldError("write", str(path), str(err), retryable=True) from err

    def _path(self, key: str) -> Path:
        assert key.replace("-", "").replace("_", "").replace(".", "").isalnum(), key
        return self._folder / f"{key}.json"


def notify(message: str) -> None:
    """sd_notify: READY=1, WATCHDOG=1, STATUS=…. Nothing to do without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(message.encode(), address.replace("@", "\0", 1))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def hardware(meminfo: Path = Path("/proc/meminfo")) -> Hardware:
    """Processors this process may use, and memory as the kernel counts it."""
    for each in meminfo.read_text(encoding="ascii").splitlines():
        if each.startswith("MemTotal:"):
            return Hardware(
                cpus=len(os.sched_getaffinity(0)), memory_mib=int(each.split()[1]) // 1024
            )
    raise WorldError("read", str(meminfo), "it has no MemTotal", retryable=False)


def guard_faults(path: Path = GUARD_FILE) -> tuple[str, ...]:
    """What the guard of this node complains of, as sentences."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return tuple(str(fault) for fault in value["faults"])
    except FileNotFoundError:
        return ("pvc-guard has not begun on this node: journalctl -u pvc-guard",)
    except (OSError, ValueError, KeyError, TypeError) as err:
        return (f"{path} cannot be read: {err}",)


def subnets_of(addresses: Sequence[str]) -> tuple[str, ...]:
    """The subnets that this machine's interfaces with these addresses are in, in the same order."""
    command = ["ip", "-json", "-4", "address", "show"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise WorldError("read", "the interfaces", str(err), retryable=True) from err
    return subnets(done.stdout, addresses)


def subnets(answer: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """As `subnets_of`, of what `ip -json address` said."""
    known = {
        each["local"]: str(ipaddress.ip_interface(f"{each['local']}/{each['prefixlen']}").network)
        for interface in json.loads(answer)
        for each in interface["addr_info"]
    }
    missing = [address for address in addresses if address not in known]
    if missing:
        raise WorldError(
            "find", missing[0], "no interface of this node has that address", retryable=True
        )
    return tuple(known[address] for address in addresses)
