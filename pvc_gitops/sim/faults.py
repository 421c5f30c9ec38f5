"""What a script does to a simulated cluster's machines, networks, processes and guests.

Words were checked by `script`; what they name and is not there does nothing. Operators' wishes are in
`desk`, time is in `play`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pvc_gitops.model import paths
from pvc_gitops.model.ids import Address, NodeName
from pvc_gitops.model.records import Applied
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.hardware import Guests
from pvc_gitops.sim.leaving import shut_down
from pvc_gitops.sim.machines import Mood
from pvc_gitops.sim.node import SimNode
from pvc_gitops.sim.wires import Net


def play(cluster: SimCluster, verb: str, args: Sequence[str]) -> None:
    """Play one command that breaks or mends something."""
    match verb:
        case "vm":
            _vm(cluster, args)
        case "image":
            _image(cluster, args[0], is_bad=args[1] == "bad")
        case "ceph":
            cluster.ceph.is_up = args[0] != "off"
            cluster.ceph.delay_s = float(args[1]) if args[0] == "slow" else 0.0
            cluster.record("ceph", act=" ".join(args))
        case "link" if args[1] in cluster.nodes:
            cluster.wires.switch_pair(NodeName(args[0]), NodeName(args[1]), on=args[2] == "on")
            cluster.looked_anew()
            cluster.record("link", node=args[0], to=args[1], on=args[2] == "on")
        case _:
            _node(cluster, verb, cluster.nodes[NodeName(args[0])], args[1:])


def _node(  # noqa: C901, PLR0912  one verb a case
    cluster: SimCluster, verb: str, node: SimNode, args: Sequence[str]
) -> None:
    state = args[0] if args else ""
    match verb:
        case "power":
            cluster.power(node.name, on=state == "on")
            return  # told by the machine, where it changes anything
        case "network":
            cluster.network(node.name, on=state == "on")
        case "link":
            cluster.wires.switch(node.name, Net(state), on=args[1] == "on")
            cluster.looked_anew()
        case "store":
            cluster.store(node.name, state)
        case "zk":
            _server(cluster, node, state)
        case "pause":
            cluster.pause(node.name)
        case "resume":
            cluster.resume(node.name)
        case "watchdog":
            cluster.watchdog(node.name, None if state == "none" else float(state))
            return
        case "bmc":
            _bmc(cluster, node, args)
        case "libvirt":
            node.guests.is_hanging = state == "hang"
            node.guests.on_change()
        case "disk":
            _wipe(cluster, node)
        case "clock":
            node.clock.run_at(float(args[1]))
        case "shutdown" | "reboot":
            shut_down(cluster, node.name, comes_back=verb == "reboot")
        case "guard":
            _drive(node.guard, state, can_start=node.is_up)
        case "agent" | "planner" | "ha":
            _process(node, verb, args)
    cluster.record(verb, node=node.name, act=" ".join(args))


def _server(cluster: SimCluster, node: SimNode, act: str) -> None:
    server = cluster.ensemble.servers[node.name]
    match act:
        case "kill" | "start":
            server.is_killed = act == "kill"
        case "wipe":
            server.is_wiped = True
        case "slow" | "ok":
            server.is_slow = act == "slow"
    cluster.looked_anew()


def _wipe(cluster: SimCluster, node: SimNode) -> None:
    """Its own disk is blank: what its processes remember is gone with their files."""
    for kept in (node.notes, node.archive, node.files, node.mirror.held):
        kept.clear()
    if node.is_coordinator:
        _server(cluster, node, "wipe")


def _process(node: SimNode, which: str, args: Sequence[str]) -> None:
    process = {"agent": node.agent, "planner": node.planner, "ha": node.ha}[which]
    assert process is not None  # the script was checked
    match args:
        case ["kill", effects]:
            process.fuse = int(effects)
        case ["stall", seconds, *effects]:
            process.stall = (int(effects[0]) if effects else 0, float(seconds))
        case _:
            _drive(process, args[0], can_start=node.is_up)


def _drive(process: Any, act: str, *, can_start: bool) -> None:  # noqa: ANN401  guard or process
    match act:
        case "kill":
            process.die()
        case "start" if can_start:
            process.start()
        case "pause":
            process.pause()
        case "resume":
            process.resume()
        case "restart":
            process.die()
            if can_start:
                process.start()


def _bmc(cluster: SimCluster, node: SimNode, args: Sequence[str]) -> None:
    match args:
        case ["is", other]:
            cluster.bmcs.wired[node.name] = NodeName(other)
        case [mood]:
            cluster.bmcs.moods[node.name] = Mood(mood)


def _vm(cluster: SimCluster, args: Sequence[str]) -> None:
    match args:
        case [name, "open", where]:
            _open(cluster, name, cluster.nodes[NodeName(where)])
        case [name, "close"]:
            cluster.hands.close(name)
        case [name, "power-off"]:
            for node in cluster.nodes.values():
                cluster.insides.power_off(name, node.guests)
        case [name, "ready", seconds]:
            cluster.insides.say_boot(name, seconds)
        case [name, what, *rest]:
            for node in cluster.nodes.values():
                _guest(node.guests, name, what, rest)
    cluster.record("vm", vm=args[0], act=" ".join(args[1:]))


def _guest(guests: Guests, name: str, what: str, args: Sequence[str]) -> None:
    match what, args:
        case "crash", _:
            guests.end(name, is_clean=False)
        case "reboot", _:
            guests.reboot(name)
        case "unplug", [kind, device]:
            guests.unplug(name, kind, device)
        case "fail-start", [count, *where]:
            if not where or guests.node == where[0]:
                guests.failing_starts[name] = int(count)
        case "fail-migrate", [count, *phase]:
            guests.migrations.failing[name] = int(count), phase[0] if phase else ""
        case "fail-stop", [count]:
            guests.deaf_to_stops[name] = int(count)


def _open(cluster: SimCluster, guest: str, node: SimNode) -> None:
    record = cluster.get(paths.applied(Address(f"vm/{guest}")), Applied)
    if record is not None and cluster.reaches_storage(node.name):
        disks = tuple((disk.pool, disk.image) for disk in record.disks.values())
        cluster.hands.open(guest, node.name, node.declared.addresses["storage"], disks)


def _image(cluster: SimCluster, image: str, *, is_bad: bool) -> None:
    for document in cluster.spec.documents.values():
        if document.address == f"image/{image}":
            urls = cluster.ceph.bad_urls
            (urls.add if is_bad else urls.discard)(document.spec["url"])
