"""`pvc rebalance`: in which order it asks, when it stops asking, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace

from click.testing import CliRunner

from pvc_gitops.cli import planning, rebalance
from pvc_gitops.errors import UsageError
from pvc_gitops.model.plan import Move, MoveMethod, Rebalance


def move(vm, source, to, *after):
    return Move(
        id=f"{vm} {source} {to}",
        vm=vm,
        source=source,
        to=to,
        method=MoveMethod.LIVE,
        memory_mib=64,
        after=after,
    )


# A circle: `a` and `b` change places, `b` by way of hv3.
CIRCLE = Rebalance(
    moves=(
        move("b", "hv2", "hv3"),
        move("a", "hv1", "hv2", "b hv2 hv3"),
        move("b", "hv3", "hv1", "a hv1 hv2", "b hv2 hv3"),
    ),
    before=20.0,
    after=4.0,
    threshold=10.0,
    why="",
)


class Desk:
    """A cluster that moves whoever it is asked for at the next look, or refuses."""

    def __init__(self, refused=()):
        self.at, self.refused = {"a": "hv1", "b": "hv2"}, refused
        self.asked, self.open, self.ended = [], {}, []

    def wish(self, kind, subject, *, reason, data):
        assert (kind, reason) == ("migrate", "why")
        vm = subject.partition("/")[2]
        assert vm not in [each[0] for each in self.open.values()], "two wishes for one guest"
        self.asked.append((vm, data["node"], data["method"]))
        name = f"migrate-{len(self.asked)}"
        self.open[name] = (vm, data["node"])
        return SimpleNamespace(
            id=name, kind=kind, subject=subject, data=data, expires_at_s=None, reason="", by="ann"
        )

    def end_intent(self, name, *, reason):
        self.ended.append((name, reason))
        del self.open[name]

    def pause(self):
        for name, (vm, to) in list(self.open.items()):
            if vm not in self.refused:
                self.at[vm] = to
                del self.open[name]

    def status(self):
        return SimpleNamespace(
            intents=[SimpleNamespace(id=name) for name in self.open],
            guests={vm: SimpleNamespace(owner=at, why="") for vm, at in self.at.items()},
            moves=SimpleNamespace(refused=dict.fromkeys(self.open, "no room")),
        )


def test_a_move_is_asked_for_when_those_before_it_have_ended():
    desk = Desk()
    assert rebalance.carry_out(CIRCLE, desk, "why", desk.pause) == 0
    assert [each[:2] for each in desk.asked] == [("b", "hv3"), ("a", "hv2"), ("b", "hv1")]
    assert desk.at == {"a": "hv2", "b": "hv1"}


def test_what_stays_refused_is_withdrawn_and_nothing_after_it_begins(capsys):
    desk = Desk(refused=("a",))
    assert rebalance.carry_out(CIRCLE, desk, "why", desk.pause) == 3
    assert [each[0] for each in desk.asked] == ["b", "a"]
    assert desk.ended == [("migrate-2", "it cannot be moved now: no room")]
    assert desk.at == {"a": "hv1", "b": "hv3"}
    said = capsys.readouterr().out
    assert "! a  no room" in said
    assert "2 of 3 moves were not made." in said


def test_a_folder_that_plans_something_is_applied_first(monkeypatch):
    plan = SimpleNamespace(steps=("vm.put vm/a",), rebalance=CIRCLE)
    monkeypatch.setattr(planning, "planned", lambda *_: SimpleNamespace(plan=plan))
    done = CliRunner().invoke(rebalance.rebalance, ["--yes"])
    assert isinstance(done.exception, UsageError)
    assert "plans 1 steps" in str(done.exception)


def test_where_nothing_is_to_move_nobody_is_asked(monkeypatch):
    found = Rebalance(moves=(), before=3.0, after=3.0, threshold=10.0, why="even enough")
    plan = SimpleNamespace(steps=(), rebalance=found)
    monkeypatch.setattr(planning, "planned", lambda *_: SimpleNamespace(plan=plan))
    done = CliRunner().invoke(rebalance.rebalance, [])
    assert done.exit_code == 0
    assert done.output == "Rebalance  nothing to move: even enough\n"
