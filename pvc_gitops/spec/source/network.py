"""Guest networks."""

from __future__ import annotations

from typing import Final

from pvc_gitops.spec.source.parts import (
    DOMAIN_PATTERN,
    IPV6_PATTERN,
    IPV6_SUBNET_PATTERN,
    Schema,
    auto_or_whole,
    choice,
    ip,
    ipv4,
    ipv4_subnet,
    mac,
    name,
    record,
    rows,
    text,
    whole,
)


def _rules(what: str) -> Schema:
    return rows(
        f"Rules for packets {what} guests, first match wins.",
        record(
            "One rule.",
            {
                "name": name("What the rule is called in counters and logs.", "web"),
                "action": choice("What happens to the packet.",
                                 {"accept": "passes", "drop": "vanishes",
                                  "reject": "is answered with a refusal"}),
                "protocol": choice("Which protocol.", {"any": "all", "tcp": "TCP", "udp": "UDP",
                                                       "icmp": "ICMP and ICMPv6"}, default="any"),
                "ports": rows("Destination ports; empty means all.",
                              whole("One port.", 443, least=1, most=65535), most=64, unique=True),
                "from": rows("Where packets come from: any, a subnet, a network's name; empty means any.",
                             text("One source.", "any", pattern="^[a-z0-9.:/-]+$", longest=63),
                             most=64, unique=True),
            },
            required=["name", "action"],
        ),
        most=256,
    )  # fmt: skip


NETWORK: Final = record(
    "A network that guests are on.",
    {
        "type": choice("How it is made.",
                       {"managed": "VXLAN between the nodes, with gateway and DHCP by the cluster",
                        "bridged": "a VLAN of the switches",
                        "sriov": "virtual functions of network cards"}, changes="replace"),
        "vni": whole("VXLAN network identifier of a managed network.", 1000, least=1, most=16777215,
                     changes="replace"),
        "vlan": whole("VLAN of a bridged or sriov network.", 100, least=1, most=4094,
                      changes="replace"),
        "mtu": auto_or_whole("Largest packet in bytes. auto is the most that the core network carries.",
                             1450, least=576, most=9216),
        "ipv4": record(
            "IPv4 of a managed network.",
            {
                "subnet": ipv4_subnet("The subnet.", "10.100.0.0/24", changes="replace"),
                "gateway": ipv4("The address that every node answers as the guests' router.",
                                "10.100.0.1"),
                "dhcp": record("Where addresses of guests that declare none are taken from.",
                               {"start": ipv4("The first one.", "10.100.0.100"),
                                "end": ipv4("The last one.", "10.100.0.199")},
                               required=["start", "end"]),
            },
            required=["subnet"],
        ),
        "ipv6": record(
            "IPv6 of a managed network.",
            {
                "subnet": text("The subnet.", "fd00:100::/64", pattern=IPV6_SUBNET_PATTERN,
                               longest=43, x_format="subnet", changes="replace"),
                "gateway": text("The address that every node answers as the guests' router.",
                                "fd00:100::1", pattern=IPV6_PATTERN, longest=45, x_format="ip"),
                "dhcp": choice("How guests take their addresses.",
                               {"slaac": "by router advertisements"}, default="slaac"),
            },
            required=["subnet"],
        ),
        "domain": text("DNS domain of its guests.", "app.lab.example", pattern=DOMAIN_PATTERN,
                       longest=253),
        "dns": record("Name servers.",
                      {"servers": rows("What names outside of the cluster are asked of.",
                                       ip("One server.", "10.20.0.254"), most=10)}),
        "ntp": record("Time servers.",
                      {"servers": rows("Told to guests by DHCP.", ip("One server.", "10.20.0.254"),
                                       most=10)}),
        "tftp": record("Network boot.",
                       {"root": text("Folder below tftp/ of this repository.", "app",
                                     pattern="^[A-Za-z0-9_][A-Za-z0-9._/-]*$"),
                        "boot_file": text("The file that guests ask for.", "ipxe.efi",
                                          pattern="^[A-Za-z0-9_][A-Za-z0-9._/-]*$")},
                       required=["root", "boot_file"]),
        "reservations": rows(
            "Addresses for machines that are not guests of this cluster.",
            record("One of them.",
                   {"mac": mac("Its MAC address.", "52:54:00:00:00:01"),
                    "address": ipv4("The address it gets.", "10.100.0.20"),
                    "hostname": name("The name it gets.", "printer")},
                   required=["mac", "address"]),
            most=4096),
        "firewall": record(
            "What may pass between this network and all others.",
            {"default": choice("What happens to packets that no rule names.",
                               {"accept": "pass", "drop": "vanish"}, default="accept"),
             "ingress": _rules("to"),
             "egress": _rules("from")},
        ),
    },
    required=["type"],
)  # fmt: skip
