"""`pvc plan` as a whole process would answer: what it reads, writes, and exits with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pygit2
import pytest
from click.testing import CliRunner

from pvc_gitops.cli.plan import plan
from pvc_gitops.errors import UsageError
from pvc_gitops.planner import codec
from pvc_gitops.planner.replay import applied_after

EXAMPLE = Path(__file__).parents[3] / "example-cluster-repo"


@pytest.fixture
def repo(tmp_path):
    return Path(shutil.copytree(EXAMPLE, tmp_path / "repo"))


def run(*arguments):
    return CliRunner().invoke(plan, [str(each) for each in arguments], standalone_mode=False)


def ask(*arguments):
    """Output and exit code, as the console script would give them."""
    result = run(*arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout, result.return_value


def commit(folder, message="first"):
    git = pygit2.init_repository(str(folder))
    git.index.add_all()
    git.index.write()
    me = pygit2.Signature("Ann", "ann@example.com", 0, 0)
    parents = [] if git.head_is_unborn else [git.head.target]
    return str(git.create_commit("HEAD", me, me, message, git.index.write_tree(), parents))


def test_an_empty_cluster_gets_the_example(repo):
    output, code = ask("--repo", repo, "--empty")
    assert code == 2
    assert output.splitlines()[-2].startswith("Plan: 12 to create, 0 to change, 0 to destroy;")
    assert str(repo) not in output


def test_json_alone_is_the_plan_and_its_place_does_not_matter(repo, tmp_path):
    output, code = ask("--repo", repo, "--empty", "--json", "-")
    made = codec.plan_from_bytes(output.encode())
    assert (code, made.commit, made.now_s) == (2, None, 0)
    moved = repo.rename(tmp_path / "elsewhere")
    again, _ = ask("--repo", moved, "--empty", "--json", "-")
    assert again == output
    assert str(tmp_path) not in output


def test_against_an_inventory_that_has_it_all_there_is_nothing_to_do(repo, tmp_path):
    from pvc_gitops.cli.problems import read_files
    from pvc_gitops.planner.inventory import empty
    from pvc_gitops.planner.planner import POLICY
    from pvc_gitops.planner.planner import plan as pure_plan
    from pvc_gitops.spec.load import load

    spec = load(read_files(repo, None)[1], commit=None)
    before = empty(spec, 0)
    after = applied_after(pure_plan(spec, before, POLICY, None), before)
    file = tmp_path / "inventory.json"
    file.write_bytes(codec.inventory_to_bytes(after))
    output, code = ask("--repo", repo, "--inventory", file)
    assert code == 0
    assert output.startswith("Nothing to do: the folder is applied (16 objects, ")


def test_what_is_blocked_exits_with_three(repo):
    mail = (repo / "vms/web1.yaml").read_text().replace("web1", "huge").replace("96MiB", "1300MiB")
    (repo / "vms/huge.yaml").write_text(mail)
    output, code = ask("--repo", repo, "--empty")
    assert code == 3
    assert "without a place: 52 MiB are missing" in " ".join(output.split())


def test_a_tree_that_differs_from_its_commit_says_so_and_is_no_commit(repo):
    head = commit(repo)
    output, _ = ask("--repo", repo, "--empty", "--json", "-")
    assert json.loads(output)["commit"] == head
    web1 = repo / "vms/web1.yaml"
    web1.write_text(web1.read_text().replace("96MiB", "128MiB"))
    output, _ = ask("--repo", repo, "--empty")
    assert output.splitlines()[0] == f"your tree: 1 file differs from {head[:7]} (vms/web1.yaml)"
    output, _ = ask("--repo", repo, "--empty", "--json", "-")
    assert json.loads(output)["commit"] is None
    output, _ = ask("--repo", repo, "--empty", "--commit", "HEAD", "--json", "-")
    assert json.loads(output)["commit"] == head


def test_now_is_a_moment_in_whole_minutes(repo):
    output, _ = ask("--repo", repo, "--empty", "--now", "2026-11-29T02:00:59Z", "--json", "-")
    assert json.loads(output)["now_s"] == 1795917600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--empty", "--inventory", "x"], "exclude each other"),
        (["--inventory", "x", "--now", "2026-11-29"], "--now goes with --empty only"),
        (["--empty", "--now", "soon"], "not a time"),
        (["--inventory", "nowhere.json"], "No such file"),
    ],
)
def test_a_wrong_question_says_what_is_wrong(repo, arguments, words):
    with pytest.raises(UsageError) as caught:
        ask("--repo", repo, *arguments)
    assert words in caught.value.message


def test_an_invalid_repository_is_shown_and_not_planned(repo):
    (repo / "vms/web1.yaml").write_text("apiVersion: pvc/v1\nkind: VirtualMachine\nmemori: 3\n")
    result = run("--repo", repo, "--empty")
    assert isinstance(result.exception, UsageError)
    assert "vms/web1.yaml" in result.output
    assert "Plan:" not in result.output
