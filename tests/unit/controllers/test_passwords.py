"""When a coordinator begins to decrypt the BMCs' passwords."""

from __future__ import annotations

from types import SimpleNamespace

from pvc_gitops.controllers.passwords import JOB, PasswordMemory, tick


class Jobs:
    def __init__(self):
        self.begun = []

    def state(self, key):
        del key

    def start(self, key, work):
        del work
        self.begun.append(key)


def test_a_commit_that_this_mirror_lacks_is_waited_for_without_a_fault():
    held, jobs = set(), Jobs()
    world = SimpleNamespace(
        me=SimpleNamespace(is_coordinator=True),
        jobs=jobs,
        repo=SimpleNamespace(has=held.__contains__),
    )
    view = SimpleNamespace(accepted=SimpleNamespace(commit="c1"), now_s=10.0)
    memory = tick(world, view, PasswordMemory())
    assert (memory, jobs.begun) == (PasswordMemory(), [])
    held.add("c1")
    memory = tick(world, view, memory)
    assert (memory.wanted, memory.faults, jobs.begun) == ("c1", (), [JOB])
    assert tick(world, view, memory) == memory
    assert jobs.begun == [JOB]
