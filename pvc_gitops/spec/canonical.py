"""What of a document's canonical form depends on more than one field.

Lists whose items are named become maps by that name (D19), names that are derived are written out,
and so is what a default computes from. Idempotent: canonical in, the same canonical out.
"""

from __future__ import annotations

from typing import Any

from pvc_gitops.model.document import NAMED_LISTS, Kind
from pvc_gitops.spec.check import Invalid


def complete(kind: Kind, spec: dict[str, Any]) -> dict[str, Any]:
    """The spec as `Document.spec` holds it, from a checked one.

    Raises:
        Invalid: two items of a named list have one name.
    """
    if kind is Kind.POOL and "min_copies" not in spec:
        # One copy may be missing without stopping writes; the last one never counts as enough of two.
        return {**spec, "min_copies": max(1, spec["copies"] - 1)}
    if kind not in NAMED_LISTS:
        return spec
    result = dict(spec)
    for key in NAMED_LISTS[kind]:
        items = {item_name(item): _item(item) for item in spec[key]}
        if len(items) != len(spec[key]):
            raise Invalid
        result[key] = items
    return result


def _item(item: dict[str, Any]) -> dict[str, Any]:
    # The name is the key now; `absent` says something only where it is true.
    return {
        key: value
        for key, value in item.items()
        if key != "name" and not (key == "absent" and not value)
    }


def item_name(item: dict[str, Any]) -> str:
    """The name of a disk or NIC: its own, else its network's, else none."""
    return str(item.get("name") or item.get("network") or "")
