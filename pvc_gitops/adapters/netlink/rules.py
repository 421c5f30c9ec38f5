"""The nftables rules of guest networks as nft's script. Pure.

*Local means local* (DESIGN section 9): every node answers its own guests as gateway and DHCP server,
with one MAC and one address, so none of this may cross a VXLAN: a flooded DISCOVER had three OFFERs.
*Nodes are not reachable from guests*: what a guest may ask of its node is listed, the rest dropped.

Both tables are replaced whole, in one transaction, before a network's first interface exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pvc_gitops.world import names

LOCAL: Final = "pvc_local"  # family bridge
GUARD_RAILS: Final = "pvc_guard_rails"  # family inet
# Before other people's filters, so that an accept of theirs does not overrule ours.
_PRIORITY: Final = "filter - 10"
_DHCP_PORTS: Final = "67, 68, 546, 547"


def script(vnis: Iterable[int], core_subnets: Iterable[str]) -> str:
    """Both tables for these networks. The same text for the same networks and subnets in any order."""
    numbers = sorted(set(vnis))
    return _local(numbers) + _guard_rails(numbers, sorted(set(core_subnets)))


def _local(vnis: list[int]) -> str:
    ports = _quoted(names.vxlan(vni) for vni in vnis)
    macs = ", ".join(names.anycast_mac(vni) for vni in vnis)
    return f"""\
add table bridge {LOCAL}
delete table bridge {LOCAL}
table bridge {LOCAL} {{
    set vxlans {{ type ifname; {_elements(ports)} }}
    set anycast {{ type ether_addr; {_elements(macs)} }}
    chain stays_here {{
        udp dport {{ {_DHCP_PORTS} }} drop
        icmpv6 type {{ nd-router-solicit, nd-router-advert, nd-redirect }} drop
        ether saddr @anycast drop
        ether daddr @anycast drop
    }}
    chain arriving {{
        type filter hook prerouting priority {_PRIORITY}; policy accept;
        iifname @vxlans jump stays_here
    }}
    chain leaving {{
        type filter hook postrouting priority {_PRIORITY}; policy accept;
        oifname @vxlans jump stays_here
    }}
}}
"""


def _guard_rails(vnis: list[int], core_subnets: list[str]) -> str:
    bridges = _quoted(names.bridge(vni) for vni in vnis)
    return f"""\
add table inet {GUARD_RAILS}
delete table inet {GUARD_RAILS}
table inet {GUARD_RAILS} {{
    set guests {{ type ifname; {_elements(bridges)} }}
    set core {{ type ipv4_addr; flags interval; {_elements(", ".join(core_subnets))} }}
    chain input {{
        type filter hook input priority {_PRIORITY}; policy accept;
        iifname @guests jump from_guests
    }}
    chain from_guests {{
        ct state established,related accept
        meta l4proto {{ icmp, icmpv6 }} accept
        udp dport {{ 53, 67, 123, 547 }} accept
        tcp dport 53 accept
        drop
    }}
    chain forward {{
        type filter hook forward priority {_PRIORITY}; policy accept;
        ct state established,related accept
        iifname @guests ip daddr @core drop
    }}
}}
"""


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _elements(text: str) -> str:
    return f"elements = {{ {text} }}" if text else ""
