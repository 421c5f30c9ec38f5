"""The guard's decisions: every event in every life, and the four invariants over random histories."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_guard import lease as g

TIMING = g.Timing(lease_s=6.0, heartbeat_s=1.0)


def begin(now_s=100.0, *, is_slice_empty=True, saved=None, boot_id="b"):
    return g.begin(
        boot_id=boot_id, timing=TIMING, now_s=now_s, is_slice_empty=is_slice_empty, saved=saved
    )


def run(guard, *events):
    actions = ()
    for event in events:
        guard, more = g.step(guard, event)
        actions += more
    return guard, actions


def holding(now_s=100.0):
    guard, _ = begin(now_s)
    guard, actions = run(guard, g.SliceEmpty(now_s=now_s), g.Tick(now_s=now_s))
    (ask,) = [a for a in actions if isinstance(a, g.OpenIncarnation)]
    guard, _ = run(guard, g.Opened(now_s=now_s, incarnation=ask.incarnation, sent_at_s=now_s))
    assert isinstance(guard.life, g.Holding)
    return guard


def lives():
    """One guard in each life, each with a lease of incarnation b.100000 where it has one."""
    held = holding()
    opening, _ = begin()
    killing, _ = run(held, g.Revoked(now_s=101, incarnation="b.100000"))
    leaving, _ = run(held, g.SlicePopulated(now_s=101), g.ShutDown(now_s=101))
    parting, _ = run(leaving, g.SliceEmpty(now_s=102))
    left, _ = run(parting, g.Said(now_s=102, incarnation="b.100000"))
    found = (opening, held, killing, leaving, parting, left)
    kinds = (g.Opening, g.Holding, g.Killing, g.Leaving, g.Parting, g.Left)
    assert tuple(type(guard.life) for guard in found) == kinds
    return found


def events(now_s):
    mine = "b.100000"
    return (
        g.Tick(now_s=now_s),
        g.SliceEmpty(now_s=now_s),
        g.SlicePopulated(now_s=now_s),
        g.Opened(now_s=now_s, incarnation=mine, sent_at_s=now_s - 0.1),
        g.Acknowledged(now_s=now_s, incarnation=mine, sent_at_s=now_s - 0.1),
        g.Acknowledged(now_s=now_s, incarnation="another", sent_at_s=now_s - 0.1),
        g.Failed(now_s=now_s, via=g.Via.FIRST),
        g.Failed(now_s=now_s, via=g.Via.SECOND),
        g.Revoked(now_s=now_s, incarnation=mine),
        g.Revoked(now_s=now_s, incarnation="another"),
        g.ShutDown(now_s=now_s),
        g.Said(now_s=now_s, incarnation=mine),
        g.NoQuorum(now_s=now_s, asked_at_s=now_s, of="hv2", out_for_s=9.0),
        g.HoldSeen(now_s=now_s, id="hold-1", left_s=60.0),
        g.HoldRecorded(now_s=now_s, incarnation=mine, id="hold-1", asked_at_s=now_s),
    )


NEXT = {
    # event -> the life that follows, in the order of `lives()`; "." is the same life.
    "Tick": ". . . . . .",
    "SliceEmpty": ". . Opening Parting . .",
    "SlicePopulated": "Killing . . . Killing Killing",
    "Opened": "Holding . . . . .",
    "Acknowledged": ". . . . . .",
    "Acknowledged another": ". . . . . .",
    "Failed first": ". . . . . .",
    "Failed second": ". . . . . .",
    "Revoked": "Opening Killing . Killing . .",
    "Revoked another": ". . . . . .",
    "ShutDown": "Parting Leaving . . . .",
    "Said": ". . . . Left .",
    "NoQuorum": ". . . . . .",
    "HoldSeen": ". . . . . .",
    "HoldRecorded": ". . . . . .",
}


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize(("name", "event"), list(zip(NEXT, events(102.5), strict=True)))
def test_every_event_in_every_life(index, name, event):
    before = lives()[index]
    after, _ = g.step(before, event)
    expected = NEXT[name].split()[index]
    if expected == ".":
        expected = type(before.life).__name__
    assert type(after.life).__name__ == expected


@pytest.mark.parametrize("event", events(106.0))
@pytest.mark.parametrize("index", [1, 3])
def test_whatever_comes_first_after_the_lease_kills(index, event):
    guard, actions = g.step(lives()[index], event)
    assert isinstance(guard.life, g.Killing)
    assert isinstance(actions[0], g.KillGuests)
    assert guard.lease is None


def test_an_answer_renews_from_the_sending():
    guard = holding()
    guard, _ = run(
        guard,
        g.Tick(now_s=101.0),
        g.Acknowledged(now_s=104.0, incarnation="b.100000", sent_at_s=101.0),
    )
    assert guard.lease.until_s == 107.0


def test_an_older_answer_takes_nothing_back():
    guard = holding()
    guard, _ = run(
        guard,
        g.Acknowledged(now_s=103.0, incarnation="b.100000", sent_at_s=102.0),
        g.Acknowledged(now_s=103.0, incarnation="b.100000", sent_at_s=101.0),
    )
    assert guard.lease.until_s == 108.0


def test_an_answer_from_the_future_renews_nothing():
    guard, _ = run(holding(), g.Acknowledged(now_s=101.0, incarnation="b.100000", sent_at_s=999.0))
    assert guard.lease.until_s == 106.0


def test_an_answer_read_after_the_end_renews_nothing():
    # The process was stopped: the answer to a heartbeat sent in time lies in its queue.
    guard, actions = run(
        holding(), g.Acknowledged(now_s=160.0, incarnation="b.100000", sent_at_s=105.0)
    )
    assert isinstance(guard.life, g.Killing)
    assert actions == (g.KillGuests(why="the lease ended"),)


def test_a_heartbeat_a_second_and_the_second_way_after_a_second_of_silence():
    guard = holding()
    seen = []
    for tenth in range(1, 31):
        now = 100.0 + tenth / 10
        guard, actions = g.step(guard, g.Tick(now_s=now))
        seen += [(now, a.via, a.counter) for a in actions if isinstance(a, g.WriteHeartbeat)]
    assert [(round(t), via) for t, via, _ in seen] == [
        (101, g.Via.FIRST),
        (102, g.Via.FIRST),
        (102, g.Via.SECOND),
        (103, g.Via.FIRST),
        (103, g.Via.SECOND),
    ]


def test_an_answered_heartbeat_needs_no_second_way():
    guard, _ = run(
        holding(),
        g.Tick(now_s=101.0),
        g.Acknowledged(now_s=101.1, incarnation="b.100000", sent_at_s=101.0),
    )
    _, actions = g.step(guard, g.Tick(now_s=102.2))
    assert [a.via for a in actions if isinstance(a, g.WriteHeartbeat)] == [g.Via.FIRST]


def test_a_refused_heartbeat_goes_the_second_way_at_once():
    guard, _ = run(holding(), g.Tick(now_s=101.0))
    guard, actions = g.step(guard, g.Failed(now_s=101.1, via=g.Via.FIRST))
    assert actions == (g.WriteHeartbeat(incarnation="b.100000", counter=2, via=g.Via.SECOND),)
    _, actions = g.step(guard, g.Failed(now_s=101.2, via=g.Via.SECOND))
    assert actions == ()


def test_a_slice_seen_empty_before_the_kill_proves_nothing():
    guard, actions = g.step(holding(), g.SliceEmpty(now_s=106.0))
    assert isinstance(guard.life, g.Killing)
    assert [type(a) for a in actions] == [g.KillGuests]
    guard, _ = g.step(guard, g.SliceEmpty(now_s=106.1))
    assert guard.life == g.Opening(incarnation="b.106100", asked_at_s=None)


def test_a_kill_that_does_not_bite_is_repeated():
    guard, _ = g.step(holding(), g.SlicePopulated(now_s=106.0))
    kills = []
    for tenth in range(1, 31):
        now = 106.0 + tenth / 10
        guard, actions = run(guard, g.SlicePopulated(now_s=now), g.Tick(now_s=now))
        kills += [round(now, 1) for a in actions if isinstance(a, g.KillGuests)]
        assert not any(isinstance(a, g.PetWatchdog) for a in actions)
    assert len(kills) in (2, 3)  # floats: 108.99… comes before 109
    assert kills[0] == 107.0


def test_the_wish_to_shut_down_survives_the_end_of_the_lease():
    guard, actions = g.step(holding(), g.ShutDown(now_s=106.0))
    assert isinstance(guard.life, g.Killing)
    assert guard.life.after is g.After.LEAVE
    guard, actions = g.step(guard, g.SliceEmpty(now_s=106.1))
    assert actions == (g.SayLeft(incarnation="b.100000"),)


def test_left_is_asked_for_until_it_is_said():
    guard, actions = run(holding(), g.SliceEmpty(now_s=101), g.ShutDown(now_s=101))
    assert actions == ()  # a guest may have come since that look
    guard, actions = g.step(guard, g.SliceEmpty(now_s=101))
    assert actions == (g.SayLeft(incarnation="b.100000"),)
    guard, actions = g.step(guard, g.Tick(now_s=102))
    assert g.SayLeft(incarnation="b.100000") in actions
    guard, _ = g.step(guard, g.Said(now_s=102.1, incarnation="b.100000"))
    assert guard.life == g.Left(incarnation="b.100000")


def test_a_revoked_opening_takes_another_name():
    guard, _ = begin()
    guard, _ = run(guard, g.Revoked(now_s=103.0, incarnation="b.100000"))
    assert guard.life == g.Opening(incarnation="b.103000", asked_at_s=None)


def test_an_opening_answered_too_late_is_asked_again():
    guard, _ = begin()
    guard, _ = run(guard, g.Opened(now_s=107.0, incarnation="b.100000", sent_at_s=100.5))
    assert isinstance(guard.life, g.Opening)


# --- one process after another --------------------------------------------------------------------


def test_a_restart_within_the_lease_goes_on_and_kills_nobody():
    guard, _ = run(holding(), g.Acknowledged(now_s=103.0, incarnation="b.100000", sent_at_s=102.0))
    keep = g.saved_of_json(g.to_json(guard, None))
    again, actions = begin(107.9, is_slice_empty=False, saved=keep)
    assert actions == ()
    assert again.incarnation == "b.100000"
    assert again.lease.until_s == 108.0


@pytest.mark.parametrize(("now_s", "boot_id"), [(108.0, "b"), (103.0, "another-boot")])
def test_a_restart_after_the_lease_or_the_boot_kills_what_it_finds(now_s, boot_id):
    keep = g.Saved(
        boot_id="b", incarnation="b.100000", lease_s=6.0, acknowledged_s=102.0, counter=3
    )
    guard, actions = begin(now_s, is_slice_empty=False, saved=keep, boot_id=boot_id)
    assert isinstance(guard.life, g.Killing)
    assert [type(a) for a in actions] == [g.KillGuests]


def test_guests_without_any_saved_lease_are_killed():
    _, actions = begin(is_slice_empty=False)
    assert [type(a) for a in actions] == [g.KillGuests]


def test_the_counter_goes_on_after_a_restart():
    keep = g.Saved(boot_id="b", incarnation="i", lease_s=6.0, acknowledged_s=102.0, counter=41)
    guard, _ = begin(103.0, is_slice_empty=False, saved=keep)
    _, actions = g.step(guard, g.Tick(now_s=103.0))
    assert actions[0] == g.WriteHeartbeat(incarnation="i", counter=42, via=g.Via.FIRST)


def test_a_changed_lease_is_in_force_with_the_next_incarnation_only():
    keep = g.Saved(boot_id="b", incarnation="i", lease_s=6.0, acknowledged_s=100.0, counter=1)
    guard, _ = g.begin(
        boot_id="b",
        timing=replace(TIMING, lease_s=20.0),
        now_s=101.0,
        is_slice_empty=True,
        saved=keep,
    )
    assert guard.lease.until_s == 106.0
    guard, actions = run(guard, g.Tick(now_s=106.0), g.SliceEmpty(now_s=106.1), g.Tick(now_s=106.1))
    assert g.OpenIncarnation(incarnation="b.106100", lease_s=20.0) in actions


def test_a_broken_file_is_refused():
    with pytest.raises(ValueError, match="saved lease"):
        g.saved_of_json({"saved": {"boot_id": 7}})
    assert g.saved_of_json({}) is None


# --- random histories -----------------------------------------------------------------------------

# Twice what must be common for a history to get anywhere.
COMMON = ("wait", "look", "tick", "ack", "open")
WORDS = (*COMMON, *COMMON, "fail", "revoke", "stop", "said", "guest", "restart")
STEPS = st.lists(st.tuples(st.sampled_from(WORDS), st.floats(0.0, 3.0)), max_size=120)


class Machine:
    """A node as simple as can be: it keeps what really happened, to judge the guard by."""

    def __init__(self):
        self.now = 1000.0
        self.has_guests = False
        self.sent = []  # (incarnation, sent at) not answered yet
        self.asked = []
        self.acknowledged = {}  # incarnation -> sending of the last acknowledged write
        self.revoked = set()
        self.killed_since_end = True
        self.is_leaving = False
        self.guard, actions = self._begin(None)
        self.do(actions)

    def _begin(self, keep):
        return g.begin(
            boot_id="b",
            timing=TIMING,
            now_s=self.now,
            is_slice_empty=not self.has_guests,
            saved=keep,
        )

    def feed(self, event):
        before = self.guard
        self.guard, actions = g.step(self.guard, event)
        assert isinstance(actions, tuple)
        if before.lease is not None and self.guard.lease is None:
            self.killed_since_end = isinstance(self.guard.life, g.Parting)
        self.do(actions)
        self.judge(event)

    def do(self, actions):
        for action in actions:
            match action:
                case g.KillGuests():
                    self.has_guests = False
                    self.killed_since_end = True
                case g.OpenIncarnation():
                    assert not self.has_guests
                    assert self.killed_since_end
                    assert action.incarnation not in self.revoked
                    self.asked.append((action.incarnation, self.now))
                case g.WriteHeartbeat():
                    assert action.incarnation not in self.revoked
                    assert self.guard.lease is not None
                    self.sent.append((action.incarnation, self.now))
                case g.PetWatchdog():
                    assert self.guard.lease is not None or self.guard.is_slice_empty
                case g.SayLeft():
                    assert self.guard.is_slice_empty

    def judge(self, event):
        lease = self.guard.lease
        if lease is None:
            return
        assert lease.incarnation not in self.revoked
        assert event.now_s < self.acknowledged[lease.incarnation] + TIMING.lease_s
        assert lease.until_s <= self.acknowledged[lease.incarnation] + TIMING.lease_s

    def play(self, word, number):  # noqa: C901, PLR0912  one word, one case
        match word:
            case "wait":
                self.now += number
            case "look":
                event = g.SlicePopulated if self.has_guests else g.SliceEmpty
                self.feed(event(now_s=self.now))
            case "tick":
                self.feed(g.Tick(now_s=self.now))
            case "ack" if self.sent:
                who, at = self.sent.pop(0)
                if who not in self.revoked:
                    self.acknowledged[who] = max(at, self.acknowledged.get(who, 0.0))
                    self.feed(g.Acknowledged(now_s=self.now, incarnation=who, sent_at_s=at))
            case "open" if self.asked:
                who, at = self.asked.pop()
                if who not in self.revoked:
                    self.acknowledged[who] = max(at, self.acknowledged.get(who, 0.0))
                    self.feed(g.Opened(now_s=self.now, incarnation=who, sent_at_s=at))
            case "fail":
                self.feed(g.Failed(now_s=self.now, via=list(g.Via)[round(number) % 2]))
            case "revoke" if self.guard.lease is not None:
                who = self.guard.lease.incarnation
                self.revoked.add(who)
                self.feed(g.Revoked(now_s=self.now, incarnation=who))
            case "stop" if number > 2.5:
                self.feed(g.ShutDown(now_s=self.now))
            case "said" if isinstance(self.guard.life, g.Parting):
                self.feed(g.Said(now_s=self.now, incarnation=self.guard.life.incarnation))
            case "guest" if self.guard.lease is not None:
                self.has_guests = True
            case "restart":
                self.now += 0.01  # no process starts within a millisecond
                keep = g.saved_of_json(g.to_json(self.guard, None))
                self.guard, actions = self._begin(keep)
                self.do(actions)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_the_invariants_hold_in_every_history(steps):
    machine = Machine()
    for word, number in steps:
        machine.play(word, number)
    # Whatever happened, time alone ends the guests of a guard that nobody answers.
    for _ in range(30):
        machine.now += 0.25
        machine.play("look", 0.0)
        machine.play("tick", 0.0)
    assert machine.guard.lease is None
    assert not machine.has_guests
