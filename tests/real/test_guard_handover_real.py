"""One guard process follows another, killed or replaced, with the lab's own watchdog device behind it: no
lease ends, no guest dies, the device is never without an owner and never too late petted."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from guard_process import RUN, Guard

from pvc_gitops.lab.watchdog import SOCKET, WAITS_S, Device

pytestmark = pytest.mark.lab

# As systemd starts a service with a kept descriptor: as number three, told its own process id.
TAKE_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[2], sys.argv[2:])
"""
HAND_OVERS = (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL)


class Machine:
    """What the device sees of the machine: which life it is in, and its power switch."""

    name = "hv1"

    def __init__(self):
        self.resets = []

    def init_pid(self):
        return 1

    def power_off(self):
        self.resets.append(time.monotonic())

    def power_on(self, *, wait):
        assert not wait


class Watched(Device):
    """The device, and when it was petted."""

    def __init__(self, machine, listener):
        super().__init__(machine, listener)
        self.petted = []

    def _read(self):
        super()._read()
        self.petted.append(time.monotonic())


class ServiceManager:
    """Keeps what the guard gives it, as systemd does, and starts the next process with it."""

    def __init__(self, guard, folder):
        self.guard = guard
        self.folder = folder
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.setblocking(False)
        self.kept = {}

    def end(self):
        self.guard.end(signal.SIGKILL)
        self.collect()
        self.notify.close()
        for descriptor in self.kept.values():
            os.close(descriptor)

    def collect(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                message, descriptors, _, _ = socket.recv_fds(self.notify, 256, 4)
                lines = message.decode().splitlines()
                if "FDSTORE=1" in lines and descriptors:
                    name = next(line for line in lines if line.startswith("FDNAME="))
                    old = self.kept.pop(name.removeprefix("FDNAME="), None)
                    if old is not None:
                        os.close(old)
                    self.kept[name.removeprefix("FDNAME=")] = descriptors[0]

    def start(self):
        self.collect()
        guard = self.guard
        code = RUN.format(
            here=str(guard.here), slice=str(guard.slice.path), zookeeper=str(guard.zookeeper)
        )
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")}
        words = ["nice", "-n", "-20", sys.executable, "-c", code]  # Nice= of the unit
        if self.kept:
            ((name, descriptor),) = self.kept.items()
            environment |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
            words = [sys.executable, "-c", TAKE_OVER, str(descriptor), *words]
        with (guard.here / "log").open("ab") as log:
            guard.process = subprocess.Popen(
                words, stdout=log, stderr=log, env=environment, pass_fds=tuple(self.kept.values())
            )


@pytest.fixture
def manager(tmp_path, ensemble, machine_slice):
    manager = ServiceManager(Guard(tmp_path, ensemble, machine_slice), tmp_path)
    yield manager
    manager.end()


@pytest.fixture
def device(tmp_path):
    folder = tmp_path / "watchdog"
    folder.mkdir()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / SOCKET))
    listener.listen(1)
    machine = Machine()
    device = Watched(machine, listener)
    threading.Thread(target=device.serve, daemon=True).start()
    return device, machine


def test_hand_overs_leave_no_gap(manager, machine_slice, device):
    watched, machine = device
    guard = manager.guard
    manager.start()
    life = guard.wait_for_lease()
    guest = machine_slice.start_guest()
    for number in HAND_OVERS:
        time.sleep(3.0)
        manager.collect()
        assert list(manager.kept) == ["watchdog-socket"], guard.log()
        guard.process.send_signal(number)
        if number is signal.SIGSTOP:
            time.sleep(2.5)  # as long as it takes to notice and to kill it
            guard.process.send_signal(signal.SIGKILL)
        guard.process.wait(timeout=10)
        time.sleep(0.2)  # RestartSec
        manager.start()
    time.sleep(WAITS_S + 1.0)
    assert guest.poll() is None, guard.log()
    assert guard.state()["incarnation"] == life
    petted = [*watched.petted, time.monotonic()]
    gaps = [later - earlier for earlier, later in itertools.pairwise(petted)]
    print(f"the longest silence at the device was {max(gaps):.2f} s")
    assert max(gaps) < WAITS_S / 2
    assert machine.resets == []

    guard.process.send_signal(signal.SIGKILL)  # and nobody follows
    guard.process.wait(timeout=10)
    silent_s = time.monotonic()
    while not machine.resets:
        assert time.monotonic() < silent_s + WAITS_S + 2.0
        time.sleep(0.05)
    assert machine.resets[0] - silent_s > WAITS_S - 1.0
