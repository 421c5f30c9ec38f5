"""Following outlives the node that is asked: connections cut anywhere, agents killed, nodes gone."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pvc_gitops.adapters.client import client as client_module
from pvc_gitops.adapters.client import connect, reach
from pvc_gitops.adapters.client.reach import ssh_command
from pvc_gitops.cli import following
from pvc_gitops.errors import AgentLost, UsageError
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.intents import IntentKind
from pvc_gitops.world.protocol import Hello

ROOT = Path(__file__).parents[3]
COMMIT = "c" * 40
HELLO = Hello(node=NodeName("hv1"), release="0.1", planner_version="1", cluster="lab", formation=1)
STEPS = [f"record.put group/g{n}" for n in range(3)]
END = {"outcome": "applied", "plan": "p"}


def event(step):
    return {
        "plan": "p",
        "step": step,
        "node": "hv1",
        "status": "done",
        "progress": None,
        "error": "",
    }


class Node:
    """Answers `hello`; all else as `script` says, one item a question: lines, whole as dicts or cut as
    text, and None to hang up."""

    def __init__(self, path, *script):
        self.path, self.script, self.asked = str(path), list(script), []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    if not self.answer(connection, json.loads(line)):
                        break

    def answer(self, connection, question):
        def say(answer):
            if not isinstance(answer, str):
                answer = json.dumps({"id": question["id"], **answer}) + "\n"
            connection.sendall(answer.encode())

        if question["op"] == "hello":
            say({"value": encode(HELLO)})
            return True
        self.asked.append(question)
        for answer in self.script.pop(0):
            if answer is None:
                return False
            say(answer)
        return True

    def off(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        Path(self.path).unlink()


@pytest.fixture
def folder(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(client_module, "PAUSE_S", 0.01)
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def client_of(folder):
    """A client of these nodes, closed at the end."""
    clients = []

    def make(*paths):
        clients.append(connect(",".join(f"unix://{path}" for path in paths), folder))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


def told(number=3):
    return [{"event": event(step)} for step in STEPS[:number]]


@pytest.mark.parametrize("number", range(len(STEPS) + 1))
def test_a_connection_cut_at_any_point_goes_on_by_itself(folder, client_of, number):
    node = Node(folder / "1", [*told(number), None], [*told(), {"value": END}])
    client = client_of(node.path)
    found = list(client.follow(COMMIT, 9))
    cut = found[number]
    assert found[:number] == [event(step) for step in STEPS[:number]]
    assert cut["lost"] == f"the connection to {node.path} ended"
    assert cut["now"] == node.path
    assert found[number + 1 :] == [*map(event, STEPS), END]
    first, second = (question["args"] for question in node.asked)
    assert first == {"commit": COMMIT, "timeout_s": 9}
    assert 8.0 < second["timeout_s"] < 9.0


def test_a_line_cut_in_its_middle_is_no_answer(folder, client_of):
    node = Node(folder / "1", ['{"id": 1, "eve', None], [{"value": END}])
    found = list(client_of(node.path).follow(COMMIT, 9))
    assert ["lost" in each for each in found] == [True, False]


def test_another_node_is_asked_where_the_first_has_no_power_any_more(folder, client_of):
    first = Node(folder / "1", [*told(1), None])
    second = Node(folder / "2", [*told(), {"value": END}], [{"value": {}}])
    client = client_of(first.path, second.path)
    found = client.follow(COMMIT, 9)
    assert next(found) == event(STEPS[0])
    first.off()
    assert next(found)["now"] == second.path
    assert list(found)[-1] == END
    assert client.results("p") == {}  # what is asked afterwards is asked there, too


def test_a_node_without_its_store_is_left_for_another(folder, client_of):
    refusal = {"error": {"code": "not-ready", "message": "read /pvc: no quorum", "hint": "wait"}}
    first, second = Node(folder / "1", [refusal]), Node(folder / "2", [{"value": END}])
    client = client_of(first.path, second.path)
    lost, end = client.follow(COMMIT, 9)
    assert (lost["lost"], lost["now"], end) == ("read /pvc: no quorum", second.path, END)


def test_it_is_said_in_one_line_and_the_end_is_the_true_one(folder, client_of, capsys):
    failed = {**event(STEPS[0]), "status": "failed", "error": "no room"}
    outcome = {"outcome": "failed", "plan": "p"}
    twice = [{"event": failed}]
    node = Node(folder / "1", [*twice, None], [*twice, {"value": outcome}])
    client = client_of(node.path)
    ended = following.follow(client, COMMIT, 9, began_s=time.monotonic())
    assert (ended.outcome, ended.plans, ended.failed) == ("failed", ("p",), 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "ended; " in line] == [
        f"  0:00  the connection to {node.path} ended; {node.path} goes on telling"
    ]
    assert sum("record.put" in line for line in lines) == 1  # what is told again is not said again


@pytest.mark.parametrize("is_deaf", [True, False])
def test_where_nobody_answers_any_more_it_gives_up(folder, client_of, monkeypatch, is_deaf):
    """Whether no node takes connections or all of them hang up at once."""
    monkeypatch.setattr(client_module, "LOST_S", 0.3)
    node = Node(folder / "1", [*told(1), None], *[[None]] * 100)
    client = client_of(node.path)
    found = client.follow(COMMIT, 9)
    next(found)
    if is_deaf:
        node.off()
    began_s = time.monotonic()
    with pytest.raises(AgentLost, match=r"the connection to .* ended"):
        list(found)
    assert time.monotonic() - began_s < 3.0


def test_a_person_is_told_that_the_cluster_goes_on(folder, client_of, monkeypatch):
    monkeypatch.setattr(client_module, "LOST_S", 0.0)
    node = Node(folder / "1", *[[None]] * 20)
    with pytest.raises(UsageError, match="the cluster goes on") as caught:
        following.follow(client_of(node.path), COMMIT, 9, began_s=0.0)
    assert caught.value.hint == following.GOES_ON


def test_what_reads_is_asked_again_and_what_changes_is_not(folder, client_of):
    node = Node(folder / "1", [None], [{"value": None}], [None], [{"value": None}])
    client = client_of(node.path)
    assert client.target() is None
    assert [question["op"] for question in node.asked] == ["target", "target"]
    with pytest.raises(AgentLost):
        client.wish(IntentKind.FREEZE, "cluster")
    assert [question["op"] for question in node.asked][2:] == ["intent"]


def test_an_agent_that_hangs_is_left_for_another(folder, client_of, monkeypatch):
    monkeypatch.setattr(reach, "HELLO_S", 0.3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as hangs:
        hangs.bind(str(folder / "1"))
        hangs.listen(8)  # takes connections and says nothing
        second = Node(folder / "2", [{"value": None}])
        assert client_of(folder / "1", second.path).target() is None
    assert [question["op"] for question in second.asked] == ["target"]


def test_ssh_notices_a_node_that_is_gone():
    options = " ".join(ssh_command("pvc", "hv1", None))
    assert "ServerAliveInterval=5 -o ServerAliveCountMax=3" in options


AGENT = """
import sys, threading
sys.path.insert(0, {root!r})
from pathlib import Path
from pvc_gitops.adapters.socket import AgentSocket
woken = threading.Event()
listener = AgentSocket(Path({path!r}), woken.set)
print("up", flush=True)
while True:
    woken.wait(0.2)
    woken.clear()
    for ask in listener.take():
        if ask.question.op == "hello":
            ask.value({hello!r})
            continue
        for step in {steps!r}:
            ask.event(step)
        if {ends}:
            ask.value({end!r})
"""


def begun(path, *, ends):
    """The real socket in a process of its own."""
    steps = [event(step) for step in STEPS]
    text = AGENT.format(
        root=str(ROOT), path=str(path), hello=encode(HELLO), steps=steps, end=END, ends=ends
    )
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    return process


def test_an_agent_that_is_killed_and_begins_anew_goes_on_telling(folder, client_of):
    path = folder / "agent.sock"
    process = begun(path, ends=False)
    found = client_of(path).follow(COMMIT, 20)
    assert [next(found) for _ in STEPS] == [event(step) for step in STEPS]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    process = begun(path, ends=True)
    try:
        assert "lost" in next(found)
        assert list(found) == [*map(event, STEPS), END]
    finally:
        process.kill()
        process.communicate()
