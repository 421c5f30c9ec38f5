"""A plan is the same, byte for byte, whatever was remembered of the documents."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pvc_gitops.cli import known as known_module
from pvc_gitops.cli.plan import plan

EXAMPLE = Path(__file__).parents[3] / "example-cluster-repo"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pvc-gitops" / "documents"


@pytest.fixture
def repo(tmp_path):
    return Path(shutil.copytree(EXAMPLE, tmp_path / "repo"))


def planned(repo):
    asked = ["--repo", str(repo), "--empty", "--json", "-"]
    result = CliRunner().invoke(plan, asked, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def forgotten(place):
    shutil.rmtree(place, ignore_errors=True)


def test_cold_warm_changed_and_damaged_give_the_same_plan(repo, place):
    cold = planned(repo)
    (kept,) = place.iterdir()
    assert planned(repo) == cold
    web1 = repo / "vms/web1.yaml"
    web1.write_text(web1.read_text().replace("96MiB", "128MiB"))
    changed = planned(repo)
    assert changed != cold
    kept.write_bytes(kept.read_bytes()[:-1])
    assert planned(repo) == changed
    forgotten(place)
    assert planned(repo) == changed
    place.parent.chmod(0o700)
    forgotten(place)
    place.write_text("not a folder")
    assert planned(repo) == changed


def test_a_removed_a_renamed_and_a_broken_document_are_noticed(repo, place):
    planned(repo)
    web1 = repo / "vms/web1.yaml"
    text = web1.read_text()
    web1.unlink()
    without = planned(repo)
    forgotten(place)
    assert planned(repo) == without
    (repo / "vms/web9.yaml").write_text(text)
    with pytest.raises(Exception, match="not valid"):  # its name says otherwise
        planned(repo)
    (repo / "vms/web9.yaml").unlink()
    web1.write_text(text)
    cold = planned(repo)
    web1.write_text(text + "x: 1\n")
    with pytest.raises(Exception, match="not valid"):
        planned(repo)
    web1.write_text(text)
    assert planned(repo) == cold


def test_what_other_code_has_read_is_not_believed(repo, place, monkeypatch, tmp_path):
    cold = planned(repo)
    kept = next(place.iterdir()).read_bytes()
    code = tmp_path / "code"
    (code / "spec").mkdir(parents=True)
    (code / "spec" / "check.py").write_text("# other rules\n")
    monkeypatch.setattr(known_module, "_PACKAGE", code)
    assert planned(repo) == cold
    assert next(place.iterdir()).read_bytes() != kept


def test_the_parser_is_not_even_imported_for_what_is_known(repo):
    planned(repo)
    code = (
        "import sys; from pvc_gitops.cli.main import cli;"
        f"cli.main(['plan', '--repo', {str(repo)!r}, '--empty'], standalone_mode=False);"
        "print(sorted(each for each in sys.modules if each.startswith('yaml')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
