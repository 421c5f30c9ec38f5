"""Would fencing work tonight? What candidates found, put together."""

from pvc_gitops.ha.readiness import (
    AFTER_TROUBLE_S,
    EVERY_S,
    FIRST_WITHIN_S,
    assess,
    blocklist_troubles,
    first_after_s,
    next_after_s,
)
from pvc_gitops.model.readiness import Grade, Readiness, Trial
from pvc_gitops.model.records import IncarnationRecord

NOW_S = 10_000


def life(watchdog=True, watchdog_s=10.0):
    return IncarnationRecord(
        id="boot.0",
        boot_id="boot",
        started_at_s=0,
        lease_s=6.0,
        is_revoked=False,
        watchdog="softdog" if watchdog else None,
        watchdog_s=watchdog_s if watchdog else None,
        storage_addresses=(),
        guests_left=True,
    )


def found(**troubles):
    return {
        name: Readiness(trials={"hv3": Trial(at_s=NOW_S - 60, trouble=trouble)})
        for name, trouble in troubles.items()
    }


def judged(trials, *, watchdog=True, has_bmc=True, now_s=NOW_S):
    return assess("hv3", life(watchdog), trials, has_bmc=has_bmc, now_s=now_s)


def test_a_bmc_that_all_can_use_and_a_watchdog_are_ready():
    row = judged(found(hv1="", hv2=""))
    assert (row.grade, row.bmc, row.watchdog, row.troubles) == (
        Grade.READY,
        "ready",
        "armed, 10 s",
        (),
    )
    assert row.tried_at_s == NOW_S - 60


def test_what_one_coordinator_alone_cannot_is_said_with_its_name():
    row = judged(found(hv1="", hv2="its password is gone"))
    assert row.grade is Grade.PARTLY
    assert row.troubles == ("its password is gone (from hv2)",)


def test_what_nobody_can_is_said_once():
    row = judged(found(hv1="it is dead", hv2="it is dead"))
    assert row.grade is Grade.PARTLY
    assert row.troubles == ("it is dead",)


def test_without_a_watchdog_a_bmc_that_nobody_reaches_leaves_no_proof():
    row = judged(found(hv1="it is dead", hv2="it is dead"), watchdog=False)
    assert row.grade is Grade.NOT
    assert "neither" in row.troubles[-1]


def test_without_a_watchdog_one_coordinator_that_reaches_the_bmc_is_a_proof():
    row = judged(found(hv1="it is dead", hv2=""), watchdog=False)
    assert row.grade is Grade.PARTLY


def test_a_watchdog_that_was_never_measured_proves_nothing_and_it_is_said_what_to_type():
    for trials, grade in ((found(hv1=""), Grade.PARTLY), (found(hv1="it is dead"), Grade.NOT)):
        row = assess("hv3", life(watchdog_s=None), trials, has_bmc=True, now_s=NOW_S)
        assert (row.grade, row.watchdog) == (grade, "not measured")
        assert "pvc-guard measure-watchdog" in row.troubles[-1]
        assert "neither" in " ".join(row.troubles) or grade is Grade.PARTLY


def test_a_node_without_a_bmc_stands_by_its_watchdog_alone():
    assert judged({}, has_bmc=False).grade is Grade.READY
    assert judged({}, has_bmc=False, watchdog=False).grade is Grade.NOT


def test_what_was_not_tried_yet_is_no_verdict():
    row = judged({}, watchdog=False)
    assert row.bmc == "not tried yet"
    assert row.grade is Grade.PARTLY


def test_a_trial_that_is_old_is_a_trouble_of_its_own():
    row = judged(found(hv1=""), now_s=NOW_S + 3600)
    assert row.grade is Grade.PARTLY
    assert "61 min ago" in row.troubles[0]


def test_a_blocklist_that_cannot_be_written_is_named_with_where():
    records = {"hv1": Readiness(), "hv2": Readiness(blocklist="permission denied")}
    (text,) = blocklist_troubles(records)
    assert "from hv2: permission denied" in text


def test_candidates_and_nodes_are_spread_and_every_trial_comes_in_time():
    nodes = [f"hv{number}" for number in range(1, 30)]
    firsts = {(me, node): first_after_s(me, node) for me in ("hv1", "hv2") for node in nodes}
    assert len(set(firsts.values())) > len(firsts) * 0.9
    assert all(0 <= each <= FIRST_WITHIN_S for each in firsts.values())
    nexts = [next_after_s("hv1", "hv2", number, is_well=True) for number in range(50)]
    assert len(set(nexts)) > 40
    assert all(0.9 * EVERY_S <= each <= 1.1 * EVERY_S for each in nexts)
    assert next_after_s("hv1", "hv2", 1, is_well=False) <= 1.1 * AFTER_TROUBLE_S
