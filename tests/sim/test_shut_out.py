"""Clients whom Ceph does not let in: people at a disk, and copies of guests that arrive."""

from __future__ import annotations

from simulated import ON, player

HOST = "10.22.0.3:0/0"  # all of hv3's clients
DISK = ("vms", "vm.gone.root.00000000")


def settled(script=""):
    one = player()
    one.play(f"{ON}settle\n{script}")
    return one.cluster


def test_whose_hand_was_blocked_writes_no_more_when_its_host_is_let_in():
    cluster = settled("vm app1 fail-start 2; vm app1 power-off\nwait 3\nvm app1 open hv3\n")
    assert [who for _, who in cluster.hands.writers()] == [("a hand at app1", "hv3")]
    cluster.ceph.block(HOST)
    cluster.ceph.unblock(HOST)
    assert list(cluster.hands.writers()) == []


def test_nobody_opens_a_disk_that_is_gone():
    cluster = settled()
    cluster.hands.open("gone", "hv3", "10.22.0.3", (DISK,))
    assert list(cluster.hands.writers()) == []


def test_a_guest_does_not_arrive_on_a_host_that_is_blocked():
    cluster = settled()
    (at,) = [n for n, node in cluster.nodes.items() if "app1" in node.guests.domains]
    domain = cluster.nodes[at].guests.domains["app1"].domain
    other = cluster.nodes["hv3" if at != "hv3" else "hv1"]
    cluster.ceph.block(f"{other.guests.storage_address}:0/0")
    assert "is blocked" in other.guests.receive(domain)
    assert "app1" not in other.guests.domains
