"""`pvc test`: rules that hold, rules that do not, and rules that are wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from pvc_gitops.adapters.git.tree import read_commit
from pvc_gitops.cli.test import test as command
from pvc_gitops.errors import SpecError, UsageError
from pvc_gitops.model.export import Export
from pvc_gitops.planner import codec
from pvc_gitops.planner.planner import POLICY
from pvc_gitops.planner.preview import applied
from pvc_gitops.spec.load import load

EXAMPLE = Path(__file__).parents[3] / "example-cluster-repo"
HEAD = "apiVersion: pvc/v1\nkind: PlanTest\nmetadata: {name: rules}\nspec:\n  rules:\n"


class Repo:
    """The example, applied; what is changed afterwards is the change that is tested."""

    def __init__(self, home):
        self.path = Path(shutil.copytree(EXAMPLE, home / "repo"))
        shutil.rmtree(self.path / "tests")
        (self.path / "tests").mkdir()
        self.git("init", "-q", "-b", "main")
        self.commit("base")

    def git(self, *argv):
        me = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
        subprocess.run(["git", *me, *argv], cwd=self.path, check=True, capture_output=True)

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)

    def rules(self, *rules, name="rules"):
        text = HEAD.replace("{name: rules}", f"{{name: {name}}}")
        (self.path / f"tests/{name}.yaml").write_text(text + "".join(f"    - {r}\n" for r in rules))

    def edit(self, path, old, new):
        text = (self.path / path).read_text()
        assert old in text
        (self.path / path).write_text(text.replace(old, new, 1))

    def test(self, *argv):
        """Exit code and output, against a cluster that has applied the base."""
        arguments = ["--repo", str(self.path), "--base", "main", "--empty", *argv]
        result = CliRunner().invoke(command, arguments, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.return_value, result.stdout


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path)


def holds(repo, rule):
    repo.rules(rule)
    code, out = repo.test()
    assert ("ok  " in out) is (code == 0), out
    return code == 0


def rule(expect, select=""):
    select = f", select: {{{select}}}" if select else ""
    return f"{{name: r{select}, expect: {{{expect}}}}}"


def test_the_examples_own_rules_hold_and_are_its_documentation(tmp_path):
    arguments = ["--repo", str(EXAMPLE), "--empty"]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert result.exception is None
    assert result.return_value == 0
    assert "all hold" in result.stdout
    del tmp_path


def test_nothing_touched_holds_whatever_it_forbids(repo):
    assert holds(repo, rule("touches: nothing"))
    assert holds(repo, rule("never: [create, update, delete, replace, restart, leave]"))
    assert not holds(repo, rule("touches: all", "addresses: [vm/web1]"))


def test_a_restart_is_seen_by_tag_and_only_there(repo):
    repo.edit("vms/db1.yaml", "spec:\n", "spec:\n  reboot_for_changes: now\n")
    repo.edit("vms/db1.yaml", "memory: 96MiB", "memory: 128MiB")
    assert not holds(repo, rule("never: [restart]", "tags: [db]"))
    assert holds(repo, rule("never: [restart]", "tags: [web]"))
    assert (
        holds(repo, rule("never: [restart]", "tags: [db], except: [vm/db1, network/db]")) is False
    )
    assert not holds(repo, rule("max_downtime: 5s", "kinds: [vm]"))
    assert holds(repo, rule("max_downtime: 10m", "kinds: [vm]"))
    assert not holds(repo, rule("dispositions: [live]", "kinds: [vm]"))
    assert holds(repo, rule("dispositions: [live, reboot]", "kinds: [vm]"))


def test_a_change_that_touches_more_than_it_says_is_named(repo):
    repo.edit("vms/web1.yaml", "tags: [web", "tags: [seen, web")
    assert holds(repo, rule("touches: only", 'addresses: ["vm/web*"]'))
    repo.edit("vms/app1.yaml", "tags: [app", "tags: [seen, app")
    repo.rules(rule("touches: only", 'addresses: ["vm/web*"]'))
    code, out = repo.test()
    assert code == 1
    assert "vm/app1: update" in out
    assert "tests/rules.yaml:6" in out


def test_what_is_removed_counts_by_what_it_was(repo):
    (repo.path / "vms/web3.yaml").unlink()
    assert not holds(repo, rule("never: [delete]"))
    assert not holds(repo, rule("never: [leave]", "groups: [web]"))
    assert not holds(repo, rule("touches: nothing", "tags: [web]"))
    assert holds(repo, rule("never: [delete]", 'addresses: ["vm/app*"]'))


def test_refusals_and_n1(repo):
    assert holds(repo, rule("blocked: none"))
    assert holds(repo, rule("n1: holds"))
    (repo.path / "vms/db1.yaml").unlink()  # protected
    assert not holds(repo, rule("blocked: none"))
    assert holds(repo, rule("blocked: all", "addresses: [vm/db1]"))
    assert not holds(repo, rule("blocked: all", "kinds: [vm]"))


def test_a_rule_that_cannot_fail_fails(repo):
    repo.rules(rule("never: [restart]", "tags: [databse]"), "{name: empty, expect: {}}")
    code, out = repo.test()
    assert code == 1
    assert "it selects nothing" in out
    assert "it expects nothing" in out
    assert "2 rules, 2 failed" in out


def test_json_and_junit_say_the_same(repo):
    repo.rules(rule("touches: nothing"), rule("touches: all", "addresses: [vm/web1]"))
    code, out = repo.test("-o", "json")
    rows = json.loads(out)
    assert (code, [row["holds"] for row in rows]) == (1, [True, False])
    assert rows[1]["failures"] == ["vm/web1 does not change"]
    assert rows[1]["line"] == 7
    _, out = repo.test("-o", "junit")
    suite = ET.fromstring(out)
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert suite[1][0].get("message") == "vm/web1 does not change"


def test_a_wrong_test_is_told_with_its_place(repo):
    repo.rules("{name: r, expct: {n1: holds}}", "{name: r, expect: {never: [rstart]}}")
    with pytest.raises(SpecError) as refused:
        repo.test()
    places = [(each.file, each.line, each.code) for each in refused.value.problems]
    assert ("tests/rules.yaml", 6, "unknown-key") in places
    assert any(line == 7 for _, line, _ in places)
    shutil.rmtree(repo.path / "tests")
    with pytest.raises(UsageError, match="no tests"):
        repo.test()


def test_a_branch_is_tested_by_its_own_rules_against_an_export(repo, tmp_path):
    commit, files = read_commit(repo.path, "main")
    spec = load(files, commit=commit)
    export = Export(inventory=applied(spec, 0), policy=POLICY, parent=None, commit=commit)
    file = tmp_path / "export.json"
    file.write_bytes(codec.export_to_bytes(export))
    repo.git("checkout", "-q", "-b", "review/x")
    repo.rules(rule("touches: nothing"))
    repo.edit("vms/web1.yaml", "tags: [web", "tags: [seen, web")
    repo.commit("x")
    repo.git("checkout", "-q", "main")
    arguments = ["--repo", str(repo.path), "--commit", "review/x", "--base", "main"]
    result = CliRunner().invoke(
        command, [*arguments, "--inventory", str(file)], standalone_mode=False
    )
    assert result.exception is None
    assert result.return_value == 1
    assert "vm/web1: update" in result.stdout
