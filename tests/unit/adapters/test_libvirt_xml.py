"""Domains as libvirt's XML: what is said, what comes back, and that order says nothing."""

import dataclasses
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_gitops.adapters.libvirt import kvm, slots, xml
from pvc_gitops.model.ids import Mac
from pvc_gitops.world.ports import DiskAttachment, Domain, NicAttachment

FACTS = Path(__file__).parents[2] / "facts" / "libvirt" / "11.3.0-domain.xml"
ACCESS = xml.CephAccess(
    user="pvc", secret_uuid="6d8b7a30-2f0e-4a8d-9a77-0d8c1e5a4f10", conf="/etc/ceph/ceph.conf"
)
ROOT = DiskAttachment(name="root", pool="vms", image="t1", bus="virtio-scsi", boot=1)
DATA = DiskAttachment(name="data", pool="vms", image="t1b", bus="virtio-blk", boot=None)
APP = NicAttachment(
    name="app",
    mac=Mac("52:54:00:00:00:01"),
    bridge="brt",
    tap="ttest1",
    model="virtio",
    mtu_bytes=1450,
)
DB = dataclasses.replace(APP, name="db", mac=Mac("52:54:00:00:00:02"), tap="ttest2", model="e1000e")
WEB1 = Domain(
    name="web1",
    uuid="3f0e4a8d-9a77-4d8c-8e5a-4f106d8b7a30",
    digest="fedcba9876543210",
    starts=3,
    vcpus=2,
    cpu_model="host-model",
    memory_mib=128,
    firmware="bios",
    disks=(DATA, ROOT),
    nics=(APP, DB),
    console_log=True,
)


def render(domain: Domain, accel: str = xml.TCG, *, has_vhost: bool = False) -> str:
    return xml.domain_xml(domain, access=ACCESS, accel=accel, has_vhost=has_vhost)


def devices(text: str, kind: str) -> dict[str, ET.Element]:
    found = ET.fromstring(text).findall(f"devices/{kind}")
    return {each.find("alias").get("name"): each for each in found}


def address(element: ET.Element) -> dict[str, str]:
    return dict(element.find("address").attrib)


def test_what_libvirt_shows_of_a_running_domain_is_what_was_asked():
    assert xml.parse_domain_xml(FACTS.read_text()) == WEB1


def test_a_foreign_domain_is_not_ours():
    foreign = FACTS.read_text().replace("urn:pvc-gitops:guest:1", "urn:somebody")
    assert xml.parse_domain_xml(foreign) is None


def test_a_domain_of_ours_in_another_shape_is_an_error_not_a_guess():
    with pytest.raises(ValueError, match="vcpu"):
        xml.parse_domain_xml(FACTS.read_text().replace("vcpu", "cpus"))


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
DISKS = st.builds(
    DiskAttachment,
    name=NAMES,
    pool=NAMES,
    image=NAMES,
    bus=st.sampled_from(["virtio-scsi", "virtio-blk"]),
    boot=st.none() | st.integers(1, 9),
    size_mib=st.integers(0, 10**6),
)
NICS = st.builds(
    NicAttachment,
    name=NAMES,
    mac=st.just(Mac("52:54:00:00:00:01")),
    bridge=st.just("br1000"),
    tap=NAMES,
    model=st.sampled_from(["virtio", "e1000e"]),
    mtu_bytes=st.integers(576, 9000),
)


def by_name(strategy, most):
    unique = st.lists(strategy, max_size=most, unique_by=lambda item: item.name)
    return unique.map(lambda items: tuple(sorted(items, key=lambda item: item.name)))


DOMAINS = st.builds(
    Domain,
    name=NAMES,
    uuid=st.uuids().map(str),
    digest=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    starts=st.integers(1, 10**6),
    vcpus=st.integers(1, 240),
    cpu_model=st.sampled_from(["host-model", "qemu64", "Nehalem"]),
    memory_mib=st.integers(16, 10**6),
    firmware=st.just("bios"),
    disks=by_name(DISKS, 12),
    nics=by_name(NICS, 11),
    console_log=st.booleans(),
    agent=st.booleans(),
    ends_at_reboot=st.booleans(),
)


@given(domain=DOMAINS, accel=st.sampled_from([xml.KVM, xml.TCG]), seed=st.integers())
def test_round_trip_in_any_order(domain, accel, seed):
    shuffled = random.Random(seed)
    disks, nics = list(domain.disks), list(domain.nics)
    shuffled.shuffle(disks)
    shuffled.shuffle(nics)
    mixed = dataclasses.replace(domain, disks=tuple(disks), nics=tuple(nics))
    text = render(mixed, accel)
    assert xml.parse_domain_xml(text) == domain
    for kind in ("disk", "interface"):
        ours, theirs = devices(text, kind), devices(render(domain, accel), kind)
        assert {name: address(each) for name, each in ours.items()} == {
            name: address(each) for name, each in theirs.items()
        }
        places = [tuple(address(each).items()) for each in ours.values()]
        assert len(set(places)) == len(places)


def test_a_place_hangs_on_the_name():
    alone = dataclasses.replace(WEB1, disks=(ROOT,), nics=(DB,))
    for kind, name in (("disk", "ua-disk-root"), ("interface", "ua-nic-db")):
        together = devices(render(WEB1), kind)[name]
        assert address(devices(render(alone), kind)[name]) == address(together)


def test_what_is_plugged_in_moves_nobody_and_takes_a_free_place():
    first, second = "db", "web"  # they hash to the same port
    assert (
        slots.assign([first], slots.NIC_PORTS)[first]
        == slots.assign([second], slots.NIC_PORTS)[second]
    )
    running = render(dataclasses.replace(WEB1, nics=(dataclasses.replace(APP, name=second),)))
    plugged = ET.fromstring(
        xml.nic_xml(dataclasses.replace(DB, name=first), has_vhost=False, running=running)
    )
    taken = address(devices(running, "interface")[f"ua-nic-{second}"])
    assert address(plugged)["bus"] != taken["bus"]
    disk = ET.fromstring(
        xml.disk_xml(
            dataclasses.replace(ROOT, name="more", boot=None), access=ACCESS, running=running
        )
    )
    assert address(disk)["type"] == "drive"
    assert disk.find("driver").get("error_policy") == "stop"


def test_more_devices_than_places_are_refused():
    nics = tuple(dataclasses.replace(APP, name=f"n{n}") for n in range(len(slots.NIC_PORTS) + 1))
    with pytest.raises(slots.NoSlotError, match="11 places"):
        render(dataclasses.replace(WEB1, nics=nics))


def test_a_port_stands_where_it_always_stands():
    none = dataclasses.replace(WEB1, disks=(), nics=())
    assert [ET.tostring(each) for each in ports(render(none))] == [
        ET.tostring(each) for each in ports(render(WEB1))
    ]
    assert len(ports(render(none))) == slots.PORTS


def ports(text: str) -> list[ET.Element]:
    found = ET.fromstring(text).findall("devices/controller")
    return [each for each in found if each.get("model") == "pcie-root-port"]


def test_a_guest_whose_storage_is_taken_away_halts():
    for disk in devices(render(WEB1), "disk").values():
        driver = disk.find("driver")
        assert driver.get("error_policy") == driver.get("rerror_policy") == "stop"
        assert driver.get("cache") == "none"
        assert driver.get("discard") == "unmap"


def test_emulated_cpus_are_the_same_everywhere():
    assert '<model fallback="forbid">qemu64</model>' in render(WEB1, xml.TCG)
    assert 'type="qemu"' in render(WEB1, xml.TCG)
    assert '<cpu mode="host-model" />' in render(WEB1, xml.KVM)
    named = dataclasses.replace(WEB1, cpu_model="Nehalem")
    assert '<model fallback="forbid">Nehalem</model>' in render(named, xml.TCG)


def test_vhost_is_left_out_only_where_there_is_none():
    assert devices(render(WEB1), "interface")["ua-nic-app"].find("driver").get("name") == "qemu"
    with_vhost = render(WEB1, has_vhost=True)
    assert devices(with_vhost, "interface")["ua-nic-app"].find("driver") is None


def test_the_serial_is_the_name_as_far_as_virtio_carries_it():
    disk = dataclasses.replace(ROOT, name="a" * 40)
    text = render(dataclasses.replace(WEB1, disks=(disk,)))
    assert ET.fromstring(text).findtext("devices/disk/serial") == "a" * 20
    assert xml.parse_domain_xml(text).disks[0].name == "a" * 40


def test_uefi_is_refused_until_its_variables_are_in_ceph():
    with pytest.raises(xml.UnsupportedError, match="firmware: bios"):
        render(dataclasses.replace(WEB1, firmware="uefi"))


def test_a_mark_changes_the_digest_and_keeps_the_rest():
    element = ET.fromstring(xml.remarked(render(WEB1), "new", {"root": 128, "data": 64}))
    assert element.attrib == {
        "digest": "new",
        "starts": "3",
        "cpu-model": "host-model",
        "firmware": "bios",
        "sizes": "data:64 root:128",
    }
    with pytest.raises(ValueError, match="no mark of ours"):
        xml.remarked("<domain/>", "new", {})


def test_a_disk_is_known_to_libvirt_by_another_name():
    text = FACTS.read_text()
    known = {xml.handle_of(text, disk) for disk in ("root", "data")}
    assert known == {t.get("dev") for t in ET.fromstring(text).findall("devices/disk/target")}
    with pytest.raises(ValueError, match="no disk other"):
        xml.handle_of(render(WEB1), "other")


def test_a_domain_of_an_older_mark_was_told_no_sizes():
    text = render(dataclasses.replace(WEB1, disks=(dataclasses.replace(ROOT, size_mib=64),)))
    assert xml.parse_domain_xml(text).disks[0].size_mib == 64
    older = text.replace(' sizes="root:64"', "")
    assert older != text
    assert xml.parse_domain_xml(older).disks[0].size_mib == 0


def test_an_alias_is_found():
    assert xml.alias_of(render(WEB1), "disk", "root") == "ua-disk-root"
    assert xml.alias_of(render(WEB1), "interface", "root") is None


def test_the_answer_about_kvm_is_kept_for_this_boot(tmp_path):
    answer = tmp_path / "acceleration.json"
    answer.write_text('{"kind": "tcg", "reason": "said before"}')
    assert kvm.acceleration(answer) == kvm.Acceleration(kind="tcg", reason="said before")
