"""A whole cluster in memory: hardware, store, Ceph, origin, and on every node the real controllers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pvc_gitops.controllers import agent, ha, plan
from pvc_gitops.formation.first_records import first_records
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import CommitId, NodeName, address, derived_uuid
from pvc_gitops.model.inventory import GuestState, Hardware, Inventory
from pvc_gitops.model.preview import Told
from pvc_gitops.model.records import Accepted, PlacementRecord
from pvc_gitops.model.spec import ClusterSpec, Node, NodeRole
from pvc_gitops.sim.ceph import Ceph, CephPort
from pvc_gitops.sim.checkers import Checkers
from pvc_gitops.sim.clock import MachineClock
from pvc_gitops.sim.ensemble import Ensemble, Server
from pvc_gitops.sim.guard import SimGuard
from pvc_gitops.sim.guards import Post
from pvc_gitops.sim.hands import Hands
from pvc_gitops.sim.hardware import (
    ArchivePort,
    Guests,
    HypervisorPort,
    Interfaces,
    LinksPort,
    LoginsPort,
    NotesPort,
    ServicesPort,
    VaultPort,
)
from pvc_gitops.sim.insides import Insides, ProbesPort
from pvc_gitops.sim.kernel import Kernel
from pvc_gitops.sim.machines import Bmcs, MachinesPort
from pvc_gitops.sim.migration import Migrations
from pvc_gitops.sim.node import SimClock, SimJournal, SimNode
from pvc_gitops.sim.origin import Mirror, Origin, RepoPort
from pvc_gitops.sim.process import Process
from pvc_gitops.sim.proposals import ProposalsPort
from pvc_gitops.sim.rules import Rules
from pvc_gitops.sim.sessions import end_session
from pvc_gitops.sim.store import SESSION_S, Client, Tree
from pvc_gitops.sim.wires import Net, Wires
from pvc_gitops.spec.load import load
from pvc_gitops.world.ports import Identity, Json, Stamped, World
from pvc_guard.lease import Via

BOOT_S: Final = 60.0
STARTED_AT_S: Final = 1_767_225_600  # the wall clock when a simulation begins: 2026-01-01, UTC
_FORMATION: Final = 1
T = TypeVar("T")


class SimCluster:
    """The cluster that a repository declares. Nodes begin powered off, the cluster just founded.

    `past`: of a real cluster, whose identity and time of day it takes.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        subject: str = "founding",
        past: Inventory | None = None,
    ) -> None:
        """Raises SpecError where the repository is not valid: nothing is founded on it."""
        self.past = past
        self.started_at_s = STARTED_AT_S if past is None else past.now_s
        self.bmcs = Bmcs()
        self.kernel = Kernel()
        self.checkers = Checkers(kernel=self.kernel)
        self.tree = Tree()
        self.origin = Origin()
        self.proposals: dict[str, CommitId] = {}  # branches beside the tracked one, by ref
        self.told: list[tuple[str, Told]] = []  # what forges were told of them
        self.events: list[dict[str, Any]] = []
        self.spec = load(files, commit=self.origin.push(files, subject))
        self.ceph = Ceph(
            kernel=self.kernel,
            osds=self._osds,
            now_s=self._wall_s,
            on_block=self._writers_changed,
        )
        self.hands = Hands(ceph=self.ceph)
        self.rules = Rules(cluster=self)
        self.checkers.is_excused = self.rules.is_excused
        self.insides = Insides(kernel=self.kernel)
        self.wires = Wires(is_answering=self._is_answering)
        self.ensemble = Ensemble(kernel=self.kernel, wires=self.wires, servers={})
        self.changed_at_s = 0.0  # who reaches whom
        self._reaching: dict[NodeName, bool] = {}  # ZooKeeper; since the last change
        self._monitors: frozenset[NodeName] = frozenset()  # those that form a quorum
        self.post = Post(
            kernel=self.kernel,
            wires=self.wires,
            ensemble=self.ensemble,
            tree=self.tree,
            addresses={
                node.addresses["cluster"]: name
                for name, node in sorted(self.spec.nodes.items())
                if node.role is NodeRole.COORDINATOR and not node.is_retired
            },
        )
        self._found(self.spec, subject)
        self.nodes: dict[NodeName, SimNode] = {
            name: self._node(name, node)
            for name, node in sorted(self.spec.nodes.items())
            if not node.is_retired
        }
        self.ensemble.servers.update(
            {name: Server() for name, node in self.nodes.items() if node.is_coordinator}
        )

    # --- founding ---

    def _found(self, spec: ClusterSpec, subject: str) -> None:
        assert spec.commit is not None
        cluster = spec.cluster.name
        records = first_records(
            spec,
            accepted=Accepted(
                commit=spec.commit,
                subject=subject,
                author="operator",
                accepted_at_s=self.started_at_s,
            ),
            cluster_id=derived_uuid("", address("cluster", cluster), _FORMATION)
            if self.past is None
            else self.past.cluster_id,
            formation=_FORMATION if self.past is None else self.past.formation,
        )
        for path, data in records:
            self.tree.records[path] = Stamped(value=json.loads(data), version=0)
            parent, _, name = path.rpartition("/")
            self.tree.children.setdefault(parent, set()).add(name)

    def _node(self, name: NodeName, declared: Node) -> SimNode:
        mirror, interfaces, notes = Mirror(), Interfaces(), dict[str, Json]()
        clock = MachineClock(kernel=self.kernel)
        assert self.spec.commit is not None
        mirror.held.add(self.spec.commit)
        guests = Guests(
            kernel=self.kernel,
            ceph=self.ceph,
            node=name,
            storage_address=declared.addresses["storage"],
            checkers=self.checkers,
            on_change=lambda: self.nodes[name].agent.wake(),  # noqa: PLW0108  made below
            on_start=lambda guest: self._started(guest, name),
            on_stop=lambda guest: self.record("guest_stopped", node=name, vm=guest),
            can_reach_storage=lambda: self.reaches_storage(name),
        )
        guests.migrations = Migrations(
            kernel=self.kernel,
            guests=guests,
            reach=lambda to: self._libvirt_of(name, NodeName(to)),
            is_frozen=lambda: self.nodes[name].is_paused,
            on_phase=lambda guest, to, phase: self.record(
                "migration", node=name, vm=guest, to=to, phase=phase
            ),
        )
        guard = SimGuard(
            kernel=self.kernel,
            clock=clock,
            tree=self.tree,
            node=name,
            guests=guests,
            lease_s=self.spec.cluster.lease_s,
            can_reach=lambda: self.reaches_store(name),
            delay_s=lambda via: self.ensemble.delay_s(name, (name,) if via is Via.SECOND else ()),
            now_s=self._wall_s,
            journal=lambda kind, **fields: self.record(kind, node=name, **fields),
            on_watchdog=lambda: self.reset(name, "its watchdog was not petted"),
            post=self.post,
            is_hindered=lambda: self.rules.is_hindered(name),
            on_kill=lambda why, since_s: self.rules.on_kill(name, why, since_s),
            on_beat=lambda incarnation: self.rules.on_beat(name, incarnation),
        )
        self.post.guards[name] = guard

        def on_death(process: Process) -> None:
            client = self.nodes[name].clients.pop(process.name, None)
            if client is not None:
                client.close()
                end_session(self, client, is_gone=lambda: True)

        def on_still(process: Process) -> None:
            # It does not ping: its session ends like a dead one's.
            client = self.nodes[name].clients.get(process.name)
            if client is not None:
                end_session(self, client, is_gone=lambda: process.stands_still)

        def process(what: str, tick: Callable[[World, Any], Any], memory: type) -> Process:
            def begin(self_: Process) -> tuple[Callable[[Any], Any], Any]:
                world = self._world(self.nodes[name], self_)
                return (lambda state: tick(world, state)), memory()

            return Process(
                kernel=self.kernel,
                name=what,
                begin=begin,
                on_death=on_death,
                clock=clock,
                on_still=on_still,
                storage_delay_s=lambda: self.ceph.delay_s,
            )

        is_coordinator = declared.role is NodeRole.COORDINATOR
        return SimNode(
            name=name,
            declared=declared,
            clock=clock,
            guests=guests,
            interfaces=interfaces,
            guard=guard,
            agent=process("agent", agent.tick, agent.AgentMemory),
            planner=process("planner", plan.tick, plan.PlannerMemory) if is_coordinator else None,
            ha=process("ha", ha.tick, ha.HaMemory) if is_coordinator else None,
            mirror=mirror,
            notes=notes,
        )

    def _world(self, node: SimNode, process: Process) -> World:
        name = node.name
        client = Client(
            tree=self.tree,
            process=process,
            can_reach=lambda: self.reaches_store(name),
            quorum_now=self.ensemble.quorum,
            on_commit=lambda ops: self.rules.on_commit(name, process.name, ops),
            delay_s=lambda: self.ensemble.delay_s(name),
            is_pinged=lambda: node.has_store and self.ensemble.answers_pings(name),
        )
        node.clients[process.name] = client
        ceph = CephPort(
            ceph=self.ceph, process=process, can_reach=lambda: self.reaches_storage(name)
        )
        hardware = Hardware(cpus=node.declared.cpus, memory_mib=node.declared.memory_mib)
        return World(
            me=Identity(node=name, is_coordinator=node.is_coordinator, boot_id=node.guard.boot_id),
            clock=SimClock(self.kernel, node.clock, self.started_at_s),
            store=client,
            hypervisor=HypervisorPort(node.guests, process, hardware),
            links=LinksPort(node.interfaces, process),
            services=ServicesPort(node.interfaces, process),
            pools=ceph,
            images=ceph,
            repo=RepoPort(
                self.origin,
                node.mirror,
                process,
                lambda: node.is_up and self.wires.has(name, Net.UPSTREAM),
            ),
            proposals=ProposalsPort(self.origin, self.proposals, process, self.told),
            jobs=process.jobs,
            journal=SimJournal(self.record, name),
            notes=NotesPort(node.notes, process),
            archive=ArchivePort(node.archive, process),
            vault=VaultPort(node.files),
            machines=MachinesPort(
                bmcs=self.bmcs,
                power=self,
                process=process,
                is_answering=lambda address: self._answers(name, address),
                on_off=lambda victim: self.rules.on_fence(victim, "switched off"),
            ),
            logins=LoginsPort(node.files, process),
            probes=ProbesPort(self.insides, node.guests, self._guest_at),
        )

    def _started(self, guest: str, node: NodeName) -> None:
        self.insides.started(guest)
        self.rules.on_start(guest, node)

    def _guest_at(self, address: str) -> str | None:
        """Whose address it is."""
        for name in self.tree.children.get(paths.GUESTS, ()):
            nics = self.tree.records[f"{paths.GUESTS}/{name}"].value["nics"]
            if any(nic["address"] == address for nic in nics.values()):
                return name
        return None

    def world_of(self, node: SimNode, process: Process) -> World:
        """A world for looking, not for a process: whoever looks is no client of the store."""
        before = node.clients.get(process.name)
        world = self._world(node, process)
        if before is not None:
            node.clients[process.name] = before
        return world

    # --- who reaches what ---

    def has_quorum(self) -> bool:
        return self.ensemble.has_quorum()

    def is_electing(self) -> bool:
        """Is ZooKeeper silent for a while, because its leader's machine died?"""
        return self.ensemble.is_silent()

    def reaches_store(self, name: NodeName) -> bool:
        if self.is_electing() or not self.nodes[name].is_up:
            return False
        known = self._reaching.get(name)
        if known is None:
            is_served = self.has_quorum() and self.ensemble.server_for(name) is not None
            known = self._reaching[name] = self.nodes[name].has_store and is_served
        return known

    def reaching(self) -> list[SimNode]:
        """Nodes whose agents are at work."""
        return [
            node
            for node in self.nodes.values()
            if self.reaches_store(node.name) and node.agent.is_up and not node.agent.is_paused
        ]

    def reaches_storage(self, name: NodeName) -> bool:
        """Does a monitor of the quorum answer it? Monitors run on the coordinators."""
        return self.ceph.is_up and any(
            self.wires.talk(name, monitor, Net.STORAGE) for monitor in self._monitors
        )

    def _monitors_now(self) -> frozenset[NodeName]:
        all_of = self.ensemble.servers.keys()
        for leader in all_of:
            group = frozenset(m for m in all_of if self.wires.talk(leader, m, Net.STORAGE))
            if 2 * len(group) > len(all_of):
                return group
        return frozenset()

    def _is_answering(self, name: NodeName) -> bool:
        node = self.nodes[name]
        return node.is_up and not node.is_paused

    def _answers(self, asker: NodeName, address: str) -> bool:
        """Does whoever has that address on a core network answer?"""
        return any(
            self.wires.talk(asker, other.name, Net(net))
            for other in self.nodes.values()
            for net, of in other.declared.addresses.items()
            if of == address
        )

    def _libvirt_of(self, asker: NodeName, other: NodeName) -> Guests | None:
        """The guests of another node, if one reaches its libvirt."""
        is_there = other in self.nodes and self.wires.talk(asker, other, Net.CLUSTER)
        return self.nodes[other].guests if is_there else None

    def _osds(self) -> tuple[int, int]:
        up = sum(
            len(n.declared.osds)
            for n in self.nodes.values()
            if n.is_up and self.wires.has(n.name, Net.STORAGE)
        )
        return up, sum(len(n.declared.osds) for n in self.nodes.values())

    def _wall_s(self) -> int:
        return self.started_at_s + int(self.kernel.now_s)

    # --- what happens to machines ---

    def power(self, name: NodeName, *, on: bool) -> None:
        """Mains."""
        self.nodes[name].has_mains = on
        self.switch(name, on=on)

    def switch(self, name: NodeName, *, on: bool) -> None:
        """The button, which a BMC presses too."""
        node = self.nodes[name]
        if on and node.has_mains and not node.is_powered:
            node.is_powered = True
            self.record("power", node=name, on=True)
            node.boot_event = self.kernel.after(BOOT_S, lambda: self._booted(node))
        elif not on and node.is_powered:
            self._cut(node)
            node.is_powered = False
            self.record("power", node=name, on=False)

    def is_on(self, name: NodeName) -> bool:
        """As its BMC sees it."""
        return self.nodes[name].is_powered

    def reset(self, name: NodeName, why: str) -> None:
        """Off and on in one go, by the hardware itself."""
        node = self.nodes[name]
        self.record("reset", node=name, why=why)
        self._cut(node)
        node.boot_event = self.kernel.after(BOOT_S, lambda: self._booted(node))

    def _cut(self, node: SimNode) -> None:
        if node.boot_event is not None:
            node.boot_event.cancel()
        node.is_up, node.is_paused, node.is_leaving = False, False, False
        self.bmcs.denied.discard(node.name)
        for process in node.processes():
            process.die()
        node.guard.die()
        node.guard.boot_id = ""  # its watchdog stops with the power
        node.guests.end_all()
        node.guests.migrations.lost_power()
        self.hands.lost(node.name)
        node.interfaces.reboot()
        self.looked_anew()

    def _booted(self, node: SimNode) -> None:
        node.boots += 1
        node.is_up = True
        node.clock.boot()
        self.record("booted", node=node.name)
        self.looked_anew()
        node.guard.boot(f"{node.name}-boot{node.boots}")
        for process in node.processes():
            process.start()

    def network(self, name: NodeName, *, on: bool) -> None:
        """All networks of a node."""
        self.wires.switch(name, *Net, on=on)
        self.looked_anew()

    def watchdog(self, name: NodeName, seconds: float | None) -> None:
        """What its hardware has, from its next boot: it is measured and recorded then."""
        self.nodes[name].guard.watchdog_s = seconds
        self.record("watchdog", node=name, seconds=seconds)

    def store(self, name: NodeName, mode: str) -> None:
        """ZooKeeper, as this node sees it: on, off, stale, ambiguous."""
        node = self.nodes[name]
        if mode in ("on", "off"):
            node.has_store = mode == "on"
            self.looked_anew()
            return
        for client in node.clients.values():
            if mode == "stale":
                client.make_stale()
            else:
                client.is_ambiguous = True

    def pause(self, name: NodeName) -> None:
        """The whole host freezes; its guests with it."""
        node = self.nodes[name]
        node.is_paused = node.is_up
        for process in node.processes():
            process.pause()
        node.guard.pause()
        for guest in node.guests.domains:
            self.checkers.runs(guest, name, now=False)
        self._writers_changed()
        self.looked_anew()

    def resume(self, name: NodeName) -> None:
        node = self.nodes[name]
        if not node.is_paused:
            return
        node.is_paused = False
        for guest, domain in node.guests.domains.items():
            if domain.state is not GuestState.PAUSED:
                self.checkers.runs(guest, name, now=True)
        self._writers_changed()
        node.guard.resume()
        for process in node.processes():
            process.resume()
        self.looked_anew()

    def _expire_later(self, node: SimNode) -> None:
        """Sessions of a node that stays away end: a quorum says so, and one that is new counts anew."""

        def look(client: Client) -> None:
            if self.is_electing():
                self.kernel.after(SESSION_S, lambda: look(client))
            elif self.has_quorum() and not self.reaches_store(node.name):
                client.expire()

        for client in node.clients.values():
            self.kernel.after(SESSION_S, lambda client=client: look(client))  # type: ignore[misc]

    def looked_anew(self) -> None:
        """Machines, links or servers have changed: who forms a quorum now, and whose sessions end?"""
        self.changed_at_s = self.kernel.now_s
        self._reaching.clear()
        self.ensemble.look()
        self._monitors = self._monitors_now()
        for node in self.nodes.values():
            if not self.reaches_store(node.name):
                self._expire_later(node)

    def _writers_changed(self) -> None:
        """Who may write now: whose vCPUs run, on a host that runs, and whom Ceph lets in."""
        writers: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for node in self.nodes.values():
            for guest, each in node.guests.domains.items():
                is_running = each.state is not GuestState.PAUSED and not node.is_paused
                if is_running and not self.ceph.is_blocked(each.address):
                    for disk in each.domain.disks:
                        writers.setdefault((disk.pool, disk.image), set()).add((guest, node.name))
        self.hands.cut_off()
        for known, writer in self.hands.writers():
            writers.setdefault(known, set()).add(writer)
        self.checkers.writers_are(writers)

    # --- what people and tests look at ---

    def get(self, path: str, cls: type[T]) -> T | None:
        """A record as it stands."""
        stamped = self.tree.records.get(path)
        return None if stamped is None else decode(cls, stamped.value)

    def record(self, kind: str, **fields: object) -> None:
        """One event, for the result's journal."""
        self.events.append({"t": round(self.kernel.now_s, 3), "kind": kind, **fields})

    def placements(self) -> dict[str, PlacementRecord]:
        return {
            name: decode(PlacementRecord, self.tree.records[f"/pvc/placement/{name}"].value)
            for name in sorted(self.tree.children.get("/pvc/placement", ()))
        }

    def leader(self) -> SimNode | None:
        """Whose planner leads now."""
        for node in self.nodes.values():
            planner = node.planner
            if planner is not None and planner.is_up and not planner.is_paused:
                memory: plan.PlannerMemory = planner.memory
                if memory.epoch is not None and self.reaches_store(node.name):
                    return node
        return None
