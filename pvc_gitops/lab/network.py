"""The lab's network name space: three switches, the upstream gateway, the ports that nodes are
plugged into.
 Nothing here touches the host's own addresses, routes or rules: every command names the lab's name
space.
"""

from __future__ import annotations

import ipaddress
import json
import signal
from collections.abc import Sequence

from pvc_gitops.lab.paths import LabPaths, NodePaths
from pvc_gitops.lab.process import run, send, wait_for
from pvc_gitops.lab.topology import NETWORKS, NodeHardware, Topology, derive_mac

# Linux bridges by the names of the networks.
END_LIMIT_S = 3.0


def ensure(paths: LabPaths, topology: Topology) -> None:
    """Make the name space and its switches; what is already there stays."""
    if not exists(paths):
        run("ip", "netns", "add", paths.netns)
        # Switches do not speak; without IPv6 they send no neighbour discovery into the core
        # networks.
        run(
            *inside(
                paths,
                "sysctl",
                "-qw",
                "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1",
            )
        )
        ip(paths, ["link set lo up"])
    there = links(paths)
    for switch in topology.switches:
        if switch.name not in there:
            # No spanning tree and no forward delay: a port forwards at once. An address of its own: else
            # it takes that of a port, and changes when a machine loses its power, so that nobody
            # reaches a BMC for nine seconds, until caches of neighbours have been asked anew.
            mac = derive_mac(paths.name, "switch", switch.name)
            bridge = "type bridge stp_state 0 forward_delay 0"
            ip(paths, [f"link add name {switch.name} address {mac} {bridge}"])
        ip(paths, [f"link set {switch.name} mtu {switch.mtu_bytes} up"])
    length = ipaddress.IPv4Network(topology.switch("upstream").subnet).prefixlen
    ip(paths, [f"addr replace {topology.gateway}/{length} dev upstream"])
    ip(paths, [f"addr replace {node.bmc_address}/32 dev upstream" for node in topology.nodes])


def remove(paths: LabPaths) -> None:
    """End what still runs inside and remove the name space, its switches and ports with it."""
    if not exists(paths):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(paths):
            send(pid, number)
        if wait_for(lambda: not processes(paths), limit_s=END_LIMIT_S):
            break
    run("ip", "netns", "delete", paths.netns)


def exists(paths: LabPaths) -> bool:
    """Whether the name space is there."""
    return paths.netns_path.exists()


def processes(paths: LabPaths) -> list[int]:
    """Processes in the lab's name space (nodes have their own)."""
    return [int(pid) for pid in run("ip", "netns", "pids", paths.netns, check=False).stdout.split()]


def links(paths: LabPaths) -> frozenset[str]:
    """Names of the interfaces in the lab's name space."""
    found = json.loads(run("ip", "-n", paths.netns, "-j", "link", "show").stdout or "[]")
    return frozenset(link["ifname"] for link in found)


def inside(paths: LabPaths, *argv: str) -> list[str]:
    """A command line that runs in the lab's network.

    nsenter, not `ip netns exec`: that one mounts /sys anew and with it hides the control groups.
    """
    return ["nsenter", f"--net={paths.netns_path}", "--", *argv]


def ip(paths: LabPaths, commands: Sequence[str], *, check: bool = True) -> None:
    """Several `ip` commands in the lab's name space by one process."""
    argv = ["ip", "-n", paths.netns, *([] if check else ["-force"]), "-batch", "-"]
    run(*argv, stdin="\n".join(commands) + "\n", check=check)


def plug_in(node: NodePaths, hardware: NodeHardware, topology: Topology, netns_pid: int) -> None:
    """Give a booting machine its cards, in the network name space of `netns_pid`, and plug them
    in.
    """
    unplug(node)
    commands: list[str] = []
    for nic in hardware.nics:
        port, mtu = node.port(nic.network), topology.switch(nic.network).mtu_bytes
        commands += [
            (
                f"link add name {port} mtu {mtu} type veth"
                f" peer name {nic.name} mtu {mtu} address {nic.mac} netns {netns_pid}"
            ),
            f"link set {port} master {nic.network} up",
        ]
    ip(node.lab, commands)


def cut(node: NodePaths, networks: Sequence[str] = tuple(NETWORKS)) -> None:
    """Take the ports down on the switch's side: from now on no packet of the node arrives
    anywhere.
    """
    ip(node.lab, [f"link set {node.port(network)} down" for network in networks], check=False)


def mend(node: NodePaths, networks: Sequence[str] = tuple(NETWORKS)) -> None:
    """Take the ports up again."""
    ip(node.lab, [f"link set {node.port(network)} up" for network in networks], check=False)


def unplug(node: NodePaths) -> None:
    """Remove the cards, both ends."""
    there = links(node.lab)
    ports = [node.port(network) for network in NETWORKS]
    ip(node.lab, [f"link del {port}" for port in ports if port in there], check=False)
