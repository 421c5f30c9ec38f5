"""The one source of the schemas: a table a kind, made of the few parts in `parts`.

From these tables come schema/*.json for people and editors, the compiled validators, the defaults,
and each field's owner, disposition and reference. Edit here, then run `python schema/generate.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.spec.source.parts import Schema, document


@cache
def schemas() -> Mapping[Kind, Schema]:
    """The complete schema of every kind. Treat as read-only."""
    from pvc_gitops.spec.source import (
        cluster,
        forge,
        network,
        node,
        people,
        plan_test,
        storage,
        transitions,
        vm,
        window,
    )

    specs = {
        Kind.CLUSTER: cluster.CLUSTER,
        Kind.NODE: node.NODE,
        Kind.POOL: storage.POOL,
        Kind.IMAGE: storage.IMAGE,
        Kind.VOLUME: storage.VOLUME,
        Kind.NETWORK: network.NETWORK,
        Kind.VM: vm.VIRTUAL_MACHINE,
        Kind.GROUP: vm.PLACEMENT_GROUP,
        Kind.WINDOW: window.MAINTENANCE_WINDOW,
        Kind.FORGE: forge.FORGE,
        Kind.TEST: plan_test.PLAN_TEST,
        Kind.SECRET: people.SECRET,
        Kind.OPERATOR: people.OPERATOR,
        Kind.ROLE: people.ROLE,
        Kind.TRANSITIONS: transitions.TRANSITIONS,
    }
    return MappingProxyType(
        {
            kind: document(
                DOCUMENT_KINDS[kind][0],
                spec,
                top=people.SECRET_TOP if kind is Kind.SECRET else {},
            )
            for kind, spec in specs.items()
        }
    )
