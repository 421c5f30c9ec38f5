"""A later boot of a founded node: its own files as they were founded, and nothing else. Loads little."""

from __future__ import annotations

import json
from typing import Any

from pvc_gitops.adapters.formation import daemons, files, host
from pvc_gitops.adapters.formation.journal import Progress
from pvc_gitops.world.names import FOUNDED


def founded() -> dict[str, Any] | None:
    """What an earlier run founded; None before."""
    text = files.read(FOUNDED)
    return None if text is None else dict(json.loads(text))


def ensure_local(known: dict[str, Any]) -> None:
    """Name, addresses, node.toml; the daemons, if the run that founded did not get to them."""
    host.ensure(known["files"], known["node"])
    # Nodes that were founded before this was written down have started theirs.
    daemons.ensure_started(known.get("daemons", ()), Progress.load())
