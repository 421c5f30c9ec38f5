"""The store against three real ZooKeeper servers: conflicts, lost answers, elections, watches."""

import logging
import signal
import subprocess
import sys
import threading
import time

import pytest
from kazoo.client import KazooClient
from zk_ensemble import PASSWORD

from pvc_gitops.adapters.zk import ZooKeeperStore
from pvc_gitops.adapters.zk.records import MARKER
from pvc_gitops.errors import StoreConflict, StoreError, StoreUnavailable
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world.ports import Check, Create, Delete, Put

pytestmark = pytest.mark.lab

HV1, HV2 = NodeName("hv1"), NodeName("hv2")


@pytest.fixture
def stores(ensemble):
    made = []
    logging.getLogger("kazoo").setLevel(logging.ERROR)

    def make(*servers, password=PASSWORD, wait=True):
        woken = threading.Event()
        store = ZooKeeperStore(
            servers or ensemble.addresses, user="pvc", password=password, wake=woken.set
        )
        store.woken = woken
        made.append(store)
        if wait:
            assert store.wait(20)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def base(stores):
    """A path of this test's own."""
    path = f"/pvc/ledger/t{time.monotonic_ns()}"
    stores().commit([Create(path=path, value={})])
    return path


def names_of(store, path):
    return set(store.read_children(path))


def test_records_come_back_as_they_were(stores, base):
    store = stores()
    store.commit([Create(path=f"{base}/a", value={"x": "ü", "n": None})])
    found = store.read(f"{base}/a")
    assert found.value == {"x": "ü", "n": None}
    assert found.version == 0
    store.commit([Put(path=f"{base}/a", value={"x": 2}, version=0)])
    assert store.read(f"{base}/a").version == 1
    assert {k: v.value for k, v in store.read_children(base).items()} == {"a": {"x": 2}}
    store.commit([Delete(path=f"{base}/a", version=1)])
    assert store.read(f"{base}/a") is None
    assert store.read_children(f"{base}/nothing") == {}


def test_large_records_are_compressed_and_small_ones_readable(stores, base, ensemble):
    store = stores()
    large = {"text": "a guest " * 5000}
    store.commit([Create(path=f"{base}/l", value=large), Create(path=f"{base}/s", value={"a": 1})])
    client = _client(ensemble)
    assert client.get(f"{base}/l")[0].startswith(MARKER)
    assert client.get(f"{base}/s")[0].startswith(b'{"a":1,"nonce":')
    acls = client.get_acls(f"{base}/s")[0]
    assert [(acl.id.scheme, acl.id.id) for acl in acls] == [("sasl", "pvc")]
    client.stop()
    client.close()
    assert store.read(f"{base}/l").value == large


def _client(ensemble):
    client = KazooClient(
        hosts=",".join(ensemble.addresses),
        sasl_options={"mechanism": "DIGEST-MD5", "username": "pvc", "password": PASSWORD},
    )
    client.start(timeout=20)
    return client


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (lambda base: Put(path=f"{base}/a", value={}, version=7), "another version"),
        (lambda base: Check(path=f"{base}/a", version=7), "another version"),
        (lambda base: Create(path=f"{base}/a", value={}), "exists already"),
        (lambda base: Check(path=f"{base}/a", version=None), "exists already"),
        (lambda base: Check(path=f"{base}/x", version=0), "does not exist"),
        (lambda base: Delete(path=f"{base}/x", version=0), "does not exist"),
    ],
)
def test_a_conflict_names_its_path_and_nothing_is_written(stores, base, op, reason):
    store = stores()
    store.commit([Create(path=f"{base}/a", value={"x": 1})])
    culprit = op(base)
    ops = [
        Check(path=f"{base}/free", version=None),
        Create(path=f"{base}/b", value={}),
        culprit,
        Create(path=f"{base}/c", value={}),
    ]
    with pytest.raises(StoreConflict, match=reason) as caught:
        store.commit(ops)
    assert caught.value.target == culprit.path
    assert names_of(store, base) == {"a"}


def test_an_absence_is_checked_and_leaves_nothing(stores, base):
    store = stores()
    store.commit([Check(path=f"{base}/free", version=None), Create(path=f"{base}/b", value={})])
    assert names_of(store, base) == {"b"}


def test_an_oversized_transaction_is_refused_before_it_is_sent(stores, base):
    store = stores()
    import random

    noise = random.Random(1).randbytes(500_000).hex()  # hex shrinks to half, which is too much
    with pytest.raises(StoreError, match="is the most") as caught:
        store.commit([Create(path=f"{base}/{n}", value={"x": noise}) for n in range(2)])
    assert not caught.value.retryable
    assert store.is_connected()
    assert names_of(store, base) == set()


# kazoo's connection thread ends with an error when the login is refused.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_refused_login_is_said_and_nothing_hangs(stores):
    store = stores(password="wrong", wait=False)
    began = time.monotonic()
    assert not store.wait(3)
    with pytest.raises(StoreUnavailable, match="the password of pvc is refused"):
        store.read("/pvc")
    assert time.monotonic() - began < 10


def test_no_write_is_lost_or_doubled_while_the_leading_server_dies(stores, base, ensemble):
    store = stores()
    store.commit([Create(path=f"{base}/n", value={"n": 0})])
    acknowledged, unknown = 0, 0
    killer = threading.Timer(0.5, lambda: ensemble.leader().kill())
    killer.start()
    until = time.monotonic() + 8
    longest = 0.0
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            found = store.read(f"{base}/n")
            store.commit(
                [Put(path=f"{base}/n", value={"n": found.version + 1}, version=found.version)]
            )
            acknowledged += 1
        except StoreUnavailable:
            unknown += 1
            time.sleep(0.05)
        longest = max(longest, time.monotonic() - began)
    killer.join()
    assert store.wait(10)
    store.sync()
    found = store.read(f"{base}/n")
    # The only writer: every acknowledged write counts once, an unknown one at most once.
    assert acknowledged <= found.version <= acknowledged + unknown
    assert found.value == {"n": found.version}
    print(f"{acknowledged} writes, {unknown} unknown, longest {longest:.2f} s")


def test_a_lost_answer_is_learnt_from_our_own_mark(stores, base, ensemble):
    """The server gets the write, and we never its answer: the connection is cut in between."""
    store = stores()
    store.commit([Create(path=f"{base}/n", value={})])
    outcomes = []

    def write():
        try:
            store.commit([Put(path=f"{base}/n", value={"by": "us"}, version=0)])
            outcomes.append("done")
        except StoreError as err:
            outcomes.append(err)

    local = ensemble.servers[0]
    # All but the local server stand still: the write waits for a quorum. Then the local one dies.
    others = [server for server in ensemble.servers if server is not local]
    for server in others:
        server.signal(signal.SIGSTOP)
    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.4)
    for server in others:
        server.signal(signal.SIGCONT)
    local.kill()
    thread.join(timeout=40)
    assert outcomes
    store.wait(20)
    store.sync()
    found = store.read(f"{base}/n")
    # "Done" is said of a write that stands, and never of one that does not.
    assert outcomes == ["done"] or isinstance(outcomes[0], StoreUnavailable)
    if outcomes == ["done"]:
        assert (found.version, found.value) == (1, {"by": "us"})


def test_another_leads_when_the_first_is_gone_and_old_epochs_are_refused(stores, base):
    role = f"r{time.monotonic_ns()}"
    first, second = stores(), stores()
    leads = first.lead(role, HV1)
    assert leads is not None
    assert first.lead(role, HV1) == leads  # idempotent: the epoch is raised once
    assert second.lead(role, HV2) is None
    first.commit([*leads.checks, Create(path=f"{base}/by-first", value={})])
    assert [s.value["node"] for s in first.read_children(paths.election(role)).values()]
    first.close()
    until = time.monotonic() + 10
    while (follows := second.lead(role, HV2)) is None:
        assert time.monotonic() < until
        second.woken.wait(0.5)
    assert follows.epoch == leads.epoch + 1
    with pytest.raises(StoreConflict) as caught:
        second.commit([*leads.checks, Create(path=f"{base}/by-ghost", value={})])
    assert caught.value.target == leads.checks[0].path
    # Even with a candidacy that stands, an old epoch is refused.
    with pytest.raises(StoreConflict) as caught:
        second.commit([follows.checks[0], leads.checks[1], Create(path=f"{base}/g", value={})])
    assert caught.value.target == paths.epoch(role)
    second.commit([*follows.checks, Create(path=f"{base}/by-second", value={})])
    assert names_of(second, base) == {"by-first", "by-second"}


def test_who_resigns_is_succeeded_at_once_and_may_stand_again(stores):
    role = f"r{time.monotonic_ns()}"
    first, second = stores(), stores()
    leads = first.lead(role, HV1)
    assert second.lead(role, HV2) is None
    first.resign(role)
    began = time.monotonic()
    while (follows := second.lead(role, HV2)) is None:
        assert time.monotonic() - began < 2, "its session need not end for that"
        second.woken.wait(0.2)
    assert follows.epoch == leads.epoch + 1
    with pytest.raises(StoreConflict):
        first.commit([*leads.checks, Create(path=f"{paths.ROOT}/by-ghost", value={})])
    assert first.lead(role, HV1) is None
    second.resign(role)
    second.resign(role)  # nothing is left to give up
    while first.lead(role, HV1) is None:
        assert time.monotonic() - began < 5
        first.woken.wait(0.2)


LEADER = """
import sys, time
from pvc_gitops.adapters.zk import ZooKeeperStore
servers, role = sys.argv[1].split(","), sys.argv[2]
store = ZooKeeperStore(servers, user="pvc", password=sys.argv[3], wake=lambda: None)
assert store.wait(20)
print(store.lead(role, "hv1").epoch, flush=True)
time.sleep(60)
"""


def test_a_killed_leader_is_succeeded_within_its_session(stores, ensemble):
    role = f"r{time.monotonic_ns()}"
    second = stores()
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER, ",".join(ensemble.addresses), role, PASSWORD],
        stdout=subprocess.PIPE,
        text=True,
    )
    with leader:
        epoch = int(leader.stdout.readline())
        assert second.lead(role, HV2) is None
        leader.kill()
    began = time.monotonic()
    while (follows := second.lead(role, HV2)) is None:
        assert time.monotonic() - began < 10
        second.woken.wait(0.5)
        second.woken.clear()
    assert follows.epoch == epoch + 1
    print(f"succeeded after {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize("change", ["create", "put", "delete", "own"])
def test_watches_wake_and_show_the_change(stores, base, change):
    watcher, writer = stores(), stores()
    writer.commit([Create(path=f"{base}/a", value={"x": 1})])
    watcher.watch(base)
    assert names_of(watcher, base) == {"a"}
    assert watcher.read(f"{base}/a").value == {"x": 1}
    watcher.woken.clear()
    ops = {
        "create": Create(path=f"{base}/b", value={}),
        "put": Put(path=f"{base}/a", value={"x": 2}, version=0),
        "delete": Delete(path=f"{base}/a", version=0),
        "own": Put(path=base, value={"own": 1}, version=0),
    }
    writer.commit([ops[change]])
    assert watcher.woken.wait(2)
    seen = {name: stamped.value for name, stamped in watcher.read_children(base).items()}
    expected = {"create": {"a": {"x": 1}, "b": {}}, "put": {"a": {"x": 2}}, "delete": {}}
    assert seen == expected.get(change, {"a": {"x": 1}})
    assert watcher.read(base).value == ({"own": 1} if change == "own" else {})
    # And it is watched anew.
    watcher.woken.clear()
    writer.commit([Create(path=f"{base}/later", value={})])
    assert watcher.woken.wait(2)


def test_an_absent_path_is_watched_until_it_comes(stores, base):
    watcher, writer = stores(), stores()
    watcher.watch(f"{base}/target")
    assert watcher.read(f"{base}/target") is None
    watcher.woken.clear()
    writer.commit([Create(path=f"{base}/target", value={"t": 1})])
    assert watcher.woken.wait(2)
    assert watcher.read(f"{base}/target").value == {"t": 1}


def test_own_writes_and_synced_ones_are_seen_at_once(stores, base):
    store, other = stores(), stores()
    store.watch(base)
    for n in range(50):
        assert len(store.read_children(base)) == 2 * n
        store.commit([Create(path=f"{base}/a{n}", value={})])
        assert len(store.read_children(base)) == 2 * n + 1
        other.commit([Create(path=f"{base}/b{n}", value={})])
        store.sync()


def test_watched_paths_at_rest_ask_nothing(stores, base):
    store = stores()
    store.commit([Create(path=f"{base}/{n}", value={"n": n}) for n in range(50)])
    store.watch(base)
    store.read_children(base)
    began = time.perf_counter()
    for _ in range(1000):
        store.read_children(base)
        store.read(f"{base}/7")
    spent = (time.perf_counter() - began) / 1000
    print(f"{spent * 1e6:.0f} us for 50 records")
    assert spent < 0.001


def test_watches_survive_the_death_of_the_server(stores, base, ensemble):
    watcher, writer = stores(), stores(*ensemble.addresses[1:])
    watcher.watch(base)
    watcher.read_children(base)
    ensemble.servers[0].kill()  # the first of the list: the watcher's own
    assert writer.wait(20)
    until = time.monotonic() + 20
    while True:  # the leading server may have been the one that died
        try:
            writer.commit([Create(path=f"{base}/new", value={})])
            break
        except StoreUnavailable:
            assert time.monotonic() < until
    assert watcher.wait(20)
    until = time.monotonic() + 10
    while names_of(watcher, base) != {"new"}:
        assert time.monotonic() < until
        watcher.woken.wait(0.5)
        watcher.woken.clear()


def test_the_quorum_is_counted(stores, ensemble):
    store = stores(*ensemble.addresses[1:], ensemble.addresses[0])
    assert (store.quorum().serving, store.quorum().servers) == (3, 3)
    ensemble.servers[0].kill()
    time.sleep(2.1)
    began = time.monotonic()
    assert store.quorum().serving <= 2
    assert time.monotonic() - began < 1
