"""FRR: iBGP EVPN over the cluster network, coordinators as route reflectors, upstream peers as declared.

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


def conf(layout: Layout) -> str:
    """frr.conf, whole. Peers by name of node, so that equal documents give equal text."""
    lines = [
        "frr defaults datacenter",
        f"hostname {layout.me.name}",
        "log syslog warnings",
        "!",
        f"router bgp {layout.cluster.asn}",
        f" bgp router-id {layout.me.addresses['cluster']}",
        " no bgp default ipv4-unicast",
        *_core_peers(layout),
        *_upstream_peers(layout),
        " !",
        " address-family l2vpn evpn",
        *_evpn(layout),
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
    # A hypervisor talks to the reflectors only; they tell it of all others.
    peers = [
        f" neighbor {node.addresses['cluster']} peer-group core"
        for node in layout.nodes
        if node.name != layout.me.name
        and (_is_reflector(layout) or node.role is NodeRole.COORDINATOR)
    ]
    return group + peers


def _evpn(layout: Layout) -> list[str]:
    reflector = ["  neighbor core route-reflector-client"] if _is_reflector(layout) else []
    return ["  neighbor core activate", *reflector, "  advertise-all-vni"]


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
    if not layout.peers:
        return []
    activate = [f"  neighbor {peer.address} activate" for peer in layout.peers]
    return [
        " !",
        " address-family ipv4 unicast",
        *activate,
        " exit-address-family",
    ]


def established(summary: dict[str, dict[str, dict[str, str]]]) -> int:
    """How many peers of `show bgp l2vpn evpn summary json` are up."""
    peers = summary.get("peers", {}).values()
    return sum(peer.get("state") == "Established" for peer in peers)
