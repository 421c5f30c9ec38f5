"""The guard's process against three real ZooKeeper servers and a real cgroup."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from guard_process import Guard, wait_for
from kazoo.client import KazooClient
from zk_ensemble import PASSWORD

from pvc_gitops.model import codec, paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import Heartbeat, IncarnationRecord

pytestmark = pytest.mark.lab

NODE = NodeName("hv1")


@pytest.fixture
def client(ensemble):
    client = KazooClient(
        hosts=",".join(ensemble.addresses),
        timeout=4.0,
        connection_retry={"max_tries": -1, "max_delay": 0.5},
        sasl_options={"mechanism": "DIGEST-MD5", "username": "pvc", "password": PASSWORD},
    )
    client.start(timeout=20)
    yield client
    client.stop()
    client.close()


@pytest.fixture
def guard(tmp_path, ensemble, machine_slice, client):
    for path in (paths.lease(NODE), paths.incarnation(NODE)):
        if client.exists(path):
            client.delete(path)
    guard = Guard(tmp_path, ensemble, machine_slice)
    guard.start()
    guard.wait_for_lease()
    yield guard
    guard.end(signal.SIGKILL)


def test_what_it_writes_is_what_the_model_reads(guard, client):
    record, _ = client.get(paths.incarnation(NODE))
    incarnation = codec.decode(IncarnationRecord, json.loads(record))
    assert incarnation.id == guard.state()["incarnation"]
    assert incarnation.lease_s == 6.0
    assert incarnation.storage_addresses == ("10.22.0.1",)
    assert not incarnation.is_revoked
    assert incarnation.watchdog is None
    before = codec.decode(Heartbeat, json.loads(client.get(paths.lease(NODE))[0]))
    time.sleep(3.2)
    after = codec.decode(Heartbeat, json.loads(client.get(paths.lease(NODE))[0]))
    assert after.incarnation == incarnation.id
    assert 2 <= after.counter - before.counter <= 4
    for path in (paths.incarnation(NODE), paths.lease(NODE), paths.node(NODE)):
        acls, _ = client.get_acls(path)
        assert [(acl.id.scheme, acl.id.id) for acl in acls] == [("sasl", "pvc")]


def test_it_stays_small_and_quiet(guard):
    time.sleep(2)
    status = Path(f"/proc/{guard.process.pid}/status").read_text()
    rss_kib = int(next(ln for ln in status.splitlines() if ln.startswith("VmRSS")).split()[1])
    locked_kib = int(next(ln for ln in status.splitlines() if ln.startswith("VmLck")).split()[1])
    ticks = _cpu_ticks(guard.process.pid)
    time.sleep(5)
    spent = (_cpu_ticks(guard.process.pid) - ticks) / os.sysconf("SC_CLK_TCK")
    print(f"VmRSS {rss_kib / 1024:.1f} MiB, CPU {spent / 5:.2%} of a core")
    assert rss_kib <= 30 * 1024
    assert locked_kib > 0
    assert (
        spent / 5 <= 0.02
    )  # the budget of 0.5 % is measured over minutes; this catches a busy loop


def _cpu_ticks(pid):
    # proc_pid_stat(5): utime and stime are fields 14 and 15; what follows the name begins with 3.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_silent_ensemble_ends_the_lease_after_six_seconds(guard, ensemble):
    guest = guard.slice.start_guest()
    first = guard.state()["incarnation"]
    for server in ensemble.servers:
        server.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    guest.wait(timeout=10)
    lasted = time.monotonic() - stopped
    assert 4.5 <= lasted <= 6.6  # the last acknowledged heartbeat was sent up to a second before
    assert guard.state()["incarnation"] is None
    for server in ensemble.servers:
        server.signal(signal.SIGCONT)
    wait_for(lambda: guard.state()["incarnation"] not in (None, first), 20, guard.log)
    print(f"guests killed {lasted:.2f} s after the silence began")


def test_the_death_of_the_leading_server_ends_nobodys_lease(guard, ensemble):
    guest = guard.slice.start_guest()
    first = guard.state()["incarnation"]
    ensemble.leader().kill()
    until = time.monotonic() + 9
    lowest = 6.0
    while time.monotonic() < until:
        state = guard.state()
        assert state["incarnation"] == first, guard.log()
        left = state["lease_until_s"] - time.clock_gettime(time.CLOCK_BOOTTIME)
        lowest = min(lowest, left)
        time.sleep(0.1)
    assert guest.poll() is None
    print(f"the lease never had less than {lowest:.2f} s left")


def test_a_restart_within_the_lease_kills_nobody(guard):
    guest = guard.slice.start_guest()
    first = guard.state()["incarnation"]
    for number in (signal.SIGTERM, signal.SIGKILL):
        guard.end(number)
        guard.start()
        time.sleep(2.5)
        assert guard.state()["incarnation"] == first
        assert guest.poll() is None


def test_a_start_without_a_lease_kills_what_it_finds(guard):
    guest = guard.slice.start_guest()
    first = guard.state()["incarnation"]
    guard.end(signal.SIGKILL)
    (guard.here / "guard.json").unlink()
    guard.start()
    guest.wait(timeout=5)
    assert wait_for(lambda: guard.state()["incarnation"], 15, guard.log) != first


def test_a_revoked_incarnation_is_never_renewed(guard, client):
    guest = guard.slice.start_guest()
    first = guard.state()["incarnation"]
    data, stat = client.get(paths.incarnation(NODE))
    revoked = {**json.loads(data), "is_revoked": True, "nonce": "of the manager"}
    client.set(paths.incarnation(NODE), json.dumps(revoked).encode(), version=stat.version)
    guest.wait(timeout=5)
    second = wait_for(lambda: guard.state()["incarnation"], 15, guard.log)
    assert second != first
    record = codec.decode(IncarnationRecord, json.loads(client.get(paths.incarnation(NODE))[0]))
    assert record.id == second
    assert not record.is_revoked


def test_a_stopped_guard_finds_its_lease_over(guard):
    guest = guard.slice.start_guest()
    guard.process.send_signal(signal.SIGSTOP)
    time.sleep(6.5)
    assert guest.poll() is None  # only a watchdog could have ended it meanwhile
    guard.process.send_signal(signal.SIGCONT)
    guest.wait(timeout=2)


def test_a_machine_that_goes_down_says_left_after_its_last_guest(guard, client):
    guest = guard.slice.start_guest()
    first = guard.state()["incarnation"]
    systemctl = guard.here / "systemctl"
    systemctl.write_text("#!/bin/sh\necho stopping\nexit 1\n")
    systemctl.chmod(0o755)
    guard.process.send_signal(signal.SIGTERM)
    time.sleep(2.5)
    assert guest.poll() is None
    assert guard.state()["life"] == "leaving"
    assert guard.state()["incarnation"] == first
    guest.kill()
    guest.wait(timeout=5)
    assert guard.process.wait(timeout=10) == 0
    record = codec.decode(IncarnationRecord, json.loads(client.get(paths.incarnation(NODE))[0]))
    assert record.id == first
    assert not record.guests_left
    guard.process = None


def test_a_service_manager_that_is_too_busy_to_answer_is_asked_again(guard, client):
    """Else a machine that goes down would be fenced, for want of the last word."""
    asked, systemctl = guard.here / "asked", guard.here / "systemctl"
    systemctl.write_text(
        f"#!/bin/sh\n[ -e {asked} ] && {{ echo stopping; exit 1; }}\ntouch {asked}\nexec sleep 5\n"
    )
    systemctl.chmod(0o755)
    first = guard.state()["incarnation"]
    guard.process.send_signal(signal.SIGTERM)
    assert guard.process.wait(timeout=10) == 0
    record = codec.decode(IncarnationRecord, json.loads(client.get(paths.incarnation(NODE))[0]))
    assert (record.id, record.guests_left) == (first, False)
    guard.process = None


def test_a_guard_that_is_only_replaced_says_no_last_word(guard, client):
    systemctl = guard.here / "systemctl"
    systemctl.write_text("#!/bin/sh\necho degraded\nexit 1\n")
    systemctl.chmod(0o755)
    first = guard.state()["incarnation"]
    guard.process.send_signal(signal.SIGTERM)
    assert guard.process.wait(timeout=10) == 0
    record = codec.decode(IncarnationRecord, json.loads(client.get(paths.incarnation(NODE))[0]))
    assert (record.id, record.guests_left) == (first, True)
    guard.start()
    assert wait_for(lambda: guard.state()["incarnation"], 15, guard.log) == first
