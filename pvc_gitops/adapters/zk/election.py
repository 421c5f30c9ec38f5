"""Standing for election: a sequential ephemeral per candidate, the first one leads.

Leading is proven to others by two checks in every transaction: the candidacy still stands, and the
role's epoch is the one that this leader set when it came (DESIGN section 6). A sequential name never
comes back, so its version 0 means this very candidacy.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world.ports import Check, Leadership


def sequence(candidate: str) -> int:
    """The number that ZooKeeper appended: ten digits."""
    return int(candidate[-10:])


@dataclass(slots=True, kw_only=True)
class Candidacy:
    """One process standing for one role. `mark` finds its own candidacies again after a lost answer."""

    role: str
    mark: str
    name: str | None = None  # of the ephemeral, once made
    leadership: Leadership | None = None

    @classmethod
    def of(cls, role: str, node: NodeName) -> Candidacy:
        return cls(role=role, mark=f"{node}.{os.getpid()}.{uuid.uuid4().hex[:8]}-")

    @property
    def prefix(self) -> str:
        return f"{paths.election(self.role)}/{self.mark}"

    @property
    def path(self) -> str:
        assert self.name is not None
        return f"{paths.election(self.role)}/{self.name}"

    def place(self, candidates: tuple[str, ...]) -> bool:
        """Take down where we stand among the candidates; True where we are first."""
        mine = sorted((name for name in candidates if name.startswith(self.mark)), key=sequence)
        name = mine[0] if mine else None
        if name != self.name:
            self.name, self.leadership = name, None
        return name is not None and name == min(candidates, key=sequence)

    def won(self, epoch: int) -> Leadership:
        self.leadership = Leadership(
            role=self.role,
            epoch=epoch,
            checks=(
                Check(path=self.path, version=0),
                Check(path=paths.epoch(self.role), version=epoch),
            ),
        )
        return self.leadership
