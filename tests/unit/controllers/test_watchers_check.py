"""The last check before a guest starts."""

from __future__ import annotations

import pytest
from simulated_world import port_world

from pvc_gitops.controllers.watchers import check_disks, is_blocked
from pvc_gitops.errors import PrereqError
from pvc_gitops.model.inventory import ImageFacts, PoolFacts
from pvc_gitops.world.ports import DiskAttachment, Domain

DOMAIN = Domain(
    name="web1", uuid="u", digest="d", starts=2, vcpus=1, cpu_model="host-model", memory_mib=96,
    firmware="bios", nics=(), console_log=False,
    disks=(DiskAttachment(name="root", pool="vms", image="web1", bus="virtio-scsi", boot=None),),
)  # fmt: skip


@pytest.fixture
def world():
    world, cluster = port_world()
    cluster.ceph.pools["vms"] = PoolFacts(copies=3, min_copies=2, pgs=32)
    cluster.ceph.images["vms", "web1"] = ImageFacts(size_mib=64, parent=None, snapshots=())
    return world, cluster.ceph


def check(world, in_use=None):
    check_disks(world, DOMAIN, own_addresses=("10.22.0.1",), in_use_here=in_use or {})


def test_no_watcher_is_no_obstacle(world):
    check(world[0])


def test_a_foreign_watcher_refuses_with_its_address(world):
    world[1].watchers["vms", "web1"] = {"10.22.0.2:0/77"}
    with pytest.raises(PrereqError, match=r"10\.22\.0\.2:0/77"):
        check(world[0])


def test_a_blocked_watcher_is_dead(world):
    world[1].watchers["vms", "web1"] = {"10.22.0.2:0/77"}
    world[1].blocklist.add("10.22.0.2:0/0")
    check(world[0])


def test_the_dead_process_of_this_very_node_is_blocked_first(world):
    world[1].watchers["vms", "web1"] = {"10.22.0.1:0/42"}
    check(world[0])
    assert world[1].blocklist == {"10.22.0.1:0/42"}


def test_a_live_guest_of_this_node_is_never_blocked(world):
    world[1].watchers["vms", "web1"] = {"10.22.0.1:0/42"}
    with pytest.raises(PrereqError, match="in use by guest web2"):
        check(world[0], {("vms", "web1"): "web2"})
    assert world[1].blocklist == set()


def test_one_address_does_not_block_another():
    assert not is_blocked("10.22.0.1:0/43", frozenset({"10.22.0.1:0/42", "10.22.0.10:0/0"}))
