"""The commits of a person's checkout as a pack that a cluster without its origin can take."""

from __future__ import annotations

from pathlib import Path

from pvc_gitops.adapters.git import pack
from pvc_gitops.adapters.git.tree import commit_of, open_repository
from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What `head` holds and the accepted commit does not."""

    head: CommitId
    count: int  # commits
    pack: bytes


def read(repo: Path, rev: str, base: CommitId) -> Submission:
    """Raises UsageError where the commits do not follow what is in force; RepoError."""
    repository = open_repository(repo)
    head = commit_of(repository, rev)
    if base not in repository:
        raise UsageError(
            f"{base[:7]} is in force, and this checkout does not have it",
            hint="a clone that has it can hand commits over: the one that the last ones came from",
        )
    known = commit_of(repository, base)
    if head.id != known.id and not repository.descendant_of(head.id, known.id):
        raise UsageError(
            f"{str(head.id)[:7]} does not follow {base[:7]}, which is in force",
            hint=f"git merge {base[:7]}",
        )
    _, count = repository.ahead_behind(known.id, head.id)
    name = CommitId(str(head.id))
    with pack.write(Path(repository.path), name, (base,)) as body:
        return Submission(head=name, count=count, pack=body.read())
