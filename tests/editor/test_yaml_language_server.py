"""The real yaml-language-server, old and new, flags unknown keys and completes from the modeline.

Marked `editor`: needs node and npm, and the package index once; the servers stay in a cache.
"""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from queue import Empty, Queue

import pytest

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.spec.schema_files import modeline, schema_files
from pvc_gitops.spec.source import schemas

VERSIONS = ("1.15.0", "2.0.0")  # 1.15 knows no unevaluatedProperties; 2.0 is current
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pvc-gitops" / "editor"
INSTALL_S = 300  # a cold npm on a slow line
ANSWER_S = 60  # node needs a few seconds to start on a busy machine

pytestmark = pytest.mark.editor


def server(version):
    """The path of that version's program, installed if it is not there."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: apt-get install npm")
    folder = CACHE / version
    program = folder / "node_modules" / ".bin" / "yaml-language-server"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
        subprocess.run(
            [*command, f"yaml-language-server@{version}"],
            check=True,
            timeout=INSTALL_S,
            capture_output=True,
        )
    return program


class Client:
    """As much of the Language Server Protocol as an editor needs for one file."""

    def __init__(self, program):
        self._process = subprocess.Popen(
            [str(program), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._inbox = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._id = 0

    def _read(self):
        out = self._process.stdout
        while line := out.readline():
            length = int(line.split(b":")[1])
            while out.readline().strip():
                pass
            self._inbox.put(json.loads(out.read(length)))

    def _send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def notify(self, method, params):
        self._send({"method": method, "params": params})

    def request(self, method, params):
        self._id += 1
        mine = self._id
        self._send({"id": mine, "method": method, "params": params})
        return self.wait(lambda message: message.get("id") == mine and "method" not in message)[
            "result"
        ]

    def wait(self, wanted):
        while True:
            try:
                message = self._inbox.get(timeout=ANSWER_S)
            except Empty:
                pytest.fail("the language server did not answer")
            if "id" in message and "method" in message:
                # The server asks for its settings, one answer for each item.
                items = message.get("params", {}).get("items", [])
                self._send(
                    {"id": message["id"], "result": [self._settings(item) for item in items]}
                )
            elif wanted(message):
                return message

    @staticmethod
    def _settings(item):
        # No look-up of the public schema store: our modeline alone must do.
        wanted = {"schemaStore": {"enable": False}, "validate": True, "completion": True}
        return wanted if item.get("section") == "yaml" else {}

    def open(self, path):
        document = {"uri": path.as_uri(), "languageId": "yaml", "version": 1}
        self.notify(
            "textDocument/didOpen", {"textDocument": {**document, "text": path.read_text()}}
        )

    def diagnostics(self, path):
        found = self.wait(
            lambda message: (
                message.get("method") == "textDocument/publishDiagnostics"
                and message["params"]["uri"] == path.as_uri()
            )
        )
        return [row["message"] for row in found["params"]["diagnostics"]]

    def completions(self, path, line, character):
        result = self.request(
            "textDocument/completion",
            {
                "textDocument": {"uri": path.as_uri()},
                "position": {"line": line, "character": character},
            },
        )
        items = result["items"] if isinstance(result, dict) else result
        return {item["label"] for item in items}

    def close(self):
        self._process.terminate()
        self._process.wait(timeout=ANSWER_S)
        self._reader.join(timeout=ANSWER_S)
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture(scope="module", params=VERSIONS)
def client(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    for name, text in schema_files().items():
        (root / ".pvc" / "schema").mkdir(parents=True, exist_ok=True)
        (root / ".pvc" / "schema" / name).write_text(text)
    client = Client(server(request.param))
    client.request(
        "initialize",
        {
            "processId": os.getpid(),
            "rootUri": root.as_uri(),
            "workspaceFolders": [{"uri": root.as_uri(), "name": "repository"}],
            "capabilities": {
                "workspace": {"configuration": True, "workspaceFolders": True},
                "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}},
            },
        },
    )
    client.notify("initialized", {})
    settings = {"yaml": Client._settings({"section": "yaml"})}
    client.notify("workspace/didChangeConfiguration", {"settings": settings})
    client.root = root
    yield client
    client.close()


def write(client, kind, name, body):
    folder = client.root / DOCUMENT_KINDS[kind][1]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(
        f"{modeline(kind)}\napiVersion: pvc/v1\nkind: {DOCUMENT_KINDS[kind][0]}\n"
        f"metadata: {{name: {name}}}\n{body}"
    )
    client.open(path)
    return path


def test_a_good_document_has_no_marks(client):
    path = write(client, Kind.POOL, "good", "spec: {copies: 3}\n")
    assert client.diagnostics(path) == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("spec: {copies: 3}\nstatus: {}\n", "status"),
        ("spec: {copies: 3, copis: 3}\n", "copis"),
    ],
)
def test_an_unknown_key_is_flagged(client, body, word):
    path = write(client, Kind.POOL, f"bad-{word}", body)
    assert any(word in message for message in client.diagnostics(path))


def test_an_unknown_key_deep_in_a_list_is_flagged(client):
    path = write(
        client,
        Kind.VM,
        "deep",
        "spec:\n  cpu: {vcpus: 1}\n  memory: 1GiB\n  disks:\n    - name: root\n      sise: 1GiB\n",
    )
    assert any("sise" in message for message in client.diagnostics(path))


@pytest.mark.parametrize("kind", [Kind.VM, Kind.CLUSTER, Kind.NODE, Kind.NETWORK])
def test_completion_lists_every_key_of_a_spec(client, kind):
    path = write(client, kind, "complete", "spec:\n  \n")
    client.diagnostics(path)
    wanted = set(schemas()[kind]["properties"]["spec"]["properties"])
    assert wanted <= client.completions(path, 5, 2)
