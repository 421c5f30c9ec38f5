"""MACs and addresses of NICs: declared, kept, or allocated once (D19).

Allocation goes through guests and NICs in order of name and gives each the lowest address that nobody
has: guests that were made meanwhile hold exactly what they would be given, so that planning again in
the middle of an apply allocates the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from pvc_gitops.errors import InvariantViolation
from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, Mac, derived_mac
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.records import Applied, Lease
from pvc_gitops.model.spec import ClusterSpec, Ipv4, Network, Nic

# MACs are 24 bits of a hash: with 10,000 NICs about three meet a taken one, and none ten times.
_MAC_ATTEMPTS_MAX: Final = 64


class Allocator:
    """What is taken, while leases are given out."""

    def __init__(
        self,
        spec: ClusterSpec,
        inventory: Inventory,
        *,
        kept: Iterable[Applied],
        called: Callable[[str], str],
    ) -> None:
        """`kept`: records of what lies in the trash; `called`: the name that a network has now."""
        self._cluster_id = inventory.cluster_id
        # Also networks that are declared no more: a guest whose change is held back may be on one.
        self._networks: dict[str, Network] = {
            record.name: Network.from_spec(record.name, record.spec)
            for record in inventory.applied.values()
            if record.kind is Kind.NETWORK
        }
        for doc in spec.of_kind(Kind.NETWORK):
            self._networks[doc.name] = Network.from_spec(doc.name, doc.spec)
        self._taken: dict[str, set[str]] = {name: set() for name in self._networks}
        self._macs: set[str] = set()
        self._subnets: dict[str, IPv4Network] = {}
        self._cursors: dict[str, Iterator[str]] = {}
        for doc in spec.of_kind(Kind.NETWORK):
            self._reserve(doc)
        for doc in spec.of_kind(Kind.VM):
            self._declare(doc)
        # Also those of guests that go: their data may come back from the trash and want them again.
        for applied in (*inventory.applied.values(), *kept):
            nics = applied.spec.get("nics", {}) if applied.kind is Kind.VM else {}
            for name, lease in applied.nics.items():
                self._macs.add(lease.mac)
                network = nics.get(name, {}).get("network")
                network = None if network is None else called(network)
                if lease.address is not None and network in self._taken:
                    self._taken[network].add(lease.address)
        # And those of guests that are not ours, and would be heard on the same network.
        for facts in inventory.nodes.values():
            self._macs.update(nic.mac for guest in facts.unmanaged for nic in guest.nics)
        for leases in inventory.leases.values():
            self._macs.update(lease.mac for lease in leases.values())
            for taken in self._taken.values():
                # By number alone: subnets of one cluster are disjoint.
                taken.update(lease.address for lease in leases.values() if lease.address)

    def leases(
        self,
        vm: Address,
        nics: Mapping[str, Nic],
        kept: Mapping[str, Lease],
        before: Mapping[str, str],
    ) -> tuple[Mapping[str, Lease], tuple[str, ...]]:
        """A lease for every NIC, and the names of those that no address was left for. `kept` are the
        guest's leases, `before` the network that each of its NICs was on."""
        result: dict[str, Lease] = {}
        exhausted: list[str] = []
        for name, nic in sorted(nics.items()):
            old = kept.get(name)
            network = self._networks[nic.network]
            mac = nic.mac or (old.mac if old is not None else self._new_mac(vm, name))
            ip = nic.address
            if ip is None and old is not None and before.get(name) == nic.network:
                ip = old.address if self._lies_in(network.ipv4, old.address) else None
            if ip is None and network.ipv4 is not None and network.ipv4.dhcp_start is not None:
                ip = self._new_address(network.name, network.ipv4)
                if ip is None:
                    exhausted.append(name)
            result[name] = Lease(mac=mac, address=ip)
        return result, tuple(exhausted)

    def _reserve(self, doc: Document) -> None:
        taken = self._taken[doc.name]
        ipv4 = self._networks[doc.name].ipv4
        if ipv4 is not None and ipv4.gateway is not None:
            taken.add(ipv4.gateway)
        for reservation in doc.spec.get("reservations") or ():
            taken.add(reservation["address"])
            self._macs.add(reservation["mac"].lower())

    def _declare(self, doc: Document) -> None:
        for nic in doc.spec["nics"].values():
            if nic["mac"] != "auto":
                self._macs.add(nic["mac"].lower())
            if nic.get("address") not in (None, "auto") and nic["network"] in self._taken:
                self._taken[nic["network"]].add(nic["address"])

    def _new_mac(self, vm: Address, nic: str) -> Mac:
        of = Address(f"{vm}/nic/{nic}")
        for attempt in range(_MAC_ATTEMPTS_MAX):
            mac = derived_mac(self._cluster_id, of, attempt)
            if mac not in self._macs:
                self._macs.add(mac)
                return mac
        raise InvariantViolation(f"{of}: no free MAC after {_MAC_ATTEMPTS_MAX} attempts")

    def _new_address(self, network: str, ipv4: Ipv4) -> str | None:
        if network not in self._cursors:
            self._cursors[network] = iter(_range(ipv4))
        for candidate in self._cursors[network]:
            if candidate not in self._taken[network]:
                self._taken[network].add(candidate)
                return candidate
        return None

    def _lies_in(self, ipv4: Ipv4 | None, ip: str | None) -> bool:
        if ipv4 is None or ip is None:
            return False
        known = self._subnets.get(ipv4.subnet)
        if known is None:
            known = self._subnets[ipv4.subnet] = IPv4Network(ipv4.subnet)
        return IPv4Address(ip) in known


def _range(ipv4: Ipv4) -> Iterable[str]:
    assert ipv4.dhcp_start is not None
    assert ipv4.dhcp_end is not None
    first, last = int(IPv4Address(ipv4.dhcp_start)), int(IPv4Address(ipv4.dhcp_end))
    # As `str(IPv4Address(n))`, of which a large network needs thousands, in a third of the time.
    return (f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(first, last + 1))
