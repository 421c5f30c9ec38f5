"""`pvc plan --remote`: the cluster plans, by its own planner, and the two are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pvc_gitops.cli.planning import Wish, planned, read_source
from pvc_gitops.errors import PvcError, UsageError

if TYPE_CHECKING:  # imported when they are needed
    from pvc_gitops.model.preview import Answer

EXIT_DIFFERENT = 4


def ask(host: str | None, wish: Wish, *, json_file: str | None, markdown_file: str | None) -> int:
    """Hand the files in, show the cluster's answer and whether this planner says the same.

    Returns the exit code: the cluster's, or 4 where the two differ.
    """
    from pvc_gitops.cli.live import cluster
    from pvc_gitops.model.export import files_to_text
    from pvc_gitops.model.preview import Outcome

    if not wish.is_live:
        raise UsageError("--remote asks the cluster as it is", hint="leave the inventory away")
    source = read_source(wish, None)
    if source.problems:
        raise UsageError("the repository is not valid: nothing was planned", hint="pvc validate")
    with cluster(host, wish.folder) as client:
        answer = client.preview(files_to_text(source.files))
    if answer.outcome is not Outcome.PLANNED:
        raise UsageError(answer.text, hint="pvc validate")
    _show(answer, json_file, markdown_file)
    same = _is_same(host, wish, answer)
    click.echo(same, err="-" in (json_file, markdown_file))
    return answer.exit_code if same.startswith("Exact") else EXIT_DIFFERENT


def _show(answer: Answer, json_file: str | None, markdown_file: str | None) -> None:
    from pvc_gitops.cli.plan import write

    written = []
    if json_file is not None:
        written.append(write(json_file, answer.plan.encode()))
    if markdown_file is not None:
        written.append(write(markdown_file, answer.markdown.encode()))
    if not any(written):
        click.echo(answer.text)


def _is_same(host: str | None, wish: Wish, answer: Answer) -> str:
    """In words. A cluster of another release may tell of itself what cannot be read here."""
    from pvc_gitops.planner.planner import PLANNER_VERSION

    try:
        mine = planned(host, wish).plan.effect
    except PvcError as error:
        return f"NOT COMPARED: this planner ({PLANNER_VERSION}) cannot plan it: {error}"
    versions = f"planner {answer.planner_version} there, {PLANNER_VERSION} here"
    if mine == answer.effect:
        return f"Exact: the effect is {mine} there and here ({versions})."
    return f"DIFFERENT: the effect is {answer.effect} there and {mine} here ({versions})."
