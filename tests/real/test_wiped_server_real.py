"""A ZooKeeper server that lost its disk: it does not vote, and a quorum of the others fills it again."""

import shutil
import time

import pytest
from kazoo.client import KazooClient
from zk_ensemble import PASSWORD

pytestmark = pytest.mark.lab

SILENT_S = 8.0  # three times as long as servers with data need to agree


def wipe(server):
    """As a new disk would be: configured, and without any data. `initialize` was used up at founding."""
    server.kill()
    shutil.rmtree(server.data / "version-2")
    assert not (server.data / "initialize").exists()


def client_of(servers):
    client = KazooClient(
        hosts=",".join(server.address for server in servers),
        connection_retry={"max_tries": -1, "max_delay": 0.5},
        sasl_options={"mechanism": "DIGEST-MD5", "username": "pvc", "password": PASSWORD},
    )
    client.start(timeout=20)
    return client


def write(servers, value):
    client = client_of(servers)
    path = "/pvc/ledger/wiped"
    client.ensure_path(path)
    client.set(path, value)
    client.stop()
    client.close()


def read(servers):
    client = client_of(servers)
    try:
        client.sync("/pvc/ledger/wiped")
        return client.get("/pvc/ledger/wiped")[0]
    finally:
        client.stop()
        client.close()


def test_a_wiped_server_is_filled_by_a_quorum_of_the_others(ensemble):
    write(ensemble.servers, b"before")
    victim = next(server for server in ensemble.servers if server.mode() == "follower")
    wipe(victim)
    victim.start()
    ensemble.wait_for_quorum()
    assert read([victim]) == b"before"


def test_a_wiped_server_makes_no_quorum_with_one_that_missed_the_last_write(ensemble):
    stale, victim = [s for s in ensemble.servers if s.mode() == "follower"]
    leader = ensemble.leader()
    write(ensemble.servers, b"old owner")
    stale.kill()
    write([leader, victim], b"new owner")  # acknowledged by these two only
    leader.kill()
    wipe(victim)
    victim.start()
    stale.start()
    until = time.monotonic() + SILENT_S
    while time.monotonic() < until:
        assert victim.mode() is None
        assert stale.mode() is None, "it serves what it has: the last write would be gone"
        time.sleep(0.25)
    # Who remembers is back: all three serve, and nothing was lost.
    leader.start()
    ensemble.wait_for_quorum()
    assert read([victim]) == b"new owner"
    assert read([stale]) == b"new owner"
