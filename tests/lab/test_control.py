"""What people hold back and take back, on a real cluster: freeze, halt, approval, rollback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cloud import Cloud, until
from test_first_light import vm

from pvc_gitops.adapters.client import Client, connect
from pvc_gitops.model.intents import IntentKind

pytestmark = pytest.mark.lab

QUICK = "  stop_timeout: 10s\n"  # how a guest stops is another test's business

TAKEN_UP_LIMIT_S = 60.0
STEPS_LIMIT_S = 180.0
STILL_S = 8.0  # longer than a leader needs to publish what it may


@pytest.fixture(autouse=True)
def nothing_held(cloud: Cloud) -> Iterator[None]:
    """What one test holds back must not hold back the next one, however it ended."""
    yield
    with connected(cloud) as client:
        for intent in client.intents():
            client.end_intent(intent.id, reason="end of the test")


@contextmanager
def connected(cloud: Cloud) -> Iterator[Client]:
    """A connection that is open already: a command that starts may take longer than what it stops."""
    client = connect(None, cloud.clone)
    try:
        yield client
    finally:
        client.close()


def taken_up(cloud: Cloud, commit: str) -> None:
    """The commit is accepted, whatever follows from it."""
    until("the commit is accepted", TAKEN_UP_LIMIT_S, lambda: cloud.accepted() == commit)


def without(cloud: Cloud, name: str) -> None:
    """Leave the cluster as it was found."""
    cloud.git("rm", "-q", f"vms/{name}.yaml")
    cloud.commit_and_push(f"{name}: no longer needed")
    cloud.pvc("apply", "--yes")
    assert name not in cloud.domains()


def test_a_frozen_cluster_takes_up_nothing_and_keeps_what_runs(cloud: Cloud) -> None:
    before = cloud.status()["target"]["plan"]
    assert "freeze-" in cloud.pvc("freeze", "--reason", "a look at the switches", "--for", "1h")
    cloud.write("vms/late.yaml", vm("late", extra=QUICK))
    commit = cloud.commit_and_push("late: new")
    assert cloud.try_pvc("plan").returncode == 5
    refused = cloud.try_pvc("apply", "--yes")
    assert refused.returncode == 5
    assert "frozen by root" in refused.stderr
    taken_up(cloud, commit)
    until("it waits", TAKEN_UP_LIMIT_S, lambda: cloud.status()["withheld"] is not None)
    status = cloud.status()
    assert status["withheld"]["obstacle"] == "frozen"
    assert status["target"]["plan"] == before
    assert "frozen by root" in cloud.pvc("status").partition("\n")[0]
    # A guest that dies is started again meanwhile.
    owner, starts = cloud.owner("app1"), status["guests"]["app1"]["starts"]
    cloud.on(owner, "virsh", "destroy", "app1")
    until(
        "app1 runs again",
        STEPS_LIMIT_S,
        lambda: cloud.status()["guests"]["app1"]["starts"] > starts and "app1" in cloud.running(),
    )
    assert "late" not in cloud.domains()
    assert "freeze-" in cloud.pvc("intent", "list")
    assert "a look at the switches" in cloud.pvc("freeze", "--end")
    cloud.pvc("apply", "--yes")
    assert "late" in cloud.running()
    assert cloud.status()["withheld"] is None
    without(cloud, "late")


def test_a_halt_lets_running_steps_end_and_begins_no_other(cloud: Cloud) -> None:
    cloud.write("vms/half.yaml", vm("half", extra=QUICK))
    cloud.write("vms/full.yaml", vm("full", extra=QUICK))
    commit = cloud.commit_and_push("half, full: new")
    with connected(cloud) as client:
        client.look_at_git()
        until(
            "steps are left",
            TAKEN_UP_LIMIT_S,
            lambda: client.status().running == commit and client.status().steps_left > 0,
        )
        client.wish(IntentKind.HALT, "cluster", reason="wait for me")
        halted = client.status()
        assert halted.target is not None
        until("nothing is claimed", STEPS_LIMIT_S, lambda: not client.inventory().claims)
        left = client.status().steps_left
        assert left > 0
        end = time.monotonic() + STILL_S
        while time.monotonic() < end:
            status = client.status()
            assert status.target is not None
            assert (status.steps_left, status.target.plan) == (left, halted.target.plan)
            assert not client.inventory().claims
    refused = cloud.try_pvc("apply", "--yes")
    assert refused.returncode == 5
    assert "halted by root" in refused.stderr
    assert "halted by root" in cloud.pvc("status").partition("\n")[0]
    assert "wait for me" in cloud.pvc("halt", "--end")
    cloud.pvc("apply", "--yes")
    assert {"half", "full"} <= cloud.running()
    cloud.git("rm", "-q", "vms/half.yaml")
    without(cloud, "full")


def test_manual_mode_waits_for_one_approval_a_plan(cloud: Cloud) -> None:
    cloud.write("cluster.yaml", cloud.read("cluster.yaml").replace("mode: auto", "mode: manual"))
    cloud.commit_and_push("from now on, ask")
    cloud.pvc("apply", "--yes")
    cloud.write("vms/asked.yaml", vm("asked", extra=QUICK))
    cloud.commit_and_push("asked: new")
    waits = cloud.pvc("apply", "--yes", ok=(3,))
    assert "wait for approval" in waits
    effect = cloud.status()["withheld"]["effect"]
    assert f"effect {effect}" in waits  # as previewed
    assert f"pvc approve {effect}" in [row[2] for row in cloud.status()["waiting"]]
    time.sleep(STILL_S)
    assert "asked" not in cloud.domains()
    assert cloud.try_pvc("approve", "0" * 8).returncode == 4
    cloud.pvc("approve", effect, "--reason", "reviewed")
    cloud.pvc("apply", "--yes")
    assert "asked" in cloud.running()
    assert "No intents" in cloud.pvc("intent", "list")  # one approval, one plan
    cloud.git("rm", "-q", "vms/asked.yaml")
    cloud.write("cluster.yaml", cloud.read("cluster.yaml").replace("mode: manual", "mode: auto"))
    cloud.commit_and_push("asked: no longer needed; and ask no more")
    cloud.pvc("apply", "--yes", ok=(3,))  # the mode in force is still the old one
    cloud.pvc("approve", cloud.status()["withheld"]["effect"])
    cloud.pvc("apply", "--yes")
    assert "asked" not in cloud.domains()
    assert cloud.status()["withheld"] is None


def test_a_rollback_stands_until_its_change_is_taken_back(cloud: Cloud) -> None:
    good = cloud.git("rev-parse", "HEAD")
    before = cloud.running()
    cloud.write("vms/wrong.yaml", vm("wrong", extra=QUICK))
    bad = cloud.commit_and_push("wrong: new")
    cloud.pvc("apply", "--yes")
    assert "wrong" in cloud.running()
    said = cloud.pvc("rollback", "--yes", "--reason", "it is wrong")
    assert f"git revert --no-edit {bad[:7]}" in said
    assert cloud.running() == before
    assert f"rolled back to {good[:7]}" in cloud.pvc("status").partition("\n")[0]
    # Something else on top does not bring it back.
    web1 = cloud.read("vms/web1.yaml")
    cloud.write("vms/web1.yaml", web1.replace("tags: [", "tags: [seen, "))
    other = cloud.commit_and_push("web1: another tag")
    waits = cloud.pvc("apply", "--yes", ok=(3,))
    assert "still holds" in waits
    assert cloud.accepted() == other
    time.sleep(STILL_S)
    assert "wrong" not in cloud.domains()
    assert cloud.status()["quarantine"]["commit"] == good
    # The revert does end it, and what came on top is in force with it.
    cloud.git("revert", "--no-edit", bad)
    cloud.git("push", "--quiet")
    cloud.pvc("apply", "--yes")
    assert cloud.status()["quarantine"] is None
    assert cloud.running() == before
    cloud.write("vms/web1.yaml", web1)
    cloud.commit_and_push("web1: as it was")
    cloud.pvc("apply", "--yes")


def test_a_rollback_makes_git_agree_if_asked_to(cloud: Cloud) -> None:
    good = cloud.git("rev-parse", "HEAD")
    before = cloud.running()
    cloud.write("vms/wrong.yaml", vm("wrong", extra=QUICK))
    cloud.commit_and_push("wrong: new")
    cloud.pvc("apply", "--yes")
    cloud.git("config", "user.name", "ann")
    cloud.git("config", "user.email", "ann@lab.example")
    cloud.pvc("rollback", good, "--push", "--yes")
    assert cloud.git("rev-parse", "HEAD^{tree}") == cloud.git("rev-parse", f"{good}^{{tree}}")
    assert cloud.git("rev-parse", "HEAD") == cloud.git("rev-parse", "@{upstream}")
    cloud.pvc("apply", "--yes")
    assert cloud.running() == before
    status = cloud.status()
    assert (status["quarantine"], status["withheld"], status["intents"]) == (None, None, [])
    assert "Nothing to do" in cloud.pvc("plan")
