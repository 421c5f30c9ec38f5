"""Plans and their inputs as JSON bytes and back, without loss. The format's name stands first."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pvc_gitops.errors import UsageError
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Plan, PlanPolicy
from pvc_gitops.model.values import dataclass

PLAN_FORMAT: Final = "pvc-plan/1"
INVENTORY_FORMAT: Final = "pvc-inventory/1"
EXPORT_FORMAT: Final = "pvc-export/1"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """All that a plan is computed from. `files` is the repository as it was read, path to base64; None
    where it comes from elsewhere, from `commit` of a checkout for example."""

    inventory: Inventory
    policy: PlanPolicy
    parent: PlanId | None
    commit: CommitId | None
    files: Mapping[str, str] | None = None

    def repository(self) -> Mapping[str, bytes] | None:
        """Path to bytes. Raises UsageError."""
        if self.files is None:
            return None
        try:
            return {path: base64.b64decode(text) for path, text in self.files.items()}
        except ValueError as err:
            raise UsageError(f"this export's files are cut short: {err}") from err


def export_of(
    inventory: Inventory, policy: PlanPolicy, *, files: Mapping[str, bytes] | None = None
) -> Export:
    """What the planner would be given now for the accepted commit."""
    shown = None
    if files is not None:
        shown = {path: base64.b64encode(files[path]).decode() for path in sorted(files)}
    return Export(
        inventory=inventory,
        policy=policy,
        parent=inventory.target,
        commit=inventory.accepted,
        files=shown,
    )


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
        version = inventory.planner_version or ""
        return export_of(inventory, PlanPolicy(planner_version=version))
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
