"""Comments of a few golden plans, as a forge gets them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.problem import Problem
from pvc_gitops.planner.markdown import Setting, markdown, refused, status_line
from pvc_gitops.planner.planner import POLICY, plan

HERE = Path(__file__).parent
_PLANS = HERE.parent / "plans" / "test_golden_plans.py"
_found = importlib.util.spec_from_file_location("golden_plans", _PLANS)
golden = importlib.util.module_from_spec(_found)
_found.loader.exec_module(golden)

NAMES = (
    "a-protected-guest-stays-when-its-file-goes",
    "an-applied-commit-plans-to-nothing",
    "an-empty-cluster-gets-everything-in-order",
    "more-deletions-than-the-budget-are-all-held",
    "more-memory-restarts-a-guest-that-allows-it",
    "more-memory-waits-for-a-restart-by-default",
    "twenty-guests-alike-share-a-line",
)
SETTING = Setting(
    cluster="prod",
    head="3f2a91c",
    branch="review/web21",
    base="main",
    base_commit=CommitId("9f0e1d3" + "0" * 33),
    by="the cluster",
    exact="Updated in place when the branch or `main` moves.",
    again="git fetch origin refs/pull/14/head && pvc plan --commit FETCH_HEAD --base origin/main",
    links="https://forge.example.com/infra/prod/src/commit/3f2a91c/{file}#L{line}",
)


def held(expect, shown):
    if os.environ.get("PVC_BLESS"):
        expect.write_text(shown)
    assert expect.exists(), f"no {expect.name}: look at it, then PVC_BLESS=1"
    assert shown == expect.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_golden_comment(name):
    spec, inventory = golden.situation(golden.HERE / name)
    made = plan(spec, inventory, POLICY, inventory.target)
    shown = markdown(made, SETTING) + f"\nstatus: {status_line(made.summary)}\n"
    held(HERE / f"{name}.md", shown)


def test_golden_comment_of_what_cannot_be_planned():
    problems = [
        Problem(
            file="vms/mail.yaml", line=14, column=3, address="vm/mail", code="unknown-key",
            message='"memroy" is no key here; @ann <img src=x> [x](http://evil)',
            hint='did you mean "memory"?',
        ),
        Problem(file="", line=0, column=0, address="", code="more", message="2 more problems"),
    ]  # fmt: skip
    held(HERE / "refused.md", refused(problems, SETTING))
