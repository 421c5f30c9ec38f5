"""The typed views of documents. `from_spec` expects what the loader made: valid and complete.

A field that has no default and was not written is None here. Sizes are MiB, times seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final

from pvc_gitops.model import defaults
from pvc_gitops.model.defaults import completed
from pvc_gitops.model.document import Document, Kind, Spec, by_kind
from pvc_gitops.model.fields import Fields
from pvc_gitops.model.ids import (
    Address,
    CommitId,
    GroupName,
    ImageName,
    Mac,
    NetworkName,
    NodeName,
    PoolName,
    VmName,
    Vni,
    VolumeName,
)
from pvc_gitops.model.known import made_once
from pvc_gitops.model.recovery import Ha
from pvc_gitops.model.transitions import NO_TRANSITIONS, Transitions
from pvc_gitops.model.trust import NO_TRUST, Trust
from pvc_gitops.model.units import duration_s, size_mib
from pvc_gitops.model.values import dataclass


class Strategy(StrEnum):
    """What is spread evenly where a guest is placed."""

    MEM = "mem"  # memory of guests that should run
    MEMPROV = "memprov"  # memory of all guests, running or not
    LOAD = "load"  # the load that nodes report
    VCPUS = "vcpus"  # virtual CPUs
    VMS = "vms"  # guests


# What happens to drift where the cluster's document, or one of before this field, does not say.
DRIFT: Final = MappingProxyType(
    {"vm": "heal", "network": "heal", "pool": "report", "image": "heal"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreNetwork:
    """One of the three networks that connect the nodes."""

    subnet: str
    gateway: str | None
    mtu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyBudget:
    """How many deletions one plan may hold (D5)."""

    vms: int
    volumes: int
    networks: int
    nodes: int
    osds: int
    pools: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptBudget:
    """How many guests one plan may disturb (D5)."""

    reboots: int
    replaces: int
    migrations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The cluster's own document."""

    name: str
    domain: str
    networks: Mapping[str, CoreNetwork]  # upstream, cluster, storage
    asn: int
    source_url: str | None
    source_branch: str
    source_path: str
    poll_s: float
    apply_mode: str  # auto, manual
    windows: tuple[str, ...]  # MaintenanceWindows that hold for all that has none of its own
    max_destroy: DestroyBudget
    max_disrupt: DisruptBudget
    drift: Mapping[str, str]  # kind -> heal, report
    lease_s: float
    fence_delay_s: float
    cold_start_s: float  # how long absent nodes are waited for
    fences_at_once: int  # decided within one fence delay
    admission: str  # enforce, warn, none
    tolerate_nodes: int
    strategy: Strategy
    reserve_memory_mib: int | None  # None: auto
    vcpu_ratio: float
    trash_keep_s: float
    formation: str  # new, restore

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Cluster:
        spec = completed(spec, defaults.CLUSTER)
        source, apply, ha = spec["source"], spec["apply"], spec["ha"]
        scheduling = spec["scheduling"]
        reserve = scheduling["reserve_memory"]
        return cls(
            name=name,
            domain=spec["domain"],
            networks=MappingProxyType(
                {
                    key: CoreNetwork(
                        subnet=net["subnet"], gateway=net.get("gateway"), mtu_bytes=net["mtu"]
                    )
                    for key, net in sorted(spec["networks"].items())
                }
            ),
            asn=spec["routing"]["asn"],
            source_url=source.get("url"),
            source_branch=source["branch"],
            source_path=source["path"],
            poll_s=duration_s(source["poll"]),
            apply_mode=apply["mode"],
            windows=tuple(apply["windows"]),
            max_destroy=DestroyBudget(**apply["max_destroy"]),
            max_disrupt=DisruptBudget(**apply["max_disrupt"]),
            drift=MappingProxyType({**DRIFT, **spec.get("drift", {})}),
            lease_s=duration_s(ha["lease"]),
            fence_delay_s=duration_s(ha["fence_delay"]),
            cold_start_s=duration_s(ha["cold_start"]),
            fences_at_once=ha["fences_at_once"],
            admission=ha["admission"],
            tolerate_nodes=ha["tolerate_nodes"],
            strategy=Strategy(scheduling["strategy"]),
            reserve_memory_mib=None if reserve == "auto" else size_mib(reserve),
            vcpu_ratio=scheduling["vcpu_ratio"],
            trash_keep_s=duration_s(spec["trash"]["keep"]),
            formation=spec["formation"],
        )


class NodeRole(StrEnum):
    """What a node is to the cluster."""

    COORDINATOR = "coordinator"  # member of the quorums
    HYPERVISOR = "hypervisor"  # runs guests only


@dataclass(frozen=True, slots=True, kw_only=True)
class Bmc:
    """How to reach a node's management controller."""

    agent: str
    address: str
    username: str
    password_secret: str
    guid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Osd:
    """One OSD's backing. Exactly one of `file_path` (a lab) and `disk` (facts to match) is set."""

    file_path: str | None
    file_size_mib: int | None
    disk: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine as declared. `interfaces` maps a core network to how its NIC is recognised."""

    name: NodeName
    role: NodeRole
    cpus: int
    memory_mib: int
    addresses: Mapping[str, str]  # core network -> address
    interfaces: Mapping[str, Mapping[str, str]]  # core network -> {mac} or {name}
    identity_match: Mapping[str, object]  # system_uuid, serial, macs: every fact named must hold
    identity_key: str | None
    bmc: Bmc | None
    osds: tuple[Osd, ...]
    vfs: int  # virtual functions of its network cards
    runs_guests: bool
    is_retired: bool

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Node:
        bmc = spec.get("bmc")
        identity = spec.get("identity", {})
        return cls(
            name=NodeName(name),
            role=NodeRole(spec["role"]),
            cpus=spec["hardware"]["cpus"],
            memory_mib=size_mib(spec["hardware"]["memory"]),
            addresses=MappingProxyType(dict(spec["addresses"])),
            interfaces=MappingProxyType(dict(spec["interfaces"])),
            identity_match=MappingProxyType(dict(identity.get("match", {}))),
            identity_key=identity.get("key"),
            bmc=None
            if bmc is None
            else Bmc(
                agent=bmc["agent"],
                address=bmc["address"],
                username=bmc["username"],
                password_secret=bmc["password"]["secret"],
                guid=bmc.get("guid"),
            ),
            osds=tuple(_osd(osd) for osd in spec["osds"]),
            vfs=sum(card["vfs"] for card in spec["sriov"]),
            runs_guests=spec["guests"],
            is_retired=spec["state"] == "retired",
        )


def _osd(spec: Spec) -> Osd:
    file = spec.get("file")
    return Osd(
        file_path=file["path"] if file else None,
        file_size_mib=size_mib(file["size"]) if file else None,
        disk=MappingProxyType(dict(spec["disk"])) if "disk" in spec else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A Ceph pool."""

    name: PoolName
    copies: int
    min_copies: int
    device_class: str  # any, ssd, nvme
    pgs: int | None  # None: auto
    is_protected: bool

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Pool:
        return cls(
            name=PoolName(name),
            copies=spec["copies"],
            min_copies=spec["min_copies"],
            device_class=spec["device_class"],
            pgs=None if spec["pgs"] == "auto" else spec["pgs"],
            is_protected=spec["protect"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A disk image, imported once by checksum and cloned copy-on-write."""

    name: ImageName
    url: str
    checksum: str  # sha256:<64 hex digits>
    format: str  # raw qcow2 vmdk vdi vpc
    pool: PoolName

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Image:
        return cls(
            name=ImageName(name),
            url=spec["url"],
            checksum=spec["checksum"],
            format=spec["format"],
            pool=PoolName(spec["pool"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A disk with a life of its own."""

    name: VolumeName
    pool: PoolName
    size_mib: int
    source_image: ImageName | None
    is_protected: bool

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Volume:
        image = spec.get("source", {}).get("image")
        return cls(
            name=VolumeName(name),
            pool=PoolName(spec["pool"]),
            size_mib=size_mib(spec["size"]),
            source_image=None if image is None else ImageName(image),
            is_protected=spec["protect"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4:
    """The IPv4 side of a managed network. `dhcp_*`: where addresses are allocated."""

    subnet: str
    gateway: str | None
    dhcp_start: str | None
    dhcp_end: str | None


VXLAN_OVERHEAD_BYTES: Final = 50  # outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A guest network."""

    name: NetworkName
    type: str  # managed, bridged, sriov
    vni: Vni | None
    vlan: int | None
    mtu_bytes: int | None  # None: auto
    ipv4: Ipv4 | None
    domain: str | None
    dns_servers: tuple[str, ...]

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Network:
        ipv4 = spec.get("ipv4")
        vni = spec.get("vni")
        dhcp = (ipv4 or {}).get("dhcp") or {}
        return cls(
            name=NetworkName(name),
            type=spec["type"],
            vni=None if vni is None else Vni(vni),
            vlan=spec.get("vlan"),
            mtu_bytes=None if spec["mtu"] == "auto" else spec["mtu"],
            ipv4=None
            if ipv4 is None
            else Ipv4(
                subnet=ipv4["subnet"],
                gateway=ipv4.get("gateway"),
                dhcp_start=dhcp.get("start"),
                dhcp_end=dhcp.get("end"),
            ),
            domain=spec.get("domain"),
            dns_servers=tuple(spec.get("dns", {}).get("servers", ())),
        )

    @property
    def router(self) -> str | None:
        """The guests' gateway as its interface bears it, ADDRESS/PREFIX; IPv4."""
        if self.ipv4 is None or self.ipv4.gateway is None:
            return None
        return f"{self.ipv4.gateway}/{self.ipv4.subnet.partition('/')[2]}"

    def guest_mtu_bytes(self, core_mtu_bytes: int) -> int:
        """What guests may send: declared, or all that fits into a VXLAN packet of the cluster network."""
        if self.mtu_bytes is not None:
            return self.mtu_bytes
        return core_mtu_bytes - VXLAN_OVERHEAD_BYTES


class RunState(StrEnum):
    """What git wants of a guest's power."""

    RUNNING = "running"
    STOPPED = "stopped"  # git stops it
    MANUAL = "manual"  # git does not say
    DISABLED = "disabled"  # stopped, and HA, N-1, starts and health ignore it


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A guest's disk. `volume` attaches a Volume; else pool and size are set."""

    name: str
    pool: PoolName | None
    size_mib: int | None
    image: ImageName | None
    volume: VolumeName | None
    bus: str  # virtio-scsi, virtio-blk
    boot: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A guest's NIC. None for `mac` and `address`: allocated once and kept."""

    name: str
    network: NetworkName
    address: str | None
    mac: Mac | None
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The declared constraints on where a guest runs."""

    nodes: tuple[NodeName, ...]
    is_strict: bool
    prefer: tuple[tuple[NodeName, int], ...]  # node, weight 1 to 100
    groups: tuple[GroupName, ...]
    strategy: Strategy | None  # None: the cluster's


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """A guest as declared."""

    name: VmName
    run_state: RunState
    vcpus: int
    cpu_model: str
    memory_mib: int
    firmware: str
    disks: Mapping[str, Disk]
    nics: Mapping[str, Nic]
    console_log: bool
    placement: Placement
    ha: Ha
    migration_method: str  # live, shutdown, none
    max_downtime_s: float  # the longest pause of a live migration
    reboot_for_changes: str  # never, window, now
    window: str | None  # its MaintenanceWindow; None: the cluster's
    stop_timeout_s: float
    is_protected: bool

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> VirtualMachine:
        placement = spec["placement"]
        return cls(
            name=VmName(name),
            run_state=RunState(spec["run_state"]),
            vcpus=spec["cpu"]["vcpus"],
            cpu_model=spec["cpu"]["model"],
            memory_mib=size_mib(spec["memory"]),
            firmware=spec["firmware"],
            disks=MappingProxyType({key: _disk(key, disk) for key, disk in spec["disks"].items()}),
            nics=MappingProxyType({key: _nic(key, nic) for key, nic in spec["nics"].items()}),
            console_log=spec["console"]["log"],
            placement=Placement(
                nodes=tuple(NodeName(node) for node in placement["nodes"]),
                is_strict=placement["strict"],
                prefer=tuple((NodeName(p["node"]), p["weight"]) for p in placement["prefer"]),
                groups=tuple(GroupName(group) for group in placement["groups"]),
                strategy=Strategy(placement["strategy"]) if "strategy" in placement else None,
            ),
            ha=Ha.from_spec(spec.get("ha", {})),
            migration_method=spec["migration"]["method"],
            max_downtime_s=duration_s(spec["migration"]["max_downtime"]),
            reboot_for_changes=spec["reboot_for_changes"],
            window=spec.get("window"),
            stop_timeout_s=duration_s(spec["stop_timeout"]),
            is_protected=spec["protect"],
        )


def _disk(name: str, spec: Spec) -> Disk:
    size, image, volume = spec.get("size"), spec.get("image"), spec.get("volume")
    pool = spec.get("pool")
    return Disk(
        name=name,
        pool=None if pool is None else PoolName(pool),
        size_mib=None if size is None else size_mib(size),
        image=None if image is None else ImageName(image),
        volume=None if volume is None else VolumeName(volume),
        bus=spec["bus"],
        boot=spec.get("boot"),
    )


def _nic(name: str, spec: Spec) -> Nic:
    address, mac = spec.get("address"), spec["mac"]
    return Nic(
        name=name,
        network=NetworkName(spec["network"]),
        address=None if address in (None, "auto") else address,
        mac=None if mac == "auto" else Mac(mac.lower()),
        model=spec["model"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Guests that belong apart or together."""

    name: GroupName
    policy: str  # apart, together
    is_strict: bool
    max_per_node: int  # of members on one node, for `apart`

    @classmethod
    @made_once
    def from_spec(cls, name: str, spec: Spec) -> Group:
        return cls(
            name=GroupName(name),
            policy=spec["policy"],
            is_strict=spec["strict"],
            max_per_node=spec["max_per_node"],
        )


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property needs a dict
class ClusterSpec:
    """All that a commit declares: documents by address, and the schema's word on their fields.

    Iteration over `documents` is in order of address. `commit` is None for a folder outside of git.
    `digests`: specs with the SHA-256 (hex) of their canonical JSON, as far as somebody computed them;
    they hold for these very objects.
    """

    commit: CommitId | None
    documents: Mapping[Address, Document]
    fields: Fields = field(compare=False)
    digests: tuple[tuple[Spec, str], ...] = field(default=(), compare=False, repr=False)
    transitions: Transitions = NO_TRANSITIONS
    trust: Trust = NO_TRUST

    def of_kind(self, kind: Kind) -> tuple[Document, ...]:
        return tuple(self._by_kind.get(kind, ()))

    @cached_property
    def _by_kind(self) -> Mapping[Kind, list[Document]]:
        return by_kind(self.documents.values())

    @property
    def cluster(self) -> Cluster:
        (doc,) = self.of_kind(Kind.CLUSTER)
        return Cluster.from_spec(doc.name, doc.spec)

    @property
    def nodes(self) -> Mapping[NodeName, Node]:
        return {
            NodeName(doc.name): Node.from_spec(doc.name, doc.spec)
            for doc in self.of_kind(Kind.NODE)
        }
