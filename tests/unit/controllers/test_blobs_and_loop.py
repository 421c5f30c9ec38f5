"""Values larger than a record, and rounds that raise."""

from __future__ import annotations

import pytest
from simulated_world import port_world

from pvc_gitops.controllers import blobs
from pvc_gitops.controllers.loop import FAILURES_MAX, Round, pause_s, play
from pvc_gitops.errors import InvariantViolation, StoreError
from pvc_gitops.world.ports import Create


@pytest.mark.parametrize("size", [0, 1000, blobs.PART_BYTES_MAX // 2, 3 * blobs.PART_BYTES_MAX])
def test_values_of_any_size_come_back(size):
    world, _ = port_world()
    value = {"text": "ä" * size, "numbers": [1, 2]}
    creates = list(blobs.creates("/pvc/ledger/x", value))
    for batch in blobs.batches(creates):
        world.store.commit(batch)
    assert blobs.read(world.store, "/pvc/ledger/x") == value
    limit = 1024 * 1024  # ZooKeeper's
    assert all(len(repr(create.value).encode()) < limit for create in creates)


def test_a_missing_part_is_an_error_and_an_absent_value_is_none():
    world, _ = port_world()
    first, *_ = blobs.creates("/pvc/ledger/x", {"text": "x" * 3 * blobs.PART_BYTES_MAX})
    world.store.commit((first,))
    with pytest.raises(StoreError, match="missing"):
        blobs.read(world.store, "/pvc/ledger/x")
    assert blobs.read(world.store, "/pvc/ledger/y") is None


def test_no_transaction_is_too_large():
    ops = [Create(path=f"/x/{n}", value={"t": "x" * 300_000}) for n in range(7)]
    batches = list(blobs.batches(ops))
    assert [op for batch in batches for op in batch] == ops
    assert all(len(batch) <= 2 for batch in batches)


def test_a_round_that_raises_keeps_the_memory_and_backs_off():
    world, cluster = port_world()

    def bad(_world, _memory):
        raise KeyError("bug")

    before = Round(memory=1, failures=0, pause_s=0.0)
    for _ in range(FAILURES_MAX):
        assert not before.must_exit
        before = play(world, before, bad, lambda memory: memory)
    assert before.must_exit
    assert before.memory == 1
    assert [e["failures"] for e in cluster.events if e["kind"] == "tick_failed"][-1] == FAILURES_MAX
    assert [pause_s(n) for n in (1, 2, 10)] == [0.5, 1.0, 10.0]
    good = play(
        world, before, lambda _, memory: memory + 1, lambda _: world.clock.monotonic_s() + 3
    )
    assert (good.memory, good.failures, good.pause_s) == (2, 0, 3.0)


def test_a_broken_invariant_ends_the_process():
    world, _ = port_world()

    def broken(_world, _memory):
        raise InvariantViolation("two owners")

    with pytest.raises(InvariantViolation):
        play(world, Round(memory=0, failures=0, pause_s=0.0), broken, lambda memory: memory)
