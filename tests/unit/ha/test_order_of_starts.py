"""Whom a guest waits for, when others may count on one, and which proof is good enough."""

from __future__ import annotations

import pytest

from pvc_gitops.ha.counted_on import at_start, verdict
from pvc_gitops.ha.evidence import SOFTWARE_WATCHDOG, Exposure, lacks
from pvc_gitops.ha.order import PATIENCE_S, Peer, held_by, tiers
from pvc_gitops.model.ha import ProofKind
from pvc_gitops.model.records import Ready
from pvc_gitops.model.recovery import Readiness


def peer(tier=3, depends_on=(), up=False, coming=True, ready_s=0.0):
    return Peer(
        tier=tier, depends_on=depends_on, is_counted_on=up, is_coming=coming, ready_s=ready_s
    )


def test_after_a_boot_earlier_tiers_come_first():
    crowd = {"web": peer(), "db": peer(tier=1, ready_s=30.0), "app": peer()}
    held = held_by("web", crowd, is_return=True)
    assert held is not None
    assert (held.why, held.patience_s) == ("waits for db of tier 1", PATIENCE_S + 30.0)
    assert held_by("db", crowd, is_return=True) is None
    assert held_by("web", crowd, is_return=False) is None


@pytest.mark.parametrize("other", [peer(up=True), peer(coming=False)])
def test_nobody_waits_for_who_is_up_or_will_not_come(other):
    crowd = {"web": peer(depends_on=("app",)), "app": other}
    assert held_by("web", crowd, is_return=True) is None


def test_a_dependency_is_waited_for_at_every_start():
    crowd = {"web": peer(depends_on=("app", "gone")), "app": peer()}
    held = held_by("web", crowd, is_return=False)
    assert held is not None
    assert held.why == "waits for app"


def test_who_is_depended_on_starts_no_later_than_who_depends():
    found = tiers({"a": 1, "b": 4, "c": 5, "d": 5}, {"a": ("b",), "b": ("c", "unknown")})
    assert found == {"a": 1, "b": 1, "c": 1, "d": 5}


DECLARED = Readiness(tcp=22, agent=False, after_s=10.0, timeout_s=60.0)


@pytest.mark.parametrize(
    ("before", "up_s", "missing", "after"),
    [
        (Ready.AWAITED, 5.0, "", Ready.AWAITED),
        (Ready.AWAITED, 10.0, "", Ready.READY),
        (Ready.AWAITED, 30.0, "port 22", Ready.AWAITED),
        (Ready.AWAITED, 30.0, None, Ready.AWAITED),
        (Ready.AWAITED, 60.0, "port 22", Ready.LATE),
        (Ready.LATE, 90.0, "port 22", Ready.LATE),
        (Ready.LATE, 90.0, "", Ready.READY),
        (Ready.READY, 90.0, "port 22", Ready.READY),
    ],
)
def test_readiness(before, up_s, missing, after):
    assert verdict(DECLARED, before, up_s=up_s, missing=missing).ready is after


def test_who_says_nothing_of_readiness_is_counted_on_when_it_runs():
    assert at_start(None) is None
    assert at_start(DECLARED) is Ready.AWAITED


ON_CEPH = Exposure(has_disk=True, host_devices=())
DISKLESS = Exposure(has_disk=False, host_devices=())
WITH_CARD = Exposure(has_disk=True, host_devices=("nic fast",))


@pytest.mark.parametrize("guest", [DISKLESS, WITH_CARD])
def test_what_the_blocklist_does_not_reach_needs_more_than_a_software_watchdog(guest):
    assert lacks(ProofKind.WATCHDOG, SOFTWARE_WATCHDOG, guest)
    assert lacks(ProofKind.WATCHDOG, "iTCO_wdt", guest) == ""
    for kind in (ProofKind.BMC, ProofKind.NEW_LIFE, ProofKind.LEFT):
        assert lacks(kind, SOFTWARE_WATCHDOG, guest) == ""


def test_the_blocklist_keeps_a_guest_on_ceph_from_living_twice():
    assert lacks(ProofKind.WATCHDOG, SOFTWARE_WATCHDOG, ON_CEPH) == ""
