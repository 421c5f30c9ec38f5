"""What all lines of a founding share, and how they wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pvc_gitops.adapters.formation.journal import Journal, Progress
from pvc_gitops.errors import WorldError
from pvc_gitops.formation.layout import Layout
from pvc_gitops.formation.record import FoundingRecord
from pvc_gitops.formation.secrets import FoundingSecrets
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.records import Accepted
from pvc_gitops.model.spec import ClusterSpec

LOOK_S: Final = 0.25  # between two looks: short beside what is waited for, cheap on two cores
# Then this run ends and systemd begins the next one; what was done stays done. A machine whose
# firmware takes minutes is the usual reason.
PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """One node's founding. Immutable but for journal, progress and the wish to stop."""

    spec: ClusterSpec
    accepted: Accepted  # the founding commit as people read it
    seed: Seed
    secrets: FoundingSecrets
    layout: Layout
    record: FoundingRecord
    journal: Journal
    progress: Progress
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def is_first(self) -> bool:
        """Whether this is the coordinator that does what only one may do: the lowest id."""
        return self.layout.members[0].name == self.layout.me.name

    def wait(self, stage: str, missing: Callable[[], str | None]) -> None:
        """Until `missing` says None; what it says otherwise stands in journal and status.

        Raises WorldError when patience is over, or when another line has failed.
        """
        end = time.monotonic() + PATIENCE_S
        while (what := missing()) is not None:
            if time.monotonic() > end:
                raise WorldError("wait for", what, "not within the time", retryable=True)
            self.journal.wait_for(stage, what)
            if self.stopping.wait(LOOK_S):
                raise WorldError("wait for", what, "given up: another part failed", retryable=True)
