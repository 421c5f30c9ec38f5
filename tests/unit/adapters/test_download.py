"""Downloads from a real server that misbehaves, and qemu-img's answers as version 10.0.13 gave them."""

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest

from pvc_gitops.adapters.download import convert, fetch
from pvc_gitops.errors import DownloadError

FACTS = Path(__file__).parents[2] / "facts" / "qemu-img"
BODY = bytes(range(256)) * 8192  # 2 MiB: more than one chunk
CHECKSUM = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gone":
            self.send_error(404)
        elif self.path == "/broken":
            self.send_error(503)
        elif self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY) * (2 if self.path == "/short" else 1)))
            self.end_headers()
            self.wfile.write(BODY)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def get(url: str, target: Path, checksum: str = CHECKSUM) -> list[float]:
    shown: list[float] = []
    fetch.fetch(url, target, checksum=checksum, progress=shown.append)
    return shown


def refused(url: str, target: Path, checksum: str = CHECKSUM) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        get(url, target, checksum)
    return caught.value


def test_http_with_progress(url, tmp_path):
    shown = get(url + "/image", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY
    assert shown == sorted(shown)
    assert shown[-1] == 1.0


def test_redirects_and_files(url, tmp_path):
    get(f"{url}/to/{url}/image", tmp_path / "x")
    get((tmp_path / "x").as_uri(), tmp_path / "y", "sha512:" + hashlib.sha512(BODY).hexdigest())
    assert (tmp_path / "y").read_bytes() == BODY


def test_a_server_cannot_make_us_read_our_own_files(url, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(BODY)
    refused(f"{url}/to/{secret.as_uri()}", tmp_path / "x")
    assert not (tmp_path / "x").exists() or (tmp_path / "x").read_bytes() == b""


def test_wrong_checksum_names_both(url, tmp_path):
    err = refused(url + "/image", tmp_path / "x", "sha256:" + "0" * 64)
    assert not err.retryable
    assert CHECKSUM in str(err)
    assert "0" * 64 in str(err)


@pytest.mark.parametrize(
    ("path", "retryable", "words"),
    [("/gone", False, "404"), ("/broken", True, "503"), ("/short", True, "broken off")],
)
def test_answers_that_are_no_image(url, tmp_path, path, retryable, words):
    err = refused(url + path, tmp_path / "x")
    assert err.retryable is retryable
    assert words in str(err)


def test_nobody_there(tmp_path):
    assert refused("http://127.0.0.1:9/x", tmp_path / "x").retryable
    assert refused((tmp_path / "none").as_uri(), tmp_path / "x").retryable


def test_what_is_never_asked(tmp_path):
    assert "only http" in str(refused("ftp://127.0.0.1/x", tmp_path / "x"))
    assert "md5" in str(refused("http://127.0.0.1:9/x", tmp_path / "x", "md5:0"))


@pytest.mark.parametrize(
    ("fact", "image_format", "words"),
    [
        ("plain.qcow2", "qcow2", ""),
        ("lone.vmdk", "vmdk", ""),
        ("d.vdi", "vdi", ""),
        ("d.vpc", "vpc", ""),
        ("backed.qcow2", "qcow2", "backing file"),
        ("datafile.qcow2", "qcow2", "another file"),
        ("flat.vmdk", "vmdk", "other files"),
        ("plain.qcow2", "vmdk", "declared is vmdk"),
    ],
)
def test_an_image_that_names_other_files_is_refused(fact, image_format, words):
    refusal = convert.refusal_of(
        json.loads((FACTS / f"10.0.13-{fact}.json").read_text()), image_format
    )
    assert words in refusal
    assert bool(refusal) is bool(words)


def test_a_disk_larger_than_the_limit_is_refused():
    info = json.loads((FACTS / "10.0.13-plain.qcow2.json").read_text())
    huge = {**info, "virtual-size": fetch.SIZE_BYTES_MAX + 1}
    assert "is the most" in convert.refusal_of(huge, "qcow2")
