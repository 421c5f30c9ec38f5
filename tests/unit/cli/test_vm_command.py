"""`pvc vm restart|stop|start`: which wishes are made and ended, and what is waited for."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from pvc_gitops.cli import live, vm
from pvc_gitops.errors import UsageError
from pvc_gitops.model.intents import Intent, IntentKind
from pvc_gitops.model.records import GuestPhase, PlacementRecord


class FakeCluster:
    """A guest `db1` that becomes what is wished one look after the wish."""

    def __init__(self, run_state="running", state=GuestPhase.RUNNING, intents=()):
        self.run_state, self.made, self.ended = run_state, [], []
        self.state, self.starts, self.standing, self.looks = state, 1, list(intents), 0

    def status(self):
        wanted = "start" if self.run_state == "running" else "stop"
        for intent in self.standing:
            wanted = intent.data.get("power", wanted)
        if self.looks:
            self.state = GuestPhase.RUNNING if wanted == "start" else GuestPhase.STOPPED
            if any(intent.kind is IntentKind.RESTART for intent in self.made):
                self.starts = 2
        self.looks += bool(self.made or self.ended)
        placement = PlacementRecord(
            owner="hv1", incoming=None, incarnation="i", starts=self.starts, state=self.state,
            why="", since_s=0,
        )  # fmt: skip
        return SimpleNamespace(guests={"db1": placement})

    def inventory(self):
        return SimpleNamespace(
            applied={"vm/db1": SimpleNamespace(spec={"run_state": self.run_state})}
        )

    def intents(self):
        return tuple(self.standing)

    def wish(self, kind, subject, *, reason="", for_s=None, data=None):
        assert (subject, reason) == ("vm/db1", "")
        made = a_wish(kind, dict(data or {}), f"{kind}-{len(self.made) + 1}", for_s)
        self.made.append(made)
        self.standing.append(made)
        return made

    def end_intent(self, name, *, reason=""):
        assert isinstance(reason, str)
        self.ended.append(name)
        self.standing = [each for each in self.standing if each.id != name]


def test_a_guest_that_has_failed_is_asked_for_again(monkeypatch):
    fake = FakeCluster(state=GuestPhase.FAILED)
    told = run(monkeypatch, fake, "start", "db1")
    assert [(each.kind, each.data) for each in fake.made] == [(IntentKind.RETRY, {})]
    assert "vm/db1 runs on hv1" in told


def a_wish(kind, data, name, for_s=None):
    return Intent(id=name, kind=kind, subject="vm/db1", by="ann", reason="", made_at_s=0,
                  expires_at_s=for_s, data=data)  # fmt: skip


def run(monkeypatch, fake, *argv):
    @contextmanager
    def cluster(host, repo):
        assert (host, repo.name) == (None, "")
        yield fake

    monkeypatch.setattr(live, "cluster", cluster)
    monkeypatch.setattr(vm, "LOOK_EVERY_S", 0.0)
    done = CliRunner().invoke(vm.vm, argv)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_a_restart_is_asked_for_and_waited_for(monkeypatch):
    fake = FakeCluster()
    said = run(monkeypatch, fake, "restart", "db1")
    assert [(each.kind, each.data) for each in fake.made] == [(IntentKind.RESTART, {})]
    assert said.splitlines()[-1] == "vm/db1 runs on hv1, start 2"


def test_what_does_not_run_is_not_restarted(monkeypatch):
    fake = FakeCluster(state=GuestPhase.STOPPED)
    with pytest.raises(UsageError, match="is stopped, not running"):
        run(monkeypatch, fake, "restart", "db1")
    assert fake.made == []


def test_a_guest_that_is_not_there_is_said(monkeypatch):
    with pytest.raises(UsageError, match="no guest db2"):
        run(monkeypatch, FakeCluster(), "stop", "db2")


def test_a_stop_is_a_wish_with_an_end(monkeypatch):
    fake = FakeCluster()
    said = run(monkeypatch, fake, "stop", "db1", "--for", "2h")
    (made,) = fake.made
    assert (made.kind, made.data, made.expires_at_s) == (IntentKind.POWER, {"power": "stop"}, 7200)
    assert said.splitlines()[-1] == "vm/db1 is stopped"


def test_a_start_ends_the_stop_of_a_guest_that_git_wants_running(monkeypatch):
    stop = a_wish(IntentKind.POWER, {"power": "stop"}, "power-db1-1")
    fake = FakeCluster(state=GuestPhase.STOPPED, intents=[stop])
    said = run(monkeypatch, fake, "start", "db1")
    assert (fake.made, fake.ended) == ([], ["power-db1-1"])
    assert said.splitlines()[-1] == "vm/db1 runs on hv1"


def test_a_start_of_a_guest_that_git_wants_stopped_is_a_wish(monkeypatch):
    fake = FakeCluster(run_state="stopped", state=GuestPhase.STOPPED)
    run(monkeypatch, fake, "start", "db1", "--no-wait")
    assert [each.data for each in fake.made] == [{"power": "start"}]


def test_one_word_at_a_time(monkeypatch):
    old = a_wish(IntentKind.POWER, {"power": "start"}, "power-db1-1")
    fake = FakeCluster(run_state="stopped", intents=[old])
    run(monkeypatch, fake, "stop", "db1")
    assert [each.data for each in fake.standing] == [{"power": "stop"}]
