"""Documents as the loader leaves them: resolved, with defaults filled in, canonical, and located.

`Document.spec` is the one form in which a spec is stored, compared and shown: the keys of the YAML,
defaults filled in by the schema, sizes and durations in canonical text (`1024MiB` is `1GiB`), lists
whose items have a name turned into maps by that name (`disks`, `nics`, `osds`, `media`: D19, so that
order means nothing). The typed views (`VirtualMachine.from_spec`) are made from it, on a laptop from
git and on a node from ZooKeeper alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from pvc_gitops.model.ids import Address
from pvc_gitops.model.values import dataclass

Value = Any  # JSON: None, bool, int, float, str, list, dict. mypy has no useful recursive alias.
Spec = Mapping[str, Value]
FieldPath = tuple[str, ...]  # keys; an item of a named list by its name: ("disks", "root", "size")


class Kind(StrEnum):
    """Kinds by the word that stands in their addresses."""

    CLUSTER = "cluster"
    NODE = "node"
    POOL = "pool"
    IMAGE = "image"
    VOLUME = "volume"
    NETWORK = "network"
    VM = "vm"
    GROUP = "group"
    WINDOW = "window"
    FORGE = "forge"
    TEST = "test"  # of plans; no object of the cluster, and never read with it
    SECRET = "secret"  # noqa: S105  a kind, not a password
    OPERATOR = "operator"
    ROLE = "role"
    TRANSITIONS = "transitions"  # one-shot words; its record holds those that are done


# kind as written in documents, and the folder that holds it ("" is the top).
DOCUMENT_KINDS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        Kind.CLUSTER: ("Cluster", ""),
        Kind.NODE: ("Node", "nodes"),
        Kind.POOL: ("Pool", "pools"),
        Kind.IMAGE: ("Image", "images"),
        Kind.VOLUME: ("Volume", "volumes"),
        Kind.NETWORK: ("Network", "networks"),
        Kind.VM: ("VirtualMachine", "vms"),
        Kind.GROUP: ("PlacementGroup", "groups"),
        Kind.WINDOW: ("MaintenanceWindow", "windows"),
        Kind.FORGE: ("Forge", "policies/forge"),
        Kind.TEST: ("PlanTest", "tests"),
        Kind.SECRET: ("Secret", "secrets"),
        Kind.OPERATOR: ("Operator", "operators"),
        Kind.ROLE: ("Role", "roles"),
        Kind.TRANSITIONS: ("Transitions", ""),
    }
)

# Lists whose items are named become maps in `Document.spec` (D19). kind -> field.
NAMED_LISTS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType({Kind.VM: ("disks", "nics")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One object as declared."""

    kind: Kind
    name: str
    address: Address
    spec: Spec
    file: str
    tags: tuple[str, ...] = ()
    description: str = ""
    places: Mapping[FieldPath, tuple[int, int]] = field(default_factory=dict, compare=False)

    def place(self, path: FieldPath) -> Place:
        """The place of a field, or of its nearest parent that is written down (defaults are not)."""
        while path and path not in self.places:
            path = path[:-1]
        line, column = self.places.get(path, (1, 1))
        return Place(file=self.file, line=line, column=column)


def by_kind(documents: Iterable[Document]) -> Mapping[Kind, list[Document]]:
    """Each kind's documents, in the order in which they came."""
    found: dict[Kind, list[Document]] = {}
    for doc in documents:
        found.setdefault(doc.kind, []).append(doc)
    return found
