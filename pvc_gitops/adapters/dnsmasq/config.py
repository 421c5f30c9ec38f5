"""dnsmasq's two files of one network. Pure.

Only declared NICs are answered, with the address that was allocated to them; there is no dynamic
range. The hosts stand in a file of their own, which dnsmasq reads again on SIGHUP, so that a new guest
costs no answer to the others.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from pvc_gitops.world.ports import DhcpConfig

FOLDER: Final = "/run/pvc/dhcp"
# Addresses never change hands without a plan: a long lease spares traffic, a short one is only for
# changes of mask or servers to arrive.
LEASE: Final = "1h"


def settings(config: DhcpConfig) -> str:
    """`VNI.conf`: everything but the hosts. Raises ValueError where there is nobody to answer from."""
    if config.gateway is None:
        raise ValueError(
            "a network without a gateway has no address on its nodes to serve DHCP from"
        )
    subnet = ipaddress.IPv4Network(config.subnet)
    gateway = ipaddress.IPv4Interface(config.gateway).ip
    lines = [
        "port=0",  # no DNS here
        "user=dnsmasq",
        f"interface={config.bridge}",
        "except-interface=lo",
        "bind-interfaces",  # several of us share the port, each bound to its own bridge
        "no-resolv",
        "no-hosts",
        "no-ping",  # a silent guest may own the address: what is allocated is not probed
        "dhcp-authoritative",
        f"dhcp-range={subnet.network_address},static,{subnet.netmask},{LEASE}",
        f"dhcp-hostsfile={FOLDER}/{config.vni}.hosts",
        f"dhcp-leasefile={FOLDER}/leases/{config.vni}",
        f"dhcp-option=option:router,{gateway}",
        f"dhcp-option=option:mtu,{config.mtu_bytes}",
        # Without a server named, dnsmasq would name itself.
        "dhcp-option=option:dns-server" + "".join(f",{server}" for server in config.dns_servers),
    ]
    if config.domain is not None:
        lines.append(f"domain={config.domain}")
    return "".join(line + "\n" for line in lines)


def hosts(config: DhcpConfig) -> str:
    """`VNI.hosts`: a line for each NIC."""
    return "".join(f"{host.mac},{host.address},{host.hostname}\n" for host in config.hosts)
