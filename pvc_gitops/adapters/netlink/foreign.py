"""Bridges of this node that are not ours, and whether ours could take their place as they are. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pvc_gitops.model.inventory import UnmanagedNetwork
from pvc_gitops.world import names

Message = Any  # pyroute2 has no types

ALIAS: Final = "pvc:"  # begins the alias of what is ours
_BRIDGE_NAME: Final = re.compile(r"br([1-9][0-9]{0,7})\Z")


def unmanaged(
    links: Sequence[Message],
    addresses: Mapping[int, Sequence[str]],
    local_address: str,
    vxlan_port: int,
) -> tuple[UnmanagedNetwork, ...]:
    """All bridges but ours, by name.

    Args:
        links: of this node, as netlink dumps them.
        addresses: IPv4 by interface, ADDRESS/PREFIX.
        local_address: this node's on the cluster network, where VXLANs of ours end.
        vxlan_port: the UDP port that ours use.
    """
    bridges = [link for link in links if kind(link) == "bridge" and not is_ours(link)]
    found = []
    for link in sorted(bridges, key=name):
        tunnels = [
            each
            for each in links
            if kind(each) == "vxlan" and each.get_attr("IFLA_MASTER") == link["index"]
        ]
        own = addresses.get(link["index"], ())
        vni = tunnel(tunnels[0])[0] if tunnels else vni_of(name(link))
        wrong = [*_wrong(name(link), tunnels, local_address, vxlan_port)]
        if len(own) > 1:
            wrong.append(f"it has {len(own)} addresses, and a gateway has one")
        found.append(
            UnmanagedNetwork(
                bridge=name(link),
                vni=vni,
                mtu_bytes=link.get_attr("IFLA_MTU"),
                gateway=own[0] if own else None,
                hindrance=wrong[0] if wrong else "",
            )
        )
    return tuple(found)


def _wrong(
    bridge: str, tunnels: Sequence[Message], local_address: str, vxlan_port: int
) -> Iterator[str]:
    if len(tunnels) != 1:
        yield "no VXLAN joins it with other nodes" if not tunnels else "it has several VXLANs"
        return
    (port,) = tunnels
    vni, end = tunnel(port)
    if vni is None:
        yield f"{name(port)} has no VNI of its own"
        return
    if (bridge, name(port)) != (names.bridge(vni), names.vxlan(vni)):
        ours = f"{names.bridge(vni)} and {names.vxlan(vni)}"
        yield f"{bridge} and {name(port)} would be called {ours}; guests hang on the name"
    if end != local_address:
        yield f"{name(port)} ends at {end or 'no address'}, ours at {local_address}"
    used = _data(port, "IFLA_VXLAN_PORT")
    if used != vxlan_port:
        yield f"{name(port)} uses UDP port {used}, ours {vxlan_port}"


def is_ours(link: Message) -> bool:
    """By its alias; or half made, before the alias was written: the anycast MAC is set first of all."""
    if alias(link).startswith(ALIAS):
        return True
    vni = vni_of(name(link))
    return vni is not None and link.get_attr("IFLA_ADDRESS") == names.anycast_mac(vni)


def vni_of(bridge: str) -> int | None:
    """Whose bridge a name is among ours."""
    match = _BRIDGE_NAME.match(bridge)
    return int(match[1]) if match else None


def name(link: Message) -> str:
    return str(link.get_attr("IFLA_IFNAME"))


def alias(link: Message) -> str:
    return str(link.get_attr("IFLA_IFALIAS") or "")


def kind(link: Message) -> str | None:
    info = link.get_attr("IFLA_LINKINFO")
    return None if info is None else info.get_attr("IFLA_INFO_KIND")


def tunnel(link: Message) -> tuple[int | None, str]:
    """A VXLAN's id and local address."""
    return _data(link, "IFLA_VXLAN_ID"), str(_data(link, "IFLA_VXLAN_LOCAL") or "")


def _data(link: Message, attribute: str) -> Any:  # noqa: ANN401  as netlink has it
    info = (link.get_attr("IFLA_LINKINFO") or link).get_attr("IFLA_INFO_DATA")
    return None if info is None else info.get_attr(attribute)
