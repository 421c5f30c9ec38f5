"""A comment fits, whatever the plan; it is cut by whole rows, and nothing in it is markup of others."""

from __future__ import annotations

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_gitops.model.document import Place
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address, CommitId
from pvc_gitops.model.plan import (
    Action,
    CapacityVerdict,
    Cause,
    Change,
    FieldChange,
    ItemKind,
    Plan,
    ReportItem,
    Summary,
)
from pvc_gitops.planner.markdown import LIMIT, LIMIT_MIN, STATUS_MAX, Setting, markdown, status_line

HOSTILE = st.text(alphabet=string.ascii_letters + "|`<>[]()@#!*_~&\\\n\t \u202e€", max_size=600)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


def update(name, value, downtime_s):
    return Change(
        address=Address(f"vm/{name}"),
        actions=(Action.UPDATE,),
        fields=(
            FieldChange(path="memory", before="1GiB", after=value, disposition=Disposition.REBOOT),
        ),
        before={},
        after={},
        disposition=Disposition.REBOOT,
        downtime_s=downtime_s,
        because=(
            Cause(code="spec", text="memory", place=Place(file="vms/x.yaml", line=3, column=1)),
        ),
    )


def delete(name, why):
    return Change(
        address=Address(f"network/{name}"), actions=(Action.DELETE,), fields=(), before={},
        after=None, disposition=None, downtime_s=0.0,
        because=(Cause(code="removed", text=why, place=None),),
    )  # fmt: skip


def refusal(name, text, remedy):
    return ReportItem(
        kind=ItemKind.BLOCKED, address=Address(f"vm/{name}"), code="no", text=text, remedy=remedy,
        place=None,
    )  # fmt: skip


CHANGES = st.one_of(
    st.builds(update, NAMES, HOSTILE, st.sampled_from([0.0, 18.0])),
    st.builds(delete, NAMES, HOSTILE),
)


def plan_of(changes, blocked):
    return Plan(
        id="0" * 16,
        effect="48ec4726",
        parent=None,
        planner_version="0.1.0",
        commit=CommitId("1" * 40),
        cluster_id="x",
        now_s=0,
        inventory={},
        changes=tuple(sorted(changes, key=lambda change: change.address)),
        steps=(),
        placement=(),
        report=tuple(blocked),
        capacity=(),
        summary=Summary(
            objects=1, create=0, update=len(changes), delete=0, restore=0, blocked=len(blocked),
            waiting=0, downtime_s=18.0, duration_s=20.0, n1=CapacityVerdict.HOLDS,
        ),
    )  # fmt: skip


def setting(text):
    return Setting(
        cluster="prod",
        head="3f2a91c",
        branch=text,
        base=text or "main",
        by="the cluster",
        again=text,
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(CHANGES, max_size=120),
    st.lists(st.builds(refusal, NAMES, HOSTILE, HOSTILE), max_size=60),
    HOSTILE,
    st.sampled_from([LIMIT_MIN, 8_000, 20_000, LIMIT]),
)
def test_a_comment_fits_and_its_rows_are_whole(changes, blocked, text, limit):
    plan = plan_of(changes, blocked)
    whole = markdown(plan, setting(text), limit=10**9)
    shown = markdown(plan, setting(text), limit=limit)
    assert len(shown) <= limit
    rows = [line for line in shown.split("\n") if line.startswith("| ")]
    every = whole.split("\n")
    assert all(row in every for row in rows)
    assert shown.startswith("<!-- pvc-plan prod -->\n")
    assert "Policy and signers are read from" in shown
    missing = len([line for line in every if line.startswith("| ")]) - len(rows)
    if missing and rows:
        assert f"… and {missing} more: " in shown
    assert len(status_line(plan.summary)) <= STATUS_MAX


@settings(deadline=None, max_examples=60)
@given(HOSTILE)
def test_what_others_wrote_is_no_markup(text):
    plan = plan_of([delete("app", text)], [refusal("db", text, "")])
    shown = markdown(plan, setting("main"))
    table = [line for line in shown.split("\n") if line.startswith(("| ➖", "| ⛔"))]
    assert len(table) == 2
    for row in table:
        cells = row.replace("\\|", "").split("|")
        assert len(cells) == 7, row
        plain = row
        for sign in "\\`*[]<>|&~#!":
            plain = plain.replace(f"\\{sign}", "")
        assert "<" not in plain
        assert "](" not in plain
        assert "@" not in plain.replace("@\u200b", "")


@settings(deadline=None, max_examples=30)
@given(st.integers(min_value=200, max_value=3_000))
def test_what_is_blocked_or_destroyed_is_left_out_last(count):
    changes = [update(f"g{number:05d}", f"{number}GiB", 0.0) for number in range(count)]
    changes += [delete(f"n{number}", f"gone {number}") for number in range(5)]
    plan = plan_of(
        changes, [refusal(f"b{number}", f"no {number}", "fix it") for number in range(5)]
    )
    shown = markdown(plan, setting("main"), limit=16_000)
    assert shown.count("| ➖") == 5
    assert shown.count("| ⛔") == 5
    kept = shown.count("| 🔁")
    assert kept < count
    assert f"… and {count - kept} more: `pvc plan` shows all" in shown
