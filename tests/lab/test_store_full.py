"""The disk of one ZooKeeper server is full: the others carry the cluster, and it comes back by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cloud import Cloud, until
from faults import fenced, lives, now, store_leader, unharmed

pytestmark = [pytest.mark.lab, pytest.mark.long]

DATA = "/var/lib/zookeeper/version-2"
SMALL = f"""
set -e
systemctl stop zookeeper
mv {DATA} {DATA}.kept
mkdir {DATA}
mount -t tmpfs -o size=$(($(du -sm {DATA}.kept | cut -f1) + 8))m zk {DATA}
chown zookeeper:zookeeper {DATA}
cp -a --sparse=always {DATA}.kept/. {DATA}
systemctl start zookeeper
"""
AS_BEFORE = f"""
set -e
systemctl stop zookeeper
rm -rf {DATA}.kept
mkdir {DATA}.kept
cp -a --sparse=always {DATA}/. {DATA}.kept
umount {DATA}
rmdir {DATA}
mv {DATA}.kept {DATA}
chown -R zookeeper:zookeeper {DATA}
systemctl start zookeeper
"""
FILL = f"dd if=/dev/zero of={DATA}/full bs=64k 2>/dev/null; df --output=avail {DATA} | tail -n 1"
JOINED_LIMIT_S = 60.0
FULL_S = 30.0


def mode(cloud: Cloud, node: str) -> str:
    ask = "exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; timeout 2 cat <&3"
    said = cloud.on(node, "bash", "-c", ask, ok=(0, 1, 124))
    return next((line.split()[1] for line in said.splitlines() if line.startswith("Mode:")), "")


@contextmanager
def small_disk(cloud: Cloud, node: str) -> Iterator[None]:
    cloud.on(node, "sh", "-c", SMALL)
    try:
        yield
    finally:
        cloud.on(node, "sh", "-c", AS_BEFORE)
        until("it follows", JOINED_LIMIT_S, lambda: mode(cloud, node) == "follower")


def test_a_full_disk_of_one_server_ends_nobodys_lease(cloud: Cloud) -> None:
    leads = store_leader(cloud)
    victim = next(node for node in cloud.nodes() if node != leads)
    began, before, was = now(), cloud.domains(), lives(cloud, cloud.nodes())
    with unharmed(cloud, leads), small_disk(cloud, victim):
        until("it follows", JOINED_LIMIT_S, lambda: mode(cloud, victim) == "follower")
        assert cloud.on(victim, "sh", "-c", FILL).strip() == "0"
        until("it cannot go on", FULL_S, lambda: mode(cloud, victim) == "")
        time.sleep(FULL_S)
        assert mode(cloud, leads) == "leader"
        assert lives(cloud, cloud.nodes()) == was
        cloud.on(victim, "rm", f"{DATA}/full")
        until("it is back", JOINED_LIMIT_S, lambda: mode(cloud, victim) == "follower")
    assert fenced(cloud, began) == []
    assert lives(cloud, cloud.nodes()) == was, "somebody began another life"
    assert cloud.domains() == before, "somebody moved"
