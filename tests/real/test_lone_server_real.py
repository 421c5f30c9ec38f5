"""Two of three ZooKeeper servers are gone for good: the third alone goes on with the data."""

import time
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from zk_ensemble import PASSWORD, Ensemble, jars

from pvc_gitops.adapters.zk import ZooKeeperStore
from pvc_gitops.formation.quorum import alone, member_file
from pvc_gitops.world.ports import Quorum

pytestmark = pytest.mark.lab


@pytest.fixture
def three(tmp_path):
    """Its own ensemble: its membership changes for good."""
    if jars() is None:
        pytest.skip("no ZooKeeper here: apt-get install libzookeeper-java default-jre-headless")
    ensemble = Ensemble(root=tmp_path)
    try:
        ensemble.form()
        yield ensemble
    finally:
        ensemble.end()


def connected(server):
    client = KazooClient(
        hosts=server.address,
        sasl_options={"mechanism": "DIGEST-MD5", "username": "pvc", "password": PASSWORD},
    )
    client.start(timeout=20)
    return client


def wait_serving(server, limit_s=40.0):
    until = time.monotonic() + limit_s
    while server.mode() is None:
        assert time.monotonic() < until, (server.data / "log").read_text()[-800:]
        time.sleep(0.25)


def test_one_that_is_left_goes_on_with_all_that_it_knew(three):
    left = three.servers[0]
    client = connected(left)
    client.create("/kept", b"all that was")
    client.stop()
    client.close()
    for server in three.servers:
        server.kill()

    path = Path(member_file((left.data / "zoo.cfg").read_text()))
    members = path.read_text()
    path.write_text(alone(members, left.number))
    left.start()
    wait_serving(left)
    client = connected(left)
    assert client.get("/kept")[0] == b"all that was"
    client.set("/kept", b"and more")

    assert client.get("/zookeeper/config")[0].decode().count("server.") == 1
    client.stop()
    client.close()

    # Whoever was told of three servers counts the one that is left.
    store = ZooKeeperStore(three.addresses, user="pvc", password=PASSWORD, wake=lambda: None)
    try:
        assert store.wait(20)
        assert store.quorum() == Quorum(serving=1, servers=1)
    finally:
        store.close()
