"""Whether what lies in a person's checkout is what the cluster follows, and if not, what to do.

`pvc apply` never applies what is not on the tracked branch. The words here are the whole table of
`docs/commands.md`, "pvc apply".
"""

from __future__ import annotations

from enum import StrEnum

from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.values import dataclass

FILES_NAMED_MAX = 3  # more would scroll the command that helps out of sight
EXIT_REFUSED = 1
EXIT_BEHIND = 4  # DESIGN section 5: the checkout is behind


class Relation(StrEnum):
    """HEAD against the tracked branch, as far as anybody here knows it."""

    SAME = "same"
    AHEAD = "ahead"  # HEAD has commits that the branch has not
    BEHIND = "behind"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A checkout as git sees it. `remote` is the name that the branch is pushed to."""

    head: CommitId
    branch: str | None  # None: detached
    dirty: tuple[str, ...]  # paths that differ from HEAD, sorted
    remote: str
    relation: Relation
    ahead: int  # commits to push
    behind: int  # commits to pull
    newest_behind: str  # "bob: add mail", the tip that is missing here; "" if none is


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why not, what to type, and the exit code."""

    message: str
    hint: str
    exit_code: int


def refusal(checkout: Checkout, tracked: str, *, may_push: bool) -> Refusal | None:
    """The first thing that keeps HEAD from being what the cluster follows, or None.

    `may_push`: being ahead is no obstacle, since the caller pushes next.
    """
    if checkout.branch != tracked:
        here = f"on {checkout.branch}" if checkout.branch else "on a detached HEAD"
        mine = checkout.branch or checkout.head[:7]
        return Refusal(
            message=f"You are {here}; the cluster follows {tracked}.",
            hint=f"Open a pull request, or: git switch {tracked} && git merge {mine}",
            exit_code=EXIT_REFUSED,
        )
    if checkout.dirty:
        return _dirty(checkout)
    if checkout.relation is Relation.BEHIND:
        return Refusal(
            message=f"{checkout.remote}/{tracked} is {_commits(checkout.behind)} ahead of you "
            f"({checkout.newest_behind}).",
            hint="git pull --rebase",
            exit_code=EXIT_BEHIND,
        )
    if checkout.relation is Relation.DIVERGED:
        return Refusal(
            message=f"Your {tracked} and {checkout.remote}/{tracked} have each gone on: "
            f"{_commits(checkout.ahead)} here, {_commits(checkout.behind)} there "
            f"({checkout.newest_behind}).",
            hint="git pull --rebase, then pvc plan again",
            exit_code=EXIT_BEHIND,
        )
    if checkout.relation is Relation.AHEAD and not may_push:
        verb = "is" if checkout.ahead == 1 else "are"
        return Refusal(
            message=f"{_commits(checkout.ahead)} {verb} not pushed.",
            hint=f"git push {checkout.remote} {tracked}, or: pvc apply --push",
            exit_code=EXIT_REFUSED,
        )
    return None


def _dirty(checkout: Checkout) -> Refusal:
    names = ", ".join(checkout.dirty[:FILES_NAMED_MAX])
    rest = len(checkout.dirty) - FILES_NAMED_MAX
    if rest > 0:
        names += f" and {rest} more"
    count = len(checkout.dirty)
    files = "1 file is" if count == 1 else f"{count} files are"
    return Refusal(
        message=f"{files} not committed ({names}); only what is on "
        f"{checkout.remote}/{checkout.branch} is applied.",
        hint='git add -A && git commit -m "…" && git push, or to drop them: git stash -u',
        exit_code=EXIT_REFUSED,
    )


def _commits(count: int) -> str:
    return "1 commit" if count == 1 else f"{count} commits"
