"""The hands of formation that need no node: files, certificates, peers over real TLS, progress."""

import dataclasses
import json
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from test_founding_values import record

from pvc_gitops.adapters.formation import context, daemons, files, journal, pki, systemd
from pvc_gitops.adapters.formation.context import Waiting
from pvc_gitops.adapters.formation.peer_server import PeerServer, Reply
from pvc_gitops.adapters.formation.peers import Credentials, ask_all
from pvc_gitops.adapters.formation.store import parse_ensemble
from pvc_gitops.cli.founding import write_founding
from pvc_gitops.errors import UsageError, WorldError
from pvc_gitops.formation.disks import device, osd_number
from pvc_gitops.formation.peer_words import Answer
from pvc_gitops.formation.record import Told
from pvc_gitops.formation.render.frr import established
from pvc_gitops.formation.secrets import SECRET_FILE, FoundingSecrets
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ids import NodeName

HV1, HV2 = NodeName("hv1"), NodeName("hv2")


# --- files ---


def test_writing_the_same_again_changes_nothing(tmp_path):
    path = tmp_path / "a" / "conf"
    assert files.write(str(path), "text", mode=0o640)
    before = path.stat()
    assert not files.write(str(path), "text", mode=0o640)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_changed_file_is_replaced_whole_and_an_old_attempt_is_no_obstacle(tmp_path):
    path = tmp_path / "conf"
    path.write_text("old")
    old = path.open()
    (tmp_path / ".conf.new").write_text("half of an interrupted wri")
    assert files.write(str(path), "new")
    assert old.read() == "old"  # a reader of the old file keeps it
    assert [each.name for each in tmp_path.iterdir()] == ["conf"]
    assert path.read_text() == "new"
    old.close()


def test_a_mode_is_mended_even_if_the_content_is_right(tmp_path):
    path = tmp_path / "password"
    path.write_text("x")
    path.chmod(0o644)
    files.write(str(path), "x", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600


# --- certificates and peers ---


class Node:
    """A node's certificate in files."""

    def __init__(self, folder: Path, name: str, authority: pki.Authority) -> None:
        key = pki.new_key()
        certificate = pki.sign(
            authority,
            key,
            name=name,
            addresses=["127.0.0.1"],
            domain="lab.example",
            now_s=int(time.time()),
        )
        self.credentials = Credentials(
            authority=str(folder / f"{name}.ca"),
            certificate=str(folder / f"{name}.pem"),
            key=str(folder / f"{name}.key"),
        )
        files.write(self.credentials.authority, authority.certificate)
        files.write(self.credentials.certificate, certificate)
        files.write(self.credentials.key, key)


TOLD = Told(record=record(), is_founded=True)


def serving(credentials, *, port=0):
    """A node that tells its founding record."""
    return PeerServer(
        "127.0.0.1",
        credentials,
        lambda _asker, _question: Reply(answer=Answer(value=encode(TOLD))),
        port=port,
    )


@pytest.fixture
def authority():
    return pki.new_authority("11111111", int(time.time()))


def test_a_member_answers_a_member(tmp_path, authority):
    hv1, hv2 = Node(tmp_path, "hv1", authority), Node(tmp_path, "hv2", authority)
    with serving(hv1.credentials) as server:
        assert ask_all({HV1: "127.0.0.1"}, hv2.credentials, port=server.port) == {HV1: TOLD}
    # And again: a restarted formation binds at once.
    with serving(hv1.credentials, port=server.port):
        assert ask_all({HV1: "127.0.0.1"}, hv2.credentials, port=server.port) == {HV1: TOLD}


def test_a_silent_member_is_none(tmp_path, authority):
    node = Node(tmp_path, "hv2", authority)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert ask_all({HV1: "127.0.0.1"}, node.credentials, port=port) == {HV1: None}


def test_a_member_under_another_s_name_is_not_believed(tmp_path, authority):
    hv1, hv2 = Node(tmp_path, "hv1", authority), Node(tmp_path, "hv2", authority)
    with serving(hv2.credentials) as server:
        assert ask_all({HV1: "127.0.0.1"}, hv1.credentials, port=server.port) == {HV1: None}


def test_a_stranger_s_certificate_gets_nothing_and_the_server_goes_on(tmp_path, authority):
    hv1, hv2 = Node(tmp_path, "hv1", authority), Node(tmp_path, "hv2", authority)
    (tmp_path / "x").mkdir()
    stranger = Node(tmp_path / "x", "hv2", pki.new_authority("22222222", int(time.time())))
    # It would even trust our authority; we do not trust its.
    believing = dataclasses.replace(stranger.credentials, authority=hv1.credentials.authority)
    with serving(hv1.credentials) as server:
        assert ask_all({HV1: "127.0.0.1"}, believing, port=server.port) == {HV1: None}
        assert ask_all({HV1: "127.0.0.1"}, hv2.credentials, port=server.port) == {HV1: TOLD}


def test_old_tls_is_refused(tmp_path, authority):
    hv1 = Node(tmp_path, "hv1", authority)
    context = ssl.create_default_context(cafile=hv1.credentials.authority)
    context.load_cert_chain(hv1.credentials.certificate, hv1.credentials.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        serving(hv1.credentials) as server,
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="hv1")


def test_certificates_satisfy_openssl_s_strict_check(tmp_path, authority):
    node = Node(tmp_path, "hv1", authority)
    paths = (node.credentials.authority, node.credentials.certificate)
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", *paths],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_certificate_belongs_to_its_authority_and_key(authority):
    key = pki.new_key()
    certificate = pki.sign(
        authority, key, name="hv1", addresses=[], domain="lab.example", now_s=int(time.time())
    )
    other = pki.new_authority("11111111", int(time.time()))  # it even calls itself so
    assert pki.is_signed_by(certificate, authority.certificate, key)
    assert not pki.is_signed_by(certificate, authority.certificate, pki.new_key())
    assert not pki.is_signed_by(certificate, other.certificate, key)


# --- founding secrets on disk ---


def test_a_founding_is_written_once_and_opened_by_both_keys(tmp_path):
    from pvc_gitops.adapters.age import sops

    founded = write_founding(tmp_path)
    text = (tmp_path / SECRET_FILE).read_bytes()
    for key in (founded.cluster_key, founded.recovery_key):
        secrets = FoundingSecrets.from_data(sops.read(text, key))
        assert secrets.cluster_id == founded.cluster_id
        assert key.encode() not in text
    with pytest.raises(UsageError, match="is there already"):
        write_founding(tmp_path)
    assert (tmp_path / SECRET_FILE).read_bytes() == text


# --- what programs say ---


def test_the_running_ensemble_is_read():
    config = (
        "server.1=10.21.0.1:2888:3888:participant;0.0.0.0:2181\n"
        "server.3=10.21.0.3:2888:3888:participant;0.0.0.0:2181\nversion=100000000"
    )
    assert parse_ensemble(config) == {1: "10.21.0.1", 3: "10.21.0.3"}


def test_evpn_sessions_are_counted():
    peers = {"10.21.0.2": {"state": "Established"}, "10.21.0.3": {"state": "Connect"}}
    assert established({"peers": peers}) == 1
    assert established({}) == 0


DISKS = [
    {"path": "/dev/sda", "serial": "S1", "wwn": "0x50", "model": "SSD", "type": "disk"},
    {"path": "/dev/sdb", "serial": "S2", "wwn": "0x51", "model": "SSD", "type": "disk"},
    {"path": "/dev/sr0", "serial": "S2", "wwn": None, "model": "DVD", "type": "rom"},
]


def test_a_disk_is_named_by_facts_that_fit_one_only():
    assert device(DISKS, {"serial": "S2"}) == "/dev/sdb"
    assert device(DISKS, {"wwn": "0x50", "model": "SSD"}) == "/dev/sda"


@pytest.mark.parametrize("wanted", [{"model": "SSD"}, {"serial": "S9"}, {"size": "1TiB"}])
def test_a_disk_that_is_not_exactly_one_is_refused(wanted):
    with pytest.raises(UsageError, match=r"\d disks match"):
        device(DISKS, wanted)


def test_an_osd_finds_its_own_number_by_uuid():
    listed = {"4": [{"tags": {"ceph.osd_fsid": "a"}}], "7": [{"tags": {"ceph.osd_fsid": "b"}}]}
    assert osd_number(listed, "b") == 7
    assert osd_number(listed, "c") is None


# --- progress and status ---


def test_marks_survive_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "PROGRESS", str(tmp_path / "progress.json"))
    journal.Progress.load().mark("zookeeper-prepared")
    assert journal.Progress.load().has("zookeeper-prepared")
    assert not journal.Progress.load().has("monitor-made")


def test_the_status_names_open_stages_and_what_they_wait_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(journal, "STATUS", str(tmp_path / "formation.json"))

    def status():
        return json.loads((tmp_path / "formation.json").read_text())

    said = journal.Journal()
    said.begin("zookeeper")
    said.begin("monitors")
    said.wait_for("zookeeper", "hv3 (2 of 3 here)")
    said.wait_for("zookeeper", "hv3 (2 of 3 here)")
    assert (status()["stage"], status()["waiting_for"]) == (
        "zookeeper, monitors",
        "hv3 (2 of 3 here)",
    )
    said.end("zookeeper", "zookeeper quorum 3/3")
    assert status()["stage"] == "monitors"
    said.done()
    assert (status()["stage"], status()["error"]) == ("done", "")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "formation: waiting for hv3 (2 of 3 here)"
    assert lines[1].startswith("formation: zookeeper quorum 3/3 after ")
    assert len(lines) == 2


def test_the_status_tells_the_key_that_a_person_writes_down(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "STATUS", str(tmp_path / "formation.json"))
    said = journal.Journal()
    said.tell_key("SHA256:abc")
    said.begin("certificate")
    assert json.loads((tmp_path / "formation.json").read_text())["key"] == "SHA256:abc"


def test_waiting_says_why_and_ends_when_another_part_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(journal, "STATUS", str(tmp_path / "formation.json"))
    waiting = Waiting(journal=journal.Journal())
    looks = iter([None, None, "it"])
    found = waiting.wait_for("door", lambda: next(looks), lambda: "a word", 0.01)
    assert found == "it"
    assert capsys.readouterr().out == "formation: waiting for a word\n"
    waiting.stopping.set()
    with pytest.raises(WorldError, match="given up: another part failed"):
        waiting.wait_for("door", lambda: None, lambda: "a word", 10)
    monkeypatch.setattr(context, "PATIENCE_S", 0.0)
    fresh = Waiting(journal=journal.Journal())
    with pytest.raises(WorldError, match="not within the time"):
        fresh.wait_for("door", lambda: None, lambda: "a word", 10)


def test_a_program_that_fails_is_told_in_its_own_words():
    from pvc_gitops.adapters.formation import commands

    with pytest.raises(WorldError, match="status 3: no such thing"):
        commands.run("sh", "-c", "echo no such thing >&2; exit 3")
    with pytest.raises(WorldError, match="no end within 0 s"):
        commands.run("sleep", "5", limit_s=0.1)
    assert not commands.succeeds("/nonexistent")


def test_daemons_are_started_by_the_run_that_finds_it_was_not_done(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(journal, "PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(systemd, "exists", lambda unit: unit != "absent.service")
    monkeypatch.setattr(systemd, "enable", lambda *units: told.append(("enable", units)))
    monkeypatch.setattr(systemd, "start_later", lambda *units: told.append(("start", units)))
    for _ in range(2):  # the second is a later boot: somebody may have stopped one on purpose
        units = ("pvc-guard.service", "absent.service")
        daemons.ensure_started(units, journal.Progress.load())
        assert told == [("enable", ("pvc-guard.service",)), ("start", ("pvc-guard.service",))]
