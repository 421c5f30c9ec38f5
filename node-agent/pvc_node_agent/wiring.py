"""The real World: every port by its adapter. The only place that knows all of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pvc_gitops.adapters import system
from pvc_gitops.adapters.age import sops
from pvc_gitops.adapters.age.vault import FileVault
from pvc_gitops.adapters.archive import FileArchive
from pvc_gitops.adapters.ceph.cluster import Cluster
from pvc_gitops.adapters.ceph.images import RbdImages
from pvc_gitops.adapters.ceph.pools import RadosPools
from pvc_gitops.adapters.dnsmasq.services import DnsmasqServices
from pvc_gitops.adapters.fence import FenceAgents
from pvc_gitops.adapters.formation import files
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.adapters.formation.peer_mirror import PeerMirror
from pvc_gitops.adapters.formation.peers import Peer
from pvc_gitops.adapters.jobs import ThreadJobs
from pvc_gitops.adapters.libvirt.hypervisor import LibvirtHypervisor
from pvc_gitops.adapters.libvirt.kvm import acceleration
from pvc_gitops.adapters.libvirt.probes import GuestProbes
from pvc_gitops.adapters.libvirt.xml import CephAccess
from pvc_gitops.adapters.logins import KeyFile
from pvc_gitops.adapters.netlink.links import NetlinkLinks
from pvc_gitops.adapters.proposals import Proposals
from pvc_gitops.adapters.zk import ZooKeeperStore
from pvc_gitops.errors import UsageError
from pvc_gitops.formation import seed
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world import names
from pvc_gitops.world.ports import Identity, World
from pvc_node_agent.config import NodeConfig

# Pools and capabilities need more than the key that guests' QEMUs use. Coordinators have it, readable by
# root only. A hypervisor's agent looks at disks and blocks dead clients, which that key allows.
CEPH_ADMIN: Final = "client.admin"


@dataclass(frozen=True, slots=True)
class Wake:
    """What ends a process's rest, and whether something changed that it should look at."""

    _event: threading.Event = field(default_factory=threading.Event)
    _change: threading.Event = field(default_factory=threading.Event)

    def changed(self) -> None:
        """From a watch or a job: look at everything."""
        self._change.set()
        self._event.set()

    def asked(self) -> None:
        """From the socket: a question waits."""
        self._event.set()

    def rest(self, limit_s: float) -> bool:
        """Until woken or the limit; whether something changed."""
        self._event.wait(limit_s)
        self._event.clear()
        is_changed = self._change.is_set()
        self._change.clear()
        return is_changed


class GuardedHypervisor(LibvirtHypervisor):
    """With what the guard found wrong about this node's guests among the faults."""

    def faults(self) -> tuple[str, ...]:
        return (*super().faults(), *system.guard_faults())


def _cluster_key() -> str | None:
    """Out of the seed; a hypervisor's has none."""
    text = files.read(names.SEED)
    return None if text is None else seed.parse(text).cluster_key


def store_of(config: NodeConfig, wake: Wake) -> ZooKeeperStore:
    """The session; it connects by itself, sooner or later."""
    zookeeper = config.zookeeper
    password = zookeeper.password_file.read_text(encoding="utf-8").strip()
    return ZooKeeperStore(
        zookeeper.servers, user=zookeeper.user, password=password, wake=wake.changed
    )


def repo_of(config: NodeConfig) -> PeerMirror:
    """This node's mirror, fed by the coordinators while the origin is away: they are the servers of the
    store, and each proves its address by its certificate."""
    source = config.source
    servers = [server.partition(":")[0] for server in config.zookeeper.servers]
    others = [server for server in servers if server != config.addresses.cluster]
    return PeerMirror(
        Path(names.MIRROR),
        peers=[Peer(name=NodeName(server), address=server) for server in others],
        credentials=OWN,
        url=source.url,
        branch=source.branch,
        folder=source.path,
        credential=_credential(config),
        open_secret=_open_secret,
    )


def _open_secret(document: bytes) -> Mapping[str, str] | None:
    """The values of a Secret; None on a node without the cluster's key, or if it is not for that."""
    text = files.read(names.SEED)
    key = None if text is None else seed.parse(text).cluster_key
    if key is None:
        return None
    try:
        return sops.read(document, key)
    except UsageError:
        return None  # the git server then says whether it was needed


def _credential(config: NodeConfig) -> str | None:
    """What the git server is shown."""
    file = config.source.credential_file
    return None if file is None else file.read_text(encoding="utf-8")


def world_of(config: NodeConfig, store: ZooKeeperStore, wake: Wake) -> World:
    """Everything else. Raises WorldError where this node is not as formation left it."""
    Path(names.CONSOLE_LOGS).mkdir(parents=True, exist_ok=True)  # for guests that come from others
    is_coordinator = config.node.role == "coordinator"
    client = CEPH_ADMIN if is_coordinator else f"client.{config.ceph.client}"
    ceph = Cluster(client=client, conf=str(config.ceph.conf))
    addresses = config.addresses
    core = system.subnets_of((addresses.upstream, addresses.cluster, addresses.storage))
    return World(
        me=Identity(
            node=NodeName(config.node.name),
            is_coordinator=is_coordinator,
            boot_id=system.boot_id(),
        ),
        clock=system.SystemClock(),
        store=store,
        hypervisor=GuardedHypervisor(
            access=CephAccess(
                user=config.ceph.client,
                secret_uuid=config.ceph.secret_uuid,
                conf=str(config.ceph.conf),
            ),
            acceleration=acceleration(),
            wake=wake.changed,
        ),
        links=NetlinkLinks(addresses.cluster, core),
        services=DnsmasqServices(),
        pools=RadosPools(ceph),
        images=RbdImages(ceph),
        repo=repo_of(config),
        proposals=Proposals(
            Path(names.PROPOSALS),
            mirror=Path(names.MIRROR),
            url=config.source.url,
            folder=config.source.path,
            credential=_credential(config),
            key=_cluster_key,
        ),
        jobs=ThreadJobs(wake.changed),
        journal=system.LineJournal(),
        notes=system.FileNotes(Path(names.NOTES)),
        archive=FileArchive(Path(names.LEDGER)),
        machines=FenceAgents(Path(names.BMC_PASSWORDS)),
        vault=FileVault(Path(names.BMC_PASSWORDS), _cluster_key),
        logins=KeyFile(Path(names.AUTHORIZED_KEYS)),
        probes=GuestProbes(),
    )
