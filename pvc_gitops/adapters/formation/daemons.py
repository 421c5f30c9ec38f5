"""Starting what runs on a founded node, once: a run may be killed between the two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pvc_gitops.adapters.formation import systemd
from pvc_gitops.adapters.formation.journal import Progress

STARTED: Final = "daemons-started"


def ensure_started(units: Sequence[str], progress: Progress) -> None:
    """Enabled and told to start. Later boots leave it to systemd, and to whoever has stopped one."""
    if progress.has(STARTED):
        return
    there = [unit for unit in units if systemd.exists(unit)]
    if there:
        systemd.enable(*there)
        systemd.start_later(*there)
    progress.mark(STARTED)
