"""Each bad repository says exactly what is expected, and nothing of it would be adopted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import scan_working_tree
from pvc_gitops.cli.validate import examine
from pvc_gitops.spec.report import pretty, summary

HERE = Path(__file__).parent
BASE = HERE / "good" / "base"
BLESS = os.environ.get("PVC_BLESS") == "1"
EXPECT = ".expect"
FOLDERS_MIN = 40


def _write(folder: Path, path: str, data: bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


def _guest(extra: bytes = b"") -> bytes:
    return (
        b"apiVersion: pvc/v1\nkind: VirtualMachine\nmetadata: {name: mail}\n"
        b"spec:\n  cpu: {vcpus: 1}\n  memory: 1GiB\n" + extra
    )


def _symlink(folder: Path) -> None:
    (folder / "vms" / "mail.yaml").symlink_to("/etc/passwd")
    (folder / "sets").symlink_to("vms")
    (folder / "docs").mkdir()
    (folder / "docs" / "fine.yaml").symlink_to("../cluster.yaml")


def _submodule(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder / "images" / "shared")], check=True)


def _many_problems(folder: Path) -> None:
    tags = b", ".join(b"Tag%d" % number for number in range(40))
    for name in ("a", "b"):
        text = _guest().replace(b"{name: mail}", b"{name: %s, tags: [%s]}" % (name.encode(), tags))
        _write(folder, f"vms/{name}.yaml", text)


MADE = {
    "made-200-kb-of-brackets": lambda f: _write(f, "vms/mail.yaml", b"[" * 200_000),
    "made-200-kb-of-dashes": lambda f: _write(f, "vms/mail.yaml", b"- " * 100_000),
    "made-200-kb-of-braces": lambda f: _write(f, "vms/mail.yaml", b"{a: " * 50_000),
    "made-5-mb-blob": lambda f: _write(f, "vms/mail.yaml", b"x" * 5_000_000),
    "made-userdata-too-large": lambda f: _write(f, "userdata/web.txt", b"x" * 70_000),
    "made-depth-of-33": lambda f: _write(
        f, "vms/mail.yaml", _guest(b"  window: " + b"[" * 33 + b"]" * 33)
    ),
    "made-not-utf-8": lambda f: _write(f, "vms/mail.yaml", _guest(b"  window: caf\xe9\n")),
    "made-byte-order-mark": lambda f: _write(f, "vms/mail.yaml", b"\xef\xbb\xbf" + _guest()),
    "made-utf-16": lambda f: _write(f, "vms/mail.yaml", _guest().decode().encode("utf-16")),
    "made-nul": lambda f: _write(f, "vms/mail.yaml", _guest(b"  window: a\0b\n")),
    "made-escape-in-a-name": lambda f: _write(
        f, "vms/mail.yaml", _guest(b'  window: "a\\e[31mb\\n"\n')
    ),
    "made-number-of-5000-digits": lambda f: _write(
        f, "vms/mail.yaml", _guest().replace(b"vcpus: 1", b"vcpus: " + b"9" * 5000)
    ),
    "made-symlink": _symlink,
    "made-submodule": _submodule,
    "made-pipe": lambda f: os.mkfifo(f / "vms" / "mail.yaml"),
    "made-more-problems-than-shown": _many_problems,
}
CASES = sorted(path.name for path in (HERE / "bad").iterdir() if not path.name.startswith("made-"))


def _repository(case: str, folder: Path) -> Path:
    shutil.copytree(BASE, folder)
    if case in MADE:
        MADE[case](folder)
        return folder
    overlay = HERE / "bad" / case
    shutil.copytree(overlay, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".expect"))
    removals = overlay / ".remove"
    for name in removals.read_text().split() if removals.is_file() else ():
        for path in folder.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


@pytest.mark.parametrize("case", [*CASES, *sorted(MADE)])
def test_bad_repository(case, tmp_path):
    folder = _repository(case, tmp_path / "repository")
    files, refused = scan_working_tree(folder)
    problems, warned = examine(None, files, refused)
    assert problems
    assert not warned
    said = "\n".join(pretty(problem) for problem in problems) + "\n"
    said += summary(problems, files=len(files), elapsed_ms=0) + "\n"
    expect = HERE / "bad" / case / EXPECT
    if BLESS:
        expect.parent.mkdir(parents=True, exist_ok=True)
        expect.write_text(said, encoding="utf-8")
    assert expect.is_file(), "no expectation: PVC_BLESS=1 writes it, then read it"
    assert said == expect.read_text(encoding="utf-8")


def test_there_are_enough_of_them():
    assert len(CASES) >= FOLDERS_MIN


@pytest.mark.skipif(BLESS, reason="expectations are being written")
def test_no_expectation_is_left_over():
    assert {path.parent.name for path in (HERE / "bad").glob("*/.expect")} == {*CASES, *MADE}


def test_the_base_is_valid():
    files, refused = scan_working_tree(BASE)
    problems, _ = examine(None, files, refused)
    assert problems == ()
