"""What checks look at: the documents that were accepted, and the names of those that were not."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable, Iterable, Mapping
from functools import cached_property, lru_cache

from pvc_gitops.model.document import Document, FieldPath, Kind, by_kind
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.findings import Finding

CORE_NETWORKS = ("upstream", "cluster", "storage")


@dataclass(frozen=True, kw_only=True)  # no slots: cached_property needs a dict
class Repository:
    """Accepted documents by address, in order of address."""

    documents: Mapping[Address, Document]
    failed: frozenset[Address]  # of refused documents: they exist, nobody knows what they say
    paths: frozenset[str]
    referred: Mapping[Address, tuple[str, ...]]  # addresses that each document names
    words: Document | None = None  # transitions.yaml

    def of_kind(self, kind: Kind) -> tuple[Document, ...]:
        return tuple(self._by_kind.get(kind, ()))

    @cached_property
    def _by_kind(self) -> Mapping[Kind, list[Document]]:
        return by_kind(self.documents.values())

    def find(self, kind: Kind, name: str) -> Document | None:
        return self.documents.get(address(kind.value, name))

    def exists(self, kind: Kind, name: str) -> bool:
        at = address(kind.value, name)
        return at in self.documents or at in self.failed

    def names(self, kind: Kind) -> frozenset[str]:
        """Of all documents of this kind, refused ones too."""
        prefix = f"{kind.value}/"
        every = (*self.documents, *self.failed)
        return frozenset(at.removeprefix(prefix) for at in every if at.startswith(prefix))

    def is_complete(self, kind: Kind) -> bool:
        """Were all documents of this kind accepted? Counting is honest only then."""
        return not any(failed.startswith(f"{kind.value}/") for failed in self.failed)

    @property
    def cluster(self) -> Document | None:
        return next(iter(self.of_kind(Kind.CLUSTER)), None)


class Taken:
    """Who has what must be unique; the second to ask is told about the first."""

    def __init__(self, what: str, hint: str = "") -> None:
        self._what = what
        self._hint = hint
        self._by: dict[Hashable, tuple[Document, FieldPath]] = {}

    def take(self, key: Hashable, document: Document, path: FieldPath) -> Iterable[Finding]:
        first = self._by.setdefault(key, (document, path))
        if first == (document, path):
            return
        other, other_path = first
        yield Finding(
            document=document,
            path=path,
            code=f"duplicate-{self._what.split()[-1].lower()}",
            message=f"{self._what} {key} is taken: {other.address} has it "
            f"({other.place(other_path)})",
            hint=self._hint or "give one of them another",
        )


@lru_cache(maxsize=4096)  # every address of a guest asks for its network's
def subnet(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The subnet, or None where it is none (another finding says so)."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, or None where it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def bad_subnet(document: Document, path: FieldPath, text: str) -> Iterable[Finding]:
    """A finding if `text` is not a subnet without host bits."""
    if subnet(text) is not None:
        return
    try:
        fixed = f"write {ipaddress.ip_network(text, strict=False)}"
    except ValueError:
        fixed = ""
    yield Finding(
        document=document,
        path=path,
        code="bad-subnet",
        message=f"{text} is an address in a subnet, not the subnet"
        if fixed
        else f"{text} is not a subnet",
        hint=fixed,
    )


def _reserved(
    net: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    # A /31 has no such addresses (RFC 3021), nor has IPv6 a broadcast address.
    if isinstance(net, ipaddress.IPv6Network) or net.num_addresses <= 2:  # noqa: PLR2004
        return ()
    return net.network_address, net.broadcast_address


def outside(
    document: Document, path: FieldPath, what: str, text: str, net_text: str
) -> Iterable[Finding]:
    """A finding if address `text` cannot be a host's in subnet `net_text`."""
    net, address_ = subnet(net_text), ip(text)
    if net is None:
        return
    if address_ is None:
        yield Finding(document=document, path=path, code="bad-address",
                      message=f"{text} is not an address")  # fmt: skip
    elif address_ not in net:
        yield Finding(
            document=document,
            path=path,
            code="outside-subnet",
            message=f"{what} {text} is not in {net_text}",
        )
    elif address_ in _reserved(net):
        yield Finding(
            document=document,
            path=path,
            code="outside-subnet",
            message=f"{what} {text} is the network or broadcast address of {net_text}",
        )
