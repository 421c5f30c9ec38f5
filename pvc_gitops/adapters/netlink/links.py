"""The Links port: bridge, VXLAN, gateway and a node's own guests' entries, by netlink.

Ours is what bears a name of ours (`br1000`, `vx1000`) and, for the bridge, an alias that begins with
ALIAS. The alias is written last: a bridge without it, or without its VXLAN in place, is half made
and shows an empty digest, so that somebody makes it again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pvc_gitops.adapters.netlink import foreign, rules
from pvc_gitops.adapters.netlink.foreign import ALIAS, is_ours, tunnel, vni_of
from pvc_gitops.adapters.netlink.foreign import alias as alias_of
from pvc_gitops.adapters.netlink.foreign import name as name_of
from pvc_gitops.errors import LinkError
from pvc_gitops.model.inventory import UnmanagedNetwork
from pvc_gitops.world import names
from pvc_gitops.world.ports import Bridge, Neighbour

# pyroute2 has no types; these names say what is meant.
Netlink = Any
Message = Any

VXLAN_PORT: Final = 4789  # IANA's; Linux's own default is 8472
NFT_LIMIT_S: Final = 20.0  # tens of milliseconds at rest
# Our mark on host routes, so that they are found again: a number that nobody has registered
# (/etc/iproute2/rt_protos). FRR takes such routes up with `redistribute kernel`.
ROUTE_PROTOCOL: Final = 117
_MAIN_TABLE: Final = 254
_PERMANENT: Final = 0x80  # NUD_PERMANENT
_STATIC: Final = 0x40  # NUD_NOARP: how a forwarding entry that never ages is written
_MASTER: Final = 0x04  # NTF_MASTER: the bridge's own table
_LEARNED_ELSEWHERE: Final = 0x10  # NTF_EXT_LEARNED: by zebra
_SYSCTL: Final = Path("/proc/sys/net")


class NetlinkLinks:
    """Implements `world.ports.Links`.

    `local_address` is this node's on the cluster network; `core_subnets` are what guests may not reach.
    """

    def __init__(self, local_address: str, core_subnets: Iterable[str]) -> None:
        self._local_address = local_address
        self._core_subnets = tuple(str(ipaddress.ip_network(each)) for each in core_subnets)

    def bridges(self) -> Mapping[int, Bridge]:
        with self._netlink("list", "bridges") as netlink:
            links = {name_of(link): link for link in netlink.get_links()}
            addresses = _addresses(netlink)
        found = [
            _bridge(vni, links, addresses)
            for name, link in sorted(links.items())
            if (vni := vni_of(name)) is not None and is_ours(link)
        ]
        return {bridge.vni: bridge for bridge in found}

    def foreign(self) -> tuple[UnmanagedNetwork, ...]:
        with self._netlink("list", "bridges") as netlink:
            links = tuple(netlink.get_links())
            addresses = _addresses(netlink)
        return foreign.unmanaged(links, addresses, self._local_address, VXLAN_PORT)

    def create(self, bridge: Bridge) -> None:
        self._apply(bridge, "create")

    def update(self, bridge: Bridge) -> None:
        self._apply(bridge, "update")

    def delete(self, vni: int) -> None:
        with self._netlink("delete", names.bridge(vni)) as netlink:
            # The VXLAN first: without it nothing crosses, whatever the rules then say.
            for name in (names.vxlan(vni), names.bridge(vni)):
                index = _index(netlink, name)
                if index is not None:
                    netlink.link("del", index=index)
            left = _vnis(netlink)
        self._set_rules(left)

    def set_neighbours(self, vni: int, neighbours: Sequence[Neighbour]) -> None:
        with self._netlink("set the neighbours of", names.bridge(vni)) as netlink:
            bridge = _index(netlink, names.bridge(vni))
            if bridge is None:
                return
            taps = {each.tap: _index(netlink, each.tap) for each in neighbours}
            here = [each for each in neighbours if taps[each.tap] is not None]
            addresses = {each.address: each.mac for each in here if each.address is not None}
            _set_forwarding(netlink, bridge, {(each.mac, taps[each.tap]) for each in here})
            _set_neighbours(netlink, bridge, addresses)
            _set_routes(netlink, bridge, set(addresses))

    def _apply(self, bridge: Bridge, operation: str) -> None:
        name = names.bridge(bridge.vni)
        with self._netlink(operation, name) as netlink:
            known = _vnis(netlink)
            # Nothing of a network exists before its rules do.
            self._set_rules({*known, bridge.vni})
            _write_sysctls(
                {
                    "ipv4/ip_forward": "1",
                    # Connection state does not migrate with a guest: take up what is under way.
                    "netfilter/nf_conntrack_tcp_loose": "1",
                    "netfilter/nf_conntrack_tcp_be_liberal": "1",
                }
            )
            index = self._ensure_bridge(netlink, bridge)
            self._ensure_vxlan(netlink, bridge, index)
            _ensure_gateway(netlink, index, bridge.gateway)
            netlink.link("set", index=index, state="up")
            netlink.link("set", index=index, ifalias=ALIAS + bridge.digest)

    def _ensure_bridge(self, netlink: Netlink, bridge: Bridge) -> int:
        name = names.bridge(bridge.vni)
        if _index(netlink, name) is None:
            # No spanning tree and no forward delay: a VXLAN port forwards at once.
            netlink.link("add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0)
        index = _needed_index(netlink, name)
        _write_sysctls(
            {
                # Guests' router advertisements must not give this node routes.
                f"ipv6/conf/{name}/accept_ra": "0",
                # Guests on a bridge that is taken over learn the gateway's new MAC at once.
                f"ipv4/conf/{name}/arp_notify": "1",
            }
        )
        netlink.link(
            "set", index=index, address=names.anycast_mac(bridge.vni), mtu=bridge.mtu_bytes
        )
        return index

    def _ensure_vxlan(self, netlink: Netlink, bridge: Bridge, master: int) -> None:
        name = names.vxlan(bridge.vni)
        known = netlink.get_links(ifname=name) if _index(netlink, name) is not None else ()
        for link in known:
            if tunnel(link) != (bridge.vni, bridge.local_address):
                netlink.link("del", index=link["index"])  # its end is fixed when it is made
        if _index(netlink, name) is None:
            netlink.link(
                "add",
                ifname=name,
                kind="vxlan",
                vxlan_id=bridge.vni,
                vxlan_local=bridge.local_address,
                vxlan_port=VXLAN_PORT,
                vxlan_learning=False,  # EVPN fills the table
            )
        index = _needed_index(netlink, name)
        _write_sysctls({f"ipv6/conf/{name}/disable_ipv6": "1"})  # it is a port, it says nothing
        netlink.link("set", index=index, mtu=bridge.mtu_bytes, master=master)
        # Answers ARP from what BGP told, instead of asking every node.
        netlink.brport("set", index=index, learning=0, neigh_suppress=1)
        netlink.link("set", index=index, state="up")

    def _set_rules(self, vnis: Iterable[int]) -> None:
        text = rules.script(vnis, self._core_subnets)
        try:
            done = subprocess.run(
                ["nft", "-f", "-"],
                input=text.encode(),
                capture_output=True,
                timeout=NFT_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise LinkError("set rules", "nft", str(err), retryable=True) from err
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip()
            raise LinkError("set rules", "nft", words or "failed", retryable=False)

    @contextlib.contextmanager
    def _netlink(self, operation: str, target: str) -> Iterator[Netlink]:
        """A socket for one act, and its errors in our words."""
        try:
            with IPRoute() as netlink:
                yield netlink
        except (NetlinkError, OSError) as err:
            raise LinkError(operation, target, str(err), retryable=True) from err


def _bridge(
    vni: int, links: Mapping[str, Message], addresses: Mapping[int, Sequence[str]]
) -> Bridge:
    link, port = links[names.bridge(vni)], links.get(names.vxlan(vni))
    end = (None, "") if port is None else tunnel(port)
    is_whole = (
        port is not None
        and end[0] == vni
        and port.get_attr("IFLA_MASTER") == link["index"]
        and all(each["state"] == "up" for each in (link, port))
        and link.get_attr("IFLA_ADDRESS") == names.anycast_mac(vni)
    )
    own = addresses.get(link["index"], ())
    return Bridge(
        vni=vni,
        mtu_bytes=link.get_attr("IFLA_MTU"),
        local_address=end[1],
        gateway=own[0] if own else None,
        digest=alias_of(link).removeprefix(ALIAS) if is_whole else "",
    )


def _vnis(netlink: Netlink) -> set[int]:
    vnis = (vni_of(name_of(link)) for link in netlink.get_links() if is_ours(link))
    return {vni for vni in vnis if vni is not None}


def _index(netlink: Netlink, name: str) -> int | None:
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None


def _needed_index(netlink: Netlink, name: str) -> int:
    index = _index(netlink, name)
    if index is None:
        raise LinkError("find", name, "it went away while it was made", retryable=True)
    return index


def _addresses(netlink: Netlink) -> Mapping[int, Sequence[str]]:
    """IPv4 addresses by interface, as ADDRESS/PREFIX."""
    found: dict[int, list[str]] = {}
    for each in netlink.get_addr(family=socket.AF_INET):
        text = f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}"
        found.setdefault(each["index"], []).append(text)
    return found


def _ensure_gateway(netlink: Netlink, index: int, gateway: str | None) -> None:
    have = set(_addresses(netlink).get(index, ()))
    want = set() if gateway is None else {gateway}
    for verb, texts in (("del", have - want), ("add", want - have)):
        for text in sorted(texts):
            address, _, prefix = text.partition("/")
            netlink.addr(verb, index=index, address=address, prefixlen=int(prefix))


def _set_forwarding(netlink: Netlink, bridge: int, want: set[tuple[str, int | None]]) -> None:
    """Which MAC is behind which tap. What zebra and the kernel put there is left alone."""
    have = {
        (str(entry.get_attr("NDA_LLADDR")), entry["ifindex"])
        for entry in netlink.fdb("dump")
        if entry.get_attr("NDA_MASTER") == bridge
        and entry["state"] & _STATIC
        and not entry["state"] & _PERMANENT
        and not entry["flags"] & _LEARNED_ELSEWHERE
    }
    for mac, index in sorted(have - want):
        with contextlib.suppress(NetlinkError):  # went with its tap meanwhile
            netlink.fdb("del", lladdr=mac, ifindex=index, flags=_MASTER)
    for mac, tap in sorted(want - have, key=str):
        netlink.fdb("replace", lladdr=mac, ifindex=tap, flags=_MASTER, state=_STATIC)


def _set_neighbours(netlink: Netlink, bridge: int, want: Mapping[str, str]) -> None:
    have = {
        str(entry.get_attr("NDA_DST")): str(entry.get_attr("NDA_LLADDR"))
        for entry in netlink.get_neighbours(family=socket.AF_INET, ifindex=bridge)
        if entry["state"] & _PERMANENT
    }
    for address in sorted(have.keys() - want.keys()):
        netlink.neigh("del", dst=address, ifindex=bridge)
    for address, mac in sorted(want.items() - have.items()):
        netlink.neigh("replace", dst=address, lladdr=mac, ifindex=bridge, state=_PERMANENT)


def _set_routes(netlink: Netlink, bridge: int, want: set[str]) -> None:
    """A host route for each guest of this node, which BGP tells the others: answers then come straight
    here, and not to whichever node has the subnet, from where nothing of the gateway crosses."""
    have = {
        str(route.get_attr("RTA_DST"))
        for route in netlink.get_routes(family=socket.AF_INET, table=_MAIN_TABLE)
        if route.get_attr("RTA_OIF") == bridge and route["proto"] == ROUTE_PROTOCOL
    }
    for verb, addresses in (("del", have - want), ("replace", want - have)):
        for address in sorted(addresses):
            netlink.route(verb, dst=f"{address}/32", oif=bridge, proto=ROUTE_PROTOCOL, scope="link")


def _write_sysctls(values: Mapping[str, str]) -> None:
    """Where this kernel has them and lets us: a container may not, a kernel may lack conntrack."""
    for name, value in values.items():
        with contextlib.suppress(OSError):
            (_SYSCTL / name).write_text(value)
