"""The cluster previews proposals: what it says is what it then does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_gitops.adapters.age import keys, sops
from pvc_gitops.cli.simulate import files_of
from pvc_gitops.controllers import previews, slices
from pvc_gitops.controllers.decisions import inputs_of
from pvc_gitops.controllers.records import read, read_all
from pvc_gitops.model import paths
from pvc_gitops.model.preview import Outcome, Preview
from pvc_gitops.model.records import Accepted, Target
from pvc_gitops.planner.codec import export_from_bytes, export_to_bytes, plan_to_bytes
from pvc_gitops.planner.planner import plan
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.origin import Commit, _name
from pvc_gitops.spec.load import load

BASE = dict(files_of(Path(__file__).parents[2] / "golden" / "sim" / "base"))
FORGE = b"""apiVersion: pvc/v1
kind: Forge
metadata: {name: origin}
spec:
  type: git
  previews: {branches: ["review/*"]}
"""
GUEST = b"""apiVersion: pvc/v1
kind: VirtualMachine
metadata: {name: NAME}
spec:
  cpu: {vcpus: 1}
  memory: 96MiB
  disks: [{name: root, pool: vms, size: 64MiB, image: tiny-guest}]
  nics: [{network: app}]
"""
SETTLE_S = 600.0


class Running(SimCluster):
    """A cluster that runs the base, with branches."""

    def __init__(self, files):
        super().__init__(files)
        for name in self.nodes:
            self.power(name, on=True)
        self.settle()

    def settle(self):
        self.kernel.run_until(self.kernel.now_s + SETTLE_S)

    def store(self):
        one = next(iter(self.nodes.values()))
        return self.world_of(one, one.agent).store

    def propose(self, branch, files, parent=None):
        """A commit on a branch of its own; on the tip if no parent is said."""
        parent = self.origin.tip if parent is None else parent
        commit = _name(parent, files, branch)
        self.origin.commits[commit] = Commit(parent=parent, files=dict(files), subject=branch)
        self.proposals[f"refs/heads/{branch}"] = commit
        return commit

    def previews(self):
        kept = read_all(self.store(), paths.PREVIEWS, Preview).values()
        return {each.ref.removeprefix("refs/heads/").removeprefix("refs/"): each for each in kept}

    def merge(self, files):
        tip = self.origin.push(files, "merge")
        self.settle()
        return tip


@pytest.fixture
def cluster():
    return Running({**BASE, "policies/forge/origin.yaml": FORGE})


def files_now(cluster):
    return dict(cluster.origin.commits[cluster.origin.tip].files)


def with_guest(files, name):
    return {**files, f"vms/{name}.yaml": GUEST.replace(b"NAME", name.encode())}


def test_a_branch_is_planned_and_its_merge_does_exactly_that(cluster):
    before = read(cluster.store(), paths.TARGET, Target)
    files = with_guest(files_now(cluster), "web9")
    cluster.propose("review/web9", files)
    cluster.settle()
    preview = cluster.previews()["review/web9"]
    assert (preview.outcome, preview.exit_code) == (Outcome.PLANNED, 2)
    assert "vm/web9" in preview.text
    assert preview.markdown.startswith("<!-- pvc-plan ")
    assert read(cluster.store(), paths.TARGET, Target) == before, "a preview changes nothing"

    tip = cluster.merge(files)
    target = read(cluster.store(), paths.TARGET, Target)
    done = slices.read_plan(cluster.store(), target.plan)
    assert target.commit == tip
    assert done.effect == preview.effect
    assert tuple(f"{step.id} @ {step.node}" for step in done.steps) == preview.steps


def test_a_merged_or_deleted_proposal_has_no_preview_any_more(cluster):
    files = with_guest(files_now(cluster), "web9")
    cluster.propose("review/web9", files)
    cluster.propose("review/other", with_guest(files_now(cluster), "web8"))
    cluster.settle()
    assert set(cluster.previews()) == {"review/web9", "review/other"}
    merged = cluster.proposals["refs/heads/review/web9"]
    cluster.origin.tip = merged
    del cluster.proposals["refs/heads/review/other"]
    cluster.settle()
    assert cluster.previews() == {}


def test_when_the_base_moves_a_preview_is_made_anew_on_its_merge(cluster):
    start = files_now(cluster)
    cluster.propose("review/web9", with_guest(start, "web9"))
    cluster.settle()
    first = cluster.previews()["review/web9"]
    cluster.merge(with_guest(start, "web8"))
    second = cluster.previews()["review/web9"]
    assert second.base == cluster.origin.tip != first.base
    # The branch does not hold web8; its merge does, so nothing is deleted.
    assert "to destroy" in second.text
    assert " 0 to destroy" in second.text
    assert "vm/web9" in second.text


def test_a_bad_branch_says_its_problems_and_a_conflict_says_the_file(cluster):
    start = files_now(cluster)
    cluster.propose("review/bad", {**start, "vms/bad.yaml": b"kind: VirtualMachine\n"})
    base = cluster.origin.tip
    cluster.merge({**start, "cluster.yaml": start["cluster.yaml"] + b"# one\n"})
    cluster.propose(
        "review/clash", {**start, "cluster.yaml": start["cluster.yaml"] + b"# two\n"}, parent=base
    )
    cluster.settle()
    found = cluster.previews()
    assert found["review/bad"].outcome is Outcome.INVALID
    assert any("vms/bad.yaml" in line for line in found["review/bad"].problems)
    assert "vms/bad.yaml" in found["review/bad"].markdown
    assert found["review/clash"].outcome is Outcome.REFUSED
    assert "cluster.yaml" in found["review/clash"].reason


def test_a_branch_that_raises_its_own_budget_is_judged_by_the_base(cluster):
    start = files_now(cluster)
    gone = {
        path: data
        for path, data in start.items()
        if not path.startswith("vms/") and not path.startswith("groups/")
    }
    raised = start["cluster.yaml"].replace(b"max_destroy: {vms: 3", b"max_destroy: {vms: 99", 1)
    assert raised != start["cluster.yaml"]
    cluster.propose("review/all-gone", {**gone, "cluster.yaml": raised})
    cluster.settle()
    preview = cluster.previews()["review/all-gone"]
    assert preview.exit_code == 3
    assert "BLOCKED" in preview.text
    assert "max_destroy" in preview.text

    guests = set(cluster.origin.commits[cluster.origin.tip].files)
    cluster.merge({**gone, "cluster.yaml": raised})
    assert any(path.startswith("vms/") for path in guests)
    placed = cluster.store().read_children(paths.PLACEMENT)
    assert len(placed) == sum(path.startswith("vms/") for path in guests), "all stayed"


def test_a_published_plan_replays_from_its_inputs_byte_for_byte(cluster):
    tip = cluster.merge(with_guest(files_now(cluster), "web9"))
    target = read(cluster.store(), paths.TARGET, Target)
    assert read(cluster.store(), paths.ACCEPTED, Accepted).commit == tip
    inputs = inputs_of(cluster.store(), target.plan)
    again = export_from_bytes(export_to_bytes(inputs))
    assert again == inputs
    spec = load(cluster.origin.commits[tip].files, commit=tip)
    replayed = plan(spec, again.inventory, again.policy, again.parent)
    kept = slices.read_plan(cluster.store(), target.plan)
    assert replayed.id == target.plan
    assert plan_to_bytes(replayed) == plan_to_bytes(kept)


def test_without_a_forge_nothing_is_fetched():
    cluster = Running(BASE)
    cluster.propose("review/web9", with_guest(BASE, "web9"))
    cluster.settle()
    assert cluster.previews() == {}


def test_a_ref_is_found_by_any_name_of_it(cluster):
    cluster.propose("review/web9", with_guest(files_now(cluster), "web9"))
    cluster.settle()
    one = next(iter(cluster.nodes.values()))
    world = cluster.world_of(one, one.agent)
    for name in ("review/web9", "heads/review/web9", "refs/heads/review/web9"):
        assert previews.find(world, name) is not None
    assert previews.find(world, "review/none") is None


def test_a_forge_is_told_once_of_each_preview():
    forge = FORGE.replace(
        b"type: git", b"type: github\n  repository: infra/prod\n  token: {secret: forge-token}"
    )
    key = keys.generate().public
    sealed = sops.write("forge-token", "", {"token": "x"}, [key], now_s=0).encode()
    more = {"policies/forge/origin.yaml": forge, "secrets/forge-token.yaml": sealed}
    cluster = Running({**BASE, **more})
    head = cluster.propose("ignored", with_guest(files_now(cluster), "web9"))
    cluster.proposals["refs/pull/14/head"] = head
    cluster.settle()
    ((forge_told, told),) = [each for each in cluster.told if "pvc/plan" in each[1].context]
    assert forge_told == f"origin {len(sealed)} bytes"
    assert (told.number, told.commit, told.is_good) == (14, head, True)
    assert told.comment.startswith(told.marker)
    assert told.context == "pvc/plan (lab)"
    assert told.status.startswith("+1 ~0 -0")
    assert cluster.previews()["pull/14/head"].told == ""


def test_a_forge_is_told_what_came_of_a_merge():
    forge = FORGE.replace(
        b"type: git", b"type: github\n  repository: infra/prod\n  token: {secret: forge-token}"
    )
    key = keys.generate().public
    sealed = sops.write("forge-token", "", {"token": "x"}, [key], now_s=0).encode()
    more = {"policies/forge/origin.yaml": forge, "secrets/forge-token.yaml": sealed}
    cluster = Running({**BASE, **more})
    cluster.told.clear()
    tip = cluster.merge(with_guest(files_now(cluster), "web9"))
    said = [t for _, t in cluster.told if t.commit == tip]
    assert {t.context for t in said} == {"pvc/apply (lab)"}
    assert [(t.is_open, t.is_good) for t in said] == [(True, True), (False, True)]
    every = len(
        slices.read_plan(cluster.store(), read(cluster.store(), paths.TARGET, Target).plan).steps
    )
    assert said[-1].status == f"done {every} of {every}"
    assert all(t.number is None and not t.comment for t in said)

    shrunk = files_now(cluster)["vms/web9.yaml"].replace(b"size: 64MiB", b"size: 32MiB")
    tip = cluster.merge({**files_now(cluster), "vms/web9.yaml": shrunk})
    last = [t for _, t in cluster.told if t.commit == tip][-1]
    assert (last.is_open, last.is_good) == (False, False)
    assert "1 blocked" in last.status


def test_a_lost_node_keeps_no_review_waiting(cluster):
    """Its steps never end; after a while a proposal is planned all the same."""
    files = with_guest(files_now(cluster), "web9")
    owner = list(cluster.nodes)[-1]
    cluster.power(owner, on=False)
    changed = files["vms/app1.yaml"].replace(b"memory: 96MiB", b"memory: 100MiB")
    cluster.origin.push({**files_now(cluster), "vms/app1.yaml": changed}, "while it is away")
    cluster.propose("review/web9", {**files, "vms/app1.yaml": changed})
    cluster.settle()
    assert cluster.previews()["review/web9"].outcome is Outcome.PLANNED
