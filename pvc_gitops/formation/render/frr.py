"""FRR: iBGP over the cluster network, coordinators as route reflectors, upstream peers as declared.

EVPN carries frames between guests of one network; IPv4 unicast carries the host route of each guest, so
that what is routed to it, from another network, a node or outside, goes straight to its own node.

Timers 1 and 3 s inside and out: defaults keep a dead node's routes for 172 s.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.formation.layout import Layout
from pvc_gitops.model.spec import NodeRole

DAEMONS: Final = """bgpd=yes
bfdd=yes
vtysh_enable=yes
zebra_options="-A 127.0.0.1 -s 90000000"
bgpd_options="-A 127.0.0.1"
bfdd_options="-A 127.0.0.1"
"""
HYPERVISORS_MAX: Final = 1000  # FRR's own default is 100
# The agent keeps a kernel route for each guest of its node (`adapters/netlink`): /32, as no other is.
_GUESTS: Final = (
    "ip prefix-list GUESTS seq 5 permit 0.0.0.0/0 ge 32",
    "!",
    "route-map GUESTS permit 10",
    " match ip address prefix-list GUESTS",
    "exit",
    "!",
)
# A node tells the routers of its own guests only: they would send to any node that names a guest,
# and a firewall there would see the answers come from another one.
_FROM_CORE: Final = ("route-map FROM-CORE permit 10", " set community no-export", "exit", "!")


def conf(layout: Layout) -> str:
    """frr.conf, whole. Peers by name of node, so that equal documents give equal text."""
    lines = [
        "frr defaults datacenter",
        f"hostname {layout.me.name}",
        "log syslog warnings",
        "!",
        *_GUESTS,
        *(_FROM_CORE if layout.peers else ()),
        f"router bgp {layout.cluster.asn}",
        f" bgp router-id {layout.me.addresses['cluster']}",
        " no bgp default ipv4-unicast",
        *_core_peers(layout),
        *_upstream_peers(layout),
        " !",
        " address-family l2vpn evpn",
        *_core(layout),
        "  advertise-all-vni",
        " exit-address-family",
        *_ipv4(layout),
        "exit",
        "!",
    ]
    return "\n".join(lines) + "\n"


def _is_reflector(layout: Layout) -> bool:
    return layout.me.role is NodeRole.COORDINATOR


def _core_peers(layout: Layout) -> list[str]:
    group = [
        " neighbor core peer-group",
        f" neighbor core remote-as {layout.cluster.asn}",
        f" neighbor core update-source {layout.me.addresses['cluster']}",
        " neighbor core timers 1 3",
        " neighbor core timers connect 1",
    ]
    # Everybody calls the reflectors, which tell each of all others.
    peers = [
        f" neighbor {member.cluster} peer-group core"
        for member in layout.members
        if member.name != layout.me.name
    ]
    if not _is_reflector(layout):
        return group + peers
    # Hypervisors are let in by the subnet, so that one that joins changes nothing here.
    subnet = layout.cluster.networks["cluster"].subnet
    listen = (f" bgp listen limit {HYPERVISORS_MAX}", f" bgp listen range {subnet} peer-group core")
    return [*group, *peers, *listen]


def _core(layout: Layout) -> list[str]:
    """What holds of the core's peers in each address family."""
    reflector = ["  neighbor core route-reflector-client"] if _is_reflector(layout) else []
    return ["  neighbor core activate", *reflector]


def _upstream_peers(layout: Layout) -> list[str]:
    lines = []
    for peer in layout.peers:
        lines += [
            f" neighbor {peer.address} remote-as {peer.asn}",
            f" neighbor {peer.address} timers 1 3",
            f" neighbor {peer.address} timers connect 1",
        ]
    return lines


def _ipv4(layout: Layout) -> list[str]:
    from_core = ["  neighbor core route-map FROM-CORE in"] if layout.peers else []
    return [
        " !",
        " address-family ipv4 unicast",
        "  redistribute kernel route-map GUESTS",
        *_core(layout),
        *from_core,
        *(f"  neighbor {peer.address} activate" for peer in layout.peers),
        " exit-address-family",
    ]


def established(summary: dict[str, dict[str, dict[str, str]]]) -> int:
    """How many peers of `show bgp l2vpn evpn summary json` are up."""
    peers = summary.get("peers", {}).values()
    return sum(peer.get("state") == "Established" for peer in peers)
