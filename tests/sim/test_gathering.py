"""The first plan waits for machines that still start, and not for ever."""

from __future__ import annotations

from simulated import play


def nodes_of(one, *guests):
    return {one.result()["vms"][name]["node"] for name in guests}


def test_the_first_guests_are_spread_over_a_node_that_started_later():
    one = play("power hv1 on; power hv2 on\nwait 20\npower hv3 on\nsettle\n")
    assert nodes_of(one, "web1", "web2", "web3") == {"hv1", "hv2", "hv3"}


def test_a_node_that_never_comes_delays_the_first_plan_by_a_minute():
    one = play("power hv1 on; power hv2 on\nsettle\n")
    assert nodes_of(one, "web1", "web2", "web3") == {"hv1", "hv2"}
    assert one.result()["ended_at_s"] < 200
