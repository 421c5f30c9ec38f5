"""Plans and inventories as JSON bytes and back, without loss. The format's name stands first."""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

from pvc_gitops.errors import UsageError
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Plan

PLAN_FORMAT: Final = "pvc-plan/1"
INVENTORY_FORMAT: Final = "pvc-inventory/1"

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


def _to_bytes(name: str, value: object) -> bytes:
    plain = {"format": name, **encode(value)}
    return (json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def _from_bytes(cls: type[T], name: str, data: bytes) -> T:
    try:
        plain: Any = json.loads(data)
    except ValueError as err:
        raise UsageError(f"this is no JSON: {err}", hint=f"expected {name}, as exported") from err
    found = plain.pop("format", None) if isinstance(plain, dict) else None
    if found != name:
        raise UsageError(f"this is {found or 'no format that we know'}, expected {name}")
    try:
        return decode(cls, plain)
    except ValueError as err:
        hint = "it was written by another version; use the same on both sides"
        raise UsageError(f"this {name} does not read: {err}", hint=hint) from err
