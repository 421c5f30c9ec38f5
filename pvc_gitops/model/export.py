"""All that a plan is computed from, as one value: what `pvc export` writes and a replay reads."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import PlanPolicy
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The planner's arguments. `files` is the repository as it was read, path to base64; None where it
    comes from elsewhere: from `commit` of a checkout, for example."""

    inventory: Inventory
    policy: PlanPolicy
    parent: PlanId | None
    commit: CommitId | None
    files: Mapping[str, str] | None = None


def files_to_text(files: Mapping[str, bytes]) -> Mapping[str, str]:
    """As `Export.files` and a question hold them."""
    return {path: base64.b64encode(files[path]).decode() for path in sorted(files)}


def files_from_text(files: Mapping[str, str]) -> Mapping[str, bytes]:
    """The inverse. Raises ValueError."""
    return {path: base64.b64decode(text, validate=True) for path, text in files.items()}
