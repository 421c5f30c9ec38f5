"""Operators' words about a guest's power, windows and drift, played with real agents and planners."""

from __future__ import annotations

from simulated import ON, changed, events, player, starts, states

from pvc_gitops.sim.desk import ask
from pvc_gitops.sim.rest import look_at_status

MORE = changed("vms/app1.yaml", "memory: 96MiB", "memory: 128MiB")
WINDOW = b"""apiVersion: pvc/v1
kind: MaintenanceWindow
metadata: {name: soon}
spec: {allow: ["2026-01-01 00:10-00:20"]}
"""  # the simulation begins at midnight UTC


def settled(**commits):
    one = player(commits=commits)
    one.play(ON + "settle\n")
    return one


def waiting(one):
    look_at_status(one.cluster)
    return {of: what for of, what, _ in ask(one.cluster, "status").waiting if of == "vm/app1"}


def domain(one, name="app1"):
    (found,) = [
        n.guests.domains[name] for n in one.cluster.nodes.values() if name in n.guests.domains
    ]
    return found.domain


def well(one):
    return one.result()["violations"] == []


def test_an_operator_restarts_a_guest_once_and_the_wish_ends_with_it():
    one = settled(more=MORE)
    one.play("commit more\nsettle\n")
    assert domain(one).memory_mib == 96
    assert "memory 96MiB -> 128MiB" in waiting(one)["vm/app1"]
    ask(one.cluster, "intent", kind="restart", subject="vm/app1")
    one.play("settle\n")
    assert (domain(one).memory_mib, starts(one)["app1"]) == (128, 2)
    assert waiting(one) == {}
    assert not ask(one.cluster, "intents")
    one.play("vm app1 crash\nsettle\nwait 300\nsettle\n")
    assert starts(one)["app1"] == 3  # the crash's, and no other
    assert well(one)


def test_a_guest_is_held_stopped_through_commits_and_comes_back():
    one = settled(more=MORE)
    made = ask(one.cluster, "intent", kind="power", subject="vm/app1", data={"power": "stop"})
    one.play("settle\n")
    assert states(one)["app1"] == "stopped"
    one.play("commit more\nsettle\n")
    assert states(one)["app1"] == "stopped"
    assert "held stopped by" in waiting(one)["vm/app1"]
    ask(one.cluster, "end-intent", id=made.id)
    one.play("settle\n")
    assert (states(one)["app1"], domain(one).memory_mib) == ("running", 128)
    assert waiting(one) == {}
    assert well(one)


def test_nothing_begins_when_the_window_has_closed_while_nobody_planned():
    later = {**changed("vms/app1.yaml", "memory: 96MiB",
                       "memory: 128MiB\n  reboot_for_changes: window\n  window: soon"),
             "windows/soon.yaml": WINDOW}  # fmt: skip
    one = settled(later=later)
    one.play("commit later\nsettle\nwait 400\n")
    one.play("planner hv1 kill; planner hv2 kill; planner hv3 kill\nwait 900\n")
    one.play("planner hv1 start; planner hv2 start; planner hv3 start\nwait 300\nsettle\n")
    assert starts(one)["app1"] == 1
    assert "does not open within" in waiting(one)["vm/app1"]
    assert well(one)


def test_reported_drift_stays_and_is_shown_until_somebody_mends_it():
    files = changed("cluster.yaml", "spec:\n", "spec:\n  drift: {vm: report}\n")
    one = player(files)
    one.play(ON + "settle\nvm app1 unplug nic db\nwait 60\nsettle\n")
    assert [nic.name for nic in domain(one).nics] == ["app"]
    assert "nic db is absent, applied there; only reported" in waiting(one)["vm/app1"]
    assert events(one, "drift_seen")
    assert not events(one, "drift_healed")
    assert well(one)


def test_a_disk_that_somebody_unplugs_is_plugged_in_again():
    one = player(changed("vms/app1.yaml", "image: tiny-guest}",
                         "image: tiny-guest}\n    - {name: data, pool: vms, size: 64MiB}"))  # fmt: skip
    one.play(ON + "settle\nvm app1 unplug disk data\nwait 60\nsettle\n")
    assert {disk.name for disk in domain(one).disks} == {"data", "root"}
    assert [event["command"] for event in events(one, "drift_healed")][:1] == ["AttachDisk"]
    assert starts(one)["app1"] == 1
