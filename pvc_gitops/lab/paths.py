"""Where everything of a lab lies, and the names it uses on the host: one place, no other module
joins paths.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pvc_gitops.lab.topology import check_name

DEFAULT_ROOT: Final = Path("/var/lib/pvc-lab")


def default_root() -> Path:
    """PVC_LAB or /var/lib/pvc-lab: image cache and all labs of this machine."""
    return Path(os.environ.get("PVC_LAB") or DEFAULT_ROOT)


@dataclass(frozen=True, slots=True)
class LabPaths:
    """A lab's folder (`root/labs/NAME`) and its names in kernel name spaces."""

    root: Path
    name: str

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def home(self) -> Path:
        """Everything that `down --wipe` removes."""
        return self.root / "labs" / self.name

    @property
    def topology(self) -> Path:
        return self.home / "topology.json"

    @property
    def layers(self) -> Path:
        return self.home / "layers.json"

    @property
    def lock(self) -> Path:
        return self.root / "labs" / f"{self.name}.lock"

    @property
    def bmc_password(self) -> Path:
        return self.home / "bmc-password"

    @property
    def remote(self) -> Path:
        return self.home / "remote.git"

    @property
    def remote_mode(self) -> Path:
        """`on`, `off` or `hang`: how the git part of the server answers."""
        return self.home / "remote.mode"

    @property
    def images(self) -> Path:
        return self.home / "images"

    @property
    def sockets(self) -> Path:
        """NODE.sock: links to the agents' sockets, set anew at every boot."""
        return self.home / "sockets"

    @property
    def server_pid(self) -> Path:
        return self.home / "server.pid"

    @property
    def server_log(self) -> Path:
        return self.home / "server.log"

    @property
    def netns(self) -> str:
        """The lab's network name space, as `ip netns` knows it."""
        return f"pvc-lab-{self.name}"

    @property
    def netns_path(self) -> Path:
        return Path("/run/netns") / self.netns

    def node(self, node: str) -> NodePaths:
        """The folder of one machine."""
        return NodePaths(lab=self, name=check_name(node))

    def nodes(self) -> tuple[NodePaths, ...]:
        """The machines that have a folder, whatever the topology says now."""
        return tuple(self.node(path.name) for path in sorted((self.home / "nodes").glob("*/")))


@dataclass(frozen=True, slots=True)
class NodePaths:
    """A machine's folder: its disk (`upper`), its console, its BMC."""

    lab: LabPaths
    name: str

    @property
    def home(self) -> Path:
        return self.lab.home / "nodes" / self.name

    @property
    def upper(self) -> Path:
        """The machine's disk: what it wrote over the image."""
        return self.home / "upper"

    @property
    def work(self) -> Path:
        return self.home / "work"

    @property
    def merged(self) -> Path:
        """Where the keeper mounts the overlay, in a mount name space of its own: on the host it
        stays empty.
        """
        return self.home / "merged"

    @property
    def install(self) -> Path:
        """Files that the installer puts on the disk, before the first boot."""
        return self.home / "install"

    @property
    def installed(self) -> Path:
        return self.home / "installed"

    @property
    def layers(self) -> Path:
        """The image layers below the disk since the last boot."""
        return self.home / "layers.json"

    @property
    def power_lock(self) -> Path:
        return self.home / "power.lock"

    @property
    def wanted(self) -> Path:
        """`on` or `off`: whether the keeper may boot again."""
        return self.home / "wanted"

    @property
    def keeper_pid(self) -> Path:
        return self.home / "keeper.pid"

    @property
    def nspawn_pid(self) -> Path:
        return self.home / "nspawn.pid"

    @property
    def console(self) -> Path:
        return self.home / "console.log"

    @property
    def bmc(self) -> Path:
        return self.home / "bmc"

    @property
    def bmc_pid(self) -> Path:
        return self.home / "bmc.pid"

    @property
    def watchdog(self) -> Path:
        """A folder that is bound into the machine: the device's socket lies there."""
        return self.home / "watchdog"

    @property
    def watchdog_pid(self) -> Path:
        return self.home / "watchdog.pid"

    @property
    def watchdog_log(self) -> Path:
        return self.home / "watchdog.log"

    @property
    def socket(self) -> Path:
        return self.lab.sockets / f"{self.name}.sock"

    def port(self, network: str) -> str:
        """The switch's port that the node is plugged into: an interface of the lab's name space."""
        short = {"upstream": "u", "cluster": "c", "storage": "s"}[network]
        # Interface names hold 15 bytes; a node's name may be longer.
        return f"{self.name[-13:]}-{short}"
