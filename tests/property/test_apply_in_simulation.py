"""For random repositories and next commits, the simulated cluster applies both and is then at rest:
its next plan is empty (a rule that `settle` itself checks), and no other rule was broken."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from strategies import repositories

from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player

SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
ON = "power hv1 on; power hv2 on; power hv3 on\nsettle 900\n"


@SETTINGS
@given(repositories(), repositories())
def test_two_commits_are_applied_until_the_next_plan_is_empty(first, second):
    commits = {"second": second, "first": first}
    player = Player(SimCluster(first), lambda name: commits[name])
    player.play(ON)
    assert (player.is_settled, player.result()["violations"]) == (True, [])
    player.play("commit second\nsettle 900\n")
    assert (player.is_settled, player.result()["violations"]) == (True, [])


@SETTINGS
@given(repositories(), repositories())
def test_a_commit_that_comes_in_the_middle_of_an_apply(first, second):
    commits = {"second": second}
    player = Player(SimCluster(first), lambda name: commits[name])
    player.play("power hv1 on; power hv2 on; power hv3 on\nwait 55\ncommit second\nwait 12\n")
    player.play("settle 900\n")
    assert (player.is_settled, player.result()["violations"]) == (True, [])
