"""Where proposals come from and where their previews go: kind Forge (`policies/forge/*.yaml`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pvc_gitops.model.document import Spec
from pvc_gitops.model.values import dataclass


class ForgeType(StrEnum):
    """Whose address of proposals, comments and statuses it has."""

    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"
    GIT = "git"  # a bare repository: branches, and nobody to tell


# Where the heads of proposals stand. Of GitHub and Forgejo only `head` is dependable.
_PULLS: Final = {
    ForgeType.GITHUB: "refs/pull/*/head",
    ForgeType.FORGEJO: "refs/pull/*/head",
    ForgeType.GITLAB: "refs/merge-requests/*/head",
}
_API: Final = {
    ForgeType.GITHUB: "https://api.github.com",
    ForgeType.GITLAB: "https://gitlab.com/api/v4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """One forge."""

    name: str
    type: ForgeType
    repository: str  # as the forge names it: infra/prod; "" of a plain git server
    api: str  # the address of its API; "" of a plain git server
    web: str  # the address that people see; "" where none is known
    token_secret: str | None
    branches: tuple[str, ...]  # patterns of branches that are previewed
    pull_requests: bool
    from_forks: bool
    at_once: int

    @classmethod
    def from_spec(cls, name: str, spec: Spec) -> Forge:
        kind = ForgeType(spec["type"])
        previews = spec["previews"]
        token = spec.get("token")
        return cls(
            name=name,
            type=kind,
            repository=spec.get("repository", ""),
            api=spec.get("api") or _API.get(kind, ""),
            web=spec.get("web", ""),
            token_secret=None if token is None else token["secret"],
            branches=tuple(previews["branches"]),
            pull_requests=previews["pull_requests"],
            from_forks=previews["from_forks"],
            at_once=previews["at_once"],
        )

    @property
    def patterns(self) -> tuple[str, ...]:
        """Of the refs that are proposals."""
        pulls = _PULLS.get(self.type)
        found = [f"refs/heads/{branch}" for branch in self.branches]
        return tuple([*found, pulls] if pulls is not None and self.pull_requests else found)

    def number(self, ref: str) -> int | None:
        """Of the pull or merge request that a ref is; None of a branch."""
        parts = ref.split("/")
        is_pull = len(parts) == 4 and parts[1] in ("pull", "merge-requests")  # noqa: PLR2004
        return int(parts[2]) if is_pull and parts[2].isdigit() else None

    def links(self, commit: str) -> str:
        """A file's address at this commit, with {file} and {line}."""
        if not self.web:
            return ""
        home = f"{self.web.rstrip('/')}/{self.repository}"
        match self.type:
            case ForgeType.GITHUB:
                return f"{home}/blob/{commit}/{{file}}#L{{line}}"
            case ForgeType.GITLAB:
                return f"{home}/-/blob/{commit}/{{file}}#L{{line}}"
            case ForgeType.FORGEJO:
                return f"{home}/src/commit/{commit}/{{file}}#L{{line}}"
            case ForgeType.GIT:
                return ""
