"""What a fetch may bring and what of it is adopted."""

from __future__ import annotations

import pytest
from simulated_world import BASE, port_world

from pvc_gitops.controllers.accept import majority_head
from pvc_gitops.controllers.source import JITTER_SHARE, Terms, judge, poll_s
from pvc_gitops.world.ports import Fetched


@pytest.fixture
def repo():
    world, cluster = port_world()
    return world.repo, cluster.origin, cluster.spec.commit


def test_a_fast_forward_is_adopted(repo):
    port, origin, base = repo
    tip = origin.push(BASE, "same again")
    found = judge(port, Terms(base=base, now_s=0))
    assert (found.head, found.problems, found.error) == (tip, (), "")


class Fed:
    """A mirror that others feed while the origin is away."""

    def __init__(self, port, fetched):
        self._port, self._fetched = port, fetched

    def fetch(self, _source=None):
        return self._fetched

    def __getattr__(self, name):
        return getattr(self._port, name)


def test_a_node_that_was_behind_holds_what_is_in_force_once_somebody_fed_it(repo):
    port, origin, base = repo
    tip = origin.push(BASE, "accepted while this node saw no origin")
    port.fetch()
    fetched = Fetched(tip=tip, mirror="another coordinator", error="no route to the origin")
    found = judge(Fed(port, fetched), Terms(base=tip, now_s=0))
    assert (found.head, found.error) == (tip, "no route to the origin")
    # One that lags behind what is in force says nothing new.
    old = Fetched(tip=base, mirror="another coordinator", error="no route to the origin")
    assert judge(Fed(port, old), Terms(base=tip, now_s=0)).head is None


def test_an_invalid_commit_names_file_and_line(repo):
    port, origin, base = repo
    files = {**BASE, "vms/app1.yaml": BASE["vms/app1.yaml"] + b"bogus: 1\n"}
    tip = origin.push(files, "broken")
    found = judge(port, Terms(base=base, now_s=0))
    assert (found.tip, found.head) == (tip, None)
    assert found.problems[0].startswith("vms/app1.yaml:")
    assert "bogus" in found.problems[0]


def test_a_tip_that_was_found_good_is_not_parsed_again(repo):
    port, origin, base = repo
    tip = origin.push({}, "would not parse")
    assert judge(port, Terms(base=base, now_s=0, judged=tip)).head == tip


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda o: o.push(BASE, "other", is_forced=True), "force-pushed"),
        (lambda o: (o.push(BASE, "a"), o.rewind(), o.rewind()), "branch is gone"),
        (lambda o: o.delete_branch(), "branch is gone"),
        (lambda o: setattr(o, "is_up", False), "does not answer"),
        (lambda o: o.push({}, "empty"), "no documents"),
    ],
)
def test_what_is_refused_says_why(repo, act, words):
    port, origin, base = repo
    act(origin)
    found = judge(port, Terms(base=base, now_s=0))
    assert found.head is None
    assert any(words in text for text in (*found.problems, found.error))


def test_a_rewound_branch_is_told_apart_from_a_forced_one(repo):
    port, origin, base = repo
    newer = origin.push(BASE, "newer")
    assert judge(port, Terms(base=base, now_s=0)).head == newer
    origin.rewind()
    found = judge(port, Terms(base=newer, now_s=0))
    assert found.head is None
    assert "set back" in found.problems[0]
    assert "revert" in found.problems[0]


def test_every_node_polls_at_its_own_moment_and_never_too_late():
    intervals = {poll_s(15.0, f"hv{number}") for number in range(1, 10)}
    assert len(intervals) == 9
    assert all(15.0 * (1 - JITTER_SHARE) <= each <= 15.0 for each in intervals)
    assert poll_s(15.0, "hv1") == poll_s(15.0, "hv1")


@pytest.mark.parametrize(
    ("heads", "coordinators", "expected"),
    [
        (["a", "a", "b"], 3, "a"),
        (["a", "b", None], 3, None),
        (["a", "a"], 5, None),
        (["a", "a", "a"], 5, "a"),
        (["a"], 1, "a"),
        ([], 3, None),
    ],
)
def test_a_majority_of_coordinators_must_hold_a_commit(heads, coordinators, expected):
    assert majority_head(heads, coordinators) == expected


# --- while the origin is away ----------------------------------------------------------------------


class Away:
    """A repo whose origin is away, and whose mirror answers with a tip."""

    def __init__(self, port, tip):
        self._port, self._tip = port, tip

    def __getattr__(self, name):
        return getattr(self._port, name)

    def fetch(self, source=None):
        del source
        self._port.fetch()  # the objects come
        return Fetched(tip=self._tip, mirror="https://mirror/x.git", error="timed out")


def test_a_mirror_may_go_forward(repo):
    port, origin, base = repo
    tip = origin.push(BASE, "newer")
    found = judge(Away(port, tip), Terms(base=base, now_s=0))
    assert (found.head, found.error) == (tip, "timed out")
    assert found.via == "from the mirror https://mirror/x.git"


def test_a_mirror_that_lags_behind_brings_nothing(repo):
    port, origin, base = repo
    newer = origin.push(BASE, "newer")
    port.fetch()
    found = judge(Away(port, base), Terms(base=newer, now_s=0))
    assert (found.tip, found.head, found.problems) == (None, None, ())
    assert found.error == "timed out"
    # What is in force already may come from anywhere.
    assert judge(Away(port, newer), Terms(base=newer, now_s=0)).head == newer


def test_a_mirror_with_another_history_is_not_taken(repo):
    port, origin, base = repo
    other = origin.push(BASE, "other", is_forced=True)
    found = judge(Away(port, other), Terms(base=base, now_s=0))
    assert found.head is None
    assert found.error == (
        f"timed out; not taken: {other[:7]} from the mirror https://mirror/x.git, "
        f"which does not follow {base[:7]}"
    )


def test_an_invalid_commit_of_a_mirror_is_a_problem_too(repo):
    port, origin, base = repo
    tip = origin.push({}, "empty")
    found = judge(Away(port, tip), Terms(base=base, now_s=0))
    assert found.head is None
    assert "no documents" in found.problems[0]


def test_a_commit_with_too_many_at_once_is_a_problem_of_the_commit(repo, monkeypatch):
    port, origin, base = repo
    cluster = BASE["cluster.yaml"] + b"  source: {signers: every}\n"
    key = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'B' * 43}"
    person = (
        f"apiVersion: pvc/v1\nkind: Operator\nmetadata: {{name: ann}}\nspec: {{keys: ['{key}']}}\n"
    )
    files = {**BASE, "cluster.yaml": cluster, "operators/ann.yaml": person.encode()}
    signed = origin.push(files, "signatures from now on")
    assert judge(port, Terms(base=base, now_s=0)).head == signed
    monkeypatch.setattr("pvc_gitops.controllers.trust.COMMITS_MAX", 2)
    for number in range(3):
        tip = origin.push(files, f"change {number}")
    found = judge(port, Terms(base=signed, now_s=0))
    assert (found.tip, found.head, found.error) == (tip, None, "")
    assert "brings more than 2 commits" in found.problems[0]
