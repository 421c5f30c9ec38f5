"""The swarm finds what it is there for: each check that keeps a guest from running twice is left out, one
at a time, at the one place where it is made, and some seed breaks a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from simulated import BASE

from pvc_gitops.controllers import fences, guests, orders
from pvc_gitops.controllers.records import read_all
from pvc_gitops.ha import fencing
from pvc_gitops.model import paths
from pvc_gitops.model.ha import ProofKind
from pvc_gitops.model.records import Applied, GuestPhase, IncarnationRecord
from pvc_gitops.model.values import replace
from pvc_gitops.sim.schedules import told
from pvc_gitops.sim.store import Client
from pvc_gitops.sim.swarm import play_all
from pvc_guard import life

pytestmark = pytest.mark.long

SEEDS = 2000  # an ordinary one is found among the first twenty


@dataclass(frozen=True)
class Bug:
    """`seed`: done in a process of its own, before anything is played there."""

    name: str
    seed: Callable[[], None]
    rules: frozenset[str]  # one of them is broken


def no_proof():
    """A node is dead as soon as it is revoked."""
    prove = fencing.Prove(kind=ProofKind.BMC, evidence="none")
    fencing._proving = lambda _view, _fence: (prove,)


def no_epoch():
    """Leaders' transactions do not say which election they come from."""
    lead = Client.lead

    def lead_without(self, role, node):
        found = lead(self, role, node)
        return None if found is None else replace(found, checks=())

    Client.lead = lead_without


def no_lease():
    """A guard takes the lease that it once had for valid."""
    life.Guard.lease = property(
        lambda self: self.life.lease if isinstance(self.life, life.Holding | life.Leaving) else None
    )


def no_owner():
    """An agent starts guests that wait, whoever's they are."""
    tick = guests.tick

    def tick_all(world, view, memory):
        # An agent reads the records of its own guests only.
        every = read_all(world.store, paths.GUESTS, Applied)
        placed = view.placements.items()
        more = {n: every[n] for n, p in placed if p.state is GuestPhase.WAITING and n in every}
        return tick(world, replace(view, guests={**view.guests, **more}), memory)

    guests.owns, guests.tick = lambda _world, _placement: True, tick_all


def no_watchers():
    """Nobody looks who else has the disks open."""
    guests.check_disks = lambda *_args, **_kwargs: None


def no_incoming():
    """A guest that is to move belongs to its destination at once."""

    def replaced(value, /, **changes):
        if changes.get("incoming"):
            changes["owner"] = changes.pop("incoming")
        return replace(value, **changes)

    orders.replace = replaced


def no_revocation():
    """A fence begins without ending the incarnation."""
    put = fences.put

    def put_without(path, value, before):
        if isinstance(value, IncarnationRecord):
            value = replace(value, is_revoked=False)
        return put(path, value, before)

    fences.put = put_without


TWICE = frozenset({"one-node", "one-writer", "proof"})
HEARD = frozenset({"heard", "fence"})  # whom others have given up renews its lease
BUGS = (
    Bug("proof", no_proof, TWICE),
    Bug("epoch", no_epoch, frozenset({"epoch", "generation"})),
    Bug("lease", no_lease, TWICE),
    Bug("ownership", no_owner, TWICE),
    Bug("watchers", no_watchers, frozenset({"one-writer"})),
    Bug("incoming", no_incoming, TWICE),
    Bug("revocation", no_revocation, TWICE | HEARD),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_swarm_finds_a_check_that_is_left_out(bug):
    for number, outcome in enumerate(
        play_all(range(SEEDS), BASE, jobs=1, before=bug.seed), start=1
    ):
        if outcome.rules & bug.rules:
            print(f"\nwithout the {bug.name} check, after {number} seeds:\n{told(outcome)}")
            return
    pytest.fail(f"nobody missed the {bug.name} check in {SEEDS} seeds")
