"""A claim stands until its step has ended, and no longer; what it needs for that stays."""

from __future__ import annotations

from simulated_world import port_world

from pvc_gitops.controllers.publish import PLANS_KEPT, sweep
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.records import Claim
from pvc_gitops.world.ports import Create

CLAIM = Claim(
    address="vm/web1", plan="00", step="vm.retire vm/web1", node="hv2", incarnation="gone"
)


def test_a_plan_is_kept_while_a_claim_names_it():
    world, _ = port_world()
    lead = world.store.lead("planner", "hv1")
    for number in range(PLANS_KEPT + 5):
        top = Create(path=paths.plan(f"{number:02}"), value={"generation": number})
        world.store.commit((top,))
    world.store.commit((Create(path=paths.claim(CLAIM.address), value=encode(CLAIM)),))
    sweep(world, lead, keep=f"{PLANS_KEPT + 4:02}")
    left = world.store.read_children(paths.PLANS)
    assert "00" in left  # its node takes the step up again when it is back
    assert sorted(left)[1] == "05"
