"""Plans and their inputs as JSON bytes and back, without loss. The format's name stands first."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

from pvc_gitops.errors import UsageError
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.export import Export
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Plan, PlanPolicy

PLAN_FORMAT: Final = "pvc-plan/1"
INVENTORY_FORMAT: Final = "pvc-inventory/1"
EXPORT_FORMAT: Final = "pvc-export/1"

T = TypeVar("T")


def plan_to_bytes(plan: Plan) -> bytes:
    return _to_bytes(PLAN_FORMAT, plan)


def plan_from_bytes(data: bytes) -> Plan:
    """Raises UsageError."""
    return _from_bytes(Plan, PLAN_FORMAT, data)


def inventory_to_bytes(inventory: Inventory) -> bytes:
    return _to_bytes(INVENTORY_FORMAT, inventory)


def inventory_from_bytes(data: bytes) -> Inventory:
    """Raises UsageError."""
    return _from_bytes(Inventory, INVENTORY_FORMAT, data)


def export_to_bytes(export: Export) -> bytes:
    return _to_bytes(EXPORT_FORMAT, export)


def export_from_bytes(data: bytes) -> Export:
    """An export, or an inventory alone as earlier releases wrote it. Raises UsageError."""
    plain = _parsed(data, EXPORT_FORMAT)
    if isinstance(plain, dict) and plain.get("format") == INVENTORY_FORMAT:
        inventory = _decoded(Inventory, INVENTORY_FORMAT, plain)
        return Export(
            inventory=inventory,
            policy=PlanPolicy(planner_version=inventory.planner_version or ""),
            parent=inventory.target,
            commit=inventory.accepted,
        )
    return _decoded(Export, EXPORT_FORMAT, plain)


def _to_bytes(name: str, value: object) -> bytes:
    plain = {"format": name, **encode(value)}
    return (json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def _from_bytes(cls: type[T], name: str, data: bytes) -> T:
    return _decoded(cls, name, _parsed(data, name))


def _parsed(data: bytes, name: str) -> Any:  # noqa: ANN401  JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as err:
        raise UsageError(f"this is no JSON: {err}", hint=f"expected {name}, as exported") from err


def _decoded(cls: type[T], name: str, plain: Any) -> T:  # noqa: ANN401  JSON
    found = plain.get("format") if isinstance(plain, dict) else None
    if found != name:
        raise UsageError(f"this is {found or 'no format that we know'}, expected {name}")
    try:
        return decode(cls, {key: value for key, value in plain.items() if key != "format"})
    except (ValueError, TypeError, AttributeError) as err:
        hint = "it was written by another version; use the same on both sides"
        raise UsageError(f"this {name} does not read: {err}", hint=hint) from err
