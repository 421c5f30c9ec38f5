"""How a followed commit ended: one sentence with what to do, and the exit code of DESIGN section 5."""

from __future__ import annotations

import pytest

from pvc_gitops.cli.apply import _exit_code
from pvc_gitops.cli.following import Ended, follow, words
from pvc_gitops.cli.stops import line, stopping, told
from pvc_gitops.cli.wishes import seconds, shown
from pvc_gitops.errors import UsageError
from pvc_gitops.model.codec import encode
from pvc_gitops.model.control import Obstacle, Withheld
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.records import Claim

COMMIT = "4c1e9a2" + "0" * 33
HEAD = "9f0e1d3" + "0" * 33


def withheld(obstacle, **more):
    return Withheld(
        obstacle=obstacle,
        commit=COMMIT,
        effect="48ec4726",
        text="3 to create wait",
        remedy="pvc approve 48ec4726",
        since_s=0,
        **more,
    )


def ended(outcome, **said):
    return Ended(outcome=outcome, plans=(), failed=1, took_s=3.2, said=said)


def held(obstacle):
    return ended("withheld", withheld=encode(withheld(obstacle)))


@pytest.mark.parametrize(
    ("end", "code", "text"),
    [
        (held(Obstacle.APPROVAL), 3, "pvc approve 48ec4726"),
        (held(Obstacle.FROZEN), 5, "3 to create wait"),
        (held(Obstacle.HALTED), 5, "3 to create wait"),
        (held(Obstacle.RUNAWAY), 3, "3 to create wait"),
        (ended("halted"), 5, "pvc halt --end"),
        (ended("superseded", commit=HEAD), 5, "9f0e1d3 came on top"),
        (ended("quarantined", held={HEAD: ["vm/web1"]}), 3, "vm/web1 of 9f0e1d3"),
        (ended("failed"), 1, "1 step failed"),
        (ended("timeout"), 1, "Not done after 3 s"),
    ],
)
def test_every_end_has_a_code_and_a_sentence(end, code, text):
    assert _exit_code(end) == code
    assert text in words(end)


class Client:
    """Tells what it was given."""

    def __init__(self, *events):
        self.events = events

    def follow(self, commit, timeout_s):
        del commit, timeout_s
        yield from self.events


STEP = {"plan": "p1", "step": "vm.put vm/web1", "node": "hv1", "progress": None, "error": ""}


def test_following_prints_steps_and_keeps_the_plans(capsys):
    client = Client(
        {**STEP, "status": "running"},
        {**STEP, "status": "done", "plan": "p2"},
        {"outcome": "applied", "plan": "p2"},
    )
    end = follow(client, COMMIT, 10, began_s=0.0)
    assert (end.outcome, end.plans, end.withheld) == ("applied", ("p1", "p2"), None)
    assert "vm.put vm/web1" in capsys.readouterr().out


def test_a_connection_that_ends_is_no_end():
    with pytest.raises(UsageError, match="the connection ended"):
        follow(Client({**STEP, "status": "running"}), COMMIT, 10, began_s=0.0)


# --- what stops plan and apply ---------------------------------------------------------------------


def intent(kind, subject="cluster", **more):
    asked = {"reason": "", "made_at_s": 0, "expires_at_s": None, "data": {}, "by": "ann", **more}
    return Intent(id=f"{kind}-1", kind=kind, subject=subject, **asked)


def inventory(intents=(), claims=()):
    return Inventory(
        cluster_id="c",
        formation=1,
        now_s=0,
        accepted=COMMIT,
        target=None,
        nodes={},
        applied={},
        placements={},
        claims={claim.address: claim for claim in claims},
        storage=None,
        planner_version=None,
        intents={each.id: each for each in intents},
    )


CLAIM = Claim(address="vm/web1", plan="p1", step="vm.put vm/web1", node="hv1", incarnation="i")


def test_a_freeze_and_a_halt_are_told_the_halt_first(capsys):
    freeze, halt = intent(IntentKind.FREEZE, reason="a look"), intent(IntentKind.HALT)
    assert [each.kind for each in stopping([freeze, halt])] == ["halt", "freeze"]
    assert told(inventory([freeze, halt]), COMMIT)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("The cluster is halted by ann (halt-1): pvc halt --end")
    assert '"a look"' in said[1]


def test_steps_of_another_commit_are_another_apply(capsys):
    assert told(inventory(claims=[CLAIM]), HEAD)
    assert "Another apply is running: 1 steps of 4c1e9a2" in capsys.readouterr().err
    assert not told(inventory(claims=[CLAIM]), COMMIT)  # one's own
    assert not told(inventory(), HEAD)


def test_other_intents_stop_nothing():
    assert not told(inventory([intent(IntentKind.DRAIN, "node/hv1")]), COMMIT)


def test_an_intent_is_one_line():
    made = intent(IntentKind.POWER, "vm/web1", data={"power": "stop"}, reason="disk check")
    assert shown(made) == 'power-1  power vm/web1 power stop  by ann, until ended  "disk check"'
    assert line(intent(IntentKind.FREEZE, expires_at_s=0)).startswith("frozen by ann until ")


@pytest.mark.parametrize(("text", "found"), [("2h", 7200), ("30m", 1800), (None, None)])
def test_how_long_is_a_duration(text, found):
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["2", "tomorrow", ""])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as caught:
        seconds(text)
    assert "2h" in caught.value.hint


def test_the_command_that_helps_is_seen_however_long_the_sentence_is():
    from pvc_gitops.cli.show import _need

    short = _need("plan", "1 to create waits", "pvc approve 48ec4726", 80)
    assert short == "plan       1 to create waits   pvc approve 48ec4726"
    long = _need("plan", "x" * 70, "pvc approve 48ec4726", 80)
    assert long.splitlines() == ["plan       " + "x" * 70, " " * 12 + "pvc approve 48ec4726"]
    assert _need("node/hv1", "x" * 90, "", 80) == "node/hv1   " + "x" * 90
