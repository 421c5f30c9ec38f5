"""What all lines of a first start share, and how they wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import field
from typing import Final, TypeVar

from pvc_gitops.adapters.formation.journal import Journal, Progress
from pvc_gitops.errors import WorldError
from pvc_gitops.formation.layout import Layout
from pvc_gitops.formation.record import FoundingRecord
from pvc_gitops.formation.secrets import FoundingSecrets, NodeSecrets
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.records import Accepted
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.values import dataclass

T = TypeVar("T")
LOOK_S: Final = 0.25  # between two looks: short beside what is waited for, cheap on two cores
# Then this run ends and systemd begins the next one; what was done stays done. A machine whose
# firmware takes minutes is the usual reason.
PATIENCE_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How a first start waits: with an end, and saying for what."""

    journal: Journal
    stopping: threading.Event = field(default_factory=threading.Event)

    def wait(self, stage: str, missing: Callable[[], str | None]) -> None:
        """Until `missing` says None; what it says otherwise stands in journal and status.

        Raises WorldError when patience is over, or when another line has failed.
        """
        end = time.monotonic() + PATIENCE_S
        while (what := missing()) is not None:
            self._pause(stage, what, end, LOOK_S)

    def wait_for(
        self, stage: str, look: Callable[[], T | None], why_not: Callable[[], str], every_s: float
    ) -> T:
        """What `look` gives; `why_not` says what is missing while it gives None. Raises as `wait`."""
        end = time.monotonic() + PATIENCE_S
        while (found := look()) is None:
            self._pause(stage, why_not(), end, every_s)
        return found

    def _pause(self, stage: str, what: str, end: float, seconds: float) -> None:
        if time.monotonic() > end:
            raise WorldError("wait for", what, "not within the time", retryable=True)
        self.journal.wait_for(stage, what)
        if self.stopping.wait(seconds):
            raise WorldError("wait for", what, "given up: another part failed", retryable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStart(Waiting):
    """One node's way into the cluster. Immutable but for journal, progress and the wish to stop."""

    seed: Seed
    layout: Layout
    node_secrets: NodeSecrets
    commit: CommitId  # that everything is rendered from
    formation: int
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding(FirstStart):
    """A coordinator's, with what only coordinators know."""

    spec: ClusterSpec
    accepted: Accepted  # the founding commit as people read it
    secrets: FoundingSecrets
    record: FoundingRecord

    @property
    def is_first(self) -> bool:
        """Whether this is the coordinator that does what only one may do: the lowest id."""
        return self.layout.members[0].name == self.layout.me.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining(FirstStart):
    """A hypervisor's, once a coordinator has let it in."""

    bootstrap_key: str | None  # of Ceph, where the document declares OSDs
