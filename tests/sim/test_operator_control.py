"""Manual mode, freezes and rollbacks, played: what waits, what is used up, what comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated import BASE, ON, changed, events, play, player, starts, states

from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.control import Obstacle, Pace, Quarantine, Withheld
from pvc_gitops.model.records import Accepted, Target
from pvc_gitops.planner.planner import PLANNER_VERSION
from pvc_gitops.sim.desk import ask
from pvc_gitops.sim.play import Player
from pvc_gitops.sim.rest import look_at_status

BIGGER = changed("vms/app1.yaml", "memory: 96MiB", "memory: 128MiB\n  reboot_for_changes: now")
SMALLER = changed("vms/app1.yaml", "memory: 96MiB", "memory: 80MiB\n  reboot_for_changes: now")
LESS = {name: data for name, data in BASE.items() if name != "vms/app2.yaml"}
MANUAL = changed("cluster.yaml", "mode: auto", "mode: manual")


def manual(files):
    return {**files, "cluster.yaml": MANUAL["cluster.yaml"]}


def record(one, path, cls):
    stamped = one.cluster.tree.records.get(path)
    return None if stamped is None else decode(cls, stamped.value)


def withheld(one):
    return record(one, paths.WITHHELD, Withheld)


def target(one):
    return record(one, paths.TARGET, Target).commit


def accepted(one):
    return record(one, paths.ACCEPTED, Accepted).commit


def outcome(one, commit=None):
    """How following ends, as a client hears it."""
    said = ask(one.cluster, "follow", commit=commit or accepted(one), timeout_s=30)
    return said["outcome"]


# --- manual mode -------------------------------------------------------------------------------------


def in_manual_mode(**commits):
    one = player(commits={"manual": MANUAL, **commits})
    one.play(ON + "settle\ncommit manual\nsettle\n")
    assert withheld(one) is None  # the mode of the commit before let it in
    return one


def test_an_approval_is_for_one_effect_and_for_nothing_else():
    one = in_manual_mode(bigger=manual(BIGGER), smaller=manual(SMALLER))
    one.play("commit bigger\nsettle\n")
    first = withheld(one)
    assert first.obstacle is Obstacle.APPROVAL
    assert first.remedy == f"pvc approve {first.effect}"
    assert outcome(one) == "withheld"
    ask(one.cluster, "intent", kind="approve", subject="0" * 8)  # of something else
    one.play("settle\n")
    assert withheld(one) == first
    one.play("commit smaller\nsettle\n")  # before anybody approved the one before
    second = withheld(one)
    assert second.effect != first.effect
    ask(one.cluster, "intent", kind="approve", subject=first.effect)
    one.play("settle\n")
    assert target(one) != accepted(one)
    one.play("approve\nsettle\n")
    assert target(one) == accepted(one)
    assert withheld(one) is None
    left = [intent.subject for intent in ask(one.cluster, "intents")]
    assert sorted(left) == sorted(["0" * 8, first.effect])  # the other one is used up


def test_an_approval_in_advance_lets_the_plan_go_at_once():
    """A preview has the effect of the merge: it can be approved before."""
    twin = in_manual_mode(bigger=manual(BIGGER))
    twin.play("commit bigger\nsettle\n")
    effect = withheld(twin).effect
    one = in_manual_mode(bigger=manual(BIGGER))
    ask(one.cluster, "intent", kind="approve", subject=effect)
    one.play("commit bigger\nsettle\n")
    assert events(one, "withheld") == []
    assert starts(one)["app1"] == 2


def test_what_is_left_of_an_approved_plan_asks_nobody_again():
    one = in_manual_mode(less=manual(LESS))
    one.play("commit less\nsettle\n")
    # Power goes off in the middle: the plan that follows does what is left.
    owner = {name: vm["node"] for name, vm in one.result()["vms"].items()}["app2"]
    one.play(f"approve\nwait 1\npower {owner} off\nwait 40\npower {owner} on\nsettle 1800\n")
    assert withheld(one) is None
    assert "app2" not in states(one)


def test_a_commit_that_changes_nothing_needs_no_approval():
    said = changed("README.md", "x", "y", {**BASE, "README.md": b"x"})
    one = in_manual_mode(said=manual(said))
    one.play("commit said\nsettle\n")
    assert (withheld(one), target(one)) == (None, accepted(one))


def test_the_way_back_to_auto_is_approved_too():
    one = in_manual_mode(auto=BIGGER)
    one.play("commit auto\nsettle\n")
    assert withheld(one).obstacle is Obstacle.APPROVAL
    one.play("approve\nsettle\n")
    assert starts(one)["app1"] == 2


# --- freeze, halt ------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["freeze", "halt"])
def test_guests_and_networks_are_kept_up_while_nothing_new_begins(word):
    one = player(commits={"bigger": BIGGER})
    one.play(f"{ON}settle\n{word} on\ncommit bigger\nsettle\nvm web1 crash\nwait 60\n")
    assert outcome(one) == "withheld"
    assert withheld(one).obstacle == {"freeze": "frozen", "halt": "halted"}[word]
    assert starts(one)["web1"] == 2
    assert starts(one)["app1"] == 1
    with pytest.raises(UsageError, match="nothing becomes the target"):
        ask(one.cluster, "rollback")
    one.play(f"{word} off\nsettle\n")
    assert starts(one)["app1"] == 2
    assert withheld(one) is None


def test_a_freeze_is_kept_by_the_next_leader():
    one = player(commits={"bigger": BIGGER})
    one.play(f"{ON}settle\nfreeze on\ncommit bigger\nsettle\n")
    one.play("planner hv1 kill\nwait 60\n")
    assert len(events(one, "plan_published")) == 1
    one.play("freeze off\nsettle\n")
    assert target(one) == accepted(one)


def test_a_freeze_stops_a_retry_and_a_halt_is_told_to_whoever_follows():
    one = play("image tiny-guest bad\n" + ON + "settle\n")
    one.play("freeze on\nimage tiny-guest good\nretry\nwait 60\n")
    assert len(events(one, "plan_published")) == 1
    one.play("freeze off\nsettle\n")
    assert set(states(one).values()) == {"running"}
    other = player()
    other.play(ON + "wait 66\nhalt on\nwait 30\n")
    assert outcome(other) == "halted"


# --- rollback ----------------------------------------------------------------------------------------


def rolled_back(**commits):
    one = player(commits={"bigger": BIGGER, **commits})
    one.play(ON + "settle\ncommit bigger\nsettle\n")
    bad = accepted(one)
    one.play("rollback\nsettle\n")
    return one, bad


def test_a_rollback_shows_first_and_does_what_was_shown():
    one = player(commits={"less": LESS})
    one.play(ON + "settle\n")
    good = accepted(one)
    one.play("commit less\nsettle\n")
    bad = accepted(one)
    shown = ask(one.cluster, "rollback")
    assert (shown.commit, shown.now, shown.is_begun) == (good, bad, False)
    assert [each.commit for each in shown.quarantined] == [bad]
    assert [str(a) for c in shown.plan.changes for a in c.actions] == ["restore"]
    assert record(one, paths.QUARANTINED, Quarantine) is None  # nothing was done
    with pytest.raises(UsageError, match="something else by now"):
        ask(one.cluster, "rollback", commit=good, effect="0" * 8)
    begun = ask(one.cluster, "rollback", commit=good[:7], effect=shown.plan.effect, reason="no")
    assert begun.is_begun
    one.play("settle\n")
    assert states(one)["app2"] == "running"  # with its data, from the trash
    assert (target(one), accepted(one)) == (good, bad)
    assert outcome(one) == "quarantined"
    assert outcome(one, good) == "applied"
    state, _ = look_at_status(one.cluster)
    assert state.quarantine.reason == "no"
    assert state.held == {bad: ("vm/app2",)}
    assert any(f"pvc source release {bad[:7]}" in row[2] for row in state.waiting)
    assert not state.is_applied


def test_what_stays_is_told():
    grown = changed("vms/app1.yaml", "size: 64MiB", "size: 128MiB")
    one = player(commits={"grown": grown})
    one.play(ON + "settle\ncommit grown\nsettle\n")
    shown = ask(one.cluster, "rollback")
    assert [item.address for item in shown.not_undone] == ["vm/app1"]
    assert "shrink" in shown.not_undone[0].text


def test_deletions_of_a_rollback_have_the_same_budget():
    few = {n: d for n, d in BASE.items() if n not in {f"vms/web{i}.yaml" for i in (1, 2, 3)}}
    few = {name: data for name, data in few.items() if name != "vms/app1.yaml"}
    one = player(few, commits={"many": BASE})
    one.play(ON + "settle\ncommit many\nsettle\n")
    assert len(states(one)) == 6
    one.play("rollback\nsettle\n")
    assert len(states(one)) == 6  # four guests are more than max_destroy lets one plan take
    shown = look_at_status(one.cluster)[0].waiting
    assert sum("max_destroy" in " ".join(row) for row in shown) == 4


def test_the_default_is_the_last_commit_that_was_carried_out_whole():
    broken = {
        **BASE,
        "images/bad.yaml": BASE["images/tiny-guest.yaml"]
        .replace(b"name: tiny-guest", b"name: bad")
        .replace(b"tiny-guest.img", b"bad.img"),
    }
    one = player(commits={"bigger": BIGGER, "broken": broken, "smaller": SMALLER})
    one.play(ON + "settle\ncommit bigger\nsettle\n")
    whole = accepted(one)
    one.cluster.ceph.bad_urls.update({"http://10.20.0.254/images/bad.img"})
    one.play("commit broken\nsettle\ncommit smaller\nsettle\n")
    # Three commits later: the last is carried out, the one before it never was.
    one.play("rollback\nsettle\n")
    assert target(one) == whole


def test_a_second_rollback_goes_further_back_and_naming_a_later_one_comes_forward():
    one = player(commits={"bigger": BIGGER, "smaller": SMALLER})
    one.play(ON + "settle\n")
    first = accepted(one)
    one.play("commit bigger\nsettle\n")
    second = accepted(one)
    one.play("commit smaller\nsettle\n")
    third = accepted(one)
    one.play("rollback\nsettle\n")
    assert target(one) == second
    one.play("rollback\nsettle\n")
    assert target(one) == first
    aside = record(one, paths.QUARANTINED, Quarantine)
    assert [each.commit for each in aside.commits] == [second, third]
    shown = ask(one.cluster, "rollback", commit=second)
    ask(one.cluster, "rollback", commit=second, effect=shown.plan.effect)
    one.play("settle\n")
    assert target(one) == second
    assert [e.commit for e in record(one, paths.QUARANTINED, Quarantine).commits] == [third]
    with pytest.raises(UsageError, match="in force already"):
        ask(one.cluster, "rollback", commit=second)
    with pytest.raises(UsageError, match="names no accepted commit"):
        ask(one.cluster, "rollback", commit="0123456")


def test_a_rollback_in_manual_mode_is_its_own_approval():
    one = in_manual_mode(bigger=manual(BIGGER))
    one.play("commit bigger\nsettle\napprove\nsettle\n")
    assert starts(one)["app1"] == 2
    one.play("rollback\nsettle\n")
    assert withheld(one) is None
    assert ask(one.cluster, "intents") == []
    assert target(one) != accepted(one)


def test_the_quarantine_survives_leaders_and_ends_by_content():
    tagged = changed("vms/web1.yaml", "tags: [", "tags: [seen, ", BIGGER)
    one, bad = rolled_back(tagged=tagged, back=BASE)
    one.play("planner hv1 kill\nwait 60\ncommit tagged\nsettle\n")
    assert record(one, paths.QUARANTINED, Quarantine).commits[0].commit == bad
    assert target(one) != accepted(one)
    one.play("commit back\nsettle\n")
    assert record(one, paths.QUARANTINED, Quarantine) is None
    assert target(one) == accepted(one)
    ended = events(one, "quarantine_ended")
    assert len(ended) == 1


def test_releasing_one_of_two_leaves_the_other():
    one = player(commits={"bigger": BIGGER, "both": {**BIGGER, **_tag("vms/web1.yaml")}})
    one.play(ON + "settle\n")
    first = accepted(one)
    one.play("commit bigger\nsettle\n")
    second = accepted(one)
    one.play("commit both\nsettle\n")
    third = accepted(one)
    shown = ask(one.cluster, "rollback", commit=first)
    ask(one.cluster, "rollback", commit=first, effect=shown.plan.effect)
    one.play("settle\n")
    assert ask(one.cluster, "release", commit=third[:7], reason="fine").commit == third
    one.play("settle\n")
    assert target(one) == first
    with pytest.raises(UsageError, match="no commit in quarantine"):
        ask(one.cluster, "release", commit=third[:7], reason="again")
    ask(one.cluster, "release", commit=second, reason="fine, too")
    one.play("settle\n")
    assert target(one) == third


def _tag(path):
    return {path: changed(path, "tags: [", "tags: [seen, ")[path]}


# --- pace --------------------------------------------------------------------------------------------


def test_what_is_published_is_counted_with_the_target():
    one = player(commits={"bigger": BIGGER})
    one.play(ON + "settle\ncommit bigger\nsettle\n")
    pace = record(one, paths.PACE, Pace)
    assert [each.is_wanted for each in pace.published] == [True, True]
    assert pace.converged == accepted(one)
    assert list(pace.published[-1].flips) == ["vm/app1"]


def test_a_planner_that_stopped_itself_goes_on_by_word():
    """A brake that stands for the commit in force holds every plan that nobody asks for."""
    one = play(ON + "settle\n")
    from pvc_gitops.model.codec import encode
    from pvc_gitops.model.control import Brake
    from pvc_gitops.model.values import replace
    from pvc_gitops.world.ports import Put

    stamped = one.cluster.tree.records[paths.PACE]
    held = Brake(obstacle=Obstacle.RUNAWAY, commit=target(one), text="20 plans in an hour")
    pace = replace(decode(Pace, stamped.value), brake=held)
    one.cluster.tree.apply((Put(path=paths.PACE, value=encode(pace), version=stamped.version),))
    # Somebody removes a network's record by hand: a plan would make it again.
    one.cluster.tree.remove(paths.applied("group/web"))
    one.play("wait 120\n")
    assert withheld(one).obstacle is Obstacle.RUNAWAY
    assert "pvc retry" in withheld(one).remedy
    assert len(events(one, "plan_published")) == 1
    one.play("retry\nsettle\n")
    assert withheld(one) is None
    assert len(events(one, "plan_published")) == 2
    assert record(one, paths.PACE, Pace).brake is None


def test_an_agent_that_dies_over_an_order_says_nothing_and_the_order_can_be_given_again():
    one = player()
    one.play(ON + "settle\nagent hv1 kill 0\ndrain hv2\n")
    assert events(one, "operator")[-1]["refused"] == "the agent of hv1 died over it"
    assert not one.cluster.nodes["hv1"].agent.is_up
    one.play("agent hv1 start\ndrain hv2\nsettle\n")
    assert not [at for at in one.cluster.placements().values() if at.owner == "hv2"]


# --- two releases ------------------------------------------------------------------------------------


def upgrade(one: Player) -> None:
    """The target in force becomes that of a newer planner."""
    before = one.cluster.tree.records[paths.TARGET]
    newer = {**before.value, "planner_version": "999.0.0"}
    one.cluster.tree.records[paths.TARGET] = replace(before, value=newer)


def test_an_older_planner_takes_over_when_told_although_nothing_is_to_be_done():
    one = player()
    one.play(ON + "settle\n")
    upgrade(one)
    one.play("wait 60\nretry\nsettle\n")
    assert record(one, paths.TARGET, Target).planner_version == PLANNER_VERSION
    assert not [what for what in look_at_status(one.cluster)[0].waiting if what[0] == "plan"]
    published = len(events(one, "plan_published"))
    one.play("wait 60\nsettle\n")
    assert len(events(one, "plan_published")) == published


def test_after_a_downgrade_nothing_is_planned_until_somebody_says_so():
    """The newer planner may have known a reason that this one does not."""
    one = player(commits={"smaller": SMALLER})
    one.play(ON + "settle\n")
    upgrade(one)
    one.play("commit smaller\nwait 120\n")
    assert record(one, paths.TARGET, Target).planner_version == "999.0.0"
    assert "this one is older" in events(one, "not_planned")[-1]["why"]
    said = [what for what in look_at_status(one.cluster)[0].waiting if what[0] == "plan"]
    assert "999.0.0 has published" in said[0][1]
    assert said[0][2].startswith("pvc retry")
    one.play("retry\nsettle\n")
    assert target(one) == accepted(one)
    assert record(one, paths.TARGET, Target).planner_version == PLANNER_VERSION
    assert not [what for what in look_at_status(one.cluster)[0].waiting if what[0] == "plan"]
