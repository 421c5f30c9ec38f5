"""A mirror that asks the coordinators for the accepted commit when the origin does not answer (D7).

Only what was accepted comes this way, so a coordinator hands on what a majority holds and nothing of its
own; the commit's id says what its objects are. The origin stays the one that is asked first, always.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pygit2

from pvc_gitops.adapters.formation.peers import Body, Credentials, Peer, ask
from pvc_gitops.adapters.git import pack
from pvc_gitops.adapters.git.mirror import BYTES_MAX, Mirror
from pvc_gitops.errors import RepoError, WorldError
from pvc_gitops.formation.peer_words import KNOWN_MAX, Question, Refusal, Verb
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.source import Source
from pvc_gitops.world.ports import Fetched

# Of one coordinator: a small pack as a rule, a whole history at a first start.
OBJECTS_S: Final = 60.0


class PeerMirror(Mirror):
    """See world.ports.Repo."""

    def __init__(
        self,
        path: Path,
        *,
        peers: Sequence[Peer],
        credentials: Credentials,
        **origin: Any,  # noqa: ANN401  of Mirror
    ) -> None:
        super().__init__(path, **origin)
        self._folder_of_mirror = path
        self._peers = tuple(peers)
        self._credentials = credentials

    def fetch(self, source: Source | None = None) -> Fetched:
        try:
            return super().fetch(source)
        except RepoError as origin:
            # The last of all mirrors. With nothing new there, the origin's silence is all there is.
            found, why_not = self.take_accepted()
            if found is None:
                reason = f"{origin.reason}; {why_not}" if why_not else origin.reason
                raise RepoError(
                    origin.operation, origin.target, reason, retryable=origin.retryable
                ) from origin
            return Fetched(tip=found, mirror="another coordinator", error=origin.reason)

    def take_accepted(self) -> tuple[CommitId | None, str]:
        """The accepted commit, if it was not here and a coordinator gave it; else None and why not,
        which is empty where there is nothing new."""
        question = Question(verb=Verb.OBJECTS, fields={"known": " ".join(self._known())})
        why_not = ""
        for peer in self._peers:
            with tempfile.TemporaryFile() as file:
                body = Body(file=file, bytes_max=BYTES_MAX)
                try:
                    answer = ask(peer, question, self._credentials, limit_s=OBJECTS_S, body=body)
                    if isinstance(answer, Refusal):
                        why_not = why_not or str(answer)
                        continue
                    commit = CommitId(str(answer.value["commit"]))
                    if self.has(commit):
                        return None, ""
                    file.seek(0)
                    pack.read(self._folder_of_mirror, commit, file)
                except (WorldError, KeyError) as err:
                    why_not = why_not or str(err)
                else:
                    return commit, ""
        return None, why_not

    def _known(self) -> list[str]:
        """Newest commits here, so that little is sent: the tip may be news to a coordinator, which then
        knows one of those before it."""
        repository = self._open()
        found: list[str] = []
        for name in (f"refs/remotes/source/{self._branch}", pack.REF):
            known = repository.references.get(name)
            try:
                if known is not None:
                    walk = repository.walk(known.target)
                    found += [str(commit.id) for commit in islice(walk, KNOWN_MAX // 2)]
            except (KeyError, pygit2.GitError):
                continue  # torn by a power cut; the whole is asked for
        return found
