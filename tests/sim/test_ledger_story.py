"""The ledger of a cluster that lives: whole, once each, and readable after it was trimmed."""

from __future__ import annotations

from collections import Counter

import pytest
from simulated import BASE, ON, changed, events, play

from pvc_gitops.controllers import archive, ledger
from pvc_gitops.controllers.archive import newest_first
from pvc_gitops.controllers.records import read, read_all
from pvc_gitops.model import paths
from pvc_gitops.model.ledger import Entry, EntryKind, LedgerHead, broken_links, moment

WITHOUT_APP2 = {key: value for key, value in BASE.items() if key != "vms/app2.yaml"}
COMMITS = {"less": WITHOUT_APP2}


def world(one, name="hv1"):
    node = one.cluster.nodes[name]
    return one.cluster.world_of(node, node.agent)


def entries(one, name="hv1"):
    return [entry for entry in reversed(list(newest_first(world(one, name)))) if entry is not None]


def told_steps(found):
    return Counter((e.plan, e.step) for e in found if e.kind is EntryKind.STEP)


def done_steps(one):
    return Counter(e["step"] for e in events(one, "step_done"))


def test_every_commit_plan_and_step_is_told_once_in_one_chain():
    one = play(ON + "settle\ncommit less\nsettle\n", commits=COMMITS)
    found = entries(one)
    assert [entry.number for entry in found] == list(range(1, len(found) + 1))
    assert broken_links(found) == ()
    kinds = Counter(entry.kind for entry in found)
    assert found[0].kind is EntryKind.FOUNDED
    assert kinds[EntryKind.ACCEPTED] == len(events(one, "accepted"))
    assert kinds[EntryKind.PLAN] == len(events(one, "plan_published"))
    assert set(told_steps(found).values()) == {1}
    assert Counter(e.step for e in found if e.kind is EntryKind.STEP) == done_steps(one)


def test_what_was_destroyed_is_counted_for_a_day_and_durations_are_learnt():
    one = play(ON + "settle\ncommit less\nsettle\n", commits=COMMITS)
    head = read(world(one).store, paths.LEDGER_HEAD, LedgerHead)
    now_s = world(one).clock.now_s()
    assert ledger.spent(head, now_s).destroyed == {"vms": 1}
    assert ledger.spent(head, now_s + 23 * 3600).destroyed == {"vms": 1}
    assert ledger.spent(head, now_s + 25 * 3600).destroyed == {}
    assert ledger.estimates(head)["image.import"] >= 1


@pytest.mark.parametrize("at", [3, 6, 9, 12])
def test_a_leader_that_dies_amid_an_apply_loses_and_doubles_nothing(at):
    story = f"wait 64\nwait {at}\nplanner hv1 kill\nsettle\nplanner hv1 start\nsettle\n"
    one = play(ON + story)
    found = entries(one, "hv2")
    assert broken_links(found) == ()
    assert set(told_steps(found).values()) == {1}
    assert Counter(e.step for e in found if e.kind is EntryKind.STEP) == done_steps(one)


def test_what_is_trimmed_from_the_store_is_in_every_archive(monkeypatch):
    monkeypatch.setattr(ledger, "KEPT_MAX", 20)
    monkeypatch.setattr(ledger, "TRIM_AT_ONCE", 5)
    more = changed("vms/app1.yaml", "memory: 96MiB", "memory: 80MiB")
    one = play(
        ON + "settle\nwait 130\ncommit less\nsettle\nwait 130\ncommit more\nsettle\nwait 200\n",
        commits={"less": WITHOUT_APP2, "more": more},
    )
    stored = read_all(world(one).store, paths.LEDGER_ENTRIES, Entry)
    head = read(world(one).store, paths.LEDGER_HEAD, LedgerHead)
    assert 0 < len(stored) < head.number, "nothing was trimmed"
    for name in one.cluster.nodes:
        found = entries(one, name)
        assert [entry.number for entry in found] == list(range(1, head.number + 1))
        assert broken_links(found) == ()


def test_a_coordinator_that_is_away_holds_the_trimming_back_only_for_so_long(monkeypatch):
    monkeypatch.setattr(ledger, "KEPT_MAX", 16)
    monkeypatch.setattr(ledger, "PRESSING", 2)
    one = play(
        ON + "settle\npower hv3 off\nwait 130\ncommit less\nsettle\nwait 200\n", commits=COMMITS
    )
    archived = world(one).store.read_children(paths.LEDGER_ARCHIVED)
    assert archived["hv3"].value["number"] < 16
    head = read(world(one).store, paths.LEDGER_HEAD, LedgerHead)
    assert head.oldest > 1
    assert [entry.number for entry in entries(one)] == list(range(1, head.number + 1))


def test_an_entry_that_was_changed_or_left_out_is_seen():
    one = play(ON + "settle\n")
    found = entries(one)
    assert broken_links(found) == ()
    assert broken_links(found[:3] + found[4:]) == ("entries 4 to 4 are missing",)
    forged = Entry(**{f: getattr(found[3], f) for f in Entry.__dataclass_fields__} | {"by": "eve"})
    assert broken_links([*found[:3], forged, *found[4:]]) == (
        "entry 5 does not follow entry 4 as it stands",
    )


def test_a_time_shows_what_stood_then():
    one = play(ON + "settle\nwait 30\ncommit less\nsettle\n", commits=COMMITS)
    found = entries(one)
    accepted = [entry for entry in found if entry.kind is EntryKind.ACCEPTED]
    before = moment(found, accepted[-1].at_s - 1)
    after = moment(found, found[-1].at_s)
    assert before.commit != after.commit
    assert before.steps["vm/app2"].step == "vm.put vm/app2"
    assert after.steps["vm/app2"].step == "record.keep vm/app2"
    assert archive.is_about(after.steps["vm/app2"], "vm/app2")
