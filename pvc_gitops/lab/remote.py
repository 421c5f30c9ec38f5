"""The remote: a bare repository that the host pushes to by path and nodes read by smart HTTP; and
images.
 Run as `python -m pvc_gitops.lab.remote ROOT LAB ADDRESS PORT` inside the lab's network. Read-only
over HTTP.
"""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pvc_gitops.lab import network
from pvc_gitops.lab.paths import LabPaths
from pvc_gitops.lab.process import PidFile, must_become, python_env, python_module, run, spawn

MODULE: Final = "pvc_gitops.lab.remote"
PORT: Final = 80
GIT_TIMEOUT_S: Final = 60
REQUEST_BYTES_MAX: Final = 16 * 1024 * 1024
HANG_S: Final = 120  # longer than any fetch's own limit
COPY_BYTES: Final = 1024 * 1024
IMAGES_PATH: Final = "/images/"


class RemoteMode(StrEnum):
    """How the git part answers; images are served always."""

    ON = "on"  # as it should
    OFF = "off"  # closes every connection without a word
    HANG = "hang"  # takes the request and says nothing


def url(gateway: str) -> str:
    """What stands in `source.url` of the cluster document."""
    return f"http://{gateway}/remote.git"


def images_url(gateway: str) -> str:
    """Where files of the lab's `images` folder are found from the nodes."""
    return f"http://{gateway}{IMAGES_PATH}"


def ensure_repository(paths: LabPaths) -> None:
    """Make the bare repository if it is not there."""
    if (paths.remote / "HEAD").exists():
        return
    shutil.rmtree(paths.remote, ignore_errors=True)
    run("git", "init", "--quiet", "--bare", "--initial-branch=main", paths.remote)


def server(paths: LabPaths) -> PidFile:
    """The HTTP server's process."""
    return PidFile(paths.server_pid, f"{MODULE}\0{paths.root}\0{paths.name}\0")


def ensure_server(paths: LabPaths, gateway: str) -> None:
    """Start the HTTP server if it does not run."""
    process = server(paths)
    if process.pid() is not None:
        return
    paths.images.mkdir(parents=True, exist_ok=True)
    command = python_module(MODULE, paths.root, paths.name, gateway, str(PORT))
    started = spawn(network.inside(paths, *command), log=paths.server_log, env=python_env())
    process.write(started)
    probe = network.inside(paths, "curl", "-sf", "-m", "2", "-o", "/dev/null", f"http://{gateway}/")
    must_become(
        lambda: run(*probe, check=False).returncode == 0,
        limit_s=10,
        failure="the lab's HTTP server does not answer",
        hint=f"see {paths.server_log}",
    )


def set_mode(paths: LabPaths, mode: RemoteMode) -> None:
    """Change how the git part answers, from the next request on."""
    new = paths.remote_mode.with_suffix(".new")
    new.write_text(f"{mode}\n", encoding="ascii")
    new.rename(paths.remote_mode)


def mode(paths: LabPaths) -> RemoteMode:
    """How the git part answers now."""
    try:
        return RemoteMode(paths.remote_mode.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return RemoteMode.ON


class Handler(http.server.BaseHTTPRequestHandler):
    """git-http-backend for /remote.git, files for /images/, `ok` for /."""

    paths: LabPaths
    timeout = 30

    def do_GET(self) -> None:
        """Fetches, images, liveness."""
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith(IMAGES_PATH):
            self._image(path.removeprefix(IMAGES_PATH))
        elif path.startswith("/remote.git/"):
            self._git(b"")
        elif path == "/":
            self._answer(HTTPStatus.OK, b"ok\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"try /remote.git or /images/NAME\n")

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_POST(self) -> None:
        """The second half of a fetch."""
        length = int(self.headers.get("Content-Length") or -1)
        if length > REQUEST_BYTES_MAX:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large\n")
            return
        self._git(self._body(length))

    def _body(self, length: int) -> bytes:
        if length >= 0:
            return self.rfile.read(length)
        body = bytearray()  # chunked, which libgit2 sends
        while (size := int(self.rfile.readline().split(b";")[0] or b"0", 16)) > 0:
            if len(body) + size > REQUEST_BYTES_MAX:
                break
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _git(self, body: bytes) -> None:
        match mode(self.paths):
            case RemoteMode.OFF:
                self.close_connection = True
                return
            case RemoteMode.HANG:
                time.sleep(HANG_S)
                self.close_connection = True
                return
            case RemoteMode.ON:
                pass
        target = urllib.parse.urlsplit(self.path)
        env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "GIT_PROJECT_ROOT": str(self.paths.home),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": target.path,
            "QUERY_STRING": target.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": self.client_address[0],
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            env=env,
            check=False,
            timeout=GIT_TIMEOUT_S,
        )
        self._relay(done.stdout)

    def _relay(self, answer: bytes) -> None:
        """Pass on what a CGI program said: headers, an empty line, the body."""
        head, _, body = answer.partition(b"\r\n\r\n")
        status = HTTPStatus.OK if head else HTTPStatus.INTERNAL_SERVER_ERROR
        headers: list[tuple[str, str]] = []
        for line in head.decode("latin-1").splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "status":
                status = HTTPStatus(int(value.split()[0]))
            else:
                headers.append((name, value.strip()))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _image(self, name: str) -> None:
        path = self.paths.images / urllib.parse.unquote(name)
        # resolve(): a link in the folder may point to the image cache, a `..` in the request may
        # not.
        if "/" in name or name.startswith(".") or not path.is_file():
            self._answer(HTTPStatus.NOT_FOUND, b"no such image\n")
            return
        with path.open("rb") as handle:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(handle, self.wfile, COPY_BYTES)

    def _answer(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> int:
    """Serve until terminated."""
    root, lab, address, port = sys.argv[1:]
    Handler.paths = LabPaths(Path(root), lab)
    http.server.ThreadingHTTPServer((address, int(port)), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
