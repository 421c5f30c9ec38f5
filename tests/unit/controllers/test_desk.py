"""The questions of the socket, against a cluster that lives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_world import BASE

from pvc_gitops.cli.show import health, status_text
from pvc_gitops.controllers import agent, serve
from pvc_gitops.controllers.answers import Event, Value
from pvc_gitops.controllers.serve import Desk
from pvc_gitops.errors import StoreUnavailable
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player
from pvc_gitops.world.protocol import Question

ON = "power hv1 on; power hv2 on; power hv3 on\nsettle\n"


class Asked:
    """What a connection would see."""

    def __init__(self, op, operator=None, **args):
        self.question = Question(id=1, op=op, args=args, operator=operator)
        self.is_gone = False
        self.events, self.answer, self.refusal = [], None, None

    def value(self, value):
        assert self.answer is None
        self.answer = value

    def error(self, code, message, hint=""):
        self.refusal = (code, message, hint)

    def event(self, event):
        self.events.append(event)


class Agent:
    """hv1's agent with a desk, ticking on the cluster's clock in place of its process."""

    def __init__(self, files=BASE, commits=None):
        self.player = Player(SimCluster(files), lambda name: commits[name])
        self.player.play(ON)
        cluster = self.player.cluster
        self.node = cluster.nodes["hv1"]
        self.memory, process = self.node.agent.memory, self.node.agent
        # The process itself rests for ever; its jobs and its ports are ours.
        process._tick = lambda memory: replace(memory, due_at_s=1e9)
        self.world = cluster.world_of(self.node, process)
        self.desk = Desk(self.world)

    def agent_tick(self):
        """One that looks at everything."""
        self.memory = agent.tick(self.world, replace(self.memory, is_woken=True))
        return self.memory

    def ask(self, op, *, limit_s=120.0, **args):
        asked = Asked(op, **args)
        self.desk.ask(asked)
        kernel = self.player.cluster.kernel
        until_s = kernel.now_s + limit_s
        while asked.answer is None and asked.refusal is None and kernel.now_s < until_s:
            self.memory = self.desk.step(self.memory)
            self.memory = agent.tick(self.world, self.memory)
            self.memory = self.desk.step(self.memory)
            kernel.run_until(kernel.now_s + 0.1)
        return asked


@pytest.fixture(scope="module")
def one():
    return Agent()


def test_hello_and_target(one):
    hello = one.ask("hello").answer
    assert (hello.node, hello.cluster, hello.formation) == ("hv1", "lab", 1)
    target = one.ask("target").answer
    plan = one.ask("plan", id=target.plan).answer
    assert plan.id == target.plan
    results = one.ask("results", id=target.plan).answer
    assert {str(result.status) for result in results.values()} == {"done"}
    assert set(results) == {step.id for step in plan.steps}


def test_inventory_holds_a_look_at_ceph_that_is_not_older_than_the_question(one):
    inventory = one.ask("inventory").answer
    assert set(inventory.placements) == {"app1", "app2", "db1", "web1", "web2", "web3"}
    assert set(inventory.storage.pools) == {"vms"}


def test_status_is_one_healthy_screen(one):
    state = one.ask("status").answer
    assert state.is_applied
    assert health(state).word == "HEALTHY"
    text = status_text(state, one.ask("inventory").answer)
    assert text.splitlines()[0].startswith("lab      HEALTHY")
    assert all(len(line) <= 80 for line in text.splitlines())


def test_an_agent_that_has_just_begun_looks_before_it_calls_anybody_unknown():
    begun = Agent()
    begun.memory = agent.AgentMemory()
    state = begun.ask("status").answer
    assert {str(node.state) for node in state.nodes.values()} == {"online"}
    assert {str(guest.state) for guest in state.guests.values()} == {"running"}


def test_applied_says_what_is_known_of_an_address(one):
    facts = one.ask("applied", address="vm/web1").answer
    assert facts.applied.name == "web1"
    assert str(facts.placement.state) == "running"
    assert facts.result.step == "vm.put vm/web1"
    assert one.ask("applied", address="vm/nobody").answer.applied is None


def test_an_unknown_question_is_refused_with_what_is_known(one):
    code, _, hint = one.ask("dance").refusal
    assert code == "unknown-operation"
    assert "status" in hint
    assert one.ask("plan", id="0" * 16).refusal[0] == "no-plan"


def test_following_a_commit_tells_every_step_until_it_is_applied():
    files = {**BASE, "vms/app2.yaml": b""}
    commits = {"next": {name: data for name, data in files.items() if data}}
    one = Agent(commits=commits)
    one.player.cluster.origin.push(commits["next"], "less")
    tip = one.player.cluster.origin.tip
    seen = one.ask("look-at-git").answer["seen"]
    assert seen.head == tip
    asked = one.ask("follow", commit=tip, timeout_s=300)
    assert asked.answer["outcome"] == "applied"
    ends = {event["step"]: event["status"] for event in asked.events}
    assert set(ends.values()) == {"done"}
    assert any(step.startswith("vm.retire vm/app2") for step in ends)


def test_following_a_commit_that_is_refused_says_so():
    one = Agent(commits={})
    one.player.cluster.origin.push({**BASE, "vms/app1.yaml": b"nonsense"}, "bad")
    tip = one.player.cluster.origin.tip
    assert one.ask("look-at-git").answer["seen"].problems
    asked = one.ask("follow", commit=tip, timeout_s=300)
    assert asked.answer["outcome"] == "refused"


def test_following_ends_with_its_time(one):
    asked = one.ask("follow", commit="f" * 40, timeout_s=2)
    assert asked.answer["outcome"] == "timeout"


def test_without_the_store_the_answer_says_where_to_ask():
    one = Agent()
    one.player.cluster.store("hv1", "off")
    asked = one.ask("status")
    assert asked.refusal[0] == "not-ready"
    assert "another coordinator" in asked.refusal[2]


def test_a_question_waits_for_a_store_that_is_electing():
    one = Agent()
    one.player.play("store hv1 off\n")
    asked = one.ask("hello", limit_s=5.0)
    assert asked.answer is None
    assert asked.refusal is None
    one.player.play("store hv1 on\n")
    assert one.ask("hello", limit_s=30.0).answer.node == "hv1"


def test_a_question_is_refused_when_the_store_stays_away():
    one = Agent()
    one.player.play("store hv1 off\n")
    assert one.ask("status", limit_s=30.0).refusal[0] == "not-ready"


def test_history_is_told_newest_first_and_by_address():
    one = Agent()
    everything = one.ask("history").answer
    assert [entry.number for entry in everything] == list(range(len(everything), 0, -1))
    assert one.ask("history", limit=3).answer == everything[:3]
    web1 = one.ask("history", address="vm/web1").answer
    assert {entry.step for entry in web1} >= {"vm.put vm/web1", "disk.create vm/web1/disk/root"}
    assert all("vm/web1" in " ".join(entry.addresses) for entry in web1)
    steps = [entry for entry in everything if entry.step is not None]
    newest = max(entry.at_s for entry in steps)
    assert one.ask("history", since_s=newest + 1).answer == []
    assert all(e.at_s < newest for e in one.ask("history", until_s=newest - 1).answer)


def handled_by(monkeypatch, says):
    """One operation more, `play`, that says what a test wants."""
    monkeypatch.setattr(serve, "_HANDLERS", {**serve._HANDLERS, "play": lambda *_: says()})


def test_a_question_that_raises_is_answered_all_the_same_and_the_others_go_on(one, monkeypatch):
    def says():
        yield None
        raise KeyError("a bug")

    handled_by(monkeypatch, says)
    broken, waiting = Asked("play"), Asked("follow", commit="f" * 40, timeout_s=1e6)
    one.desk.ask(broken)
    one.desk.ask(waiting)
    one.desk.step(one.memory)
    with pytest.raises(KeyError):  # survived and written down by the loop
        one.desk.step(one.memory)
    one.desk.step(one.memory)
    assert broken.refusal[0] == "broken"
    assert one.desk.is_busy
    waiting.is_gone = True
    one.desk.step(one.memory)
    assert not one.desk.is_busy


def test_many_events_are_told_in_portions_that_a_reader_can_take(one, monkeypatch):
    def says():
        yield from (Event(event={"number": number}) for number in range(1700))
        yield Value(value="end")

    handled_by(monkeypatch, says)
    asked, counts = Asked("play"), []
    one.desk.ask(asked)
    while asked.answer is None:
        one.desk.step(one.memory)
        counts.append(len(asked.events))
    assert counts == [500, 1000, 1500, 1700]
    assert [event["number"] for event in asked.events] == list(range(1700))


def test_the_store_may_be_away_for_a_moment_late_in_a_long_answer(monkeypatch):
    """Patience counts from when the store fell silent, not from when somebody asked."""
    one = Agent()
    clock, lost = one.world.clock, []

    def says():
        until_s = clock.monotonic_s() + 3 * serve.PATIENCE_S
        while not lost and clock.monotonic_s() < until_s:
            yield None
        if len(lost) < 3:
            lost.append(clock.monotonic_s())
            raise StoreUnavailable("read", "/pvc", "the connection was lost")
        yield Value(value="end")

    handled_by(monkeypatch, says)
    assert one.ask("play").answer == "end"
    assert len(lost) == 3
