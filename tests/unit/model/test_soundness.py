"""A node at work of which something has failed is shown as degraded; what all share degrades nobody."""

from __future__ import annotations

from pvc_gitops.model.inventory import NodeFacts, NodeState
from pvc_gitops.model.soundness import judged

SLOW = "guests run without hardware virtualisation: no /dev/kvm"
CEPH = "Ceph does not answer: timed out"


def nodes(state=NodeState.ONLINE, **faults):
    return {
        name: NodeFacts(
            name=name,
            state=state,
            incarnation=None,
            hardware=None,
            guests={},
            networks={},
            faults=each,
            report_number=1,
            observed_at_s=0,
        )
        for name, each in faults.items()
    }


def states(found):
    return {name: str(facts.state) for name, facts in judged(found).items()}


def test_one_that_lost_its_storage_is_degraded_and_the_others_are_not():
    found = nodes(hv1=(SLOW,), hv2=(CEPH, SLOW))
    assert states(found) == {"hv1": "online", "hv2": "degraded"}


def test_what_all_say_degrades_nobody():
    assert states(nodes(hv1=(CEPH,), hv2=(CEPH,))) == {"hv1": "online", "hv2": "online"}


def test_a_guest_or_a_step_that_fails_is_no_failing_of_its_node():
    found = nodes(hv1=(), hv2=("guest app1: start: no room", "step 3: refused"))
    assert states(found) == {"hv1": "online", "hv2": "online"}


def test_who_is_silent_is_not_judged():
    found = nodes(state=NodeState.UNKNOWN, hv1=(CEPH,), hv2=())
    assert states(found) == {"hv1": "unknown", "hv2": "unknown"}
