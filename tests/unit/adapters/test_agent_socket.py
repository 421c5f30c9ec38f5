"""Client and socket against each other, over a real socket; the other side of ssh is played by a pipe."""

import grp
import io
import json
import os
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest

from pvc_gitops.adapters.client import Client, connect
from pvc_gitops.adapters.client.reach import UnixChannel, candidates, ssh_command
from pvc_gitops.adapters.socket import AgentSocket
from pvc_gitops.cli.agent_stdio import join
from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import CommitId, NodeName, PlanId
from pvc_gitops.model.records import SourceSeen, Target
from pvc_gitops.world.protocol import Hello, Question, operator_line, question_line

HELLO = Hello(node=NodeName("hv1"), release="0.1", planner_version="1", cluster="lab", formation=1)
SEEN = SourceSeen(head=None, tip=CommitId("a" * 40), problems=(), fetched_at_s=7, error="")


class Agent:
    """A deciding thread that answers by a table."""

    def __init__(self, path):
        self.woken = threading.Event()
        self.socket = AgentSocket(path, self.woken.set)
        self.answers = {"hello": lambda ask: ask.value(HELLO)}
        self.is_over = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over:
            self.woken.wait(0.2)
            self.woken.clear()
            for ask in self.socket.take():
                self.answers[ask.question.op](ask)

    def end(self):
        self.is_over = True
        self.woken.set()
        self.thread.join()
        self.socket.close()


@pytest.fixture
def path(tmp_path_factory):
    return (
        tmp_path_factory.mktemp("s") / "agent.sock"
    )  # short: a socket's name has 107 bytes at most


@pytest.fixture
def agent(path):
    agent = Agent(path)
    yield agent
    agent.end()


@pytest.fixture
def client(agent, path):
    assert agent.thread.is_alive()
    client = connect(f"unix://{path}", path.parent)
    yield client
    client.close()


def test_values_come_typed(client, agent):
    agent.answers["look-at-git"] = lambda ask: ask.value({"seen": SEEN})
    agent.answers["target"] = lambda ask: ask.value(None)
    assert client.hello() == HELLO
    assert client.look_at_git() == SEEN
    assert client.target() is None
    target = Target(
        plan=PlanId("p"), generation=3, planner_version="1", commit="c", published_at_s=1
    )
    agent.answers["target"] = lambda ask: ask.value(target)
    assert client.target() == target


def test_arguments_arrive(client, agent):
    asked = []

    def answer(ask):
        asked.append(ask.question.args)
        ask.value({})

    agent.answers["results"] = answer
    assert client.results(PlanId("abc")) == {}
    assert asked == [{"id": "abc"}]


def test_a_refusal_is_a_usage_error_with_its_hint(client, agent):
    agent.answers["status"] = lambda ask: ask.error("not-ready", "no quorum", "wait a moment")
    with pytest.raises(UsageError, match="no quorum") as caught:
        client.status()
    assert caught.value.hint == "wait a moment"
    assert client.hello() == HELLO  # the connection goes on


def test_events_come_before_the_outcome(client, agent):
    def follow(ask):
        assert ask.question.args == {"commit": "c" * 40, "timeout_s": 9}
        for step in range(3):
            ask.event({"step": step})
        ask.value({"outcome": "applied", "plan": "p"})

    agent.answers["follow"] = follow
    events = list(client.follow(CommitId("c" * 40), 9))
    assert events == [{"step": 0}, {"step": 1}, {"step": 2}, {"outcome": "applied", "plan": "p"}]


def test_another_release_is_said(client, agent):
    agent.answers["look-at-git"] = lambda ask: ask.value({"seen": {"head": None, "new": 1}})
    with pytest.raises(UsageError, match="speaks another release"):
        client.look_at_git()


def test_who_hangs_up_is_noticed(client, agent):
    held = []
    agent.answers["follow"] = held.append
    client._send("follow", {"commit": "c", "timeout_s": 9})
    while not held:
        agent.woken.wait(0.05)
    assert not held[0].is_gone
    client.close()
    held[0].event({})
    for _ in range(60):
        if held[0].is_gone:
            return
        threading.Event().wait(0.05)
    raise AssertionError("still waited for")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"pvc": 2, "id": 1, "op": "hello", "args": {}}\n', "speaks protocol 1"),
        (b'{"op": "hello"}\n', "a question is"),
        (b"hello\n", "Expecting value"),
        (b"[" * 200_000 + b"\n", ""),
        (b"x" * 2_000_000 + b"\n", ""),
    ],
)
def test_what_is_no_question_is_refused_and_the_agent_lives(path, client, line, text):
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        other.settimeout(10)
        try:
            other.sendall(line)
            with other.makefile("rb") as lines:
                answer = lines.readline()
        except OSError:
            answer = b""  # hung up before all was sent
        if text:
            assert text in json.loads(answer)["error"]["message"]
    assert client.hello() == HELLO


@pytest.mark.usefixtures("agent")
def test_the_socket_is_for_root_and_its_group(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_too_many_connections_are_turned_away_and_slots_come_back(path, client):
    others = [UnixChannel(str(path)) for _ in range(31)]
    with pytest.raises(UsageError, match="no node answers"):
        connect(f"unix://{path}", path.parent)
    for each in others:
        each.close()
    for _ in range(50):
        try:
            connect(f"unix://{path}", path.parent).close()
        except UsageError:
            threading.Event().wait(0.1)
        else:
            break
    else:
        raise AssertionError("no slot came back")
    assert client.hello() == HELLO


@pytest.mark.usefixtures("agent")
def test_the_second_node_is_asked_when_the_first_is_silent(path, monkeypatch):
    monkeypatch.setenv("PVC_HOST", f"unix:///nowhere.sock,unix://{path}")
    connect(None, path.parent).close()
    monkeypatch.setenv("PVC_HOST", "unix:///nowhere.sock")
    with pytest.raises(UsageError, match="no node answers") as caught:
        connect(None, path.parent)
    assert "/nowhere.sock" in caught.value.message
    assert "git config pvc.host" in caught.value.hint


def test_the_order_of_places(tmp_path, monkeypatch):
    import subprocess

    monkeypatch.delenv("PVC_HOST", raising=False)
    assert candidates(None, tmp_path) == ()
    (tmp_path / "nodes").mkdir()
    for name, role in (("hv1", "coordinator"), ("hv2", "hypervisor"), ("hv3", "coordinator")):
        (tmp_path / f"nodes/{name}.yaml").write_text(
            f"spec: {{role: {role}, addresses: {{upstream: 10.20.0.{name[2]}}}}}\n"
        )
    (tmp_path / "nodes/broken.yaml").write_text("spec: [\n")
    assert candidates(None, tmp_path) == ("ssh://pvc@10.20.0.1", "ssh://pvc@10.20.0.3")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "config", "pvc.host", "ssh://a"], check=True)
    assert candidates(None, tmp_path) == ("ssh://a",)
    monkeypatch.setenv("PVC_HOST", "ssh://b, unix:///c")
    assert candidates(None, tmp_path) == ("ssh://b", "unix:///c")
    assert candidates("ssh://d", tmp_path) == ("ssh://d",)


@pytest.mark.parametrize("host", ["hv1", "ssh://", "http://hv1", "ssh://hv1/path", "ssh://-oX=y"])
def test_what_names_no_node_is_refused(host, tmp_path):
    with pytest.raises(UsageError):
        connect(host, tmp_path)


def test_ssh_gets_no_option_from_a_name():
    assert ssh_command("pvc", "hv1", 2222)[-4:] == ["--", "hv1", "pvc", "agent-stdio"]
    assert list(ssh_command("pvc", "hv1", 2222))[-8:-4] == ["-p", "2222", "-l", "pvc"]


def test_stdio_carries_a_whole_conversation(agent, path):
    down_read, down_write = os.pipe()
    up_read, up_write = os.pipe()
    thread = threading.Thread(target=join, args=(str(path), down_read, up_write))
    thread.start()

    class Pipes:
        name = "a pipe"
        to = io.FileIO(down_write, "w")
        back = io.BufferedReader(io.FileIO(up_read))

        def last_words(self):
            return ""

    client = Client(Pipes())
    assert client.hello() == HELLO
    agent.answers["look-at-git"] = lambda ask: ask.value({"seen": SEEN, "pad": "x" * 1_000_000})
    assert client.look_at_git() == SEEN
    Pipes.to.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    Pipes.back.close()
    for each in (down_read, up_write):
        os.close(each)


def test_stdio_without_an_agent_says_so(tmp_path):
    with pytest.raises(UsageError, match="does not answer"):
        join(str(tmp_path / "none"), 0, 1)


def test_an_old_socket_file_is_replaced(path):
    for _ in range(2):
        agent = Agent(Path(path))
        connect(f"unix://{path}", path.parent).close()
        agent.is_over = True
        agent.woken.set()
        agent.thread.join()
        agent.socket._listener.close()


FAKE_SSH = """#!{python}
import sys
sys.path.insert(0, {root!r})
assert sys.argv[-3:] == ["hv1", "pvc", "agent-stdio"], sys.argv
{then}
"""


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    def make(then):
        ssh = tmp_path / "ssh"
        root = str(Path(__file__).parents[3])
        ssh.write_text(FAKE_SSH.format(python=sys.executable, root=root, then=then))
        ssh.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


@pytest.mark.usefixtures("agent")
def test_over_ssh_the_conversation_is_the_same(path, fake_ssh, tmp_path):
    fake_ssh(f"from pvc_gitops.cli.agent_stdio import join; join({str(path)!r}, 0, 1)")
    client = connect("ssh://pvc@hv1", tmp_path)
    assert client.hello() == HELLO
    client.close()


def test_what_ssh_complains_of_is_passed_on(fake_ssh, tmp_path):
    fake_ssh('sys.exit("pvc@hv1: Permission denied (publickey).")')
    with pytest.raises(UsageError, match=r"Permission denied \(publickey\)"):
        connect("ssh://pvc@hv1", tmp_path)


def test_a_node_that_ssh_does_not_know_is_to_be_met_once_by_hand(fake_ssh, tmp_path):
    fake_ssh('sys.exit("Host key verification failed.")')
    with pytest.raises(UsageError, match="no node answers") as caught:
        connect("ssh://pvc@hv1", tmp_path)
    assert "ssh pvc@NODE once" in caught.value.hint


def test_a_login_shell_that_prints_is_named_as_the_culprit(fake_ssh, tmp_path):
    fake_ssh('print("Welcome!", flush=True); sys.stdin.readline()')
    with pytest.raises(UsageError, match="answered what no agent says"):
        connect("ssh://hv1", tmp_path)


# --- who asks -------------------------------------------------------------------------------------


def say(path, *lines):
    """The answers to lines of a connection of its own."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.connect(str(path))
        end.sendall(b"".join(lines))
        end.shutdown(socket.SHUT_WR)
        with end.makefile("rb") as back:
            return [json.loads(line) for line in back]


def questions(number):
    return [question_line(Question(id=each, op="who", args={})) for each in range(number)]


@pytest.fixture
def who(agent):
    agent.answers["who"] = lambda ask: ask.value(ask.question.operator)
    return agent


@pytest.mark.usefixtures("who")
def test_the_first_line_says_who_asks_all_that_follow(path):
    answers = say(path, operator_line("ann"), *questions(2))
    assert [each["value"] for each in answers] == ["ann", "ann"]
    assert [each["value"] for each in say(path, *questions(2))] == [None, None]


@pytest.mark.usefixtures("who")
def test_nobody_becomes_another_later_or_in_a_question(path):
    first, second = questions(2)
    answers = say(path, operator_line("ann"), first, operator_line("bob"), second)
    assert answers[0]["value"] == "ann"
    assert [each["error"]["code"] for each in answers[1:]] == ["bad-question"]
    claimed = json.dumps({**json.loads(first), "operator": "bob"}).encode() + b"\n"
    assert say(path, operator_line("ann"), claimed)[0]["value"] == "ann"


@pytest.mark.usefixtures("who")
def test_another_account_must_say_who_it_acts_for(path, monkeypatch):
    monkeypatch.setattr("pvc_gitops.adapters.socket._is_ours", lambda _: False)
    assert [each["error"]["code"] for each in say(path, *questions(2))] == ["no-operator"]
    assert say(path, operator_line("ann"), *questions(1))[0]["value"] == "ann"


@pytest.mark.usefixtures("who")
def test_agent_stdio_says_the_operator_before_the_client_says_anything(path):
    ours, theirs = os.pipe(), os.pipe()
    os.write(ours[1], operator_line("mallory") + questions(1)[0])
    os.close(ours[1])
    join(str(path), ours[0], theirs[1], "ann")
    os.close(theirs[1])
    with os.fdopen(theirs[0], "rb") as back:
        answers = [json.loads(line) for line in back]
    os.close(ours[0])
    assert [each["error"]["code"] for each in answers] == ["bad-question"]


def test_the_group_may_connect_and_nobody_else(path):
    group = grp.getgrgid(os.getegid()).gr_name
    listener = AgentSocket(path, lambda: None, group=group)
    found = path.stat()
    listener.close()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == os.getegid()
