"""The remote over a real socket on loopback: smart HTTP, images, and its bad days."""

import http.server
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pvc_gitops.lab import remote
from pvc_gitops.lab.paths import LabPaths


@dataclass
class Served:
    paths: LabPaths
    url: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    paths = LabPaths(tmp_path, "demo")
    paths.images.mkdir(parents=True)
    remote.ensure_repository(paths)

    class Handler(remote.Handler):
        def log_message(self, *_: object) -> None:
            pass

    Handler.paths = paths
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Served(paths, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def git(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(
        ["git", *identity, *map(str, argv)], capture_output=True, text=True, timeout=30, check=False
    )


def push_something(served: Served, work: Path) -> None:
    assert git("init", "-q", "-b", "main", work).returncode == 0
    (work / "file").write_text("x" * 100_000)
    assert git("-C", work, "add", ".").returncode == 0
    assert git("-C", work, "commit", "-q", "-m", "one").returncode == 0
    assert git("-C", work, "push", "-q", served.paths.remote, "main").returncode == 0


def test_a_push_by_path_is_cloned_by_http(served: Served, tmp_path: Path) -> None:
    push_something(served, tmp_path / "work")
    assert (
        git("clone", "-q", "--depth", "1", f"{served.url}/remote.git", tmp_path / "c").returncode
        == 0
    )
    assert (tmp_path / "c" / "file").read_text() == "x" * 100_000


def test_nobody_pushes_by_http(served: Served, tmp_path: Path) -> None:
    push_something(served, tmp_path / "work")
    assert (
        git("-C", tmp_path / "work", "push", f"{served.url}/remote.git", "main:x").returncode != 0
    )


def test_off_means_no_answer_and_on_brings_it_back(served: Served) -> None:
    remote.set_mode(served.paths, remote.RemoteMode.OFF)
    assert git("ls-remote", f"{served.url}/remote.git").returncode != 0
    remote.set_mode(served.paths, remote.RemoteMode.ON)
    assert git("ls-remote", f"{served.url}/remote.git").returncode == 0


def test_images_are_served_and_nothing_beside_them(served: Served) -> None:
    (served.paths.images / "guest.raw").write_bytes(b"image")
    (served.paths.home / "bmc-password").write_text("secret")
    with urllib.request.urlopen(f"{served.url}/images/guest.raw", timeout=5) as answer:
        assert answer.read() == b"image"
    for name in ("..%2fbmc-password", "none", ".hidden"):
        with pytest.raises(urllib.error.HTTPError) as found:
            urllib.request.urlopen(f"{served.url}/images/{name}", timeout=5)
        assert found.value.code == 404
        found.value.close()
