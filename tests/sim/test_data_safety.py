"""Data of guests through moves, reverts, outages and lost answers: one writer a disk, nothing blank
under an old name."""

from __future__ import annotations

from simulated import BASE, ON, changed, events, play, states

from pvc_gitops.errors import PoolError

SHARED = b"""apiVersion: pvc/v1
kind: Volume
metadata: {name: shared}
spec: {pool: vms, size: 64MiB}
"""


def with_volume(guest, files=BASE):
    line = "  disks:\n"
    disk = f"{line}    - {{name: data, volume: shared}}\n"
    return changed(f"vms/{guest}.yaml", line, disk, {**files, "volumes/shared.yaml": SHARED})


def openers(one, prefix):
    """Who has the images of this prefix open."""
    return {a for (_, name), found in one.cluster.ceph.watchers.items() if name.startswith(prefix)
            for a in found}  # fmt: skip


def test_a_volume_is_plugged_in_only_when_its_last_guest_let_go():
    one = play(ON + "settle\n", files=with_volume("web2"), commits={"move": with_volume("db1")})
    home = "hv2"
    (before,) = openers(one, "volume.shared.")
    one.play(f"agent {home} pause\ncommit move\nwait 60\n")  # web2 cannot let go
    assert openers(one, "volume.shared.") == {before}
    one.play(f"agent {home} resume\nsettle 900\n")
    assert one.is_settled
    assert one.result()["violations"] == []
    (after,) = openers(one, "volume.shared.")
    assert after != before
    assert set(states(one).values()) == {"running"}


def test_a_deletion_that_is_reverted_while_the_disk_goes_brings_the_disk_back():
    """The revert was planned a moment before the old plan's step took the disk, and published after."""
    without = {name: data for name, data in BASE.items() if name != "vms/app2.yaml"}
    one = play(ON + "settle\n", commits={"without": without, "again": BASE})
    cluster, agent = one.cluster, one.cluster.nodes["hv2"].agent
    one.play("commit without\n")
    while not any(key.startswith("disk.trash") for key in agent.jobs.jobs):
        one.play("wait 0.05\n")
    one.play("agent hv2 pause\n")
    claim = "/pvc/claims/vm:app2:disk:root"
    record = cluster.tree.records.pop(claim)  # not there yet, when the planner looks
    cluster.tree.children["/pvc/claims"].remove("vm:app2:disk:root")
    one.play("commit again\nwait 30\n")
    cluster.tree.records[claim] = record
    cluster.tree.children["/pvc/claims"].add("vm:app2:disk:root")
    one.play("agent hv2 resume\nsettle 900\n")
    assert one.is_settled
    assert set(states(one).values()) == {"running"}
    assert cluster.ceph.trash["vms"] == ()


def silent():
    raise PoolError("status", "ceph", "the monitors do not answer", retryable=True)


def test_nothing_is_planned_on_an_older_look_at_ceph():
    """The disk went to the trash after the last look; the revert must not be planned from that look."""
    without = {name: data for name, data in BASE.items() if name != "vms/app2.yaml"}
    one = play(ON + "settle\n", commits={"without": without, "again": BASE})
    ceph, agent = one.cluster.ceph, one.cluster.nodes["hv2"].agent
    one.play("commit without\n")
    while not any(key.startswith("disk.trash") for key in agent.jobs.jobs):
        one.play("wait 0.05\n")
    osds, ceph.osds = ceph.osds, silent
    one.play("wait 30\ncommit again\nwait 120\n")
    assert events(one, "step_failed") == []
    ceph.osds = osds
    one.play("wait 60\nsettle 900\n")  # storage is looked at again within a minute
    assert one.is_settled
    assert "app2" in states(one)
    assert set(states(one).values()) == {"running"}
    assert ceph.trash["vms"] == ()


def test_a_step_that_has_ended_is_not_run_again_by_whoever_lost_the_answer():
    """Its claim is gone, others went on: the disk is back under its name."""
    without = {name: data for name, data in BASE.items() if name != "vms/app2.yaml"}
    one = play(ON + "settle\n", commits={"without": without})
    cluster, node = one.cluster, one.cluster.nodes["hv2"]
    jobs, claim = node.agent.jobs.jobs, "/pvc/claims/vm:app2:disk:root"
    one.play("commit without\n")
    while not any(key.startswith("disk.trash") and job.state.is_done for key, job in jobs.items()):
        one.play("wait 0.005\n")
    node.clients["agent"].is_ambiguous = True
    while claim in cluster.tree.records:
        one.play("wait 0.005\n")
    one.play("store hv2 off\n")
    (entry,) = cluster.ceph.trash["vms"]
    cluster.ceph.images["vms", entry.name] = cluster.ceph.trashed[entry.id]
    cluster.ceph.trash["vms"] = ()
    one.play("wait 2\nstore hv2 on\nwait 0.9\n")
    assert not any(key.startswith("disk.trash") for key in jobs)
    assert ("vms", entry.name) in cluster.ceph.images
