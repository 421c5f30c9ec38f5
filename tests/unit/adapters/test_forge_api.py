"""Comments and statuses against a server on this machine that behaves as the forges document it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from pvc_gitops.adapters.forge import Api, ForgeError
from pvc_gitops.cli.forge import forge, place_of
from pvc_gitops.errors import UsageError
from pvc_gitops.model.forge import ForgeType
from pvc_gitops.planner.markdown import marker

MARK = marker("prod")
TOKEN = "s3cret"
WHERE = {
    ForgeType.GITHUB: ("/repos/infra/prod", "/repos/infra/prod/issues/14/comments"),
    ForgeType.FORGEJO: ("/repos/infra/prod", "/repos/infra/prod/issues/14/comments"),
    ForgeType.GITLAB: ("/projects/infra%2Fprod", "/projects/infra%2Fprod/merge_requests/14/notes"),
}
LOGIN = {
    ForgeType.GITHUB: ("Authorization", f"Bearer {TOKEN}"),
    ForgeType.FORGEJO: ("Authorization", f"token {TOKEN}"),
    ForgeType.GITLAB: ("PRIVATE-TOKEN", TOKEN),
}


class Forge(ThreadingHTTPServer):
    """Comments of one request, in pages."""

    daemon_threads = True

    def __init__(self, kind):
        super().__init__(("127.0.0.1", 0), Answers)
        self.kind, self.comments, self.statuses, self.wrong = kind, [], [], []
        self.broken = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def api(self):
        return Api(type=self.kind, address=self.url, repository="infra/prod", token=TOKEN)


class Answers(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def _say(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self):
        forge, parts = self.server, urlsplit(self.path)
        home, comments = WHERE[forge.kind]
        name, value = LOGIN[forge.kind]
        if self.headers.get(name) != value:
            self._say(401, {"message": "Bad credentials"})
            return
        if forge.broken:
            self._say(forge.broken, {"message": "no luck today"})
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        editing = f"{comments}/" if forge.kind is ForgeType.GITLAB else f"{home}/issues/comments/"
        verb = "PUT" if forge.kind is ForgeType.GITLAB else "PATCH"
        if self.command == "GET" and parts.path == comments:
            page, size = (int(parse_qs(parts.query)[key][0]) for key in ("page", "per_page"))
            self._say(200, forge.comments[(page - 1) * size : page * size])
        elif self.command == "POST" and parts.path == comments:
            forge.comments.append({"id": 1000 + len(forge.comments), **body})
            self._say(201, forge.comments[-1])
        elif self.command == verb and parts.path.startswith(editing):
            number = int(parts.path.rsplit("/", 1)[1])
            (mine,) = [each for each in forge.comments if each["id"] == number]
            mine.update(body)
            self._say(200, mine)
        elif self.command == "POST" and parts.path.startswith(f"{home}/statuses/"):
            forge.statuses.append((parts.path.rsplit("/", 1)[1], body))
            self._say(201, {})
        else:
            forge.wrong.append((self.command, self.path))
            self._say(404, {"message": "Not Found"})

    do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815


@pytest.fixture(params=list(WHERE))
def server(request):
    found = Forge(request.param)
    yield found
    found.shutdown()
    found.server_close()
    assert found.wrong == []


def test_a_comment_is_made_once_and_edited_from_then_on(server):
    others = [{"id": number, "body": f"comment {number}"} for number in range(250)]
    server.comments += others
    assert server.api().comment(14, f"{MARK}\nfirst", MARK) == "made"
    assert server.api().comment(14, f"{MARK}\nsecond", MARK) == "edited"
    assert [each["body"] for each in server.comments[250:]] == [f"{MARK}\nsecond"]
    assert server.comments[:250] == others


def test_a_comment_of_another_cluster_is_left_alone(server):
    server.comments.append({"id": 1, "body": f"{marker('test')}\ntheirs"})
    server.comments.append({"id": 2, "body": f"quoting {MARK}"})
    assert server.api().comment(14, f"{MARK}\nours", MARK) == "made"
    assert len(server.comments) == 3


def test_a_status_stands_beside_its_commit(server):
    server.api().status("a" * 40, "failure", "pvc/plan (prod)", "1 blocked")
    ((commit, body),) = server.statuses
    is_gitlab = server.kind is ForgeType.GITLAB
    assert commit == "a" * 40
    assert body["state"] == ("failed" if is_gitlab else "failure")
    assert body["name" if is_gitlab else "context"] == "pvc/plan (prod)"
    assert body["description"] == "1 blocked"


def test_a_refusal_says_why_and_never_the_token(server):
    with pytest.raises(ForgeError, match="401 Bad credentials") as refused:
        Api(type=server.kind, address=server.url, repository="infra/prod", token="wr0ng").comment(
            14, "x", MARK
        )
    assert "wr0ng" not in str(refused.value)
    server.broken = 503
    with pytest.raises(ForgeError, match="503 no luck today") as broken:
        server.api().comment(14, "x", MARK)
    assert broken.value.retryable


def test_nobody_there_is_an_answer_too():
    api = Api(type=ForgeType.GITHUB, address="http://127.0.0.1:1", repository="a/b", token=TOKEN)
    with pytest.raises(ForgeError, match="refused"):
        api.status("a" * 40, "success", "x", "y")


def test_ci_says_where_it_runs():
    github = {
        "GITHUB_REF": "refs/pull/14/merge", "GITHUB_REPOSITORY": "infra/prod",
        "GITHUB_API_URL": "https://api.github.com",
    }  # fmt: skip
    assert place_of(github).type is ForgeType.GITHUB
    assert place_of({**github, "FORGEJO_ACTIONS": "true"}).type is ForgeType.FORGEJO
    assert place_of(github).number == 14
    gitlab = {
        "CI_MERGE_REQUEST_IID": "7", "CI_PROJECT_PATH": "infra/prod",
        "CI_API_V4_URL": "https://gitlab.example.com/api/v4",
    }  # fmt: skip
    assert (place_of(gitlab).type, place_of(gitlab).number) == (ForgeType.GITLAB, 7)
    with pytest.raises(UsageError, match="no pull request"):
        place_of({**github, "GITHUB_REF": "refs/heads/main"})
    with pytest.raises(UsageError, match="no CI job"):
        place_of({})


def test_the_command_comments_from_ci(server, tmp_path, monkeypatch):
    file = tmp_path / "plan.md"
    file.write_text(f"{MARK}\n### pvc plan\n")
    for name in ("GITHUB_REF", "CI_MERGE_REQUEST_IID", "FORGEJO_ACTIONS", "GITEA_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    if server.kind is ForgeType.GITLAB:
        monkeypatch.setenv("CI_MERGE_REQUEST_IID", "14")
        monkeypatch.setenv("CI_PROJECT_PATH", "infra/prod")
        monkeypatch.setenv("CI_API_V4_URL", server.url)
    else:
        monkeypatch.setenv("GITHUB_REF", "refs/pull/14/merge")
        monkeypatch.setenv("GITHUB_REPOSITORY", "infra/prod")
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        if server.kind is ForgeType.FORGEJO:
            monkeypatch.setenv("FORGEJO_ACTIONS", "true")
    monkeypatch.setenv("PVC_FORGE_TOKEN", TOKEN)
    for word in ("made", "edited"):
        result = CliRunner().invoke(forge, ["comment", "--file", str(file)])
        assert result.exception is None, result.output
        assert word in result.output
    assert len(server.comments) == 1
