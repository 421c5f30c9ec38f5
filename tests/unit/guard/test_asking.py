"""Renewal while no quorum exists: which answers count; no history breaks what proof (b) needs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_guard import lease as g

LEASE_S = 6.0
COORDINATORS = frozenset({"a", "b", "c"})
MINE = "boot.100000"


def holding(*, coordinators=COORDINATORS, now_s=100.0):
    guard, _ = g.begin(
        boot_id="boot",
        timing=g.Timing(lease_s=LEASE_S, heartbeat_s=1.0),
        now_s=now_s,
        is_slice_empty=True,
        saved=None,
        coordinators=coordinators,
    )
    guard, _ = run(guard, g.SliceEmpty(now_s=now_s), g.Tick(now_s=now_s))
    guard, _ = run(guard, g.Opened(now_s=now_s, incarnation=MINE, sent_at_s=now_s))
    return guard


def run(guard, *events):
    actions = ()
    for event in events:
        guard, more = g.step(guard, event)
        actions += more
    return guard, actions


def silent_until(guard, end_s):
    """Ticks four times a second without an answer; the questions that were asked."""
    asked = []
    now_s = guard.now_s
    while now_s < end_s:
        now_s += 0.25
        guard, actions = run(guard, g.Tick(now_s=now_s))
        asked += [a.asked_at_s for a in actions if isinstance(a, g.AskOthers)]
    return guard, asked


def out(now_s, asked_at_s, of, out_for_s):
    return g.NoQuorum(now_s=now_s, asked_at_s=asked_at_s, of=of, out_for_s=out_for_s)


def test_nobody_is_asked_while_heartbeats_are_answered():
    guard = holding()
    for second in range(101, 120):
        guard, actions = run(guard, g.Tick(now_s=float(second)))
        assert not [a for a in actions if isinstance(a, g.AskOthers)]
        guard, _ = run(
            guard,
            g.Acknowledged(now_s=second + 0.1, incarnation=MINE, sent_at_s=float(second)),
        )


def test_it_asks_with_every_heartbeat_once_one_is_late():
    guard, asked = silent_until(holding(), 105.75)
    assert asked == [102.0, 103.0, 104.0, 105.0]
    assert guard.lease.until_s == 106.0


def test_a_majority_renews_from_the_moment_of_asking():
    guard, asked = silent_until(holding(), 105.0)
    guard, _ = run(guard, out(105.5, 105.0, "a", 3.0))
    assert guard.lease.until_s == 106.0
    guard, _ = run(guard, out(105.6, 105.0, "b", 3.0))
    assert guard.lease.until_s == 111.0
    assert asked[-1] == 105.0


def test_one_voice_counts_once():
    guard, _ = silent_until(holding(), 105.0)
    guard, _ = run(guard, *(out(105.5, 105.0, "a", 3.0) for _ in range(5)))
    assert guard.lease.until_s == 106.0


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (out(105.6, 105.0, "x", 9.0), "it is no coordinator"),
        (out(105.6, 104.0, "b", 9.0), "it is the answer to an older question"),
        (out(105.6, 105.6, "b", 9.0), "nobody asked it"),
        (out(105.6, 105.0, "b", 0.6), "it may have been in a quorum when it was asked"),
    ],
)
def test_what_does_not_count(event, why):
    guard, _ = silent_until(holding(), 105.0)
    guard, _ = run(guard, out(105.5, 105.0, "a", 3.0), event)
    assert guard.lease.until_s == 106.0, why


def test_an_answer_after_the_end_renews_nothing():
    guard, _ = silent_until(holding(), 105.0)
    guard, _ = run(guard, out(105.5, 105.0, "a", 3.0))
    guard, actions = run(guard, out(106.0, 105.0, "b", 9.0))
    assert isinstance(guard.life, g.Killing)
    assert [type(a) for a in actions] == [g.KillGuests]


def test_after_a_renewal_only_those_count_that_were_out_ever_since():
    guard, _ = silent_until(holding(), 105.0)
    guard, _ = run(guard, out(105.1, 105.0, "a", 3.0), out(105.1, 105.0, "b", 3.0))
    guard, asked = silent_until(guard, 108.1)
    last = asked[-1]
    # They were in a quorum for a moment: who knows whom it revoked.
    guard, _ = run(guard, *(out(guard.now_s, last, of, 2.0) for of in "abc"))
    assert guard.lease.until_s == 111.0
    guard, _ = run(guard, *(out(guard.now_s, last, of, 6.0) for of in "ab"))
    assert guard.lease.until_s == last + LEASE_S


def test_a_heartbeat_makes_the_next_renewal_easy_again():
    guard, _ = silent_until(holding(), 105.0)
    guard, _ = run(guard, *(out(105.1, 105.0, of, 3.0) for of in "ab"))
    guard, _ = silent_until(guard, 106.1)
    guard, _ = run(guard, g.Acknowledged(now_s=106.4, incarnation=MINE, sent_at_s=106.25))
    assert not guard.lease.is_by_asking
    guard, asked = silent_until(guard, 109.5)
    last = asked[-1]
    guard, _ = run(guard, *(out(guard.now_s, last, of, 1.5) for of in "ab"))
    assert guard.lease.until_s == last + LEASE_S


def test_what_rests_on_asking_survives_a_restart_as_such():
    guard, _ = silent_until(holding(), 105.0)
    guard, _ = run(guard, *(out(105.1, 105.0, of, 3.0) for of in "ab"))
    kept = g.saved_of_json(g.to_json(guard, None))
    again, _ = g.begin(
        boot_id="boot",
        timing=guard.timing,
        now_s=107.0,
        is_slice_empty=False,
        saved=kept,
        coordinators=COORDINATORS,
    )
    assert again.lease.is_by_asking
    assert again.lease.until_s == 111.0


def test_where_there_is_one_coordinator_its_own_word_counts():
    guard, _ = silent_until(holding(coordinators=frozenset({"a"})), 105.0)
    guard, _ = run(guard, out(105.1, 105.0, "a", 3.0))
    assert guard.lease.until_s == 111.0


def test_without_coordinators_nobody_is_asked():
    _, asked = silent_until(holding(coordinators=frozenset()), 105.75)
    assert asked == []


# --- the claim, over random histories ------------------------------------------------------------------
#
# Three servers that leave and join quorums at random; a guard that is cut off from the store at random;
# a manager that revokes as soon as it may: in a quorum, when the counter stood still for L + 1 s.
# Whatever happens, the lease ends L after the revocation at the latest.

STEP_S = 0.25
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["server a", "server b", "server c", "guard", "answers", "delay"]),
        st.integers(min_value=1, max_value=24),  # steps until the next change
    ),
    max_size=30,
)


class World:
    def __init__(self):
        self.now_s = 100.0
        self.guard = holding()
        self.in_quorum = dict.fromkeys("abc", True)
        self.first_out = dict.fromkeys("abc")  # as its guard knows: since it was first asked
        self.guard_reaches = True
        self.answers_arrive = True
        self.delay_steps = 0
        self.counter_moved_s = 100.0
        self.looked_s = 100.0
        self.revoked_s = None
        self.mail = []

    def has_quorum(self):
        return sum(self.in_quorum.values()) >= 2

    def step(self):
        self.now_s += STEP_S
        for of, is_in in self.in_quorum.items():
            # A server that was in a quorum has logged something: what its guard remembers is void.
            if is_in and self.has_quorum():
                self.first_out[of] = None
        self.manage()
        self.feed(g.SlicePopulated(now_s=self.now_s))
        self.feed(g.Tick(now_s=self.now_s))
        due = [mail for mail in self.mail if mail[0] <= self.now_s]
        self.mail = [mail for mail in self.mail if mail[0] > self.now_s]
        for _, at_s, of, out_for_s in due:
            self.feed(out(self.now_s, at_s, of, out_for_s))
        if self.revoked_s is not None and self.guard.lease is not None:
            assert self.guard.lease.until_s <= self.revoked_s + LEASE_S, "proof (b) would be a lie"

    def manage(self):
        if not self.has_quorum():
            return
        blind_s = self.now_s - self.looked_s
        if blind_s > 3.0:  # as controllers.watch forgives
            self.counter_moved_s += blind_s
        self.looked_s = self.now_s
        if self.revoked_s is None and self.now_s - self.counter_moved_s > LEASE_S + 1.0:
            self.revoked_s = self.now_s

    def feed(self, event):
        self.guard, actions = g.step(self.guard, event)
        for action in actions:
            match action:
                case g.WriteHeartbeat() if self.guard_reaches and self.has_quorum():
                    if self.revoked_s is None and action.via is g.Via.FIRST:
                        self.counter_moved_s = self.now_s
                        self.feed(
                            g.Acknowledged(
                                now_s=self.now_s,
                                incarnation=action.incarnation,
                                sent_at_s=self.now_s,
                            )
                        )
                case g.AskOthers() if self.answers_arrive:
                    self.ask(action.asked_at_s)

    def ask(self, at_s):
        for of, is_in in self.in_quorum.items():
            if is_in and self.has_quorum():
                continue
            if self.first_out[of] is None:
                self.first_out[of] = self.now_s
            arrives_s = self.now_s + self.delay_steps * STEP_S
            self.mail.append((arrives_s, at_s, of, self.now_s - self.first_out[of]))


@settings(max_examples=400, deadline=None)
@given(CHANGES)
def test_the_lease_is_over_a_lease_after_the_revocation_at_the_latest(changes):
    world = World()
    for what, steps in changes:
        word, _, which = what.partition(" ")
        match word:
            case "server":
                world.in_quorum[which] = not world.in_quorum[which]
            case "guard":
                world.guard_reaches = not world.guard_reaches
            case "answers":
                world.answers_arrive = not world.answers_arrive
            case "delay":
                world.delay_steps = (world.delay_steps + 3) % 10
        for _ in range(steps):
            world.step()


def test_a_quorum_that_forms_for_a_moment_may_have_revoked():
    """Too short a silence for the manager to forgive: it revokes, and no quorum exists again."""
    world = World()
    world.guard_reaches = False
    for has_quorum, until_s in ((True, 103.75), (False, 106.25), (True, 107.5), (False, 112.0)):
        world.in_quorum = dict.fromkeys("abc", has_quorum)
        while world.now_s < until_s:
            world.step()
    assert world.revoked_s == 107.25
    assert world.guard.lease is None
