"""The first plan waits for machines that still start, and not for ever."""

from __future__ import annotations

from simulated import BASE, ON, play, player

from pvc_gitops.controllers.answers import Value
from pvc_gitops.controllers.serve import answer
from pvc_gitops.world.protocol import Question


def nodes_of(one, *guests):
    return {one.result()["vms"][name]["node"] for name in guests}


def test_the_first_guests_are_spread_over_a_node_that_started_later():
    one = play("power hv1 on; power hv2 on\nwait 20\npower hv3 on\nsettle\n")
    assert nodes_of(one, "web1", "web2", "web3") == {"hv1", "hv2", "hv3"}


def test_a_node_that_never_comes_delays_the_first_plan_by_a_minute():
    one = play("power hv1 on; power hv2 on\nsettle\n")
    assert nodes_of(one, "web1", "web2", "web3") == {"hv1", "hv2"}
    assert one.result()["ended_at_s"] < 200


def asked(cluster, name, op):
    """What the agent of one node answers, and after how long."""
    node, kernel = cluster.nodes[name], cluster.kernel
    world, began_s = cluster.world_of(node, node.agent), kernel.now_s
    for said in answer(Question(id=1, op=op, args={}), world, lambda: node.agent.memory):
        if isinstance(said, Value):
            return said.value, kernel.now_s - began_s
        assert said is None, said
        kernel.run_until(kernel.now_s + 0.25)
    raise AssertionError("no answer")


def test_a_node_that_is_no_coordinator_tells_who_is_silent_too():
    document = BASE["nodes/hv3.yaml"].decode().replace("hv3", "hv4")
    document = document.replace("coordinator", "hypervisor").replace("0.0.3", "0.0.4")
    for last in ("10.20.0.", "10.21.0.", "10.22.0."):
        document = document.replace(f"{last}3", f"{last}4")
    one = player({**BASE, "nodes/hv4.yaml": document.encode()})
    one.play(ON + "power hv4 on\nsettle\n")
    shown, took_s = asked(one.cluster, "hv4", "status")
    assert {str(facts.state) for facts in shown.nodes.values()} == {"online"}
    assert took_s < 5
    one.play("bmc hv2 off; power hv2 off\nwait 8\n")
    shown, _ = asked(one.cluster, "hv4", "status")
    assert str(shown.nodes["hv2"].state) in {"unknown", "fencing"}
    assert str(shown.nodes["hv1"].state) == "online"
    shown, _ = asked(one.cluster, "hv4", "inventory")
    assert str(shown.nodes["hv3"].state) == "online"
