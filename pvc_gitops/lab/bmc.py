"""Baseboard controllers: one `ipmi_sim` a machine whose power switch is the lab's real one.

The controller lives in the lab's network, not in its machine: it answers while the machine is off.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from pvc_gitops.lab import network
from pvc_gitops.lab.paths import NodePaths
from pvc_gitops.lab.process import PidFile, python_env, python_module, spawn
from pvc_gitops.lab.topology import NodeHardware

USERNAME: Final = "admin"
SWITCH_MODULE: Final = "pvc_gitops.lab.switch"
IPMI_PORT: Final = 623
# 16 letters: longer ones need IPMI 2.0's 20-byte form, which older tools cannot send.
PASSWORD_LENGTH: Final = 16


class Bmc:
    """The controller of one machine."""

    def __init__(self, paths: NodePaths, hardware: NodeHardware) -> None:
        self._paths = paths
        self._hardware = hardware
        self._process = PidFile(paths.bmc_pid, str(paths.bmc))

    def is_running(self) -> bool:
        """Whether it answers."""
        return self._process.pid() is not None

    def start(self, password: str) -> None:
        """Start it if it does not run."""
        if self.is_running():
            return
        home = self._paths.bmc
        (home / "state").mkdir(parents=True, exist_ok=True)
        files = {
            "lan.conf": (0o600, lan_conf(self._hardware, home / "chassis", password)),
            "emu": (0o644, EMULATOR),
            "chassis": (0o755, chassis_script(self._paths)),
        }
        for name, (mode, content) in files.items():
            path = home / name
            path.touch(mode=mode)
            path.write_text(content, encoding="utf-8")
            path.chmod(mode)
        process = spawn(
            network.inside(
                self._paths.lab,
                "ipmi_sim",
                "-n",
                "-c",
                str(home / "lan.conf"),
                "-f",
                str(home / "emu"),
                "-s",
                str(home / "state"),
            ),
            log=home / "log",
            env=python_env(),
        )
        self._process.write(process)

    def stop(self) -> None:
        """The controller is dead; its machine goes on."""
        self._process.end()


EMULATOR: Final = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


def lan_conf(hardware: NodeHardware, chassis: Path, password: str) -> str:
    """Configuration of ipmi_sim. The GUID's bytes stand in the order in which `raw 0x06 0x37`
    answers them.
    """
    return f"""name "{hardware.name}"
set_working_mc 0x20
  startlan 1
    addr {hardware.bmc_address} {IPMI_PORT}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid {hardware.system_uuid.replace("-", "")}
  endlan
  chassis_control "{chassis} 0x20"
  user 2 true "{USERNAME}" "{password}" admin 10 none md2 md5 straight
"""


def chassis_script(paths: NodePaths) -> str:
    """What ipmi_sim calls as `chassis 0x20 get|set|check WHAT [VALUE]`; `get power` prints
    `power:0|1`.

    Switching on returns before the machine has booted, as real controllers do; off returns when it
    is off.
    """
    switch = shlex.join(python_module(SWITCH_MODULE, paths.lab.root, paths.lab.name, paths.name))
    return f"""#!/bin/sh
switch() {{ {switch} "$1"; }}
case "$2 $3" in
    "get power") switch status ;;
    "set power") case $4 in 0) switch off ;; *) switch on > /dev/null 2>&1 < /dev/null & ;; esac ;;
    "set reset") switch cycle > /dev/null 2>&1 < /dev/null & ;;
    "get boot") echo boot:default ;;
    check*|set*) : ;;
    *) exit 1 ;;
esac
"""
