"""How commands come to a plan: what of which repository, onto what, for which cluster.

`pvc plan`, `pvc test` and a node's preview share this, so that they cannot disagree.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pvc_gitops.errors import InvariantViolation, UsageError
from pvc_gitops.model.values import dataclass, replace

if TYPE_CHECKING:  # imported when they are needed: start-up is most of a small plan's time
    from collections.abc import Mapping

    from pvc_gitops.model.export import Export
    from pvc_gitops.model.ids import Address, CommitId
    from pvc_gitops.model.inventory import Inventory
    from pvc_gitops.model.plan import Plan, PlanPolicy
    from pvc_gitops.model.problem import Problem
    from pvc_gitops.model.spec import ClusterSpec
    from pvc_gitops.planner.markdown import Setting

_FILES_NAMED_MAX = 3
_DIGITS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for on the command line."""

    repo: Path | None  # None: not said
    rev: str | None = None
    base: str | None = None
    empty: bool = False
    inventory_file: Path | None = None
    now: str | None = None
    rebalance: bool = False

    @property
    def folder(self) -> Path:
        return Path() if self.repo is None else self.repo

    @property
    def is_live(self) -> bool:
        return not self.empty and self.inventory_file is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files to plan, and those of the base they are a change of."""

    commit: CommitId | None
    files: Mapping[str, bytes]
    problems: tuple[Problem, ...] = ()
    head: str = "the folder"  # in words
    remark: str = ""  # where it comes from, where that is not plain
    base: CommitId | None = None
    base_files: Mapping[str, bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, what it was made from, and what it does not know of itself."""

    plan: Plan
    spec: ClusterSpec
    inventory: Inventory
    source: Source
    already: frozenset[Address]
    exact: str  # "" where nobody else plans


def planned(host: str | None, wish: Wish) -> Planned:
    """Read, plan and verify. Raises UsageError, SpecError."""
    if wish.empty and wish.inventory_file is not None:
        raise UsageError("--empty and --inventory exclude each other", hint="choose one of them")
    if wish.now is not None and not wish.empty:
        raise UsageError("--now goes with --empty only", hint="an inventory brings its own time")
    export = None if wish.inventory_file is None else read_export(wish.inventory_file)
    source = read_source(wish, export)
    spec = _spec(wish.folder, source.files, source.commit, source.problems)
    base = None
    if source.base_files is not None:
        base = _spec(wish.folder, source.base_files, source.base, ())
    if export is None:
        export = _export(host, wish, base or spec)
    already: frozenset[Address] = frozenset()
    if base is not None:
        from pvc_gitops.planner.preview import preview

        policy = _policy(wish, export, is_accepted=base.commit == export.commit)
        found = preview(spec, base, export.inventory, policy)
        made, already = found.plan, found.already
    else:
        from pvc_gitops.planner import planner

        made = planner.plan(
            spec, export.inventory, _policy_alone(wish, export, spec), export.parent
        )
    verify(made, export.inventory)
    return Planned(
        plan=made,
        spec=spec,
        inventory=export.inventory,
        source=source,
        already=already,
        exact=_exactness(export.inventory, wish),
    )


def _policy(wish: Wish, export: Export, *, is_accepted: bool) -> PlanPolicy:
    """Ours, with the rules that the cluster told of its accepted commit, if that is the one."""
    from pvc_gitops.planner import planner

    rules = export.policy.rules if is_accepted else None
    return replace(planner.POLICY, rebalance=wish.rebalance, rules=rules)


def _policy_alone(wish: Wish, export: Export, spec: ClusterSpec) -> PlanPolicy:
    """Without a base that was named: the accepted commit is it, where this repository holds it."""
    is_accepted = spec.commit is not None and spec.commit == export.commit
    policy = _policy(wish, export, is_accepted=is_accepted)
    if wish.empty or is_accepted or export.commit is None:
        return policy
    accepted = _accepted(wish.folder, export.commit)
    if accepted is None:
        return policy
    from pvc_gitops.planner.rules import judging

    return replace(policy, rules=judging(accepted, spec))


def _accepted(repo: Path, commit: CommitId) -> ClusterSpec | None:
    """The commit that the cluster follows, if it is here and reads."""
    if _git_folder(repo) is None:
        return None
    from pvc_gitops.adapters.git.tree import read_commit
    from pvc_gitops.cli.problems import folder_in_repository
    from pvc_gitops.errors import SpecError
    from pvc_gitops.spec.load import load

    try:
        _, files = read_commit(repo, commit, folder=folder_in_repository(repo))
        return load(files, commit=commit)
    except (UsageError, SpecError):
        return None  # not fetched, or of another release: nothing is known of its rules


def verify(made: Plan, inventory: Inventory) -> None:
    """Have it read by the independent verifier, as the cluster has before it publishes one."""
    from pvc_gitops.planner.check import problems

    wrong = problems(made, inventory)
    if wrong:
        listed = "\n       ".join(wrong[:10])
        raise InvariantViolation(
            f"the verifier refuses this plan; please report it:\n       {listed}"
        )


def setting_of(found: Planned, wish: Wish) -> Setting:
    """What a comment says beside the plan."""
    from pvc_gitops.planner.markdown import Setting

    again = "pvc plan"
    if wish.base is not None:
        again += f" --commit {found.source.head} --base {wish.base}"
    return Setting(
        cluster=found.spec.cluster.name,
        head=found.source.head,
        base=wish.base or "",
        base_commit=found.source.base,
        by="pvc",
        exact=found.exact,
        again=again,
        already=found.already,
    )


def title(found: Planned, wish: Wish) -> str:
    """The line above a preview: whose, what, against what."""
    assert found.source.base is not None
    return (
        f"pvc {found.spec.cluster.name} · {found.source.head} against {wish.base} "
        f"{found.source.base[:_DIGITS]}"
    )


# --- the repository ----------------------------------------------------------------------------------


def read_source(wish: Wish, export: Export | None) -> Source:
    """The files that are meant: of an export, a folder, a commit, or a commit merged into a base."""
    if wish.base is not None:
        return _merged(wish) if wish.rev is not None else _folder_onto(wish, wish.base)
    if export is not None and export.files is not None and wish.repo is None and wish.rev is None:
        return _exported(export, export.files)
    from pvc_gitops.cli.problems import read_files

    commit, files, refused = read_files(wish.folder, wish.rev)
    if wish.rev is not None:
        assert commit is not None
        return Source(commit=commit, files=files, problems=refused, head=commit[:_DIGITS])
    commit, remark = _head(wish.folder)
    head = "your tree" if remark else (commit or "the folder")[: max(_DIGITS, len("the folder"))]
    return Source(commit=commit, files=files, problems=refused, head=head, remark=remark)


def _exported(export: Export, text: Mapping[str, str]) -> Source:
    from pvc_gitops.model.export import files_from_text

    try:
        files = files_from_text(text)
    except ValueError as err:
        raise UsageError(f"this export's files are cut short: {err}") from err
    return Source(commit=export.commit, files=files, head=(export.commit or "")[:_DIGITS])


def _merged(wish: Wish) -> Source:
    from pvc_gitops.adapters.git.merge import merge
    from pvc_gitops.cli.problems import folder_in_repository

    assert wish.base is not None
    assert wish.rev is not None
    found = merge(wish.folder, wish.base, wish.rev, folder=folder_in_repository(wish.folder))
    return Source(
        commit=found.commit,
        files=found.files,
        problems=found.problems,
        head=found.head[:_DIGITS],
        base=found.base,
        base_files=found.base_files,
    )


def _folder_onto(wish: Wish, base: str) -> Source:
    """A working tree is nothing that git could merge: it must hold the base already."""
    from pvc_gitops.adapters.git.merge import contains
    from pvc_gitops.adapters.git.tree import read_commit
    from pvc_gitops.cli.problems import folder_in_repository

    commit = contains(wish.folder, base)
    if commit is None:
        raise UsageError(
            f"what is checked out here does not hold {base}",
            hint=f"git rebase {base}; or `--commit HEAD` plans the merge of what is committed",
        )
    _, base_files = read_commit(wish.folder, commit, folder=folder_in_repository(wish.folder))
    plain = read_source(replace(wish, base=None), None)
    return replace(plain, base=commit, base_files=base_files)


def _head(repo: Path) -> tuple[CommitId | None, str]:
    """The commit that the folder is, or none and how it differs from it."""
    if _git_folder(repo) is None:
        return None, ""
    from pvc_gitops.adapters.git.head import read_head

    head = read_head(repo)
    if head is None:
        return None, ""
    if not head.changed:
        return head.commit, ""
    count = len(head.changed)
    named = ", ".join(head.changed[:_FILES_NAMED_MAX]) + (", …" if count > _FILES_NAMED_MAX else "")
    files = "1 file differs" if count == 1 else f"{count} files differ"
    return None, f"your tree: {files} from {head.commit[:_DIGITS]} ({named})"


def _git_folder(repo: Path) -> Path | None:
    """Without libgit2, which takes longer to load than a small plan to make."""
    above = (repo.absolute(), *repo.absolute().parents)
    return next((folder for folder in above if (folder / ".git").exists()), None)


def _spec(
    repo: Path,
    files: Mapping[str, bytes],
    commit: CommitId | None,
    refused: tuple[Problem, ...],
) -> ClusterSpec:
    from pvc_gitops.cli.known import remembered
    from pvc_gitops.cli.problems import show_problems
    from pvc_gitops.errors import SpecError
    from pvc_gitops.spec.load import load

    started = time.perf_counter()
    try:
        with remembered(repo) as known:
            spec = load(files, commit=commit, known=known)
        found = list(refused)
    except SpecError as err:
        found = sorted({*refused, *err.problems})
    if found:
        elapsed_ms = (time.perf_counter() - started) * 1000
        show_problems(found, files=len(files), elapsed_ms=elapsed_ms)
        raise UsageError("the repository is not valid: nothing was planned", hint="pvc validate")
    return spec


# --- the cluster -------------------------------------------------------------------------------------


def read_export(file: Path) -> Export:
    """What `pvc export` wrote. Raises UsageError."""
    from pvc_gitops.planner.codec import export_from_bytes

    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as err:
        raise UsageError(f"{file}: {err.strerror}", hint="pvc export FILE writes one") from err
    return export_from_bytes(data)


def _export(host: str | None, wish: Wish, spec: ClusterSpec) -> Export:
    """The cluster as it is, or one that nobody observed: empty, or with the base just applied."""
    if not wish.empty:
        from pvc_gitops.cli import live

        return live.export(host, wish.folder)
    from pvc_gitops.model.export import Export
    from pvc_gitops.planner import planner

    now_s = 0 if wish.now is None else moment_s(wish.now)
    if wish.base is not None:
        from pvc_gitops.planner.preview import applied

        inventory = applied(spec, now_s)
    else:
        from pvc_gitops.planner.inventory import empty

        inventory = empty(spec, now_s)
    return Export(inventory=inventory, policy=planner.POLICY, parent=None, commit=None)


def _exactness(inventory: Inventory, wish: Wish) -> str:
    if wish.empty:
        return ""
    from pvc_gitops.planner.preview import exactness

    return exactness(inventory)


def moment_s(text: str) -> int:
    """A time of the command line, in seconds since 1970. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--now {text}: not a time", hint="2026-11-29T02:00Z") from err
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())
