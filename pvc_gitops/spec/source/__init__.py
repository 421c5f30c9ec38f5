"""The one source of the schemas: a table a kind, made of the few parts in `parts`.

From these tables come schema/*.json for people and editors, the compiled validators, the defaults,
and each field's owner, disposition and reference. Edit here, then run `python schema/generate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.spec.source.parts import Schema, document

# kind -> module of this package, and the table in it. A load imports what it compiles and no more.
_TABLES: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        Kind.CLUSTER: ("cluster", "CLUSTER"),
        Kind.NODE: ("node", "NODE"),
        Kind.POOL: ("storage", "POOL"),
        Kind.IMAGE: ("storage", "IMAGE"),
        Kind.VOLUME: ("storage", "VOLUME"),
        Kind.NETWORK: ("network", "NETWORK"),
        Kind.VM: ("vm", "VIRTUAL_MACHINE"),
        Kind.GROUP: ("vm", "PLACEMENT_GROUP"),
        Kind.WINDOW: ("window", "MAINTENANCE_WINDOW"),
        Kind.FORGE: ("forge", "FORGE"),
        Kind.TEST: ("plan_test", "PLAN_TEST"),
        Kind.SECRET: ("people", "SECRET"),
        Kind.OPERATOR: ("people", "OPERATOR"),
        Kind.ROLE: ("people", "ROLE"),
        Kind.TRANSITIONS: ("transitions", "TRANSITIONS"),
    }
)


@cache
def schema_of(kind: Kind) -> Schema:
    """The complete schema of one kind. Treat as read-only."""
    module_name, table = _TABLES[kind]
    module = import_module(f"{__name__}.{module_name}")
    top = module.SECRET_TOP if kind is Kind.SECRET else {}
    return document(DOCUMENT_KINDS[kind][0], getattr(module, table), top=top)


@cache
def schemas() -> Mapping[Kind, Schema]:
    """The complete schema of every kind. Treat as read-only."""
    return MappingProxyType({kind: schema_of(kind) for kind in _TABLES})
