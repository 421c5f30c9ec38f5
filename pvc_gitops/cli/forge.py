"""`pvc forge`: what a CI job tells its forge."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from pvc_gitops.errors import UsageError
from pvc_gitops.model.forge import ForgeType
from pvc_gitops.model.values import dataclass

_MARKER: Final = re.compile(r"<!-- pvc-plan [^>\n]{1,128} -->")
_PULL_REF: Final = re.compile(r"refs/pull/(\d+)/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job runs: which forge, which repository, which pull or merge request."""

    type: ForgeType
    address: str
    repository: str
    number: int


@click.group()
def forge() -> None:
    """Tell a forge what a change would do (from its own CI)."""


@forge.command()
@click.option(
    "--file", required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="What `pvc plan --markdown` wrote.",
)  # fmt: skip
def comment(file: Path) -> None:
    """Comment on the pull or merge request that this job is about; edit the comment if it stands.

    Where it is, GitHub's, Forgejo's and GitLab's CI say in the environment; the token is
    PVC_FORGE_TOKEN.
    """
    from pvc_gitops.adapters.forge import Api

    text = file.read_text(encoding="utf-8")
    marker = _MARKER.match(text)
    if marker is None:
        raise UsageError(
            f"{file} is no comment of a plan", hint="pvc plan --base origin/main --markdown FILE"
        )
    place, token = place_of(os.environ), os.environ.get("PVC_FORGE_TOKEN", "")
    if not token:
        raise UsageError("no token", hint="PVC_FORGE_TOKEN: one that may comment, nothing else")
    api = Api(type=place.type, address=place.address, repository=place.repository, token=token)
    done = api.comment(place.number, text, marker.group(0))
    click.echo(f"{done} the comment on {place.repository} {place.number}")


def place_of(environment: Mapping[str, str]) -> Place:
    """From what CI says. Raises UsageError."""
    if "CI_MERGE_REQUEST_IID" in environment:
        return Place(
            type=ForgeType.GITLAB,
            address=_said(environment, "CI_API_V4_URL"),
            repository=_said(environment, "CI_PROJECT_PATH"),
            number=int(environment["CI_MERGE_REQUEST_IID"]),
        )
    if "GITHUB_REF" in environment:
        found = _PULL_REF.match(environment["GITHUB_REF"])
        if found is None:
            raise UsageError(
                f"{environment['GITHUB_REF']} is no pull request", hint="on: pull_request"
            )
        is_forgejo = "FORGEJO_ACTIONS" in environment or "GITEA_ACTIONS" in environment
        return Place(
            type=ForgeType.FORGEJO if is_forgejo else ForgeType.GITHUB,
            address=_said(environment, "GITHUB_API_URL"),
            repository=_said(environment, "GITHUB_REPOSITORY"),
            number=int(found.group(1)),
        )
    raise UsageError(
        "this is no CI job of a pull or merge request",
        hint="it is for GitHub, Forgejo and GitLab; elsewhere pvc plan --markdown -",
    )


def _said(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise UsageError(f"{name} is not set", hint="the forge's CI sets it")
    return value
