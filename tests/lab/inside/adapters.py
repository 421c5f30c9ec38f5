# ruff: noqa: PLR0915  a list of checks reads best as one
"""Exercises the adapters for real, inside a node of a running lab, without pytest.

    python3 adapters.py --image FILE [--only storage,hypervisor,links,dhcp,services]

The node's own agent must not run beside `hypervisor` and `services`: it would put away what it has no
record of. Prints `PASS name` a check and `FAIL name: why`; exits 1 if anything failed. Makes a pool,
images, a guest, bridges and name spaces with names of its own, and removes them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from pvc_gitops.adapters.ceph import importer
from pvc_gitops.adapters.ceph.cluster import Cluster
from pvc_gitops.adapters.ceph.images import RbdImages
from pvc_gitops.adapters.ceph.pools import RadosPools
from pvc_gitops.adapters.dnsmasq import config as dnsmasq_files
from pvc_gitops.adapters.dnsmasq.services import DnsmasqServices
from pvc_gitops.adapters.libvirt import kvm, xml
from pvc_gitops.adapters.libvirt.hypervisor import LibvirtHypervisor
from pvc_gitops.adapters.netlink.links import NetlinkLinks
from pvc_gitops.errors import DownloadError, HypervisorError, LinkError, PoolError
from pvc_gitops.model.ids import Mac
from pvc_gitops.model.inventory import GuestState
from pvc_gitops.world import names
from pvc_gitops.world.ports import (
    Bridge,
    DhcpConfig,
    DhcpHost,
    DiskAttachment,
    Domain,
    Neighbour,
    NicAttachment,
)

CONF = "/etc/ceph/ceph.conf"
POOL = "adapters-test"
GUEST = "adapters-test"
VNI = 16_000_001  # far from what a repository would choose
VNI_OTHER = 16_000_002
MARKER = b"PVC-GUEST"

failures: list[str] = []


@contextlib.contextmanager
def check(name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    except Exception as err:  # noqa: BLE001  the one place where a check's end is told
        failures.append(name)
        print(f"FAIL {name}: {err!r}")
        traceback.print_exc(file=sys.stdout)
    else:
        print(f"PASS {name} ({time.monotonic() - started:.2f} s)")
    sys.stdout.flush()


def expect(error: type[Exception], act: Callable[[], object]) -> Exception:
    try:
        act()
    except error as err:
        return err
    raise AssertionError(f"no {error.__name__}")


def until(condition: Callable[[], object], limit_s: float, what: str) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        time.sleep(0.1)


def run(*argv: str, check_it: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert not check_it or done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def secret_uuid() -> str:
    """libvirt's secret of client.pvc, as this node was formed."""
    for line in run("virsh", "-q", "secret-list").splitlines():
        fields = line.split()
        if fields[1:] and fields[1] == "ceph":
            return fields[0]
    raise AssertionError("libvirt has no Ceph secret")


# --- storage --------------------------------------------------------------------------------------


def storage(image: Path) -> None:
    admin = Cluster(client="client.admin", conf=CONF)
    pools, images = RadosPools(admin), RbdImages(Cluster(client="client.pvc", conf=CONF))
    checksum = "sha256:" + hashlib.sha256(image.read_bytes()).hexdigest()

    def take_in(
        name: str, *, url: str = "", kind: str = "raw", sum_: str = checksum
    ) -> list[float]:
        shown: list[float] = []
        images.import_url(
            url or image.as_uri(),
            checksum=sum_,
            image_format=kind,
            pool=POOL,
            image=name,
            progress=shown.append,
        )
        return shown

    with check("ceph status"):
        status = pools.status()
        assert status.health in {"HEALTH_OK", "HEALTH_WARN", "HEALTH_ERR"}
        assert status.osds_up > 0
        assert 0 < status.used_ratio < 1
    with check("pool is created, twice"):
        for _ in range(2):
            pools.create_pool(POOL, copies=2, min_copies=1, pgs=16)
        assert (pools.pools()[POOL].copies, pools.pools()[POOL].min_copies) == (2, 1)
    with check("pool is updated up and down"):
        pools.update_pool(POOL, copies=3, min_copies=2)
        assert (pools.pools()[POOL].copies, pools.pools()[POOL].min_copies) == (3, 2)
        pools.update_pool(POOL, copies=2, min_copies=1)
        assert (pools.pools()[POOL].copies, pools.pools()[POOL].min_copies) == (2, 1)
    with check("client.pvc reaches a new pool"):
        assert images.images(POOL) == {}
    with check("a wrong checksum leaves nothing"):
        err = expect(DownloadError, lambda: take_in("base", sum_="sha256:" + "0" * 64))
        assert not err.retryable
        assert "rbd" not in str(err)
        assert raw_images() == []
        assert list(importer.FOLDER.iterdir()) == []
    with check("an unreachable URL can be tried again"):
        err = expect(DownloadError, lambda: take_in("base", url="http://127.0.0.1:9/x"))
        assert err.retryable
    with check("an import shows progress and ends protected"):
        shown = take_in("base")
        assert shown == sorted(shown)
        assert shown[-1] == 1.0
        facts = images.images(POOL)["base"]
        assert facts.snapshots == ("base",)
        assert exported("base@base")[: image.stat().st_size] == image.read_bytes()
    with check("an import that stands is left alone"):
        assert take_in("base") == []
    with check("qcow2 is converted"):
        qcow2 = image.with_suffix(".adapters.qcow2")
        run("qemu-img", "convert", "-O", "qcow2", str(image), str(qcow2))
        digest = "sha256:" + hashlib.sha256(qcow2.read_bytes()).hexdigest()
        take_in("converted", url=qcow2.as_uri(), kind="qcow2", sum_=digest)
        assert exported("converted")[: image.stat().st_size] == image.read_bytes()
        images.delete_image(POOL, "converted")
        qcow2.unlink()
    with check("a qcow2 with a backing file is refused"):
        qcow2 = image.with_suffix(".backed.qcow2")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/shadow", str(qcow2))
        digest = "sha256:" + hashlib.sha256(qcow2.read_bytes()).hexdigest()
        err = expect(
            DownloadError,
            lambda: take_in("backed", url=qcow2.as_uri(), kind="qcow2", sum_=digest),
        )
        assert "backing" in str(err)
        qcow2.unlink()
    with check("an import killed in the middle shows nothing, the next finishes"):
        killed_import(image, checksum, images)
    with check("a clone has its parent and its size"):
        images.clone((POOL, "base", "base"), POOL, "web1", 64)
        facts = images.images(POOL)["web1"]
        assert (facts.size_mib, facts.parent) == (64, f"{POOL}/base@base")
    with check("a clone is never smaller than its parent"):
        err = expect(PoolError, lambda: images.clone((POOL, "base", "base"), POOL, "web2", 1))
        assert not err.retryable
        assert "web2" not in "".join(raw_images())
    with check("an image with clones stays"):
        err = expect(PoolError, lambda: images.delete_image(POOL, "base"))
        assert "web1" in str(err)
    with check("grow, never shrink"):
        images.grow(POOL, "web1", 96)
        assert images.images(POOL)["web1"].size_mib == 96
        assert not expect(PoolError, lambda: images.grow(POOL, "web1", 64)).retryable
    with check("who writes is a watcher, who looks is not"):
        assert images.watchers(POOL, "web1") == ()
        with opened_elsewhere("web1"):
            (watcher,) = images.watchers(POOL, "web1")
            assert ":0/" in watcher
            err = expect(PoolError, lambda: images.trash_move(POOL, "web1", 60))
            assert watcher in str(err)
    with check("trash and restore"):
        images.trash_move(POOL, "web1", 3600)
        (entry,) = images.trash(POOL)
        assert entry.name == "web1"
        assert abs(entry.until_s - time.time() - 3600) < 30
        assert "web1" not in images.images(POOL)
        expect(PoolError, lambda: images.delete_image(POOL, "base"))
        images.trash_restore(POOL, entry.id, "web1")
        assert images.images(POOL)["web1"].size_mib == 96
    with check("a pool with data stays"):
        assert "images" in str(expect(PoolError, lambda: pools.delete_pool(POOL)))
    with check("blocklist"):
        pools.block("192.0.2.7:0/12345", 5)
        assert "192.0.2.7:0/12345" in pools.blocklist()
    with check("what is not there is told at once"):
        assert not expect(PoolError, lambda: images.watchers(POOL, "nobody")).retryable
        assert not expect(PoolError, lambda: images.images("no-such-pool")).retryable
    with check("removal, to the pool itself"):
        images.delete_image(POOL, "web1")
        images.delete_image(POOL, "base")
        pools.delete_pool(POOL)
        pools.delete_pool(POOL)
        assert POOL not in pools.pools()
    with check("an unreachable cluster costs a limited time"):
        nowhere = Path("/run/pvc/adapters-test.conf")
        nowhere.parent.mkdir(exist_ok=True)
        nowhere.write_text(
            "[global]\nmon_host = 192.0.2.1\nkeyring = /etc/ceph/ceph.client.admin.keyring\n"
        )
        lost = RadosPools(Cluster(client="client.admin", conf=str(nowhere)))
        started = time.monotonic()
        assert expect(PoolError, lost.status).retryable
        assert time.monotonic() - started < 30
        nowhere.unlink()


def raw_images() -> list[str]:
    return run("rbd", "ls", POOL).split()


def exported(image: str) -> bytes:
    argv = ["rbd", "export", "--no-progress", f"{POOL}/{image}", "-"]
    return subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout


def killed_import(image: Path, checksum: str, images: RbdImages) -> None:
    child = subprocess.Popen(
        [sys.executable, __file__, "--image", str(image), "--slow-import", checksum],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if float(line) > 0.7:  # in the middle of writing to the pool
            break
    child.kill()
    child.wait()
    assert [name for name in raw_images() if name.startswith("twice")], "it had not begun to write"
    assert list(importer.FOLDER.iterdir()), "it left nothing to clean up"
    assert "twice" not in images.images(POOL)
    images.import_url(
        image.as_uri(),
        checksum=checksum,
        image_format="raw",
        pool=POOL,
        image="twice",
        progress=lambda _: None,
    )
    assert images.images(POOL)["twice"].snapshots == ("base",)
    assert [name for name in raw_images() if name.startswith("twice")] == ["twice"]
    assert list(importer.FOLDER.iterdir()) == []
    images.delete_image(POOL, "twice")


def slow_import(image: Path, checksum: str) -> None:
    """What `killed_import` kills."""

    def progress(part: float) -> None:
        print(part, flush=True)
        time.sleep(0.2)

    RbdImages(Cluster(client="client.pvc", conf=CONF)).import_url(
        image.as_uri(),
        checksum=checksum,
        image_format="raw",
        pool=POOL,
        image="twice",
        progress=progress,
    )


@contextlib.contextmanager
def opened_elsewhere(image: str) -> Iterator[None]:
    """Another process has the image open for writing."""
    code = (
        "import rados, rbd, sys\n"
        f"c = rados.Rados(name='client.pvc', conffile={CONF!r}); c.connect()\n"
        f"i = rbd.Image(c.open_ioctx({POOL!r}), {image!r})\n"
        "print('open', flush=True); sys.stdin.read(); i.close(); c.shutdown()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        yield
    finally:
        child.communicate("")


# --- guests ---------------------------------------------------------------------------------------


def hypervisor(image: Path) -> None:
    admin = Cluster(client="client.admin", conf=CONF)
    pools, images = RadosPools(admin), RbdImages(Cluster(client="client.pvc", conf=CONF))
    access = xml.CephAccess(user="pvc", secret_uuid=secret_uuid(), conf=CONF)
    guests = LibvirtHypervisor(access=access, acceleration=kvm.acceleration())
    checksum = "sha256:" + hashlib.sha256(image.read_bytes()).hexdigest()
    bridge = names.bridge(VNI_OTHER)
    run("ip", "link", "add", bridge, "type", "bridge", check_it=False)
    run("ip", "link", "set", bridge, "up")
    pools.create_pool(POOL, copies=2, min_copies=1, pgs=16)
    images.import_url(
        image.as_uri(),
        checksum=checksum,
        image_format="raw",
        pool=POOL,
        image="base",
        progress=lambda _: None,
    )
    images.clone((POOL, "base", "base"), POOL, "root", 32)
    for name in ("data", "extra"):
        images.create(POOL, name, 16)
    domain = a_domain(bridge)
    log = Path(names.console_log(GUEST))
    log.unlink(missing_ok=True)
    try:
        hypervisor_checks(guests, domain, images, log)
        with check("a killed guest starts again at once, when its client is blocked"):
            killed_guest(guests, domain, images, pools)
    finally:
        guests.destroy(GUEST)
        run("ip", "link", "del", bridge, check_it=False)
        # A destroyed guest's client may be a watcher for a moment.
        for name in ("root", "data", "extra", "base"):
            until(lambda name=name: deleted(images, name), 40, f"{name} is deleted")
        pools.delete_pool(POOL)


def deleted(images: RbdImages, name: str) -> bool:
    try:
        images.delete_image(POOL, name)
    except PoolError as err:
        return not err.retryable
    return True


def a_domain(bridge: str) -> Domain:
    return Domain(
        name=GUEST,
        uuid=str(uuid.uuid4()),
        digest="0123456789abcdef",
        starts=3,
        vcpus=1,
        cpu_model="host-model",
        memory_mib=128,
        firmware="bios",
        disks=(
            DiskAttachment(name="data", pool=POOL, image="data", bus="virtio-blk", boot=None),
            DiskAttachment(name="root", pool=POOL, image="root", bus="virtio-scsi", boot=1),
        ),
        nics=(a_nic("app", "52:54:00:ad:ad:01", bridge),),
        console_log=True,
    )


def a_nic(name: str, mac: str, bridge: str) -> NicAttachment:
    return NicAttachment(
        name=name,
        mac=Mac(mac),
        bridge=bridge,
        tap=names.tap(GUEST, name),
        model="virtio",
        mtu_bytes=1450,
    )


def hypervisor_checks(
    guests: LibvirtHypervisor, domain: Domain, images: RbdImages, log: Path
) -> None:
    with check("the boot sector of the KVM test runs"):
        assert kvm.try_guest("tcg") == ""
        assert "did not run" in kvm.try_guest("tcg", limit_s=0.01)
    with check("hardware"):
        assert guests.hardware().cpus == os.cpu_count()
        assert guests.hardware().memory_mib > 512
    with check("created paused, as declared"):
        guests.create_paused(domain)
        facts = guests.domains()[GUEST]
        assert facts.state is GuestState.PAUSED
        assert facts.domain == domain
        assert not log.exists() or MARKER not in log.read_bytes()
    with check("a paused guest is the only watcher of its disks"):
        assert len(images.watchers(POOL, "root")) == 1
    with check("a second start of the same name is refused"):
        assert not expect(HypervisorError, lambda: guests.create_paused(domain)).retryable
    with check("in machine.slice"):
        groups = run("systemctl", "status", "machine.slice", "--no-pager", check_it=False)
        assert "qemu" in groups
    with check("resumed, it boots"):
        guests.resume(GUEST)
        assert guests.domains()[GUEST].state is GuestState.RUNNING
        until(lambda: log.exists() and MARKER in log.read_bytes(), 60, "marker on the console")
    with check("mark keeps the rest"):
        guests.mark(GUEST, "fedcba9876543210", {"data": 48})
        found = guests.domains()[GUEST].domain
        assert found is not None
        assert (found.digest, found.starts) == ("fedcba9876543210", 3)
        assert [disk.size_mib for disk in found.disks] == [48, 0]
    with check("a grown disk is told to a running guest, a smaller one never"):
        grown_disks(guests, images)
    with check("what a reboot from inside does is set while it runs"):
        for ends in (True, False, True):
            guests.end_at_reboot(GUEST, ends=ends)
            found = guests.domains()[GUEST].domain
            assert found is not None
            assert found.ends_at_reboot is ends
    with check("hot plug"):
        hot_plug(guests, domain.nics[0].bridge)
    with check("a restart of libvirtd is survived"):
        run("systemctl", "restart", "libvirtd")
        with contextlib.suppress(HypervisorError):  # the connection that went with it
            guests.domains()
        until(lambda: GUEST in guests.domains(), 20, "found again")
    with check("a hung libvirtd costs a limited time"):
        pid = int(run("systemctl", "show", "-P", "MainPID", "libvirtd").strip())
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        try:
            assert expect(HypervisorError, guests.domains).retryable
        finally:
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - started < 15
        until(lambda: can_list(guests), 20, "it answers again")
    with check("shutdown by ACPI ends it"):
        guests.shutdown(GUEST)
        until(lambda: GUEST not in guests.domains(), 30, "gone")
        guests.destroy(GUEST)
    with check("destroy is over when the process is gone"):
        guests.create_paused(domain)
        guests.destroy(GUEST)
        assert GUEST not in guests.domains()
        assert GUEST not in run("pgrep", "-af", "qemu-system", check_it=False)
    with check("what cannot be described is refused"):
        odd = dataclasses.replace(domain, firmware="uefi")
        assert not expect(HypervisorError, lambda: guests.create_paused(odd)).retryable


def killed_guest(
    guests: LibvirtHypervisor, domain: Domain, images: RbdImages, pools: RadosPools
) -> None:
    guests.create_paused(domain)
    os.kill(int(Path(f"/run/libvirt/qemu/{GUEST}.pid").read_text()), signal.SIGKILL)
    until(lambda: GUEST not in guests.domains(), 10, "libvirt notices")
    watchers = {each for disk in ("root", "data") for each in images.watchers(POOL, disk)}
    assert watchers, "a killed QEMU stays a watcher; nothing would need to be blocked"
    for watcher in watchers:
        pools.block(watcher, 60)
    assert watchers <= pools.blocklist()
    until(lambda: images.watchers(POOL, "root") == (), 5, "the watcher is gone")
    guests.create_paused(domain)
    assert not set(images.watchers(POOL, "root")) & watchers
    guests.destroy(GUEST)


def can_list(guests: LibvirtHypervisor) -> bool:
    try:
        return GUEST in guests.domains()
    except HypervisorError:
        return False


def grown_disks(guests: LibvirtHypervisor, images: RbdImages) -> None:
    """On both buses, as QEMU itself says afterwards."""
    for disk in ("data", "root"):
        handle = xml.handle_of(run("virsh", "dumpxml", GUEST), disk)
        before = images.images(POOL)[disk].size_mib
        images.grow(POOL, disk, before + 32)
        assert told_mib(handle) == before, "QEMU has noticed by itself"
        for _ in range(2):  # the second is nothing
            guests.resize_disk(GUEST, disk, before + 32)
        assert told_mib(handle) == before + 32
        assert not expect(HypervisorError, shrinking(guests, disk, before)).retryable
        assert images.images(POOL)[disk].size_mib == before + 32


def shrinking(guests: LibvirtHypervisor, disk: str, size_mib: int) -> Callable[[], None]:
    return lambda: guests.resize_disk(GUEST, disk, size_mib)


def told_mib(handle: str) -> int:
    capacity = run("virsh", "domblkinfo", GUEST, handle).split("Capacity:")[1].split()[0]
    return int(capacity) // 2**20


def hot_plug(guests: LibvirtHypervisor, bridge: str) -> None:
    def shown() -> tuple[set[str], set[str]]:
        found = guests.domains()[GUEST].domain
        assert found is not None
        return {disk.name for disk in found.disks}, {nic.name for nic in found.nics}

    extra = DiskAttachment(name="extra", pool=POOL, image="extra", bus="virtio-scsi", boot=None)
    for _ in range(2):  # the second is nothing
        guests.attach_disk(GUEST, extra)
        guests.attach_nic(GUEST, a_nic("db", "52:54:00:ad:ad:02", bridge))
    assert shown() == ({"data", "root", "extra"}, {"app", "db"})
    for _ in range(2):
        guests.detach_nic(GUEST, "db")
        guests.detach_disk(GUEST, "extra")
    assert shown() == ({"data", "root"}, {"app"})


# --- networks -------------------------------------------------------------------------------------


def a_bridge(vni: int, local: str, **changes: object) -> Bridge:
    values = {
        "vni": vni,
        "mtu_bytes": 1450,
        "local_address": local,
        "gateway": "10.250.0.1/24",
        "digest": "0123456789abcdef",
        **changes,
    }
    return Bridge(**values)  # type: ignore[arg-type]


def links() -> None:
    """In a name space of its own: nothing of the node's own networks is touched."""
    with namespace("adapters-links") as space, inside(space):
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "core", "type", "veth", "peer", "name", "core-peer")
        run("ip", "addr", "add", "192.0.2.1/24", "dev", "core")
        for name in ("core", "core-peer"):
            run("ip", "link", "set", name, "up")
        links_checks(NetlinkLinks("192.0.2.1", ["192.0.2.0/24"]))


def links_checks(ours: NetlinkLinks) -> None:
    bridge = a_bridge(VNI, "192.0.2.1")
    name, vx = names.bridge(VNI), names.vxlan(VNI)
    with check("nothing is ours at first"):
        run("ip", "link", "add", "br7", "type", "bridge")  # a name like ours, but not made by us
        assert ours.bridges() == {}
    with check("a bridge is as declared, made twice"):
        for _ in range(2):
            ours.create(bridge)
            assert ours.bridges() == {VNI: bridge}
        port = json.loads(run("bridge", "-d", "-j", "link", "show", "dev", vx))[0]
        assert port["neigh_suppress"]
        assert not port["learning"]
        detail = json.loads(run("ip", "-d", "-j", "link", "show", name))[0]
        assert detail["address"] == names.anycast_mac(VNI)
        assert detail["linkinfo"]["info_data"]["stp_state"] == 0
        assert Path(f"/proc/sys/net/ipv6/conf/{name}/accept_ra").read_text().strip() == "0"
    with check("rules stand for it, and survive nothing else"):
        local = run("nft", "list", "table", "bridge", "pvc_local")
        rails = run("nft", "list", "table", "inet", "pvc_guard_rails")
        assert vx in local
        assert name in rails
        assert "192.0.2.0/24" in rails
    with check("update: MTU, gateway, digest"):
        changed = a_bridge(
            VNI, "192.0.2.1", mtu_bytes=1400, gateway="10.250.1.1/24", digest="feed" * 4
        )
        ours.update(changed)
        assert ours.bridges() == {VNI: changed}
        ours.update(bridge)
    with check("another local end keeps the bridge and who is plugged in"):
        run("ip", "link", "add", "tap-c", "type", "veth", "peer", "name", "tap-c-peer")
        run("ip", "link", "set", "tap-c", "master", name, "up")
        moved = a_bridge(VNI, "192.0.2.9")
        ours.update(moved)
        assert ours.bridges() == {VNI: moved}
        tap = json.loads(run("ip", "-j", "link", "show", "tap-c"))[0]
        assert tap["master"] == name
        ours.update(bridge)
    with check("half made shows no digest, and is finished"):
        run("ip", "link", "del", vx)
        assert ours.bridges()[VNI].digest == ""
        ours.create(bridge)
        assert ours.bridges() == {VNI: bridge}
        run("ip", "link", "set", vx, "nomaster")
        assert ours.bridges()[VNI].digest == ""
        ours.create(bridge)
        assert ours.bridges() == {VNI: bridge}
    with check("neighbours of our own guests are exactly these"):
        neighbours_checks(ours)
    with check("deleted, twice; others stay"):
        ours.create(a_bridge(VNI_OTHER, "192.0.2.1", gateway=None))
        for _ in range(2):
            ours.delete(VNI)
        assert set(ours.bridges()) == {VNI_OTHER}
        assert vx not in run("nft", "list", "table", "bridge", "pvc_local")
        ours.delete(VNI_OTHER)
        assert "br7" in run("ip", "-br", "link")


def neighbours_checks(ours: NetlinkLinks) -> None:
    name = names.bridge(VNI)
    for tap in ("tap-a", "tap-b"):
        run("ip", "link", "add", tap, "type", "veth", "peer", "name", tap + "-peer")
        run("ip", "link", "set", tap, "master", name, "up")
    one = Neighbour(mac=Mac("52:54:00:ad:ad:0a"), address="10.250.0.10", tap="tap-a")
    two = Neighbour(mac=Mac("52:54:00:ad:ad:0b"), address="10.250.0.11", tap="tap-b")
    absent = Neighbour(mac=Mac("52:54:00:ad:ad:0c"), address="10.250.0.12", tap="tap-none")
    for _ in range(2):
        ours.set_neighbours(VNI, [one, two, absent])
    assert entries(name) == {
        ("neighbour", "10.250.0.10", one.mac),
        ("neighbour", "10.250.0.11", two.mac),
        ("route", "10.250.0.10"),
        ("route", "10.250.0.11"),
        ("behind", "tap-a", one.mac),
        ("behind", "tap-b", two.mac),
    }
    # A foreign entry stays; a guest that moved its NIC to another tap follows.
    run("ip", "route", "add", "10.251.0.0/24", "dev", name)
    ours.set_neighbours(VNI, [Neighbour(mac=two.mac, address="10.250.0.21", tap="tap-a")])
    assert entries(name) == {
        ("neighbour", "10.250.0.21", two.mac),
        ("route", "10.250.0.21"),
        ("behind", "tap-a", two.mac),
    }
    assert "10.251.0.0/24" in run("ip", "route")
    ours.set_neighbours(VNI, [])
    assert entries(name) == set()
    ours.set_neighbours(VNI_OTHER, [one])  # no such bridge: nothing


def entries(bridge: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for each in json.loads(
        run("ip", "-j", "neigh", "show", "dev", bridge, "nud", "permanent") or "[]"
    ):
        found.add(("neighbour", each["dst"], each["lladdr"]))
    for each in json.loads(run("ip", "-j", "route", "show", "proto", "117", "dev", bridge) or "[]"):
        found.add(("route", each["dst"]))
    for each in json.loads(run("bridge", "-j", "fdb", "show", "br", bridge)):
        if each["state"] == "static" and each["ifname"].startswith("tap"):
            found.add(("behind", each["ifname"], each["mac"]))
    return found


# --- local means local ----------------------------------------------------------------------------


def dhcp() -> None:
    """Two nodes, each a name space with bridge, VXLAN and dnsmasq; a client on the first one's bridge."""
    with contextlib.ExitStack() as stack:
        spaces = [stack.enter_context(namespace(f"adapters-n{n}")) for n in (1, 2)]
        run("ip", "link", "add", "adapt-a", "type", "veth", "peer", "name", "adapt-b")
        folder = Path("/run/pvc/adapters-test")
        folder.mkdir(parents=True, exist_ok=True)
        for number, (space, end) in enumerate(zip(spaces, ("adapt-a", "adapt-b"), strict=True), 1):
            run("ip", "link", "set", end, "netns", space)
            with inside(space):
                a_node(stack, number, end, folder)
        run(
            "ip", "-n", spaces[0], "link", "add", "t-guest", "type", "veth", "peer", "name", "guest"
        )
        run("ip", "-n", spaces[0], "link", "set", "t-guest", "master", names.bridge(VNI), "up")
        run("ip", "-n", spaces[0], "link", "set", "guest", "address", CLIENT_MAC, "up")
        dhcp_checks(spaces)


BOOTREPLY = 2
CLIENT_MAC = "52:54:00:ad:ad:99"


def a_node(stack: contextlib.ExitStack, number: int, end: str, folder: Path) -> None:
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", f"192.0.2.{number}/24", "dev", end)
    run("ip", "link", "set", end, "mtu", "1600", "up")
    NetlinkLinks(f"192.0.2.{number}", ["192.0.2.0/24"]).create(a_bridge(VNI, f"192.0.2.{number}"))
    # What EVPN does for flooded frames.
    peer, vx = f"192.0.2.{3 - number}", names.vxlan(VNI)
    run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", vx, "dst", peer)
    config = a_dhcp_config()
    conf, hosts = folder / f"{number}.conf", folder / f"{number}.hosts"
    text = dnsmasq_files.settings(config).replace(f"{dnsmasq_files.FOLDER}/{VNI}.hosts", str(hosts))
    conf.write_text(
        text.replace(
            f"{dnsmasq_files.FOLDER}/leases/{VNI}", str(folder / f"{number}.leases")
        ).replace("user=dnsmasq", "user=root")
    )
    hosts.write_text(dnsmasq_files.hosts(config))
    server = subprocess.Popen(
        ["dnsmasq", "--keep-in-foreground", f"--conf-file={conf}", "--pid-file="],
        stderr=subprocess.DEVNULL,
    )
    stack.callback(server.wait)
    stack.callback(server.terminate)


def a_dhcp_config(*more: DhcpHost) -> DhcpConfig:
    host = DhcpHost(mac=Mac(CLIENT_MAC), address="10.250.0.99", hostname="client")
    return DhcpConfig(
        vni=VNI,
        bridge=names.bridge(VNI),
        subnet="10.250.0.0/24",
        gateway="10.250.0.1/24",
        domain="test.example",
        dns_servers=("192.0.2.53",),
        mtu_bytes=1450,
        hosts=(host, *more),
    )


def dhcp_checks(spaces: list[str]) -> None:
    with inside(spaces[0]):
        with check("one DISCOVER, one OFFER, from its own node"):
            until(lambda: offers(CLIENT_MAC, 0.5), 10, "any offer")
            (offer,) = offers(CLIENT_MAC, 2)
            assert offer["address"] == "10.250.0.99"
            assert offer[3] == socket.inet_aton("10.250.0.1")
            assert offer[6] == socket.inet_aton("192.0.2.53")
            assert struct.unpack("!H", offer[26]) == (1450,)
            assert offer[15].rstrip(b"\0") == b"test.example"
        with check("an unknown MAC is not answered"):
            assert offers("52:54:00:ad:ad:98", 1) == []
        with check("neither DISCOVER, OFFER, RA nor the gateway's MAC crosses the VXLAN"):
            crossing = crossed(spaces[1])
            assert crossing == [], crossing
    with check("the rules of either node are enough"):
        drop_rules(spaces[0])
        with inside(spaces[0]):
            assert len(offers(CLIENT_MAC, 2)) == 1
            assert crossed(spaces[1]) == []
    with check("without the rules there are two OFFERs, so the rules are what helps"):
        drop_rules(spaces[1])
        with inside(spaces[0]):
            assert len(offers(CLIENT_MAC, 2)) == 2
            assert len(crossed(spaces[1])) == 5


def drop_rules(space: str) -> None:
    run("ip", "netns", "exec", space, "nft", "delete", "table", "bridge", "pvc_local")


def services() -> None:
    """The unit itself, on this node: needs pvc-dhcp@.service installed."""
    ours = DnsmasqServices()
    plain_bridge()
    try:
        with check("dnsmasq runs as a unit and is read back"):
            ours.serve_dhcp(a_dhcp_config())
            assert ours.dhcp()[VNI] == a_dhcp_config()
        with check("changed hosts keep the process"):
            unit = f"pvc-dhcp@{VNI}.service"
            before = run("systemctl", "show", "-P", "MainPID", unit)
            more = a_dhcp_config(
                DhcpHost(mac=Mac("52:54:00:ad:ad:9a"), address="10.250.0.98", hostname="other")
            )
            ours.serve_dhcp(more)
            assert ours.dhcp()[VNI] == more
            assert run("systemctl", "show", "-P", "MainPID", unit) == before
        with check("a dead dnsmasq comes back by itself"):
            os.kill(int(before), signal.SIGKILL)
            until(
                lambda: run("systemctl", "show", "-P", "MainPID", unit) not in {before, "0\n"},
                10,
                "another process",
            )
            until(lambda: VNI in ours.dhcp(), 5, "shown")
        with check("a bridge made anew needs a new dnsmasq"):
            plain_bridge()
            assert VNI not in ours.dhcp()
            ours.serve_dhcp(more)
            assert VNI in ours.dhcp()
        with check("stopped, twice"):
            for _ in range(2):
                ours.stop_dhcp(VNI)
            assert VNI not in ours.dhcp()
        with check("a network without a gateway is refused"):
            odd = dataclasses.replace(more, gateway=None)
            assert not expect(LinkError, lambda: ours.serve_dhcp(odd)).retryable
    finally:
        ours.stop_dhcp(VNI)
        run("ip", "link", "del", names.bridge(VNI))


def plain_bridge() -> None:
    """Made anew, and not by us: the rules of this node's own networks stay as they are."""
    name = names.bridge(VNI)
    run("ip", "link", "del", name, check_it=False)
    run("ip", "link", "add", name, "type", "bridge")
    run("ip", "addr", "add", "10.250.0.1/24", "dev", name)
    run("ip", "link", "set", name, "up")


def offers(mac: str, wait_s: float) -> list[dict]:
    """Send one DISCOVER on `guest` and collect the OFFERs."""
    raw = bytes.fromhex(mac.replace(":", ""))
    xid = os.urandom(4)
    bootp = struct.pack("!BBBB4sHH16x16s192x", 1, 1, 6, 0, xid, 0, 0x8000, raw.ljust(16, b"\0"))
    options = bytes((99, 130, 83, 99, 53, 1, 1, 55, 5, 1, 3, 6, 15, 26, 255))
    frame = ethernet(
        "ff:ff:ff:ff:ff:ff", mac, udp("0.0.0.0", "255.255.255.255", 68, 67, bootp + options)
    )
    found = []
    with packets("guest") as sock:
        sock.send(frame)
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data = sock.recv(2048)
                is_answer = data[12:14] == b"\x08\x00" and data[23] == 17 and data[46:50] == xid
                if is_answer and data[42] == BOOTREPLY:
                    found.append(parsed(data[42:]))
    return found


def parsed(bootp: bytes) -> dict:
    options: dict = {"address": socket.inet_ntoa(bootp[16:20])}
    rest = bootp[240:]
    while rest and rest[0] != 255:
        options[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return options


def crossed(other: str) -> list[str]:
    """What of the forbidden arrives on the other node's bridge, sent from here; and a frame that must."""
    gateway = names.anycast_mac(VNI)
    all_ones, plain = "ff:ff:ff:ff:ff:ff", "52:54:00:ad:ad:77"
    router_advert = bytes((134, 0, 0, 0, 64, 0, 0, 30)) + bytes(8)
    sent = {
        "discover": ethernet(all_ones, plain, udp("0.0.0.0", "255.255.255.255", 68, 67, b"d" * 60)),
        "offer": ethernet(all_ones, plain, udp("10.250.0.1", "255.255.255.255", 67, 68, b"o" * 60)),
        "from the gateway's MAC": ethernet(
            all_ones, gateway, udp("10.250.0.1", "10.250.0.77", 9, 9, b"g")
        ),
        "dhcpv6": ethernet(
            "33:33:00:01:00:02", plain, ipv6(17, udp_header(546, 547, b"s" * 20)), 0x86DD
        ),
        "router advertisement": ethernet(
            "33:33:00:00:00:01", plain, ipv6(58, router_advert), 0x86DD
        ),
        "ordinary": ethernet(
            all_ones, plain, udp("10.250.0.99", "10.250.0.255", 9, 9, b"hello" * 9)
        ),
    }
    arrived = []
    with contextlib.ExitStack() as stack:
        with inside(other):
            listener = stack.enter_context(packets(names.bridge(VNI)))
        with packets("guest") as sock:
            for frame in sent.values():
                sock.send(frame)
        end = time.monotonic() + 1.5
        while (left := end - time.monotonic()) > 0:
            listener.settimeout(left)
            with contextlib.suppress(TimeoutError):
                data = listener.recv(2048)
                arrived += [name for name, frame in sent.items() if data[: len(frame)] == frame]
    assert "ordinary" in arrived, "the VXLAN carries nothing at all"
    return [name for name in arrived if name != "ordinary"]


@contextlib.contextmanager
def packets(interface: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind((interface, 0))
        yield sock


def ethernet(to: str, sender: str, payload: bytes, kind: int = 0x0800) -> bytes:
    macs = bytes.fromhex(to.replace(":", "") + sender.replace(":", ""))
    return macs + struct.pack("!H", kind) + payload


def udp(source: str, target: str, sport: int, dport: int, data: bytes) -> bytes:
    body = udp_header(sport, dport, data)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(body), 0, 0, 64, 17, 0),
        socket.inet_aton(source),
        socket.inet_aton(target),
    )
    total = sum(struct.unpack("!10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    return head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + body


def udp_header(sport: int, dport: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data


def ipv6(kind: int, payload: bytes) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, "fe80::77") + socket.inet_pton(
        socket.AF_INET6, "ff02::1"
    )
    return struct.pack("!IHBB", 6 << 28, len(payload), kind, 255) + addresses + payload


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    run("ip", "netns", "del", name, check_it=False)
    run("ip", "netns", "add", name)
    try:
        yield name
    finally:
        run("ip", "netns", "del", name)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread, and what it starts, in another network name space."""
    with (
        Path("/proc/thread-self/ns/net").open() as here,
        Path(f"/run/netns/{name}").open() as there,
    ):
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(here.fileno(), os.CLONE_NEWNET)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--only", default="storage,hypervisor,links,dhcp,services")
    parser.add_argument("--slow-import")
    args = parser.parse_args()
    if args.slow_import:
        slow_import(args.image, args.slow_import)
        return 0
    parts = {
        "storage": lambda: storage(args.image),
        "hypervisor": lambda: hypervisor(args.image),
        "links": links,
        "dhcp": dhcp,
        "services": services,
    }
    for part in args.only.split(","):
        with check(f"{part}: whole"):
            parts[part]()
    print(f"{len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
