"""Domains of others, the mark that makes one ours as it runs, and what keeps one from it."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from pvc_gitops.adapters.libvirt import foreign, xml

DOMAIN = """<domain type='kvm' id='7'>
  <name>Legacy_DB</name>
  <uuid>0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11</uuid>
  <memory unit='KiB'>262144</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <on_reboot>restart</on_reboot>
  <devices>
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw'/>
      <source protocol='rbd' name='vms/legacy-root'/>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
      <alias name='virtio-disk0'/>
    </disk>
    <interface type='bridge'>
      <mac address='52:54:00:AA:BB:CC'/>
      <source bridge='br1000'/>
      <target dev='vnet3'/>
      <model type='virtio'/>
      <alias name='net0'/>
    </interface>
  </devices>
</domain>"""


def test_a_foreign_domain_is_described_by_its_handles():
    found = foreign.parse(DOMAIN)
    (disk,), (nic,) = found.disks, found.nics
    assert (found.name, found.vcpus, found.memory_mib) == ("Legacy_DB", 2, 256)
    assert (disk.name, disk.pool, disk.image, disk.bus, disk.boot) == (
        "vda", "vms", "legacy-root", "virtio-blk", 1
    )  # fmt: skip
    assert (nic.name, nic.mac, nic.bridge, nic.tap) == (
        "52:54:00:aa:bb:cc", "52:54:00:aa:bb:cc", "br1000", "vnet3"
    )  # fmt: skip
    assert xml.parse_domain_xml(DOMAIN) is None


def test_an_adopted_domain_is_ours_under_our_names():
    found = foreign.parse(DOMAIN)
    named = replace(
        found,
        disks=tuple(replace(disk, name="root", size_mib=64) for disk in found.disks),
        nics=tuple(replace(nic, name="app") for nic in found.nics),
    )
    mark = foreign.adoption(DOMAIN, named)
    marked = mark.replace("<guest ", f'<guest xmlns="{foreign.NAMESPACE}" ')
    ours = xml.parse_domain_xml(DOMAIN.replace("<vcpu", f"<metadata>{marked}</metadata><vcpu"))
    assert ours == named
    # A later change of the mark keeps the names.
    running = DOMAIN.replace("<vcpu", f"<metadata>{marked}</metadata><vcpu")
    assert "devices" in ET.fromstring(xml.remarked(running, "0a1b", {"root": 64})).attrib


def test_an_adopted_domain_s_devices_are_found_by_our_names_to_be_unplugged():
    named = replace(
        foreign.parse(DOMAIN),
        disks=tuple(replace(d, name="root") for d in foreign.parse(DOMAIN).disks),
    )
    mark = foreign.adoption(DOMAIN, named).replace(
        "<guest ", f'<guest xmlns="{foreign.NAMESPACE}" '
    )
    running = DOMAIN.replace("<vcpu", f"<metadata>{mark}</metadata><vcpu")
    assert xml.alias_of(running, "disk", "root") == "virtio-disk0"
    assert xml.handle_of(running, "root") == "vda"


def test_a_forgotten_guest_keeps_the_names_that_it_had():
    once = DOMAIN.replace("'virtio-disk0'", "'ua-disk-root'").replace("'net0'", "'ua-nic-app'")
    found = foreign.parse(once)
    assert [disk.name for disk in found.disks] == ["root"]
    assert [(nic.name, nic.mac) for nic in found.nics] == [("app", "52:54:00:aa:bb:cc")]
    mark = foreign.adoption(once, found).replace("<guest ", f'<guest xmlns="{foreign.NAMESPACE}" ')
    ours = xml.parse_domain_xml(once.replace("<vcpu", f"<metadata>{mark}</metadata><vcpu"))
    assert ours == found


@pytest.mark.parametrize(
    ("cpu", "model", "accel", "is_same"),
    [
        ("<cpu mode='custom'><model>qemu64</model></cpu>", "host-model", xml.TCG, True),
        ("<cpu mode='custom'><model>EPYC</model></cpu>", "host-model", xml.KVM, False),
        ("<cpu mode='custom'><model>EPYC</model></cpu>", "EPYC", xml.KVM, True),
        ("<cpu mode='host-passthrough'/>", "host-passthrough", xml.KVM, True),
        ("", "EPYC", xml.KVM, False),
    ],
)
def test_a_cpu_is_the_same_only_where_that_can_be_told(cpu, model, accel, is_same):
    assert xml.has_cpu(DOMAIN.replace("<os>", f"{cpu}<os>"), model, accel) is is_same


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("protocol='rbd' name='vms/legacy-root'", "file='/x.img'", "vda does not lie in Ceph"),
        ("bus='virtio'", "bus='ide'", "on a ide bus"),
        ("<interface type='bridge'>", "<interface type='network'>", "of type network"),
        ("</devices>", "<hostdev/></devices>", "a hostdev"),
        ("</os>", "<loader>x</loader></os>", "UEFI"),
    ],
)
def test_what_we_could_not_run_is_said(old, new, why):
    with pytest.raises(foreign.ForeignError, match=why):
        foreign.parse(DOMAIN.replace(old, new))
