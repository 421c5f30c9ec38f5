"""How long steps take: as the ledger learnt, in grains, else as seen in a lab."""

from dataclasses import replace

import pytest
from clusters import BASE, spec_of, vm

from pvc_gitops.model.plan import Operation
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.operations import COSTS, estimate_s
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after


@pytest.mark.parametrize(
    ("learnt", "said"),
    [(0.0, 0.1), (0.04, 0.1), (0.3, 0.3), (0.31, 0.4), (1.0, 1.0), (1.2, 2.0), (9.9, 10.0),
     (18.4, 20.0), (60.0, 60.0), (61.0, 90.0), (601.0, 900.0)],
)  # fmt: skip
def test_what_was_learnt_is_rounded_up_to_its_grain(learnt, said):
    assert estimate_s(Operation.VM_STOP, {"vm.stop": learnt}) == said


def test_what_was_not_learnt_is_as_in_a_lab():
    for operation, cost in COSTS.items():
        assert estimate_s(operation, {}) == cost.estimate_s
        assert estimate_s(operation, {operation: cost.estimate_s}) == cost.estimate_s


def test_a_plan_says_what_was_learnt_and_a_little_more_changes_nothing():
    before = spec_of(*BASE, vm("mail", reboot_for_changes="now"), commit="1" * 40)
    inventory = empty(before, 0)
    made = plan(before, inventory, POLICY, None)
    inventory = replace(applied_after(made, inventory), target=made.id, accepted="1" * 40)
    after = spec_of(*BASE, vm("mail", "128MiB", reboot_for_changes="now"), commit="2" * 40)

    def planned(stop_s, put_s):
        learnt = {"vm.stop": stop_s, "vm.put": put_s}
        return plan(after, replace(inventory, estimates=learnt), POLICY, inventory.target)

    one, other = planned(31.2, 7.4), planned(34.9, 7.9)
    assert one.summary.downtime_s == 35 + 8
    assert [change.downtime_s for change in one.changes] == [43.0]
    assert one.summary.duration_s == 43.0
    assert (one.steps, one.effect) == (other.steps, other.effect)
    assert planned(36.0, 7.4).steps != one.steps
