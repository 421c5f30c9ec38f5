"""Proposals in memory: branches beside the tracked one, merged file by file."""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Mapping, Sequence

from pvc_gitops.controllers.preview_answer import planned, unplanned
from pvc_gitops.model.forge import Forge
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.preview import Answer, Ask, Outcome, Told
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.codec import export_from_bytes
from pvc_gitops.sim.origin import Origin
from pvc_gitops.sim.process import Process


@dataclass(slots=True)
class ProposalsPort:
    """The Proposals port. `heads`: ref -> a commit of the origin."""

    origin: Origin
    heads: Mapping[str, CommitId]
    process: Process
    told: list[tuple[str, Told]]  # all that was told, with the forge and the size of its secret

    def fetch(
        self, patterns: Sequence[str], *, only_ours: bool, most: int
    ) -> Mapping[str, CommitId]:
        del only_ours  # all branches are of the one repository
        self.process.spend()
        found = {
            ref: head
            for ref, head in sorted(self.heads.items())
            if any(fnmatch.fnmatchcase(ref, pattern) for pattern in patterns)
        }
        return dict(list(found.items())[:most])

    def plan(self, ask: Ask, inputs: bytes) -> Answer:
        base_files = self.origin.commits[ask.base].files
        export = export_from_bytes(inputs)
        if ask.files is not None:
            files = {path: base64.b64decode(text) for path, text in ask.files.items()}
            return planned(ask, export, files, base_files, commit=None)
        assert ask.head is not None
        if ask.base in self.origin.ancestors(ask.head):
            head_files = self.origin.commits[ask.head].files
            return planned(ask, export, head_files, base_files, commit=ask.head)
        merged = self._merged(ask.base, ask.head)
        if isinstance(merged, str):
            return unplanned(ask, Outcome.REFUSED, f"it does not merge: both changed {merged}")
        return planned(ask, export, merged, base_files, commit=None)

    def tell(self, forge: Forge, sealed: bytes, told: Told) -> None:
        self.process.spend()
        self.told.append((f"{forge.name} {len(sealed)} bytes", told))

    def _merged(self, base: CommitId, head: CommitId) -> Mapping[str, bytes] | str:
        """All files of the merge, or one that both changed."""
        ours, theirs = self.origin.commits[base].files, self.origin.commits[head].files
        before = self._common(base, head)
        found = {}
        for path in sorted({*ours, *theirs}):
            mine, other, was = ours.get(path), theirs.get(path), before.get(path)
            if mine != other and was not in (mine, other):
                return path
            value = other if mine == was else mine
            if value is not None:
                found[path] = value
        return found

    def _common(self, base: CommitId, head: CommitId) -> Mapping[str, bytes]:
        """The files of the newest commit that both come from; none where there is none."""
        ours = self.origin.ancestors(base)
        at: CommitId | None = head
        while at is not None and at not in ours:
            at = self.origin.commits[at].parent
        return {} if at is None else self.origin.commits[at].files
