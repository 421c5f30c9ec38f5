"""Which watchdog is taken, what is known of its W, and how one process hands it to the next."""

import json
import os
import socket
import threading

import pytest

from pvc_guard import watchdog as dogs
from pvc_guard.machine import keep_open, kept_open
from pvc_guard.measure import finish


@pytest.fixture
def places(tmp_path):
    for name in ("devices", "classes", "sockets"):
        (tmp_path / name).mkdir()
    return dogs.Places(
        devices=tmp_path / "devices",
        classes=tmp_path / "classes",
        sockets=tmp_path / "sockets",
        measured=tmp_path / "measured.json",
    )


class Device:
    """The other end of a socket watchdog: what it was told."""

    def __init__(self, path):
        self.heard = b""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.is_closed = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        hello = json.dumps({"identity": "of a test", "waits_s": 10.0}).encode()
        connection.sendall(hello)
        while data := connection.recv(64):
            self.heard += data
            if b"?" in data:
                connection.sendall(hello)
        connection.close()
        self.is_closed.set()

    def end(self):
        self.listener.close()
        self.thread.join(timeout=5)


@pytest.fixture
def device(places):
    device = Device(places.sockets / "lab.socket")
    yield device
    device.end()


def test_without_a_watchdog_there_is_none(places):
    (places.classes / "watchdog0").mkdir()
    (places.classes / "watchdog0/identity").write_text("iTCO_wdt\n")
    # The host's class is visible in a container, its device is not.
    assert dogs.arm(places, {}) is None


def test_a_socket_whose_device_is_gone_is_no_watchdog(places):
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    gone.bind(str(places.sockets / "lab.socket"))
    gone.close()
    assert dogs.arm(places, {}) is None


def test_a_socket_watchdog_says_what_it_does_and_hears_the_petting(places, device):
    found = dogs.arm(places, {})
    assert (found.identity, found.waits_s) == ("of a test", 10.0)
    found.pet()
    found.pet()
    os.close(found.descriptor)
    assert device.is_closed.wait(5)
    assert device.heard == b"\0\0"


def test_only_an_orderly_end_says_the_magic_letter(places, device):
    dogs.arm(places, {}).disarm()
    assert device.is_closed.wait(5)
    assert device.heard == b"V"


def test_petting_a_device_that_is_gone_is_no_failure(places, device):
    found = dogs.arm(places, {})
    with socket.socket(fileno=os.dup(found.descriptor)) as ours:
        ours.shutdown(socket.SHUT_RDWR)
    assert device.is_closed.wait(5)
    found.pet()
    os.close(found.descriptor)


def test_the_next_process_takes_over_what_systemd_kept(places, device, tmp_path, monkeypatch):
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    first = dogs.arm(places, {})
    first.keep()
    message, descriptors, _, _ = socket.recv_fds(systemd, 256, 4)
    systemd.close()
    assert message == b"FDSTORE=1\nFDNAME=watchdog-socket"
    os.close(first.descriptor)
    assert not device.is_closed.is_set()  # systemd has it
    second = dogs.arm(places, {"watchdog-socket": descriptors[0]})
    assert (second.identity, second.waits_s) == ("of a test", 10.0)
    second.pet()
    os.close(second.descriptor)
    assert device.is_closed.wait(5)
    assert device.heard == b"?\0"


def test_what_was_kept_is_found_by_name_and_only_by_its_own_process(monkeypatch):
    monkeypatch.setenv("LISTEN_FDNAMES", "watchdog-socket")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert kept_open() == {}


def test_without_systemd_nothing_is_kept(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    keep_open("watchdog-socket", 1)


# --- what W is -----------------------------------------------------------------------------------------


def test_what_is_not_measured_is_not_known(places):
    assert dogs.read_measured(places.measured) == {}
    places.measured.write_text("{")
    assert dogs.read_measured(places.measured) == {}


def test_the_next_boot_writes_down_what_was_measured(places, tmp_path):
    note = tmp_path / "note"
    places.measured.write_text(json.dumps({"another": 3.0}))
    note.write_text(
        json.dumps({"identity": "i6300ESB timer", "boot_id": "one", "silent_for_s": 9.93})
    )
    assert finish(places, note, "one") is None  # still at it
    assert finish(places, note, "two") == ("i6300ESB timer", 10.5)
    assert dogs.read_measured(places.measured) == {"another": 3.0, "i6300ESB timer": 10.5}
    assert not note.exists()
    assert finish(places, note, "two") is None


def test_a_torn_note_measures_nothing(places, tmp_path):
    note = tmp_path / "note"
    note.write_text("")
    assert finish(places, note, "two") is None
    assert not note.exists()
