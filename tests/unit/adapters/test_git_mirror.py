"""The mirror against real repositories, servers that hang, and what must not be in a tree."""

import functools
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zlib

import pygit2
import pytest

from pvc_gitops.adapters.git import fetch
from pvc_gitops.adapters.git.mirror import Mirror
from pvc_gitops.errors import RepoError, SpecError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.source import Source

GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Work:
    """A clone that pushes to a bare origin."""

    def __init__(self, here):
        self.origin = here / "origin.git"
        self.clone = here / "clone"
        self.git("init", "-q", "--bare", "-b", "main", self.origin, cwd=here)
        self.git("init", "-q", "-b", "main", self.clone, cwd=here)
        self.commit({"cluster.yaml": "a: 1\n", "vms/web1.yaml": "b: 1\n", "README.md": "x"})

    def git(self, *args, cwd=None):
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *map(str, args)],
            cwd=cwd or self.clone,
            env={**os.environ, **GIT},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files, subject="change"):
        for name, text in files.items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        self.push()
        return CommitId(self.git("rev-parse", "HEAD"))

    def push(self):
        self.git("push", "-q", "--force", self.origin, "main")


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


@pytest.fixture
def mirror_of(tmp_path):
    def make(url, **more):
        settings = {"branch": "main", "folder": ".", "credential": None, "limit_s": 20, **more}
        return Mirror(tmp_path / "mirror.git", url=str(url), **settings)

    return make


def test_a_tip_is_fetched_and_read(work, mirror_of):
    mirror = mirror_of(work.origin)
    tip = work.commit({"vms/web1.yaml": "b: 2\n"}, subject="more memory\n\nbecause")
    assert mirror.fetch().tip == tip
    assert mirror.has(tip)
    assert dict(mirror.files(tip)) == {"cluster.yaml": b"a: 1\n", "vms/web1.yaml": b"b: 2\n"}
    assert mirror.info(tip).subject == "more memory"
    assert mirror.info(tip).author == "a@b"
    assert mirror.fetch().tip == tip


def test_over_dumb_files_by_url_too(work, mirror_of):
    tip = work.commit({})
    assert mirror_of(f"file://{work.origin}").fetch().tip == tip


def test_a_folder_of_the_repository(work, mirror_of):
    tip = work.commit({"lab/cluster.yaml": "c: 1\n"})
    mirror = mirror_of(work.origin, folder="lab")
    mirror.fetch()
    assert dict(mirror.files(tip)) == {"cluster.yaml": b"c: 1\n"}
    with pytest.raises(SpecError) as caught:
        mirror_of(work.origin, folder="other").files(tip)
    assert "no folder other" in caught.value.problems[0].message


def test_a_force_push_is_taken_down_and_seen_for_what_it_is(work, mirror_of):
    mirror = mirror_of(work.origin)
    first = work.commit({})
    second = work.commit({"vms/a.yaml": "x"})
    assert mirror.fetch().tip == second
    assert mirror.is_ancestor(first, second)
    assert mirror.is_ancestor(second, second)
    assert not mirror.is_ancestor(second, first)
    work.git("reset", "-q", "--hard", first)
    forced = work.commit({"vms/b.yaml": "y"})
    assert mirror.fetch().tip == forced
    assert not mirror.is_ancestor(second, forced)
    assert mirror.has(second)


def test_unknown_commits_are_nobodys_ancestor(work, mirror_of):
    mirror = mirror_of(work.origin)
    tip = mirror.fetch().tip
    none = CommitId("0" * 40)
    assert not mirror.has(none)
    assert not mirror.is_ancestor(none, tip)
    with pytest.raises(RepoError):
        mirror.info(none)


def test_a_deleted_branch_is_said_and_the_mirror_stays(work, mirror_of):
    mirror = mirror_of(work.origin)
    tip = mirror.fetch().tip
    work.git("push", "-q", work.origin, "main:refs/heads/other")
    work.git("update-ref", "-d", "refs/heads/main", cwd=work.origin)
    with pytest.raises(
        RepoError, match="branch main is not there any more; the repository has other"
    ):
        mirror.fetch()
    assert mirror.has(tip)
    assert mirror.files(tip)


def test_an_empty_repository_is_said(work, mirror_of, tmp_path):
    work.git("init", "-q", "--bare", tmp_path / "empty.git")
    with pytest.raises(RepoError, match="the repository is empty"):
        mirror_of(tmp_path / "empty.git").fetch()


@pytest.mark.parametrize("url", ["/nowhere/at/all.git", "http://127.0.0.1:9/x.git", "nonsense://x"])
def test_an_unreachable_remote_is_an_answer(mirror_of, url):
    with pytest.raises(RepoError) as caught:
        mirror_of(url).fetch()
    assert caught.value.retryable
    assert url in caught.value.target


def test_a_hanging_server_is_left_at_the_time_limit(mirror_of):
    with socket.create_server(("127.0.0.1", 0)) as server:
        mirror = mirror_of(f"http://127.0.0.1:{server.getsockname()[1]}/x.git", limit_s=1.5)
        began = time.monotonic()
        with pytest.raises(RepoError, match=r"no end within 1.5 s; the fetch was killed"):
            mirror.fetch()
        assert time.monotonic() - began < 4


def test_a_password_in_the_url_is_not_shown(mirror_of):
    with pytest.raises(RepoError) as caught:
        mirror_of("http://me:secret@127.0.0.1:9/x.git").fetch()
    assert "secret" not in str(caught.value)


def test_a_pack_over_the_limit_is_refused_and_nothing_stays(work, mirror_of, tmp_path):
    (work.clone / "docs").mkdir()
    (work.clone / "docs/big").write_bytes(os.urandom(3 * 1024 * 1024))
    work.commit({})
    # libgit2 counts what comes over a wire; a local path has none.
    with _git_http(work) as url:
        with pytest.raises(RepoError, match="more than 1 MiB"):
            mirror_of(url, bytes_max=1024 * 1024).fetch()
        assert list((tmp_path / "mirror.git/refs/remotes").rglob("main")) == []
        tip = mirror_of(url).fetch().tip
        assert mirror_of(url).has(tip)
    left = [p.suffix for p in (tmp_path / "mirror.git/objects/pack").iterdir()]
    assert set(left) <= {".pack", ".idx", ".rev"}


class _git_http:  # noqa: N801  a context
    """git's own http server, asking for a login where one is set."""

    def __init__(self, work, login=None):
        self.root = work.origin.parent
        self.login = login

    def __enter__(self):
        handler = functools.partial(_Cgi, root=self.root, login=self.login)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}/origin.git"

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Cgi(http.server.BaseHTTPRequestHandler):
    def __init__(self, *args, root, login, **kwargs):
        self.root, self.login = root, login
        super().__init__(*args, **kwargs)

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.login is not None and self.headers.get("Authorization") != self.login:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                **os.environ,
                **GIT,
                "GIT_PROJECT_ROOT": str(self.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "REMOTE_ADDR": "127.0.0.1",
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815  the library's name


def test_http_with_a_login(work, mirror_of):
    import base64

    login = "Basic " + base64.b64encode(b"git:token-1").decode()
    with _git_http(work, login) as url:
        assert mirror_of(url, credential="token-1\n").fetch().tip == work.git("rev-parse", "HEAD")
        with pytest.raises(RepoError, match="login is refused"):
            mirror_of(url, credential="wrong").fetch()
        with pytest.raises(RepoError, match="asks for a login"):
            mirror_of(url).fetch()


def test_a_password_in_the_url_that_is_refused_is_not_shown(work, mirror_of):
    with _git_http(work, "Basic other") as url, pytest.raises(RepoError) as caught:
        mirror_of(url.replace("//", "//me:secret@")).fetch()
    assert "asks for a login" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_must_not_lie_there_is_refused_when_read(work, mirror_of):
    mirror = mirror_of(work.origin)
    good = mirror.fetch().tip
    (work.clone / "vms/link.yaml").symlink_to("web1.yaml")
    work.commit({})
    (work.clone / "vms/big.yaml").write_text("#" * 5_000_000)
    other = work.clone.parent / "other"
    work.git("init", "-q", "-b", "main", other)
    work.git("commit", "-q", "--allow-empty", "-m", "x", cwd=other)
    work.git("submodule", "add", "-q", other, "networks")
    tip = work.commit({})
    assert mirror.fetch().tip == tip
    with pytest.raises(SpecError) as caught:
        mirror.files(tip)
    codes = {problem.file: problem.code for problem in caught.value.problems}
    assert codes["vms/link.yaml"] == "symlink"
    assert codes["vms/big.yaml"] == "too-large"
    assert codes["networks"] == "submodule"
    assert mirror.files(good)


def test_no_hook_and_no_configuration_of_the_host_is_used(work, mirror_of, tmp_path, monkeypatch):
    mirror = mirror_of(work.origin)
    mirror.fetch()
    trace = tmp_path / "trace"
    for name in ("post-receive", "post-update", "reference-transaction", "update"):
        hook = tmp_path / "mirror.git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho {name} >> {trace}\n")
        hook.chmod(0o755)
    evil = tmp_path / "gitconfig"
    evil.write_text(f'[url "/nowhere"]\n\tinsteadOf = {work.origin}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(evil))
    tip = work.commit({"vms/z.yaml": "z"})
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(evil.read_text())
    assert mirror.fetch().tip == tip
    assert not trace.exists()


def packs(tmp_path):
    return sorted((tmp_path / "mirror.git" / "objects" / "pack").iterdir())


@pytest.mark.parametrize("torn", ["the pack", "the ref", "HEAD"])
def test_a_mirror_torn_by_a_power_cut_is_fetched_anew(work, mirror_of, tmp_path, torn):
    mirror = mirror_of(work.origin)
    tip = mirror.fetch().tip
    where = {"HEAD": "HEAD", "the ref": "refs/remotes/source/main"}
    files = [tmp_path / "mirror.git" / where[torn]] if torn in where else packs(tmp_path)
    for file in files:
        file.chmod(0o600)
        file.write_bytes(b"")
    assert mirror.fetch().tip == tip
    assert mirror.files(tip)["cluster.yaml"] == b"a: 1\n"


def test_a_commit_that_is_not_whole_is_the_mirrors_fault_and_not_the_commits(
    work, mirror_of, tmp_path
):
    mirror = mirror_of(work.origin)
    first = mirror.fetch().tip
    before = packs(tmp_path)
    work.commit({"vms/web1.yaml": "b: 2\n"})
    third = work.commit({"vms/web1.yaml": "b: 3\n"})
    assert mirror.fetch().tip == third
    for file in before:  # cluster.yaml is in it
        file.unlink()
    for read in (lambda: mirror.files(first), lambda: mirror.files(third)):
        with pytest.raises(RepoError):
            read()


def test_a_server_that_does_not_prove_who_it_is_is_not_believed():
    request = fetch.Request(mirror="", url="ssh://h/r", branch="main", credential="k", bytes_max=1)
    callbacks = fetch.Callbacks(request)
    assert callbacks.certificate_check(None, valid=True, host=b"h")
    with pytest.raises(pygit2.GitError, match="h does not prove who it is"):
        callbacks.certificate_check(None, valid=False, host=b"h")


def bomb(work, size, path="vms/zero.yaml"):
    """A commit with a file of zeros, which lies in a thousandth of its size."""
    block = bytes(2**24)
    name, packer = hashlib.sha1(b"blob %d\0" % size), zlib.compressobj(1)
    parts = [packer.compress(b"blob %d\0" % size)]
    for _ in range(size // len(block)):
        name.update(block)
        parts.append(packer.compress(block))
    oid = name.hexdigest()
    file = work.clone / ".git/objects" / oid[:2] / oid[2:]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"".join([*parts, packer.flush()]))
    work.git("update-index", "--add", "--cacheinfo", f"100644,{oid},{path}")
    work.git("commit", "-q", "-m", "bomb")
    return CommitId(work.git("rev-parse", "HEAD"))


def test_a_file_that_unpacks_to_a_thousandfold_is_never_unpacked(work):
    tip = bomb(work, 2**27)
    mirror = Mirror(work.clone / ".git", url="x", branch="main", folder=".", credential=None)
    with pytest.raises(SpecError) as caught:
        mirror.files(tip)
    (problem,) = caught.value.problems
    assert (problem.file, problem.code) == ("vms/zero.yaml", "too-large")
    aside = bomb(work, 2**27, "docs/zero")
    work.git("rm", "-q", "--cached", "vms/zero.yaml")
    work.git("commit", "-q", "-m", "where nothing is read")
    assert "vms/web1.yaml" in mirror.files(CommitId(work.git("rev-parse", "HEAD")))
    assert aside


def in_a_child(tmp_path, url, **limits):
    """What the fetch's own process answers."""
    request = {
        "mirror": str(tmp_path / "mirror.git"), "url": str(url), "branch": "main",
        "credential": None, "bytes_max": 2**28, **limits,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", fetch.__file__], input=json.dumps(request), capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_a_file_that_unpacks_to_a_thousandfold_ends_the_fetch_and_nothing_else(work, tmp_path):
    bomb(work, 2**29, "docs/zero")
    answer = in_a_child(tmp_path, work.clone, memory_bytes_max=400 * 1024**2)
    assert answer == {"error": "something in it unpacks to more than a fetch may have memory for"}


def test_a_file_that_nobody_could_want_is_named_and_refused_again_without_a_transfer(
    work, tmp_path
):
    good = in_a_child(tmp_path, work.origin)["tip"]
    work.commit({"docs/large": "x" * (3 * 1024**2)})
    for _ in range(2):
        answer = in_a_child(tmp_path, work.origin, blob_bytes_max=2 * 1024**2)
        assert answer["error"].startswith("docs/large has 3 MiB, 2 is the most")
        held = packs(tmp_path)
    assert packs(tmp_path) == held
    work.git("rm", "-q", "docs/large")
    tip = work.commit({})
    assert in_a_child(tmp_path, work.origin, blob_bytes_max=2 * 1024**2)["tip"] == tip != good


def test_more_objects_than_anybody_has_are_refused(work, tmp_path):
    for number in range(5):
        work.commit({f"vms/web{number}.yaml": f"b: {number}\n"})
    with _git_http(work) as url:
        answer = in_a_child(tmp_path, url, objects_max=10)
    assert "objects, 10 is the most" in answer["error"]


def test_a_branch_that_points_at_a_tag_of_a_tag_is_no_commit(work, mirror_of):
    mirror = mirror_of(work.clone)
    work.git("tag", "-a", "-m", "x", "one")
    work.git("-c", "advice.nestedTag=false", "tag", "-a", "-m", "y", "two", "one")
    (work.clone / ".git/refs/heads/main").write_text(work.git("rev-parse", "two") + "\n")
    with pytest.raises(RepoError, match="points at a tag, and not at a commit"):
        mirror.fetch()


# --- several places --------------------------------------------------------------------------------


def source_of(url, *mirrors, **more):
    settings = {"branch": "main", "host_keys": (), "secret": None, **more}
    return Source(url=url and str(url), mirrors=tuple(map(str, mirrors)), **settings)


def copied(work, name):
    work.git("clone", "-q", "--bare", work.origin, work.origin.parent / name)
    return work.origin.parent / name


def test_mirrors_are_asked_in_order_while_the_origin_is_away(work, mirror_of):
    tip = work.commit({})
    mirror = mirror_of("/nowhere")
    copy = copied(work, "copy.git")
    found = mirror.fetch(source_of("/away.git", "/broken.git", copy))
    assert (found.tip, found.mirror) == (tip, str(copy))
    assert found.error == "unsupported URL protocol"  # libgit2's words for a path that is not there
    newer = work.commit({"vms/web1.yaml": "b: 7\n"})
    found = mirror.fetch(source_of(work.origin, copy))
    assert (found.tip, found.mirror, found.error) == (newer, "", "")


def test_where_a_node_was_installed_from_is_asked_last(work, mirror_of):
    tip = work.commit({})
    found = mirror_of(work.origin).fetch(source_of("/mistyped.git"))
    assert (found.tip, found.mirror) == (tip, str(work.origin))
    assert found.error


def test_without_any_place_that_answers_the_origins_fault_is_told(mirror_of):
    with pytest.raises(RepoError) as caught:
        mirror_of("/nowhere.git").fetch(source_of("http://127.0.0.1:9/x.git", "/away.git"))
    assert "127.0.0.1" in caught.value.reason


def test_the_declared_secret_is_the_login(work, mirror_of):
    import base64

    commit = work.commit({"secrets/git-read.yaml": "token: token-2\nother: x\n"})
    mirror_of(work.origin).fetch()

    def open_secret(document):
        return dict(line.split(": ") for line in document.decode().splitlines())

    login = "Basic " + base64.b64encode(b"git:token-2").decode()
    with _git_http(work, login) as url:
        mirror = mirror_of(url, credential="old", open_secret=open_secret)
        assert mirror.fetch(source_of(url, secret="git-read", commit=commit)).tip == commit
        for source in (
            source_of(url, secret="other", commit=commit),
            source_of(url, secret="git-read", commit=CommitId("0" * 40)),
        ):
            with pytest.raises(RepoError, match="login is refused"):
                mirror.fetch(source)
        closed = mirror_of(url, credential="old", open_secret=lambda _: None)
        with pytest.raises(RepoError, match="login is refused"):
            closed.fetch(source_of(url, secret="git-read", commit=commit))


def test_declared_host_keys_are_the_only_ones(work, mirror_of, tmp_path):
    mirror = mirror_of(work.origin)
    mirror.fetch(source_of(work.origin, host_keys=("h ssh-ed25519 AAAA",)))
    known = tmp_path / "mirror.git.home/.ssh/known_hosts"
    assert known.read_text() == "h ssh-ed25519 AAAA\n"
    mirror.fetch(source_of(work.origin, host_keys=("h ssh-ed25519 BBBB", "g ssh-rsa CCCC ")))
    assert known.read_text() == "h ssh-ed25519 BBBB\ng ssh-rsa CCCC\n"


def test_commits_that_come_by_hand_are_taken_up(work, mirror_of):
    mirror = mirror_of(work.origin)
    base = mirror.fetch().tip
    (work.clone / "vms/web2.yaml").write_text("b: 2\n")
    work.git("add", "-A")
    work.git("commit", "-q", "-m", "by hand")
    tip = CommitId(work.git("rev-parse", "HEAD"))
    pack = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "--thin", "--quiet"], cwd=work.clone,
        input=f"{tip}\n^{base}\n".encode(), capture_output=True, check=True,
    ).stdout  # fmt: skip
    with pytest.raises(RepoError):
        mirror.take(pack[:-5], tip)
    with pytest.raises(RepoError):
        mirror.take(b"nonsense", tip)
    assert not mirror.has(tip)
    mirror.take(pack, tip)
    assert mirror.is_ancestor(base, tip)
    assert mirror.files(tip)["vms/web2.yaml"] == b"b: 2\n"
    with pytest.raises(RepoError, match="too large"):
        mirror_of(work.origin, bytes_max=10).take(pack, tip)
