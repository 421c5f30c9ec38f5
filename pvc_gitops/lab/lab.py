"""A lab: the hardware of one cluster on one machine. It knows nothing of the cluster's software.

`up` and `down` converge: each may be interrupted anywhere and run again. Labs of different names
share nothing but the image cache.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
import string
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pvc_gitops.lab import bmc, cgroup, image, network, remote, topology
from pvc_gitops.lab.bmc import Bmc
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.node import Node
from pvc_gitops.lab.paths import LabPaths, default_root
from pvc_gitops.lab.process import command_line
from pvc_gitops.lab.remote import RemoteMode
from pvc_gitops.lab.topology import DEFAULT_OSD_BYTES, NodeFacts, NodeHardware, Topology
from pvc_gitops.lab.watchdog import Watchdog

OUTSIDE: Final = "outside"  # the client outside of the cluster: the lab's own network name space
SEED_PATH: Final = "/var/lib/pvc/seed.json"
NETWORK_FILE_PATH: Final = "/etc/systemd/network/10-pvc-upstream.network"
OSD_PATH: Final = "/var/lib/pvc/osd0"
BOOTS_AT_ONCE_MAX: Final = 4

SeedFor = Callable[[str], bytes]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """What can be seen of a machine from outside, and what its systemd says."""

    name: str
    power: str  # on, off
    system: str  # running, degraded, starting, …; empty: no answer
    address: str  # upstream
    bmc: str  # "ADDRESS on" or "ADDRESS off"
    init_pid: int | None
    agent_socket: Path | None


class Lab:
    """One lab by its name. Constructing it touches nothing."""

    def __init__(self, name: str, root: Path | None = None) -> None:
        self.paths = LabPaths(root or default_root(), name)

    # -- the whole

    def up(
        self,
        repository: Path,
        *,
        seed_for: SeedFor | None = None,
        layers: Sequence[Path] | None = None,
        say: Say = lambda _: None,
    ) -> Topology:
        """Build and boot the machines that the repository's Node documents describe; returns when
        all are up.

        Args:
            repository: working tree of the cluster's repository; cluster.yaml and nodes/*.yaml
                are read.
            seed_for: the seed (JSON bytes) that the installer leaves on a node, by its name;
                None leaves no seed. A node that was installed before keeps what it has.
            layers: image layers, top first; None builds or finds the product's image.
            say: told one line a stage.
        """
        wanted = topology.read_repository(repository, self.paths.name)
        # The image first and without the lock: it takes long, and other labs may want it too.
        found = image.layers(self.paths.root) if layers is None else layers
        with self._locked():
            self._prepare(wanted, seed_for)
            self.paths.layers.write_text(
                json.dumps([str(layer) for layer in found]), encoding="utf-8"
            )
            network.ensure(self.paths, wanted)
            say(f"three switches, gateway {wanted.gateway}")
            self._ensure_remote(wanted)
            say(f"remote {remote.url(wanted.gateway)} = {self.paths.remote}")
            for node in wanted.nodes:
                self._bmc(node).start(self._bmc_password())
                self._watchdog(node.name).start()
            say("BMCs " + ", ".join(node.bmc_address for node in wanted.nodes))
            self._boot_all(wanted, say)
        image.prune(self.paths.root)
        return wanted

    def prepare(self, repository: Path) -> Topology:
        """Everything of `up` that can be done before the repository is complete: remote, addresses,
        BMC password.

        Needed before seeds exist: `facts` and the remote's path stand after this.
        """
        wanted = topology.read_repository(repository, self.paths.name)
        with self._locked():
            self._prepare(wanted, None)
            remote.ensure_repository(self.paths)
            self._bmc_password()
        return wanted

    def down(self, *, wipe: bool = False) -> None:
        """Switch everything off and leave nothing behind but the disks; with `wipe` not even these.

        Safe on a lab that is half up, or was never up.
        """
        if not self.paths.home.exists() and not network.exists(self.paths):
            return
        with self._locked():
            machines = [Node(node) for node in self.paths.nodes()]
            with ThreadPoolExecutor(BOOTS_AT_ONCE_MAX) as pool:
                list(pool.map(Node.power_off, machines))
            for node in self._known_nodes():
                self._bmc(node).stop()
                self._watchdog(node.name).stop()
            remote.server(self.paths).end()
            network.remove(self.paths)
            group = cgroup.of_lab(self.paths.name)
            cgroup.kill(group)
            cgroup.remove(group)
            shutil.rmtree(self.paths.sockets, ignore_errors=True)
            if wipe:
                shutil.rmtree(self.paths.home, ignore_errors=True)
        if wipe:
            self.paths.lock.unlink(missing_ok=True)

    def status(self) -> tuple[NodeStatus, ...]:
        """One value a machine, by name; empty for a lab that was never up."""
        return tuple(self._status(node) for node in self._known_nodes())

    # -- parts

    def topology(self) -> Topology:
        """What `up` built."""
        try:
            return topology.from_json(self.paths.topology.read_text(encoding="utf-8"))
        except FileNotFoundError as err:
            raise LabError(
                f"there is no lab named {self.paths.name}", hint="pvc lab up --repo DIR"
            ) from err

    def node(self, name: str) -> Node:
        """A machine of this lab."""
        names = [node.name for node in self.topology().nodes]
        if name not in names:
            raise LabError(f"the lab has no node {name}", hint=f"it has {', '.join(names)}")
        return Node(self.paths.node(name))

    def facts(self) -> tuple[NodeFacts, ...]:
        """What to write into the Node documents, by node name. Stands after `prepare` or `up`."""
        password = self._bmc_password()
        return tuple(
            NodeFacts(
                name=node.name,
                system_uuid=node.system_uuid,
                macs={nic.network: nic.mac for nic in node.nics},
                nics={nic.network: nic.name for nic in node.nics},
                bmc_address=node.bmc_address,
                bmc_guid=node.system_uuid,
                bmc_username=bmc.USERNAME,
                bmc_password=password,
                osd_path=OSD_PATH,
                osd_size=f"{DEFAULT_OSD_BYTES // 1024**3}GiB",
            )
            for node in self.topology().nodes
        )

    def remote_path(self) -> Path:
        """The bare repository; a clone on this host pushes to it by path."""
        return self.paths.remote

    def remote_url(self) -> str:
        """The same repository as the nodes read it."""
        return remote.url(self.topology().gateway)

    def publish_image(self, path: Path, name: str) -> str:
        """Make a file available to the nodes; its URL. A copy, since the original may change while
        it is read.
        """
        self.paths.images.mkdir(parents=True, exist_ok=True)
        new = self.paths.images / f".{name}.new"
        shutil.copyfile(path, new)
        new.rename(self.paths.images / name)
        return remote.images_url(self.topology().gateway) + name

    def agent_socket(self, name: str) -> Path | None:
        """The agent's socket in a node, if the node runs and the agent has made it."""
        return self.node(name).agent_socket()

    def socket_link(self, name: str) -> Path:
        """A path that leads to the node's agent socket whenever there is one, across reboots."""
        return self.node(name).paths.socket

    # -- acts

    def call(self, where: str, argv: Sequence[str]) -> int:
        """Run a command in a node or in `outside` with this process's terminal; its status."""
        if where != OUTSIDE:
            return self.node(where).call(argv)
        return subprocess.run(self.outside(argv), check=False).returncode

    def outside(self, argv: Sequence[str]) -> list[str]:
        """A command line of the host that runs as the client outside of the cluster."""
        if not network.exists(self.paths):
            raise LabError(f"the lab {self.paths.name} is down", hint="pvc lab up --repo DIR")
        return network.inside(self.paths, *argv)

    def log(
        self, name: str, *, unit: str | None = None, follow: bool = False, lines: int | None = None
    ) -> int:
        """The node's journal; of a node that is off, what is on its disk."""
        node = self.node(name)
        options = [*(["-f"] if follow else []), *(["-u", unit] if unit else [])]
        options += ["-n", str(lines)] if lines is not None else []
        if node.init_pid() is not None:
            return node.call(["journalctl", "--no-pager", *options])
        journal = node.paths.upper / "var/log/journal"
        if not journal.exists():
            raise LabError(f"{name} is off and left no journal", hint=f"see {node.paths.console}")
        return subprocess.run(
            ["journalctl", "--no-pager", "-D", str(journal), *options], check=False
        ).returncode

    def power(self, name: str, to: str) -> None:
        """`off` cuts the power, `on` boots and waits until the node is up, `cycle` is both."""
        node = self.node(name)
        if to in {"off", "cycle"}:
            node.power_off()
        if to in {"on", "cycle"}:
            node.power_on()

    def link(self, name: str, networks: Sequence[str], *, on: bool) -> None:
        """Pull or plug the cables of a node on the switch's side."""
        (network.mend if on else network.cut)(self.node(name).paths, networks)

    def bmc(self, name: str, *, on: bool) -> None:
        """Start or end a node's BMC; the node goes on."""
        hardware = next(node for node in self.topology().nodes if node.name == name)
        if on:
            self._bmc(hardware).start(self._bmc_password())
        else:
            self._bmc(hardware).stop()

    def watchdog(self, name: str, *, on: bool) -> None:
        """Break or mend a node's watchdog. A mended one is seen at the node's next boot."""
        device = self._watchdog(self.node(name).name)
        if on:
            device.start()
        else:
            device.stop()

    def git(self, mode: RemoteMode) -> None:
        """How the remote answers the nodes from now on."""
        remote.set_mode(self.paths, mode)

    # -- inside

    def _prepare(self, wanted: Topology, seed_for: SeedFor | None) -> None:
        known = self.topology() if self.paths.topology.exists() else wanted
        if known.switches != wanted.switches or known.gateway != wanted.gateway:
            raise LabError(
                f"the lab {self.paths.name} was built for a repository with other networks",
                hint=f"pvc lab down --name {self.paths.name} --wipe, or choose another --name",
            )
        self.paths.home.mkdir(parents=True, exist_ok=True)
        self.paths.topology.write_text(wanted.to_json(), encoding="utf-8")
        for hardware in wanted.nodes:
            Node(self.paths.node(hardware.name)).install(
                _installed_files(wanted, hardware, seed_for)
            )

    def _ensure_remote(self, wanted: Topology) -> None:
        remote.ensure_repository(self.paths)
        remote.ensure_server(self.paths, wanted.gateway)

    def _boot_all(self, wanted: Topology, say: Say) -> None:
        began_s = time.monotonic()

        def boot(hardware: NodeHardware) -> None:
            Node(self.paths.node(hardware.name)).power_on()
            say(f"{hardware.name} up after {time.monotonic() - began_s:.1f} s")

        with ThreadPoolExecutor(BOOTS_AT_ONCE_MAX) as pool:
            list(pool.map(boot, wanted.nodes))

    def _known_nodes(self) -> tuple[NodeHardware, ...]:
        return self.topology().nodes if self.paths.topology.exists() else ()

    def _status(self, hardware: NodeHardware) -> NodeStatus:
        node = Node(self.paths.node(hardware.name))
        answers = "on" if self._bmc(hardware).is_running() else "off"
        return NodeStatus(
            name=hardware.name,
            power="on" if node.is_on() else "off",
            system=node.system_state() if node.is_on() else "",
            address=hardware.nic("upstream").address.split("/")[0],
            bmc=f"{hardware.bmc_address} {answers}",
            init_pid=node.init_pid(),
            agent_socket=node.agent_socket(),
        )

    def _bmc(self, hardware: NodeHardware) -> Bmc:
        return Bmc(self.paths.node(hardware.name), hardware)

    def _watchdog(self, name: str) -> Watchdog:
        return Watchdog(self.paths.node(name))

    def _bmc_password(self) -> str:
        path = self.paths.bmc_password
        if not path.exists():
            letters = string.ascii_letters + string.digits
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(
                "".join(secrets.choice(letters) for _ in range(bmc.PASSWORD_LENGTH)),
                encoding="ascii",
            )
        return path.read_text(encoding="ascii")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` of this lab at a time."""
        self.paths.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.paths.lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                raise LabError(
                    f"another `pvc lab` is at work on {self.paths.name}",
                    hint="wait until it has ended",
                ) from err
            yield


def _installed_files(
    wanted: Topology, hardware: NodeHardware, seed_for: SeedFor | None
) -> dict[str, tuple[int, str]]:
    machine_id = hardware.system_uuid.replace("-", "")
    files = {
        "/etc/machine-id": (0o444, f"{machine_id}\n"),
        NETWORK_FILE_PATH: (0o644, topology.upstream_network_file(wanted, hardware)),
    }
    if seed_for is not None:
        files[SEED_PATH] = (0o600, seed_for(hardware.name).decode("utf-8"))
    return files


def names(root: Path | None = None) -> list[str]:
    """Labs that have a folder on this machine."""
    return sorted(path.name for path in ((root or default_root()) / "labs").glob("*/"))


def is_clean(lab: Lab) -> list[str]:
    """What a lab has left on the host although it should be down; empty if nothing."""
    left = []
    if network.exists(lab.paths):
        left.append(f"network name space {lab.paths.netns}")
    if cgroup.of_lab(lab.paths.name).exists():
        left.append(f"control group {cgroup.of_lab(lab.paths.name)}")
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    if str(lab.paths.home) in mounts:
        left.append(f"mounts below {lab.paths.home}")
    ours = (f"{lab.paths.home}/".encode(), f"\0{lab.paths.root}\0{lab.paths.name}\0".encode())
    for folder in Path("/proc").glob("[0-9]*"):
        words = command_line(int(folder.name))
        if any(mark in words for mark in ours):
            left.append(
                f"process {folder.name}: {words.replace(bytes(1), b' ').decode(errors='replace')}"
            )
    return left
