"""One guest in, one act out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_world import BASE

from pvc_gitops.controllers import guest_acts as g
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.model.records import (
    Applied,
    GuestPhase,
    IncarnationRecord,
    Phase,
    PlacementRecord,
    Wanted,
)
from pvc_gitops.spec.load import load
from pvc_gitops.world.ports import DomainFacts

SPEC = {**load(BASE, commit=None).documents["vm/web1"].spec, "stop_timeout": "10s"}
RECORD = Applied(
    address="vm/web1",
    kind="vm",
    name="web1",
    spec=SPEC,
    tags=(),
    incarnation=1,
    uuid="u",
    phase=Phase.PRESENT,
    needs=(),
    commit=None,
    plan=None,
    wanted=Wanted.RUNNING,
    nics={},
    disks={},
)
STOPPED = replace(RECORD, wanted=Wanted.STOPPED)
LIFE = IncarnationRecord(
    id="boot.0",
    boot_id="boot",
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
    incarnation="boot.0",
    starts=1,
    state=GuestPhase.RUNNING,
    why="",
    since_s=0,
)


def facts(state):
    return DomainFacts(name="web1", uuid="u", state=state, domain=None, reason="I/O error")


def decide(record=RECORD, placement=PLACED, state=None, memory=None, now_s=100.0):
    return g.decide(
        g.Guest(
            name="web1",
            now_s=now_s,
            record=record,
            placement=placement,
            facts=None if state is None else facts(state),
            incarnation=LIFE,
            memory=memory or g.GuestMemory(),
        )
    )


UP, OFF = GuestState.RUNNING, GuestState.STOPPING
WAITING = replace(PLACED, state=GuestPhase.WAITING, incarnation=None, starts=0)
STARTING = replace(PLACED, state=GuestPhase.STARTING)
UNDER_WAY = g.GuestMemory(start=g.Start(starts=1, incarnation="boot.0"))


@pytest.mark.parametrize(
    ("why", "act", "kwargs"),
    [
        ("a new guest is started", g.Begin, {"placement": WAITING}),
        ("an interrupted start is begun anew", g.Begin, {"placement": STARTING}),
        ("it ran in another life of the node", g.Begin, {"placement": replace(PLACED, incarnation="x")}),
        ("it ran, and is gone", g.Crashed, {}),
        ("paused by an I/O error: never resumed", g.End, {"state": GuestState.PAUSED}),
        ("crashed", g.End, {"state": GuestState.CRASHED}),
        ("all is well", g.Keep, {"state": UP}),
        ("resumed, but not written down", g.Note, {"state": UP, "placement": STARTING}),
        ("should stop", g.AskDown, {"state": UP, "record": STOPPED}),
        ("is stopped", g.Note, {"record": STOPPED}),
        (
            "is known to be stopped",
            g.Rest,
            {"record": STOPPED, "placement": replace(PLACED, state=GuestPhase.STOPPED)},
        ),
        ("no record and no domain", g.Rest, {"record": None}),
        ("no record: nothing is done to a guest", g.Complain, {"record": None, "state": UP}),
        (
            "runs under a life that is over",
            g.Complain,
            {"state": UP, "placement": replace(PLACED, incarnation="x")},
        ),
        (
            "waits before the next try",
            g.Rest,
            {"placement": replace(WAITING, restarts=1), "memory": g.GuestMemory(retry_at_s=102.0)},
        ),
        (
            "a start is under way",
            g.Follow,
            {"placement": STARTING, "memory": UNDER_WAY},
        ),
        (
            "was asked to power off",
            g.Rest,
            {"record": STOPPED, "state": OFF, "memory": g.GuestMemory(stop_asked_at_s=95.0)},
        ),
        (
            "did not power off in time",
            g.End,
            {"record": STOPPED, "state": OFF, "memory": g.GuestMemory(stop_asked_at_s=90.0)},
        ),
        (
            "is being removed",
            g.AskDown,
            {"record": replace(RECORD, phase=Phase.REMOVING), "state": UP},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_decide(why, act, kwargs):
    assert isinstance(decide(**kwargs), act), why


def test_the_power_button_is_pressed_again_until_the_guest_listens():
    """One that was only booting heard nothing; the limit counts from the first time."""
    slow = replace(STOPPED, spec={**SPEC, "stop_timeout": "30s"})
    first = g.GuestMemory(stop_asked_at_s=100.0)
    assert decide(slow, state=UP, memory=first, now_s=109.0) == g.Rest(until_s=110.0)
    assert isinstance(decide(slow, state=UP, memory=first, now_s=110.0), g.AskDown)
    again = replace(first, asked_again_at_s=110.0)
    assert decide(slow, state=UP, memory=again, now_s=111.0) == g.Rest(until_s=120.0)
    assert isinstance(decide(slow, state=UP, memory=again, now_s=130.0), g.End)
    # One that is powering off was heard, and is only waited for.
    assert isinstance(decide(slow, state=OFF, memory=first, now_s=115.0), g.Rest)
