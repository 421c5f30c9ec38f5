"""What a change of a field costs and who owns it (DESIGN D4, D17). Filled from `schema/` by `spec`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pvc_gitops.model.document import FieldPath, Kind
from pvc_gitops.model.values import dataclass


class Disposition(StrEnum):
    """How a changed value comes into force."""

    LIVE = "live"  # at once, the guest notices nothing
    MIGRATE = "migrate"  # at the next live migration
    REBOOT = "reboot"  # at the next stop and start
    REPLACE = "replace"  # delete and create
    IMMUTABLE = "immutable"  # never: BLOCKED with what to do instead
    CREATE = "create"  # read only when the object is made; never drift


class Owner(StrEnum):
    """Whose word counts."""

    GIT = "git"
    CLUSTER = "cluster"
    OBSERVED = "observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of one kind. `*` in the path stands for any name of a named list or map."""

    path: FieldPath
    owner: Owner
    disposition: Disposition


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """All fields of all kinds: kind -> path pattern -> field."""

    by_kind: Mapping[Kind, Mapping[FieldPath, Field]]

    def disposition(self, kind: Kind, path: FieldPath) -> Disposition:
        """Of the field itself, else of its nearest parent; LIVE for what no schema names."""
        known = self.by_kind.get(kind, {})
        while path:
            for candidate in (path, _starred(path)):
                if candidate in known:
                    return known[candidate].disposition
            path = path[:-1]
        return Disposition.LIVE


def _starred(path: FieldPath) -> FieldPath:
    # ("disks", "root", "size") is described once, as ("disks", "*", "size").
    return (path[0], "*", *path[2:]) if len(path) > 1 else path
