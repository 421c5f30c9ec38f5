"""init, new, validate and fmt as people and programs call them."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from pvc_gitops.cli.fmt import fmt
from pvc_gitops.cli.init import init
from pvc_gitops.cli.new import new
from pvc_gitops.cli.validate import validate
from pvc_gitops.errors import UsageError

ROOT = Path(__file__).parents[3]
BASE = ROOT / "tests" / "schema" / "good" / "base"
CHECKSUM = "sha256:" + "0" * 64


def run(command, *words, code=0):
    result = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=True)
    if isinstance(result.exception, UsageError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def repo(tmp_path):
    return Path(shutil.copytree(BASE, tmp_path / "repo"))


@pytest.fixture
def broken(repo):
    (repo / "vms" / "mail.yaml").write_text("apiVersion: pvc/v1\nkind: VirtualMachine\n")
    return repo


def test_validate_says_that_a_good_repository_is_valid(repo):
    said = run(validate, "--repo", repo)
    assert said.splitlines()[0].startswith("warning: secrets/founding.yaml")
    assert said.splitlines()[-1].startswith("10 files valid (")


def test_validate_json_is_the_contract(broken):
    rows = json.loads(run(validate, "--repo", broken, "-o", "json", code=1))
    assert [set(row) for row in rows] == [
        {"file", "line", "column", "address", "code", "message", "hint"}
    ] * len(rows)
    assert {(row["file"], row["address"], row["code"]) for row in rows} == {
        ("vms/mail.yaml", "vm/mail", "missing-key")
    }
    assert json.loads(run(validate, "--repo", BASE, "-o", "json")) == []


def test_validate_github_and_junit(broken):
    assert "::error file=vms/mail.yaml,line=1,col=1,title=missing-key::lacks spec" in run(
        validate, "--repo", broken, "-o", "github", code=1
    )
    suite = ET.fromstring(run(validate, "--repo", broken, "-o", "junit", code=1))
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == 2
    assert ET.fromstring(run(validate, "--repo", BASE, "-o", "junit")).attrib["failures"] == "0"


def test_validate_reads_a_commit_and_not_what_lies_around_it(repo):
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@example", "commit", "-q", "-m", "one"],
    ):
        subprocess.run(["git", "-C", str(repo), *words], check=True, capture_output=True)
    (repo / "vms" / "mail.yaml").write_text("nonsense")
    run(validate, "--repo", repo, "--commit", "HEAD")
    run(validate, "--repo", repo, code=1)


def test_init_writes_a_repository_that_is_valid_and_formatted(tmp_path):
    target = tmp_path / "prod"
    words = "--no-secrets --nodes 5 --domain prod.example.org --upstream 192.168.7.0/24"
    run(init, "prod", target, *words.split(), "--storage", "10.2.0.0/24")
    assert json.loads(run(validate, "--repo", target, "-o", "json")) == []
    run(fmt, "--repo", target, "--check", "--schemas")
    assert (target / ".pvc" / "schema" / "cluster.json").is_file()
    settings = json.loads((target / ".vscode" / "settings.json").read_text())["yaml.schemas"]
    assert all((target / name).is_file() for name in settings)
    assert "subnet: 192.168.7.0/24" in (target / "cluster.yaml").read_text()
    assert not (target / "secrets").exists()


@pytest.mark.parametrize("nodes", range(1, 10))
def test_init_of_every_size_is_valid(tmp_path, nodes):
    run(init, "a", tmp_path / "a", "--no-secrets", "--nodes", nodes)
    assert json.loads(run(validate, "--repo", tmp_path / "a", "-o", "json")) == []


def test_init_makes_secrets_that_validate_and_keeps_the_key_outside(tmp_path):
    said = run(init, "prod", tmp_path / "prod")
    key = tmp_path / "prod-cluster.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().startswith("AGE-SECRET-KEY-")
    assert "AGE-SECRET-KEY-" in said  # the recovery key, to be written down
    assert key.read_text().strip() not in said
    written = "".join(path.read_text() for path in (tmp_path / "prod").rglob("*.yaml"))
    assert "AGE-SECRET-KEY-" not in written
    assert run(validate, "--repo", tmp_path / "prod").startswith("7 files valid")
    run(fmt, "--repo", tmp_path / "prod", "--check")


def test_init_refuses_what_it_would_overwrite_or_get_wrong(tmp_path, repo):
    with pytest.raises(UsageError, match="not empty"):
        run(init, "prod", repo, "--no-secrets")
    with pytest.raises(UsageError, match="too small"):
        run(init, "a", tmp_path / "a", "--no-secrets", "--storage", "10.9.0.0/30")
    with pytest.raises(UsageError, match="overlaps"):
        run(init, "a", tmp_path / "a", "--no-secrets", "--storage", "10.20.0.0/24")
    with pytest.raises(UsageError, match=r"metadata\.name"):
        run(init, "Prod_1", tmp_path / "a", "--no-secrets")
    assert not (tmp_path / "a").exists()


NEW = [
    ("vm", "web2", "--network", "app", "--image", "debian-13"),
    ("vm", "no", "--memory", "512MiB", "--vcpus", "2"),
    ("network", "db"),
    ("pool", "ssd", "--copies", "2"),
    ("image", "d14", "--url", "https://x.example/d14.qcow2", "--checksum", CHECKSUM),
    ("volume", "data", "--size", "1TiB"),
    ("node", "hv4"),
    ("group", "db", "--policy", "together"),
]


@pytest.mark.parametrize("words", NEW, ids=" ".join)
def test_new_writes_a_valid_formatted_document(repo, words):
    said = run(new, *words, "--repo", repo)
    path = said.split()[1]
    assert "· valid ·" in said
    assert (repo / path).read_text().startswith("# yaml-language-server: $schema=../.pvc/schema/")
    assert json.loads(run(validate, "--repo", repo, "-o", "json")) == []
    assert path not in run(fmt, "--repo", repo, "--check", code=1)  # the base has no modelines


def test_new_chooses_what_is_free(repo):
    run(new, "network", "db", "--repo", repo)
    text = (repo / "networks" / "db.yaml").read_text()
    assert "vni: 1001" in text
    assert "subnet: 10.101.0.0/24" in text
    run(new, "node", "hv4", "--repo", repo)
    assert (
        "{upstream: 10.20.0.4, cluster: 10.21.0.4, storage: 10.22.0.4}"
        in (repo / "nodes" / "hv4.yaml").read_text()
    )


def test_new_never_writes_what_would_not_be_valid(repo):
    with pytest.raises(UsageError, match='no network "ap"'):
        run(new, "vm", "mail", "--network", "ap", "--repo", repo)
    with pytest.raises(UsageError, match="exists already"):
        run(new, "vm", "web1", "--repo", repo)
    with pytest.raises(UsageError, match=r"no cluster\.yaml"):
        run(new, "vm", "mail", "--repo", repo / "vms")
    run(new, "pool", "ssd", "--repo", repo)
    with pytest.raises(UsageError, match="which pool"):
        run(new, "vm", "mail", "--repo", repo)
    assert not (repo / "vms" / "mail.yaml").exists()


def test_fmt_keeps_comments_quotes_doubtful_words_and_sets_the_modeline(repo):
    path = repo / "vms" / "mail.yaml"
    path.write_text(
        "# yaml-language-server: $schema=/elsewhere.json\n# why it is here\napiVersion: pvc/v1\n"
        "kind: VirtualMachine\nmetadata:\n    name: mail  # the name\n    tags: [0123, no, a]\n\nspec:\n"
        "    cpu: {vcpus: 1}\n    memory: 1GiB\n    nics:\n    - network: app\n"
        "      mac: 52:54:00:12:34:57   # printed on it\n"
    )
    run(fmt, "--repo", repo, "--check", code=1)
    run(fmt, "--repo", repo)
    assert path.read_text() == (
        "# yaml-language-server: $schema=../.pvc/schema/virtual-machine.json\n# why it is here\n"
        "apiVersion: pvc/v1\nkind: VirtualMachine\nmetadata:\n  name: mail    # the name\n"
        '  tags: ["0123", "no", a]\n\nspec:\n  cpu: {vcpus: 1}\n  memory: 1GiB\n  nics:\n'
        '    - network: app\n      mac: "52:54:00:12:34:57"   # printed on it\n'
    )
    assert json.loads(run(validate, "--repo", repo, "-o", "json")) == []
    run(fmt, "--repo", repo, "--check")


def test_fmt_leaves_alone_what_it_cannot_read_and_says_so(broken):
    path = broken / "vms" / "mail.yaml"
    path.write_text("a: &b [*b\n")
    run(fmt, "--repo", broken, code=1)
    assert path.read_text() == "a: &b [*b\n"


def test_fmt_writes_the_schemas(repo):
    run(fmt, "--repo", repo, "--schemas")
    assert (repo / ".pvc" / "schema" / "virtual-machine.json").read_text() == (
        ROOT / "schema" / "virtual-machine.json"
    ).read_text()
    run(fmt, "--repo", repo, "--schemas", "--check")


def test_the_example_repository_is_valid_and_formatted():
    example = ROOT / "example-cluster-repo"
    assert json.loads(run(validate, "--repo", example, "-o", "json")) == []
    run(fmt, "--repo", example, "--schemas", "--check")
