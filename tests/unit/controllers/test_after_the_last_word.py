"""After a guard said that none is left, or its life was revoked, nothing is started under it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_world import port_world

from pvc_gitops.controllers import guests, steps, view
from pvc_gitops.controllers.guest_acts import GuestMemory
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.records import GuestPhase, IncarnationRecord, PlacementRecord
from pvc_gitops.world.ports import Create, Put

LIFE = IncarnationRecord(
    id="b.0",
    boot_id="b",
    started_at_s=0,
    lease_s=6.0,
    is_revoked=False,
    watchdog=None,
    storage_addresses=("10.22.0.1",),
    guests_left=True,
)
PLACED = PlacementRecord(
    owner="hv1",
    incoming=None,
    incarnation="b.0",
    starts=1,
    state=GuestPhase.RUNNING,
    why="",
    since_s=0,
)


@pytest.fixture
def world():
    world, _ = port_world()
    path = paths.incarnation("hv1")
    before = world.store.read(path)
    put = Create(path=path, value=encode(LIFE)) if before is None else None
    world.store.commit((put or Put(path=path, value=encode(LIFE), version=before.version),))
    world.store.commit((Create(path=paths.placement("web1"), value=encode(PLACED)),))
    return world


def seen(world, **over):
    found = view.take(world)
    assert found is not None
    return replace(found, incarnation=replace(found.incarnation, **over))


@pytest.mark.parametrize("over", [{"is_revoked": True}, {"guests_left": False}])
def test_nothing_begins_under_a_life_that_is_over(world, over):
    remembered = {"web1": GuestMemory(retry_at_s=1.0)}
    done = guests.tick(world, seen(world, **over), remembered)
    assert done.memory is remembered  # nobody was looked at
    work = steps.tick(world, seen(world, **over), steps.StepsMemory())
    assert not work.memory.has_read_claims


def test_a_living_one_is_looked_at(world):
    remembered = {"web1": GuestMemory(retry_at_s=1.0)}
    assert guests.tick(world, seen(world), remembered).memory is not remembered
    assert steps.tick(world, seen(world), steps.StepsMemory()).memory.has_read_claims
