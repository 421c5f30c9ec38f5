"""What the lab must build, as values: three switches, some nodes with NICs, BMCs. Pure.

The few facts of the cluster's repository that concern hardware (subnets, addresses, where a BMC
is) are parsed here and nowhere else in the lab. What a real machine would have of its own (MACs,
uuid) is derived from the lab's and the node's name, so that it can be written into the repository
before any node was built.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from pvc_gitops.lab.errors import LabError

# Order of the NICs in a machine; the name in the node is what the product finds.
NETWORKS: Final[Mapping[str, str]] = {"upstream": "up0", "cluster": "cl0", "storage": "st0"}
DEFAULT_MTU_BYTES: Final = 1500
# BMCs lie in the upstream subnet, from this host number on, in the order of the nodes' names.
BMC_FIRST_HOST: Final = 201
NODES_MAX: Final = 40  # 201 + 40 stays below the usual gateway
DEFAULT_OSD_BYTES: Final = 6 * 1024**3
# Any fixed uuid: it only keeps our derived uuids apart from other people's.
_NAMESPACE: Final = uuid.UUID("9d6c2a35-6a0e-4f0d-9b3b-0a4f1d7d3c55")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One core network."""

    name: str
    subnet: str
    mtu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One network card of a node."""

    network: str  # which switch it is plugged into
    name: str  # as the node sees it
    mac: str
    address: str  # as the repository declares it, with prefix length


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHardware:
    """One machine."""

    name: str
    system_uuid: str
    nics: tuple[Nic, ...]
    bmc_address: str

    def nic(self, network: str) -> Nic:
        """The card that is plugged into a switch."""
        return next(nic for nic in self.nics if nic.network == network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything that the lab builds."""

    lab: str
    gateway: str  # the lab's own address in the upstream network: remote, images, outside client
    switches: tuple[Switch, ...]
    nodes: tuple[NodeHardware, ...]

    def switch(self, name: str) -> Switch:
        """A switch by the name of its network."""
        return next(switch for switch in self.switches if switch.name == name)

    def to_json(self) -> str:
        """The same bytes for the same topology."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What a person would read off a delivered machine and write into its Node document."""

    name: str
    system_uuid: str
    macs: Mapping[str, str]  # network -> MAC
    nics: Mapping[str, str]  # network -> NIC name in the node
    bmc_address: str
    bmc_guid: str
    bmc_username: str
    bmc_password: str
    osd_path: str
    osd_size: str


def from_json(text: str) -> Topology:
    """Read back what `to_json` wrote."""
    raw: dict[str, Any] = json.loads(text)
    return Topology(
        lab=raw["lab"],
        gateway=raw["gateway"],
        switches=tuple(Switch(**switch) for switch in raw["switches"]),
        nodes=tuple(
            NodeHardware(**{**node, "nics": tuple(Nic(**nic) for nic in node["nics"])})
            for node in raw["nodes"]
        ),
    )


def check_name(name: str) -> str:
    """A lab's or node's name that fits into file, cgroup and interface names."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} is not a name for a lab or node",
            hint="use up to 32 small letters, digits and dashes, as in `demo`",
        )
    return name


def read_repository(repository: Path, lab: str) -> Topology:
    """The topology that a cluster's repository asks for."""
    cluster = _document(repository / "cluster.yaml")
    nodes = {path.stem: _document(path) for path in sorted((repository / "nodes").glob("*.yaml"))}
    if not nodes:
        raise LabError(f"{repository}/nodes declares no node", hint="`pvc new node hv1` writes one")
    return build(lab, cluster, nodes)


def build(lab: str, cluster: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> Topology:
    """The topology of parsed documents.

    Args:
        lab: the lab's name, from which MACs and uuids derive.
        cluster: the Cluster document.
        nodes: Node documents by name.
    """
    check_name(lab)
    if len(nodes) > NODES_MAX:
        raise LabError(
            f"{len(nodes)} nodes are more than a lab has room for", hint=f"at most {NODES_MAX}"
        )
    networks = _at(cluster, "cluster.yaml", "spec", "networks")
    gateway = str(_at(networks, "cluster.yaml: spec.networks", "upstream", "gateway"))
    switches = tuple(
        Switch(
            name=name,
            subnet=str(
                ipaddress.IPv4Network(_at(networks, "cluster.yaml: spec.networks", name, "subnet"))
            ),
            mtu_bytes=int(networks[name].get("mtu", DEFAULT_MTU_BYTES)),
        )
        for name in NETWORKS
    )
    machines = tuple(
        _node(lab, name, nodes[name], switches, index) for index, name in enumerate(sorted(nodes))
    )
    return Topology(lab=lab, gateway=gateway, switches=switches, nodes=machines)


def _node(
    lab: str, name: str, document: Mapping[str, Any], switches: tuple[Switch, ...], index: int
) -> NodeHardware:
    check_name(name)
    spec = _at(document, f"nodes/{name}.yaml", "spec")
    nics: list[Nic] = []
    for switch in switches:
        address = _at(spec, f"nodes/{name}.yaml: spec", "addresses", switch.name)
        length = ipaddress.IPv4Network(switch.subnet).prefixlen
        nics.append(
            Nic(
                network=switch.name,
                name=NETWORKS[switch.name],
                mac=derive_mac(lab, name, switch.name),
                address=f"{ipaddress.IPv4Address(address)}/{length}",
            )
        )
    declared = (spec.get("bmc") or {}).get("address")
    upstream = ipaddress.IPv4Network(switches[0].subnet)
    bmc = ipaddress.IPv4Address(declared) if declared else upstream[BMC_FIRST_HOST + index]
    return NodeHardware(
        name=name, system_uuid=derive_uuid(lab, name), nics=tuple(nics), bmc_address=str(bmc)
    )


def derive_mac(lab: str, node: str, network: str) -> str:
    """A locally administered unicast MAC, the same for the same names."""
    digest = hashlib.sha256(f"{lab}/{node}/{network}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def derive_uuid(lab: str, node: str) -> str:
    """The machine's uuid: its system uuid, machine id and BMC's GUID."""
    return str(uuid.uuid5(_NAMESPACE, f"{lab}/{node}"))


def upstream_network_file(topology: Topology, node: NodeHardware) -> str:
    """What the installer leaves so that a new node reaches its repository: one address, matched by
    MAC.
    """
    nic = node.nic("upstream")
    return f"""# Written at installation. Formation replaces it by files for all three networks.
[Match]
MACAddress={nic.mac}
[Link]
MTUBytes={topology.switch("upstream").mtu_bytes}
[Network]
Address={nic.address}
Gateway={topology.gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
ConfigureWithoutCarrier=yes
IgnoreCarrierLoss=yes
"""


def _document(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_bytes())
    except FileNotFoundError as err:
        raise LabError(f"{path} is not there", hint="name the repository with --repo DIR") from err
    except yaml.YAMLError as err:
        raise LabError(f"{path}: {err}", hint="`pvc validate` shows every problem") from err
    if not isinstance(found, dict):
        raise LabError(f"{path} is not a document", hint="`pvc validate` shows every problem")
    return found


def _at(document: Mapping[str, Any], where: str, *keys: str) -> Any:  # noqa: ANN401  a YAML value
    value: Any = document
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise LabError(
                f"{where} lacks {'.'.join(keys)}", hint="`pvc validate` shows every problem"
            )
        value = value[key]
    return value
