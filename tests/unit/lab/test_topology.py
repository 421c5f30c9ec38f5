"""What a repository's documents mean in hardware."""

import pytest

from pvc_gitops.lab import topology
from pvc_gitops.lab.errors import LabError

CLUSTER = {
    "spec": {
        "networks": {
            "upstream": {"subnet": "10.20.0.0/24", "gateway": "10.20.0.254"},
            "cluster": {"subnet": "10.21.0.0/24", "mtu": 1600},
            "storage": {"subnet": "10.22.0.0/24"},
        }
    }
}


def node(number: int, **spec: object) -> dict[str, object]:
    addresses = {
        "upstream": f"10.20.0.{number}",
        "cluster": f"10.21.0.{number}",
        "storage": f"10.22.0.{number}",
    }
    return {"spec": {"addresses": addresses, **spec}}


def build() -> topology.Topology:
    return topology.build("demo", CLUSTER, {"hv2": node(2), "hv1": node(1)})


def test_each_node_has_a_card_in_every_core_network() -> None:
    first = build().nodes[0]
    assert [(nic.network, nic.name, nic.address) for nic in first.nics] == [
        ("upstream", "up0", "10.20.0.1/24"),
        ("cluster", "cl0", "10.21.0.1/24"),
        ("storage", "st0", "10.22.0.1/24"),
    ]


def test_macs_are_stable_unique_unicast_and_locally_administered() -> None:
    macs = [nic.mac for hardware in build().nodes for nic in hardware.nics]
    assert macs == [nic.mac for hardware in build().nodes for nic in hardware.nics]
    assert len(set(macs)) == len(macs)
    assert all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs)
    assert topology.derive_mac("demo", "hv1", "upstream") != topology.derive_mac(
        "x", "hv1", "upstream"
    )


def test_bmcs_lie_in_the_upstream_network_unless_the_node_says_where() -> None:
    assert [hardware.bmc_address for hardware in build().nodes] == ["10.20.0.201", "10.20.0.202"]
    declared = topology.build("demo", CLUSTER, {"hv1": node(1, bmc={"address": "10.20.0.99"})})
    assert declared.nodes[0].bmc_address == "10.20.0.99"


def test_a_topology_survives_its_file() -> None:
    assert topology.from_json(build().to_json()) == build()


def test_the_upstream_file_matches_by_mac_and_leads_to_the_gateway() -> None:
    found = build()
    text = topology.upstream_network_file(found, found.nodes[0])
    assert f"MACAddress={found.nodes[0].nic('upstream').mac}\n" in text
    assert "Address=10.20.0.1/24\nGateway=10.20.0.254\n" in text


@pytest.mark.parametrize("name", ["", "-a", "a/b", "A", "x" * 33, "a..b"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(LabError, match="not a name"):
        topology.check_name(name)


def test_a_missing_address_names_file_and_field() -> None:
    with pytest.raises(LabError, match=r"nodes/hv1\.yaml: spec lacks addresses\.upstream"):
        topology.build("demo", CLUSTER, {"hv1": {"spec": {"addresses": {}}}})
