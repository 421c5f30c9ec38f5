"""The process that keeps one machine running: mounts its disk, boots it, boots it again after a
reboot from inside.

Run as `python -m pvc_gitops.lab.keeper ROOT LAB NODE`, in a mount name space of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from pvc_gitops.lab import cgroup, network, watchdog
from pvc_gitops.lab.node import Node
from pvc_gitops.lab.paths import LabPaths
from pvc_gitops.lab.process import must_become, run
from pvc_gitops.lab.topology import NodeHardware, Topology, from_json

# systemd-nspawn's status when the machine asked for a reboot (with --keep-unit it does not start
# again itself).
REBOOT_STATUS: Final = 133
SOCKET_INSIDE: Final = "run/pvc/agent.sock"
# nspawn needs well below a second for it; a machine under load several.
CONTROLLERS_LIMIT_S: Final = 30.0
# A machine that reboots at once and for ever is broken; the keeper gives up and it stays off.
BOOTS_MAX: Final = 1000


def main() -> int:
    """Boot until the machine is switched off or powers itself off."""
    root, lab, name = sys.argv[1:]
    paths = LabPaths(Path(root), lab)
    topology = from_json(paths.topology.read_text(encoding="utf-8"))
    hardware = next(node for node in topology.nodes if node.name == name)
    node = Node(paths.node(name))
    _mount(node)
    _install(node)
    for _ in range(BOOTS_MAX):
        if node.paths.wanted.read_text(encoding="ascii").strip() != "on":
            break
        if _boot(node, hardware, topology) != REBOOT_STATUS:
            break
    node.paths.socket.unlink(missing_ok=True)
    return 0


def _mount(node: Node) -> None:
    layers: list[str] = json.loads(node.paths.lab.layers.read_text(encoding="utf-8"))
    node.paths.layers.write_text(json.dumps(layers), encoding="utf-8")
    for folder in (node.paths.upper, node.paths.work, node.paths.merged, node.paths.watchdog):
        folder.mkdir(parents=True, exist_ok=True)
    # The three features are off so that a newer image may lie below the same machine's disk.
    options = (
        f"lowerdir={':'.join(layers)},upperdir={node.paths.upper},workdir={node.paths.work},"
        "index=off,redirect_dir=off,metacopy=off"
    )
    run("mount", "-t", "overlay", f"pvc-lab-{node.name}", "-o", options, node.paths.merged)


def _install(node: Node) -> None:
    """Once, before the first boot, and through the mount: folders keep the owner and mode that the
    image gives.
    """
    if node.paths.installed.exists() or not node.paths.install.exists():
        return
    for source in sorted(node.paths.install.rglob("*")):
        target = node.paths.merged / source.relative_to(node.paths.install)
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copy(source, target)
    node.paths.installed.touch()


def _boot(node: Node, hardware: NodeHardware, topology: Topology) -> int:
    group = cgroup.make(node.paths.lab.name, node.name)
    # A name space without a process in it is gone: this one holds it until the machine has it.
    holder = subprocess.Popen(
        ["unshare", "--net", "--", "sleep", "infinity"], stdin=subprocess.DEVNULL
    )
    try:
        _wait_for_own_network(holder.pid)
        network.plug_in(node.paths, hardware, topology, holder.pid)
        machine = _start(node, hardware, holder.pid, group)
        node.nspawn.write(machine.pid)
        must_become(
            lambda: node.init_pid() is not None or machine.poll() is not None,
            limit_s=15,
            failure=f"{node.name}: no first process",
            hint="see above",
        )
    finally:
        holder.kill()
        holder.wait()
    if machine.poll() is None:
        # nspawn moves itself out of the group into `supervisor` some time after the machine's first
        # process runs; until then the kernel refuses. A node without any controller must not start a
        # guest: its libvirt would leave it outside of machine.slice.
        must_become(
            lambda: cgroup.hand_down_controllers(group) or machine.poll() is not None,
            limit_s=CONTROLLERS_LIMIT_S,
            failure=f"{node.name}: no control group controller could be handed down",
            hint="cat /proc/cgroups; at least one must be free for version 2, even hugetlb",
        )
        _link_socket(node)
    status = machine.wait()
    cgroup.kill(group)
    return status


def _wait_for_own_network(pid: int) -> None:
    ours = Path("/proc/self/ns/net").stat().st_ino

    def is_apart() -> bool:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino != ours

    must_become(is_apart, limit_s=10, failure="no network name space", hint="see above")


def _start(
    node: Node, hardware: NodeHardware, netns_pid: int, group: Path
) -> subprocess.Popen[bytes]:
    netns = f"/proc/{netns_pid}/ns/net"
    argv = [
        # nspawn itself is started in the network of its machine: /sys shows the cards of whoever
        # mounts it.
        "nsenter",
        f"--net={netns}",
        "--",
        "systemd-nspawn",
        "-D",
        str(node.paths.merged),
        "--boot",
        "-M",
        node.name,
        "--register=no",
        "--keep-unit",
        "--capability=all",
        "--system-call-filter=@known",
        "--bind=/dev/net/tun",
        "--bind=/dev/fuse",
        f"--bind={node.paths.watchdog}:{watchdog.FOLDER_INSIDE}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--kill-signal=SIGRTMIN+3",
        f"--uuid={hardware.system_uuid}",
        f"--network-namespace-path={netns}",
    ]
    env = {
        **os.environ,
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
        # Only /proc/sys/net. With "1" udev in the node makes the host's devices appear in /dev.
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    }
    # Two machines in one control group would share one tree of slices. The helper joins the group,
    # then becomes nspawn: done in a child of ours it would need code between fork and exec.
    join = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(group / "cgroup.procs"), *argv]
    return subprocess.Popen(join, env=env, stdin=subprocess.DEVNULL)


def _link_socket(node: Node) -> None:
    pid = node.init_pid()
    if pid is None:
        return
    node.paths.lab.sockets.mkdir(parents=True, exist_ok=True)
    new = node.paths.socket.with_suffix(".new")
    new.unlink(missing_ok=True)
    new.symlink_to(f"/proc/{pid}/root/{SOCKET_INSIDE}")
    new.rename(node.paths.socket)


if __name__ == "__main__":
    sys.exit(main())
