"""The node's own name and addresses: hostname, /etc/hosts, systemd-networkd's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pvc_gitops.formation.layout import Layout
from pvc_gitops.model.spec import Node


def hosts(nodes: Iterable[Node], domain: str) -> str:
    """Names lead to the cluster network: TLS names, migration and FRR go there."""
    lines = [f"{node.addresses['cluster']} {node.name}.{domain} {node.name}" for node in nodes]
    return "\n".join(["127.0.0.1 localhost", "::1 localhost ip6-localhost", *lines]) + "\n"


def network(layout: Layout, network: str) -> str:
    """The networkd file of one core network. Its name must be the installer's, which it replaces."""
    core = layout.cluster.networks[network]
    gateway = f"Gateway={core.gateway}\n" if network == "upstream" and core.gateway else ""
    return f"""[Match]
{_match(layout.me.interfaces[network])}
[Link]
MTUBytes={core.mtu_bytes}
[Network]
Address={layout.me.addresses[network]}/{layout.prefix_length(network)}
{gateway}LinkLocalAddressing=no
IPv6AcceptRA=no
ConfigureWithoutCarrier=yes
IgnoreCarrierLoss=yes
"""


def _match(interface: Mapping[str, str]) -> str:
    # As declared: kernels name cards anew when one is added. `Type` leaves out a bridge with its MAC.
    if "mac" in interface:
        return f"MACAddress={interface['mac'].lower()}\nType=ether"
    return f"Name={interface['name']}"


SYSCTL: Final = """# Guests' routes lead to their own node (DESIGN D13): every node forwards.
net.ipv4.ip_forward = 1
net.ipv6.conf.all.forwarding = 1
"""
