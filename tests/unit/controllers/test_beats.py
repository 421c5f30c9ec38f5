"""Signs of life are read from counters, and from lives that began since."""

from __future__ import annotations

from simulated_world import port_world

from pvc_gitops.controllers.beats import read_beats
from pvc_gitops.model import paths
from pvc_gitops.world.ports import Put


def test_a_life_that_has_not_beaten_yet_is_a_sign_by_itself():
    world, cluster = port_world()
    cluster.kernel.run_until(70.0)
    before = read_beats(world.store)["hv2"]
    assert before.counter > 0
    path = paths.incarnation("hv2")
    life = cluster.tree.records[path]
    cluster.tree.apply(
        (Put(path=path, value={**life.value, "id": "hv2-later"}, version=life.version),)
    )
    after = read_beats(world.store)["hv2"]
    assert (after.counter, after.incarnation) == (0, "hv2-later")


def test_who_never_joined_has_no_beat():
    world, cluster = port_world()
    cluster.tree.remove(paths.incarnation("hv3"))
    cluster.tree.remove(paths.lease("hv3"))
    assert "hv3" not in read_beats(world.store)
