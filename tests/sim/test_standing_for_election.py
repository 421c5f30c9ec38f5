"""A candidate that stands still amid its election and loses its session is nobody when it wakes up."""

from __future__ import annotations

import pytest
from simulated import ON, player

from pvc_gitops.model import paths

ELECTED_S = 5.0  # whoever led has no session any more
STILL_S = 8.0  # longer than a session


@pytest.mark.parametrize("effects", range(4))
def test_who_stood_still_leads_only_as_who_it_is_now(effects):
    one = player()
    heads = "; ".join(f"ha hv{n} kill" for n in (1, 2, 3))
    one.play(f"{ON}settle\n{heads}\nwait {ELECTED_S}\n")
    one.play(
        f"ha hv1 stall {STILL_S:.0f} {effects}\nha hv1 start\nwait 2\n"
        f"ha hv2 start; ha hv3 start\nwait {2 * STILL_S}\nsettle\n"
    )
    cluster = one.cluster
    lives = {name: node.ha.memory.epoch for name, node in cluster.nodes.items()}
    (epoch,) = [each for each in lives.values() if each is not None]
    assert epoch == cluster.tree.records[paths.epoch("ha")].version
    assert len(cluster.tree.children[paths.election("ha")]) == len(lives)
    # Its word counts.
    one.play("power hv3 off\nsettle\n")
    assert one.is_settled
    assert all(each.owner != "hv3" for each in cluster.placements().values())
