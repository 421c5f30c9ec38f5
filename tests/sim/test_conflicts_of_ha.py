"""HA meets a record that it can never write: it looks again, later each time, and never faster."""

from __future__ import annotations

from simulated import ON, events, player

from pvc_gitops.controllers import ha
from pvc_gitops.errors import StoreConflict


def test_a_conflict_that_stays_is_met_once_a_second(monkeypatch):
    one = player()
    one.play(ON + "settle\n")
    lead, before = ha._lead, len(events(one, "ha_conflict"))

    def conflict(*_):
        raise StoreConflict("/pvc/ha/fence/hv3", "played")

    monkeypatch.setattr(ha, "_lead", conflict)
    one.play("wait 20\n")
    times = [event["t"] for event in events(one, "ha_conflict")[before:]]
    assert 15 <= len(times) <= 30, times
    assert times[1] - times[0] < 0.1, "somebody else's write is looked at once more at once"
    monkeypatch.setattr(ha, "_lead", lead)
    one.play("power hv3 off\nwait 40\nsettle\n")
    assert events(one, "death_proven")
