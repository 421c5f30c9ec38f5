"""`pvc node drain` and `pvc plan --rebalance`: what they show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pvc_gitops.cli.node import node
from pvc_gitops.cli.plan import plan
from pvc_gitops.errors import UsageError
from pvc_gitops.model.export import Export
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.inventory import NodeState
from pvc_gitops.model.values import replace
from pvc_gitops.planner import codec
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY
from pvc_gitops.planner.planner import plan as make_plan
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.spec.load import load

BASE = Path(__file__).parents[2] / "golden" / "plans" / "base"
GUEST = """\
apiVersion: pvc/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  cpu: {{vcpus: 1}}
  memory: 400MiB
{more}"""


@pytest.fixture
def repo(tmp_path):
    """The base with three larger guests instead of its own; one is never moved."""
    folder = Path(shutil.copytree(BASE, tmp_path / "repo"))
    shutil.rmtree(folder / "vms")
    (folder / "vms").mkdir()
    for name, more in (("a", ""), ("b", ""), ("fixed", "  migration: {method: none}\n")):
        (folder / f"vms/{name}.yaml").write_text(GUEST.format(name=name, more=more))
    return folder


def everything_on(repo, at, to):
    """The repository applied, and every guest on one node: written as `pvc export` does."""
    files = {p.relative_to(repo).as_posix(): p.read_bytes() for p in repo.rglob("*.yaml")}
    spec = load(files, commit=CommitId("1" * 40))
    inventory = empty(spec, 0)
    made = make_plan(spec, inventory, POLICY, None)
    after = applied_after(made, inventory)
    guests = {name: f for n in after.nodes.values() for name, f in n.guests.items()}
    nodes = {
        name: replace(facts, guests=guests if name == at else {})
        for name, facts in after.nodes.items()
    }
    placements = {name: replace(p, owner=at) for name, p in after.placements.items()}
    after = replace(after, nodes=nodes, placements=placements)
    to.write_bytes(
        codec.export_to_bytes(
            Export(inventory=after, policy=POLICY, parent=None, commit=spec.commit)
        )
    )
    return to


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    return result.output, result.return_value, result.exception


def test_a_drain_shows_who_goes_where_and_who_stays(repo, tmp_path):
    file = everything_on(repo, "hv1", tmp_path / "inventory.json")
    output, code, error = run(node, "drain", "hv1", "--plan", "--repo", repo, "--inventory", file)
    assert error is None
    assert code == 3
    assert output.splitlines() == [
        "hv1: 3 guests, 2 move live, 1 cannot move",
        "  a      live -> hv2",
        "  b      live -> hv3",
        "! fixed  would stay and stop with the node: its migration.method is none",
        "N-1 while hv1 is away: holds",
        "hv1 cannot be emptied: fixed would be left.",
    ]


def test_what_is_for_a_plan_is_refused_where_something_would_be_moved(repo, tmp_path):
    file = everything_on(repo, "hv1", tmp_path / "inventory.json")
    output, _, error = run(node, "drain", "hv2", "--repo", repo, "--inventory", file)
    assert not output
    assert isinstance(error, UsageError)
    assert "are for --plan" in str(error)


def test_as_json_with_an_exit_code(repo, tmp_path):
    (repo / "vms/fixed.yaml").unlink()
    file = everything_on(repo, "hv1", tmp_path / "inventory.json")
    output, code, _ = run(
        node, "drain", "hv1", "--plan", "--json", "--repo", repo, "--inventory", file
    )
    answer = json.loads(output)
    assert code == 2
    assert answer["is_complete"] is True
    assert {move["vm"]: move["source"] for move in answer["moves"]} == {"a": "hv1", "b": "hv1"}


def test_a_node_that_is_none_or_does_not_answer_is_refused(repo, tmp_path):
    file = everything_on(repo, "hv1", tmp_path / "inventory.json")
    _, _, error = run(node, "drain", "hv9", "--plan", "--repo", repo, "--inventory", file)
    assert "no node hv9 has joined this cluster" in str(error)
    export = codec.export_from_bytes(file.read_bytes())
    facts = replace(export.inventory.nodes["hv1"], state=NodeState.UNKNOWN)
    silent = replace(export.inventory, nodes={**export.inventory.nodes, "hv1": facts})
    file.write_bytes(codec.export_to_bytes(replace(export, inventory=silent)))
    _, _, error = run(node, "drain", "hv1", "--plan", "--repo", repo, "--inventory", file)
    assert "hv1 is unknown: nobody can be moved off a node that does not answer" in str(error)


def test_a_rebalance_is_reported_and_says_what_carries_it_out(repo, tmp_path):
    file = everything_on(repo, "hv1", tmp_path / "inventory.json")
    arguments = ("--rebalance", "--repo", repo, "--inventory", file)
    output, _, error = run(plan, *arguments, "--json", "-")
    assert error is None
    found = codec.plan_from_bytes(output.encode()).rebalance
    assert [(m.vm, m.source) for m in found.moves] == [("a", "hv1"), ("b", "hv1")]
    assert {move.to for move in found.moves} == {"hv2", "hv3"}
    assert found.after < found.threshold < found.before
    output, _, _ = run(plan, *arguments)
    assert "Rebalance  2 moves: nodes differ by" in output
    assert "No step of this plan moves them; pvc rebalance does." in output
    assert "fixed" not in output.partition("Rebalance")[2]
    output, _, _ = run(plan, *arguments[1:])
    assert "Rebalance" not in output
