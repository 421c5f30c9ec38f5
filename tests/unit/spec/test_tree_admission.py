"""What may lie in a repository, told the same of a folder and of a commit."""

import os
import subprocess

import pytest

from pvc_gitops.adapters.folder import read_working_tree, scan_working_tree
from pvc_gitops.adapters.git.tree import read_commit, scan_commit
from pvc_gitops.errors import SpecError, UsageError
from pvc_gitops.model.tree import ENTRIES_MAX, TOTAL_BYTES_MAX, Entry, EntryType, admit


def entry(path, size_bytes=1, entry_type=EntryType.FILE):
    return Entry(path=path, type=entry_type, size_bytes=size_bytes)


@pytest.mark.parametrize(
    "path",
    [
        "cluster.yaml",
        "transitions.yaml",
        "vms/web1.yaml",
        "templates/system/small.yaml",
        "policies/backup/nightly.yaml",
        "userdata/web.yaml",
        "userdata/raw.txt",
        "tftp/pxelinux.cfg/01-52-54-AB",
        "scripts/debootstrap.py",
    ],
)
def test_read(path):
    assert admit([entry(path)]) == ((path,), ())


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "LICENSE",
        "docs/x.yaml",
        "tests/x.yml",
        ".github/x.yml",
        "vms/.hidden.yaml",
        "vms/notes.txt",
    ],
)
def test_not_read(path):
    assert admit([entry(path, 10**9)]) == ((), ())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("vms/web1.yml", "wrong-ending"),
        ("web1.YAML", "wrong-ending"),
        ("vm/web1.yaml", "foreign-folder"),
        ("vms/old/web1.yaml", "foreign-folder"),
        ("network.yaml", "foreign-file"),
        ("vms/Web1.yaml", "bad-name"),
        ("vms/wéb.yaml", "bad-name"),
        ("vms/a\nb.yaml", "bad-name"),
        ("userdata/a b", "bad-name"),
    ],
)
def test_refused(path, code):
    paths, problems = admit([entry(path)])
    assert paths == ()
    assert [problem.code for problem in problems] == [code]
    assert problems[0].hint


@pytest.mark.parametrize(
    ("path", "entry_type", "refused"),
    [
        ("vms/a.yaml", EntryType.SYMLINK, True),
        ("vms", EntryType.SYMLINK, True),
        ("vms/sub", EntryType.SUBMODULE, True),
        ("stuff/a.yaml", EntryType.SYMLINK, True),
        ("README.md", EntryType.SYMLINK, False),
        ("docs/link", EntryType.SYMLINK, False),
        ("vendor", EntryType.SUBMODULE, False),
    ],
)
def test_links_are_refused_where_anything_is_read(path, entry_type, refused):
    paths, problems = admit([entry(path, entry_type=entry_type)])
    assert paths == ()
    assert bool(problems) is refused


@pytest.mark.parametrize(("count", "codes"), [(123, []), (124, ["bad-name"])])
def test_the_longest_name_has_128_characters(count, codes):
    _, problems = admit([entry(f"vms/{'a' * count}.yaml")])
    assert [problem.code for problem in problems] == codes


def test_caps():
    assert admit([entry("vms/a.yaml", 256 * 1024 + 1)])[1][0].code == "too-large"
    assert admit([entry("tftp/a", 16 * 1024 * 1024)])[1] == ()
    many = [entry(f"tftp/a{number}", 16 * 1024 * 1024) for number in range(5)]
    assert sum(row.size_bytes for row in many) > TOTAL_BYTES_MAX
    assert [problem.code for problem in admit(many)[1]] == ["too-large"]
    crowd = [entry(f"vms/a{number}.yaml") for number in range(ENTRIES_MAX + 1)]
    assert [problem.code for problem in admit(crowd)[1]] == ["too-many-files"]


def git(folder, *words):
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example",
    }
    subprocess.run(["git", "-C", str(folder), *words], check=True, env=env, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "repo"
    (folder / "lab" / "vms").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "lab" / "cluster.yaml").write_text("a: b\n")
    (folder / "lab" / "vms" / "web1.yaml").write_text("c: d\n")
    (folder / "lab" / "README.md").write_text("not read\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def test_a_commit_reads_as_its_folder_does(checkout):
    commit, files = read_commit(checkout, "main", folder="lab")
    assert len(commit) == 40
    assert files == {"cluster.yaml": b"a: b\n", "vms/web1.yaml": b"c: d\n"}
    assert files == read_working_tree(checkout / "lab")
    (checkout / "lab" / "cluster.yaml").write_text("changed: true\n")
    assert read_commit(checkout, "HEAD", folder="lab")[1] == files


def test_links_and_submodules_of_a_commit_are_refused_unopened(checkout):
    (checkout / "lab" / "vms" / "evil.yaml").symlink_to("/etc/passwd")
    git(checkout, "add", ".")
    git(checkout, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lab/vms/sub")
    git(checkout, "commit", "-q", "-m", "two")
    _, files, problems = scan_commit(checkout, "main", folder="lab")
    assert [(problem.file, problem.code) for problem in problems] == [
        ("vms/evil.yaml", "symlink"),
        ("vms/sub", "submodule"),
    ]
    assert "vms/evil.yaml" not in files
    with pytest.raises(SpecError):
        read_commit(checkout, "main", folder="lab")


def test_a_large_blob_of_a_commit_is_refused_unread(checkout):
    (checkout / "lab" / "vms" / "big.yaml").write_bytes(b"x" * 5_000_000)
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "two")
    _, files, problems = scan_commit(checkout, "main", folder="lab")
    assert [problem.code for problem in problems] == ["too-large"]
    assert "vms/big.yaml" not in files


def test_what_cannot_be_found_is_said(checkout, tmp_path):
    with pytest.raises(UsageError, match="no commit 'nope'"):
        read_commit(checkout, "nope")
    with pytest.raises(UsageError, match="no folder prod"):
        read_commit(checkout, "main", folder="prod")
    with pytest.raises(UsageError, match="not a folder"):
        scan_working_tree(tmp_path / "nowhere")


def test_a_name_that_is_no_utf_8_is_refused(tmp_path):
    (tmp_path / "vms").mkdir()
    (tmp_path / "vms" / os.fsdecode(b"a\xff.yaml")).write_text("a: b\n")
    assert [problem.code for problem in scan_working_tree(tmp_path)[1]] == ["bad-name"]
