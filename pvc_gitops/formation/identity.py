"""Which Node document this machine is. Every fact that a document names must hold, and exactly one
document must match: a machine that takes another's name would take its disks and its vote too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pvc_gitops.errors import UsageError
from pvc_gitops.model.spec import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What a machine says of itself. `nics` maps an interface's name to its MAC, in small letters."""

    nics: dict[str, str]
    system_uuid: str | None
    serial: str | None

    @property
    def macs(self) -> frozenset[str]:
        return frozenset(self.nics.values())

    def __str__(self) -> str:
        macs = " ".join(sorted(self.macs)) or "none"
        return (
            f"system_uuid {self.system_uuid or 'none'}, serial {self.serial or 'none'}, macs {macs}"
        )


def match(nodes: Iterable[Node], facts: MachineFacts) -> Node:
    """The one node that this machine is.

    Raises:
        UsageError: none matches, or several; the message holds the facts to write down.
    """
    matching = [node for node in nodes if not node.is_retired and _holds(node, facts)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(node.name for node in matching)
        raise UsageError(
            f"this machine matches several documents: {names}",
            hint=f"name facts in identity.match that tell them apart; this one has {facts}",
        )
    raise UsageError(
        f"this machine matches no document in nodes/. It has {facts}",
        hint="write one of these facts into identity.match of its Node document",
    )


def _holds(node: Node, facts: MachineFacts) -> bool:
    wanted = node.identity_match
    checks: dict[str, Callable[[Any], bool]] = {
        "system_uuid": lambda value: _same(value, facts.system_uuid),
        "serial": lambda value: value == facts.serial,
        "macs": lambda value: {str(mac).lower() for mac in value} <= facts.macs,
    }
    # A document that names no fact matches nobody, and an unknown fact cannot hold.
    return bool(wanted) and all(key in checks and checks[key](wanted[key]) for key in wanted)


def _same(wanted: object, found: str | None) -> bool:
    return found is not None and str(wanted).lower() == found.lower()


def interface_name(node: Node, network: str, facts: MachineFacts) -> str:
    """The name of the NIC that is plugged into a core network. Raises UsageError."""
    wanted = node.interfaces.get(network, {})
    if "name" in wanted and wanted["name"] in facts.nics:
        return wanted["name"]
    if "mac" in wanted:
        for name, mac in sorted(facts.nics.items()):
            if mac == wanted["mac"].lower():
                return name
    found = ", ".join(f"{name} {mac}" for name, mac in sorted(facts.nics.items())) or "none"
    raise UsageError(
        f"no interface for {network}: nodes/{node.name}.yaml says {dict(wanted) or 'nothing'}",
        hint=f"write interfaces: {{{network}: {{mac: ...}}}} with one of: {found}",
    )
