"""Appliers as data: what is wanted, what is there, and the fewest commands between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvc_gitops.appliers import disk, image, network, pool, vm
from pvc_gitops.appliers.registry import APPLIERS
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.inventory import ImageFacts, PoolFacts
from pvc_gitops.model.plan import Operation
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.world.ports import Bridge, DhcpConfig, DhcpHost, Domain

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.json"))


def _maybe(cls, value):
    return None if value is None else decode(cls, value)


def _commands(kind, want, have):
    match kind:
        case "pool":
            name = "vms"
            return pool.commands(name, _maybe(pool.WantedPool, want), _maybe(PoolFacts, have))
        case "image":
            facts = _maybe(ImageFacts, have)
            return image.commands(
                want["pool"], want["image"], snapshot=want["snapshot"], have=facts
            )
        case "disk":
            return disk.commands(decode(disk.WantedDisk, want), _maybe(ImageFacts, have))
        case "network":
            return network.commands(_maybe(Bridge, want), _maybe(Bridge, have))
        case "vm":
            return vm.commands(decode(Domain, want), decode(Domain, have))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_case(path):
    case = json.loads(path.read_text())
    found = list(_commands(path.parent.name, case["want"], case["have"]))
    assert [[type(each).__name__, encode(each)] for each in found] == case["commands"], case["why"]
    assert case["commands"] or case["why"].startswith("noop") or path.parent.name == "vm"


def test_every_operation_has_an_applier():
    assert set(APPLIERS) == set(Operation)


HOST = DhcpHost(mac="52:54:00:00:00:01", address="10.100.0.10", hostname="web1")
DHCP = DhcpConfig(
    vni=1000,
    bridge="br1000",
    subnet="10.100.0.0/24",
    gateway="10.100.0.1",
    domain=None,
    dns_servers=(),
    mtu_bytes=1550,
    hosts=(HOST,),
)


def test_dhcp_is_served_stopped_and_left_alone():
    assert list(network.dhcp_commands({1000: DHCP}, {1000: DHCP})) == []
    assert list(network.dhcp_commands({1000: DHCP}, {})) == [network.ServeDhcp(config=DHCP)]
    assert list(network.dhcp_commands({}, {1000: DHCP})) == [network.StopDhcp(vni=1000)]


def test_dhcp_needs_a_host_and_a_gateway_to_serve_from():
    spec = {"type": "managed", "vni": 1000, "mtu": "auto", "dns": {"servers": []}}
    ipv4 = {"subnet": "10.100.0.0/24", "gateway": "10.100.0.1"}

    def served(ipv4, hosts):
        record = Applied(
            address="network/app", kind="network", name="app", spec={**spec, "ipv4": ipv4}, tags=(),
            incarnation=1, uuid="u", phase=Phase.PRESENT, needs=(), commit=None, plan=None,
            wanted=None, nics={}, disks={},
        )  # fmt: skip
        return network.dhcp_of(record, core_mtu_bytes=1500, hosts=hosts)

    assert served(ipv4, [HOST]).hosts == (HOST,)
    assert served(ipv4, []) is None
    assert served({"subnet": ipv4["subnet"]}, [HOST]) is None
