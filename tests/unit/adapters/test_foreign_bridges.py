"""Bridges that are not ours, from what netlink says of a node's links."""

from __future__ import annotations

import pytest

from pvc_gitops.adapters.netlink.foreign import unmanaged
from pvc_gitops.model.inventory import UnmanagedNetwork

HERE = "10.21.0.1"


class Link(dict):
    """As pyroute2 gives one: items, and attributes that may be nested."""

    def __init__(self, index, **attributes):
        super().__init__(index=index)
        self.attributes = attributes

    def get_attr(self, name):
        return self.attributes.get(name)


def bridge(index, name, **attributes):
    info = Link(0, IFLA_INFO_KIND="bridge")
    return Link(index, IFLA_IFNAME=name, IFLA_LINKINFO=info, IFLA_MTU=1450, **attributes)


def vxlan(index, name, master, *, vni=4242, end=HERE, port=4789):
    data = Link(0, IFLA_VXLAN_ID=vni, IFLA_VXLAN_LOCAL=end, IFLA_VXLAN_PORT=port)
    info = Link(0, IFLA_INFO_KIND="vxlan", IFLA_INFO_DATA=data)
    return Link(index, IFLA_IFNAME=name, IFLA_LINKINFO=info, IFLA_MASTER=master)


def seen(*links, addresses=()):
    return unmanaged(links, {5: addresses}, HERE, 4789)


def test_a_bridge_with_its_vxlan_could_be_ours():
    found = seen(
        bridge(5, "br4242"), vxlan(6, "vx4242", 5), Link(1, IFLA_IFNAME="lo"),
        addresses=("10.142.0.1/24",),
    )  # fmt: skip
    assert found == (
        UnmanagedNetwork(
            bridge="br4242", vni=4242, mtu_bytes=1450, gateway="10.142.0.1/24", hindrance=""
        ),
    )


def test_what_is_ours_is_no_strangers():
    whole = bridge(5, "br4242", IFLA_IFALIAS="pvc:d1")
    half = bridge(7, "br4243", IFLA_ADDRESS="02:00:00:00:10:93")
    assert seen(whole, half, vxlan(6, "vx4242", 5)) == ()


@pytest.mark.parametrize(
    ("links", "vni", "words"),
    [
        ((bridge(5, "virbr0"),), None, "no VXLAN joins it with other nodes"),
        ((bridge(5, "br4242"),), 4242, "no VXLAN joins it"),
        ((bridge(5, "br-app"), vxlan(6, "vx4242", 5)), 4242, "would be called br4242 and vx4242"),
        ((bridge(5, "br4242"), vxlan(6, "vx4242", 5, end="10.9.0.1")), 4242, "ends at 10.9.0.1"),
        ((bridge(5, "br4242"), vxlan(6, "vx4242", 5, port=8472)), 4242, "UDP port 8472"),
        (
            (bridge(5, "br4242"), vxlan(6, "vx4242", 5), vxlan(7, "vx1", 5, vni=1)),
            4242,
            "several VXLANs",
        ),
    ],
)
def test_what_could_not_be_ours_says_why(links, vni, words):
    (found,) = seen(*links)
    assert found.vni == vni
    assert words in found.hindrance


def test_a_bridge_with_two_addresses_has_no_gateway_of_ours():
    two = ("10.142.0.1/24", "10.143.0.1/24")
    (found,) = seen(bridge(5, "br4242"), vxlan(6, "vx4242", 5), addresses=two)
    assert "2 addresses" in found.hindrance
