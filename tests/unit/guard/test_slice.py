"""Finding and ending the guests' processes, on a /proc and a cgroup made of files."""

import subprocess

import pytest

from pvc_guard.slice import GuestSlice, Stray


@pytest.fixture
def guests(tmp_path):
    (tmp_path / "machine.slice").mkdir()
    (tmp_path / "proc").mkdir()
    return GuestSlice(path=tmp_path / "machine.slice", proc=tmp_path / "proc")


def process(guests, pid, *, exe="/usr/bin/qemu-system-x86_64", words=("-name", "web1"), group):
    here = guests.proc / str(pid)
    here.mkdir()
    (here / "exe").symlink_to(exe)
    (here / "cmdline").write_bytes(b"\0".join(word.encode() for word in words))
    (here / "cgroup").write_text(f"1:name=systemd:/old\n0::{group}\n")


@pytest.mark.parametrize(
    ("events", "is_empty"),
    [("populated 0\nfrozen 0\n", True), ("populated 1\nfrozen 0\n", False), ("", False)],
)
def test_empty_is_what_the_kernel_says_is_not_populated(guests, events, is_empty):
    (guests.path / "cgroup.events").write_text(events)
    assert guests.is_empty() is is_empty


def test_no_slice_is_an_empty_one_and_an_unreadable_one_is_not(guests):
    assert guests.is_empty()
    (guests.path / "cgroup.events").mkdir()
    assert not guests.is_empty()


def test_a_qemu_outside_is_a_stray_and_its_fault_says_what_to_do(guests):
    process(guests, 7, group="/system.slice/libvirtd.service")
    assert guests.strays() == (Stray(pid=7, cgroup="/system.slice/libvirtd.service"),)
    assert "systemd-machined" in guests.strays()[0].fault


@pytest.mark.parametrize(
    "more",
    [
        {"group": "/machine.slice/machine-qemu1.scope/libvirt"},
        {"group": "/system.slice/x.service", "exe": "/usr/bin/qemu-img"},
        {
            "group": "/system.slice/libvirtd.service",
            "words": ("qemu", "-machine", "none,accel=kvm"),
        },
    ],
)
def test_what_is_no_stray(guests, more):
    process(guests, 7, **more)
    (guests.proc / "self").mkdir()
    (guests.proc / "8").mkdir()  # ended while we looked
    assert guests.strays() == ()


def test_a_slice_of_a_similar_name_is_not_ours(guests):
    process(guests, 7, group="/machine.slice-other/x.scope")
    assert len(guests.strays()) == 1


def test_the_kill_takes_the_slice_and_the_strays(guests):
    stray = subprocess.Popen(["sleep", "60"])
    process(guests, stray.pid, group="/system.slice/libvirtd.service")
    process(guests, 2**22 + 1, group="/gone")  # above every pid: it has just ended
    (guests.path / "cgroup.kill").write_text("")
    guests.kill()
    assert (guests.path / "cgroup.kill").read_text() == "1"
    assert stray.wait(timeout=5) == -9
