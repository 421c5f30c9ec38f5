"""What an applier refuses before it touches anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_gitops.appliers import disk, image, pool
from pvc_gitops.cli.simulate import files_of
from pvc_gitops.errors import PoolError, PrereqError
from pvc_gitops.model.inventory import ImageFacts, PoolFacts
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.sim.cluster import SimCluster

TINY = ImageFacts(size_mib=32, parent=None, snapshots=("base",))
DISK = ImageFacts(size_mib=64, parent="vms/tiny@base", snapshots=())


def step(operation, **inputs):
    return Step(
        id=f"{operation} x",
        address="vm/web1/disk/root",
        operation=operation,
        node="hv1",
        needs=(),
        pre={},
        record=None,
        inputs=inputs,
        estimate_s=1,
        timeout_s=10,
        downtime_s=0,
        undo="",
    )


@pytest.fixture
def stage():
    cluster = SimCluster(files_of(Path(__file__).parents[2] / "golden" / "sim" / "base"))
    for name in cluster.nodes:
        cluster.power(name, on=True)
    cluster.kernel.run_until(60.0)  # booted; no process has done anything yet
    node = cluster.nodes["hv1"]
    world = cluster.world_of(node, node.agent)
    cluster.ceph.pools["vms"] = PoolFacts(copies=3, min_copies=2, pgs=32)
    cluster.ceph.images = {("vms", "tiny"): TINY, ("vms", "disk"): DISK}
    return world, cluster


def no_progress(done):
    del done


def test_a_disk_that_is_open_does_not_go_to_the_trash(stage):
    world, cluster = stage
    cluster.ceph.watchers["vms", "disk"] = {"10.22.0.2:0/7"}
    trash = step(Operation.DISK_TRASH, pool="vms", image="disk", keep_s=60)
    with pytest.raises(PrereqError, match="still open"):
        disk.check_trash(trash, world)
    cluster.ceph.blocklist.add("10.22.0.2:0/7")
    disk.check_trash(trash, world)
    for _ in range(2):  # twice is once
        outcome = disk.run_trash(trash, world, no_progress)
    assert "in the trash as 1" in outcome.evidence["disk"]
    assert len(cluster.ceph.trash["vms"]) == 1


def test_a_disk_is_not_made_empty_beside_its_data_in_the_trash(stage):
    world, _ = stage
    trash = step(Operation.DISK_TRASH, pool="vms", image="disk", keep_s=60)
    disk.run_trash(trash, world, no_progress)
    make = step(Operation.DISK_CREATE, pool="vms", image="disk", size_mib=64, parent=None)
    with pytest.raises(PrereqError, match="restored, not made empty"):
        disk.CREATE.check(make, world)


def test_a_clone_needs_its_parent(stage):
    world, cluster = stage
    parent = {"pool": "vms", "image": "tiny", "snapshot": "base"}
    make = step(Operation.DISK_CREATE, pool="vms", image="new", size_mib=64, parent=parent)
    disk.check_create(make, world)
    for _ in range(2):
        assert "clone of vms/tiny@base" in disk.run_make(make, world, no_progress).evidence["disk"]
    del cluster.ceph.images["vms", "tiny"], cluster.ceph.images["vms", "new"]
    with pytest.raises(PrereqError, match="not there"):
        disk.check_create(make, world)


def test_an_image_with_clones_stays(stage):
    world, cluster = stage
    gone = step(Operation.IMAGE_DELETE, pool="vms", image="tiny", snapshot="base")
    with pytest.raises(PrereqError, match="vms/disk"):
        image.check(gone, world)
    del cluster.ceph.images["vms", "disk"]
    image.check(gone, world)
    for _ in range(2):
        assert image.run(gone, world, no_progress).evidence["image"].endswith("gone")


def test_a_pool_with_data_or_trash_stays(stage):
    world, cluster = stage
    gone = step(Operation.POOL_DELETE, pool="vms")
    with pytest.raises(PrereqError, match="2 images"):
        pool.check(gone, world)
    world.images.trash_move("vms", "disk", 60)
    del cluster.ceph.images["vms", "tiny"]
    with pytest.raises(PrereqError, match="trash"):
        pool.check(gone, world)
    cluster.ceph.trash.clear()
    pool.check(gone, world)
    for _ in range(2):
        assert pool.run(gone, world, no_progress).evidence["pool"] == "gone"


def test_a_silent_ceph_is_an_error_that_may_be_tried_again(stage):
    world, cluster = stage
    cluster.network("hv1", on=False)
    with pytest.raises(PoolError) as caught:
        pool.run(step(Operation.POOL_DELETE, pool="vms"), world, no_progress)
    assert caught.value.retryable
