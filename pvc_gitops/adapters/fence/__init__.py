"""world.ports.Machines: management controllers through fence-agents and ipmitool, nodes through ping.

Every program is bounded by us (`fence_ipmilan` hangs 20 s on a dead BMC whatever its options say) and
dies with this process, so that a deposed leader presses no button. Passwords are read from files of
root's on this node, never from git, and never stand in an argument list.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pvc_gitops.errors import BmcError
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import Bmc

LIMIT_S: Final = 8.0  # OFF, with its reading back, takes 1 to 2 s (measured)
PING_S: Final = 1
READ_APART_S: Final = 1.0  # between the two readings of OFF (D10)
WORDS_MAX: Final = 300
# Begin a program before a moment of CLOCK_BOOTTIME, or never. It looks at the clock itself: between our
# own look and its start this process, or the whole machine, may stand still. From then on it is bounded
# by a timer of the kernel, and its children with it.
_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_BY: Final = """\
import os, sys, time
late_s = time.clock_gettime(time.CLOCK_BOOTTIME) - float(sys.argv[1])
if late_s >= 0:
    sys.exit(f"it is too late by {late_s:.1f} s: nothing was ordered")
os.execvp("timeout", ["timeout", "--signal=KILL", *sys.argv[2:]])
"""
# Kinds of which the identity can be read: IPMI's Get System GUID, as raw bytes (`mc guid` guesses
# their order).
_IPMITOOL: Final = ("ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "2")
_GUID: Final = ("raw", "0x06", "0x37")
_IPMI: Final = frozenset({"ipmilan", "ipmilanplus"})
# Redfish: the UUID of the one system that the service manages. Certificates of BMCs are their own.
_REDFISH: Final = "redfish"
_SYSTEMS: Final = "/redfish/v1/Systems"
_WITH_IDENTITY: Final = _IPMI | {_REDFISH}
_LAN_PLUS: Final = "lanplus=1\ncipher=3\npower_wait=0\npower_timeout=6\n"
_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ipmilan": _LAN_PLUS,
        "ipmilanplus": _LAN_PLUS,
        "redfish": "ssl_insecure=1\npower_wait=0\npower_timeout=6\n",
    }
)


class FenceAgents:
    """Passwords by node name in a folder of root's."""

    def __init__(self, passwords: Path) -> None:
        self._passwords = passwords

    def expected(self, node: NodeName, bmc: Bmc | None) -> str | None:
        if bmc is None or bmc.guid is None or self.hindrance(node, bmc):
            return None
        return _plain(bmc.guid)

    def hindrance(self, node: NodeName, bmc: Bmc | None) -> str:
        if bmc is None:
            return "it has no BMC"
        if bmc.agent not in _WITH_IDENTITY:
            return f"fence_{bmc.agent} cannot tell whose BMC it asks: what it says proves nothing"
        if bmc.guid is None:
            return "the identity of its BMC is not known: write bmc.guid into its document"
        if not (self._passwords / node).is_file():
            return "the password of its BMC is not on this coordinator"
        return ""

    def is_on(self, node: NodeName, bmc: Bmc | None) -> bool:
        assert bmc is not None
        said = self._agent(node, bmc, "status", good=(0, 2)).upper()
        if "STATUS: ON" in said:
            return True
        if "STATUS: OFF" in said:
            return False
        raise BmcError("read the power of", node, said.strip() or "no answer", retryable=True)

    def guid(self, node: NodeName, bmc: Bmc | None) -> str:
        assert bmc is not None
        if bmc.agent == _REDFISH:
            return self._redfish_uuid(node, bmc)
        with tempfile.NamedTemporaryFile("w", prefix="pvc-bmc-") as file:
            file.write(self._password(node))
            file.flush()
            login = ("-H", bmc.address, "-U", bmc.username, "-f", file.name)
            said = _run("identify", node, (*_IPMITOOL, *login, *_GUID), stdin="")
        return _plain("".join(said.split()))

    def _redfish_uuid(self, node: NodeName, bmc: Bmc) -> str:
        members = self._redfish(node, bmc, _SYSTEMS).get("Members", ())
        if len(members) != 1:
            why = f"it manages {len(members)} systems: which of them is this node is not known"
            raise BmcError("identify", f"the BMC of {node}", why, retryable=False)
        uuid = self._redfish(node, bmc, str(members[0]["@odata.id"])).get("UUID")
        if not uuid:
            why = "its system has no UUID"
            raise BmcError("identify", f"the BMC of {node}", why, retryable=False)
        return _plain(str(uuid))

    def _redfish(self, node: NodeName, bmc: Bmc, path: str) -> Mapping[str, Any]:
        secret = f"{bmc.username}:{self._password(node)}".replace("\\", "\\\\").replace('"', '\\"')
        words = f'user = "{secret}"\nurl = "https://{bmc.address}{path}"\n'
        argv = ("curl", "--silent", "--show-error", "--fail", "--insecure", "--config", "-")
        try:
            found = json.loads(_run("identify", node, argv, stdin=words))
        except ValueError as err:
            why = f"{path} is no JSON"
            raise BmcError("identify", f"the BMC of {node}", why, retryable=True) from err
        if not isinstance(found, dict):
            why = f"{path} is no object"
            raise BmcError("identify", f"the BMC of {node}", why, retryable=True)
        return found

    def switch_off(self, node: NodeName, bmc: Bmc | None, *, by_s: float) -> None:
        assert bmc is not None
        self._agent(node, bmc, "off", by_s=by_s)
        self._must_be_off(node, bmc)
        time.sleep(READ_APART_S)
        self._must_be_off(node, bmc)

    def switch_on(self, node: NodeName, bmc: Bmc | None) -> None:
        assert bmc is not None
        self._agent(node, bmc, "on")

    def _must_be_off(self, node: NodeName, bmc: Bmc) -> None:
        if self.is_on(node, bmc):
            why = "it took the order and reads ON"
            raise BmcError("switch off", f"the BMC of {node}", why, retryable=True)

    def answering(self, addresses: Sequence[str]) -> tuple[str, ...]:
        def answers(address: str) -> bool:
            done = subprocess.run(
                ("ping", "-n", "-q", "-c", "2", "-i", "0.3", "-W", str(PING_S), address),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False,
            )  # fmt: skip
            return done.returncode == 0

        with ThreadPoolExecutor(max_workers=max(1, len(addresses))) as pool:
            found = list(pool.map(answers, addresses))
        return tuple(a for a, is_there in zip(addresses, found, strict=True) if is_there)

    def _agent(
        self,
        node: NodeName,
        bmc: Bmc,
        action: str,
        *,
        good: tuple[int, ...] = (0,),
        by_s: float | None = None,
    ) -> str:
        words = (
            f"action={action}\nip={bmc.address}\nusername={bmc.username}\n"
            f"password={self._password(node)}\n{_OPTIONS.get(bmc.agent, '')}"
        )
        argv: tuple[str, ...] = (f"fence_{bmc.agent}",)
        if by_s is not None:
            bound = (sys.executable, "-I", "-S", "-c", _BY, f"{by_s:.3f}", f"{LIMIT_S:g}")
            argv = (*bound, *_DIES_WITH_US, *argv)
        return _run(action, node, argv, stdin=words, good=good)

    def _password(self, node: NodeName) -> str:
        try:
            return (self._passwords / node).read_text(encoding="utf-8").strip()
        except OSError as err:
            raise BmcError("read the password of", node, str(err), retryable=True) from err


def _run(
    operation: str,
    node: NodeName,
    argv: tuple[str, ...],
    *,
    stdin: str,
    good: tuple[int, ...] = (0,),
) -> str:
    try:
        done = subprocess.run(
            (*_DIES_WITH_US, *argv), input=stdin, capture_output=True, text=True,
            errors="replace", timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as err:
        why = f"no answer within {LIMIT_S:.0f} s"
        raise BmcError(operation, f"the BMC of {node}", why, retryable=True) from err
    except OSError as err:
        raise BmcError(operation, f"the BMC of {node}", str(err), retryable=False) from err
    if done.returncode not in good:
        said = (done.stdout + done.stderr).strip()[-WORDS_MAX:]
        raise BmcError(operation, f"the BMC of {node}", said or "it failed", retryable=True)
    return done.stdout


def _plain(guid: str) -> str:
    return guid.replace("-", "").lower()
