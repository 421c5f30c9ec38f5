"""The scripts for nft and dnsmasq, as text: their effect is tried in tests/lab."""

import dataclasses

import pytest

from pvc_gitops.adapters.dnsmasq import config as dnsmasq
from pvc_gitops.adapters.netlink import rules
from pvc_gitops.model.ids import Mac
from pvc_gitops.world.ports import DhcpConfig, DhcpHost

CORE = ["10.20.0.0/24", "10.22.0.0/24", "10.21.0.0/24"]
CONFIG = DhcpConfig(
    vni=1000,
    bridge="br1000",
    subnet="10.100.0.0/24",
    gateway="10.100.0.1/24",
    domain="app.lab.example",
    dns_servers=("10.20.0.254", "9.9.9.9"),
    mtu_bytes=1450,
    hosts=(
        DhcpHost(mac=Mac("52:54:00:00:00:01"), address="10.100.0.10", hostname="web1"),
        DhcpHost(mac=Mac("52:54:00:00:00:02"), address="10.100.0.11", hostname="web2"),
    ),
)
SETTINGS = """\
port=0
user=dnsmasq
interface=br1000
except-interface=lo
bind-interfaces
no-resolv
no-hosts
no-ping
dhcp-authoritative
dhcp-range=10.100.0.0,static,255.255.255.0,1h
dhcp-hostsfile=/run/pvc/dhcp/1000.hosts
dhcp-leasefile=/run/pvc/dhcp/leases/1000
dhcp-option=option:router,10.100.0.1
dhcp-option=option:mtu,1450
dhcp-option=option:dns-server,10.20.0.254,9.9.9.9
domain=app.lab.example
"""


def test_rules_are_the_same_in_any_order():
    assert rules.script([1001, 1000, 1000], CORE) == rules.script([1000, 1001], sorted(CORE))


def test_rules_replace_both_tables_whole():
    text = rules.script([1000], CORE)
    for table in ("bridge pvc_local", "inet pvc_guard_rails"):
        assert f"add table {table}\ndelete table {table}\ntable {table} {{" in text


def test_rules_name_what_is_ours_and_the_core():
    text = rules.script([1000, 1001], CORE)
    assert 'set vxlans { type ifname; elements = { "vx1000", "vx1001" } }' in text
    assert "elements = { 02:00:00:00:03:e8, 02:00:00:00:03:e9 }" in text
    assert 'set guests { type ifname; elements = { "br1000", "br1001" } }' in text
    assert "elements = { 10.20.0.0/24, 10.21.0.0/24, 10.22.0.0/24 }" in text


def test_without_networks_the_rules_stand_with_empty_sets():
    assert "elements" not in rules.script([], [])


def test_settings_and_hosts():
    assert dnsmasq.settings(CONFIG) == SETTINGS
    assert dnsmasq.hosts(CONFIG) == (
        "52:54:00:00:00:01,10.100.0.10,web1\n52:54:00:00:00:02,10.100.0.11,web2\n"
    )


def test_without_servers_dnsmasq_does_not_name_itself():
    plain = dataclasses.replace(CONFIG, dns_servers=(), domain=None)
    assert "dhcp-option=option:dns-server\n" in dnsmasq.settings(plain)
    assert "domain=" not in dnsmasq.settings(plain)


def test_nobody_answers_without_an_address():
    with pytest.raises(ValueError, match="gateway"):
        dnsmasq.settings(dataclasses.replace(CONFIG, gateway=None))
