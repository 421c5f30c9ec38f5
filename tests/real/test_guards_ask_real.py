"""Three guards' processes beside three real ZooKeeper servers: a quorum that is nowhere kills nobody."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from guard_process import Guard, Slice, wait_for

from pvc_guard.post import Server

pytestmark = pytest.mark.lab

OUTAGE_S = 20.0  # more than three leases


@pytest.fixture
def guards(tmp_path, ensemble):
    root = next(
        root
        for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
        if (root / "cgroup.procs").exists() and (root / "cgroup.controllers").exists()
    )
    found = []
    for number in (1, 2, 3):
        here = tmp_path / f"hv{number}"
        here.mkdir()
        slice_ = Slice(root / f"pvc-test-{tmp_path.name}-{number}.slice")
        guard = Guard(here, ensemble, slice_, number)
        guard.start()
        found.append(guard)
    for guard in found:
        guard.wait_for_lease()
    yield found
    for guard in found:
        guard.end(signal.SIGKILL)
        guard.slice.end()


def lives(guards):
    return [guard.state()["incarnation"] for guard in guards]


def test_nobody_is_killed_while_no_quorum_exists_anywhere(guards, ensemble):
    before = lives(guards)
    guests = [guard.slice.start_guest() for guard in guards]
    ensemble.servers[1].kill()
    ensemble.servers[2].kill()
    until = time.monotonic() + OUTAGE_S
    while time.monotonic() < until:
        assert [guest.poll() for guest in guests] == [None] * 3, guards[0].log()
        time.sleep(0.2)
    assert lives(guards) == before
    ensemble.heal()
    time.sleep(8.0)  # each has written a heartbeat since
    assert lives(guards) == before, [guard.log() for guard in guards]


def test_who_is_cut_off_from_a_quorum_that_exists_kills(guards, ensemble):
    """The first guard's way to every server is blocked; the others' servers are in a quorum."""
    others = lives(guards[1:])
    guest = guards[0].slice.start_guest()
    text = (guards[0].here / "node.toml").read_text()
    for server in ensemble.servers:
        text = text.replace(server.address, f"{server.host}:9")
    guards[0].end(signal.SIGKILL)
    (guards[0].here / "node.toml").write_text(text)
    guards[0].start()
    guest.wait(timeout=10)
    assert lives(guards[1:]) == others


def test_a_server_tells_the_truth_about_itself(ensemble):
    def server(number):
        of = ensemble.servers[number - 1]
        return Server(address=of.host, port=of.port, data=of.data / "version-2")

    assert [server(number).mark() for number in (1, 2, 3)] == [None] * 3
    ensemble.servers[1].kill()
    ensemble.servers[2].kill()
    mark = wait_for(server(1).mark, 10, "it notices that it is alone")
    assert server(1).mark() == mark
    assert server(2).mark() is not None  # no process: in no quorum either
    ensemble.heal()
    assert server(1).mark() is None
    ensemble.servers[0].kill()
    assert wait_for(server(1).mark, 5, "it is gone") != mark  # it joined an epoch in between


def test_a_server_that_hangs_is_no_witness(ensemble):
    hung = ensemble.servers[0]
    hung.signal(signal.SIGSTOP)
    try:
        mark = Server(address=hung.host, port=hung.port, data=hung.data / "version-2").mark()
    finally:
        hung.signal(signal.SIGCONT)
    assert mark is None


@pytest.mark.usefixtures("guards")
def test_each_listens_on_its_own_address():
    listening = subprocess.run(
        ["ss", "-Hlun", "sport = :7482"], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    assert sorted(line.split()[3] for line in listening.splitlines()) == [
        f"127.0.0.{number}:7482" for number in (1, 2, 3)
    ]
