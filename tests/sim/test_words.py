"""Renames, adoption and forgetting, played with real agents: nothing restarts, nothing runs twice."""

from __future__ import annotations

from simulated import BASE, ON, changed, events, play, starts, states

from pvc_gitops.model.inventory import GuestState, ImageFacts, UnmanagedNetwork
from pvc_gitops.sim.hardware import SimDomain
from pvc_gitops.sim.rest import look_at_status
from pvc_gitops.world.ports import DiskAttachment, Domain, NicAttachment

HEAD = "apiVersion: pvc/v1\nkind: Transitions\nmetadata: {name: transitions}\nspec:\n"


def words(text):
    return (HEAD + text).encode()


def renamed(old, new, files=BASE):
    files = dict(files)
    text = files.pop(f"vms/{old}.yaml").decode()
    assert f"name: {old}\n" in text
    files[f"vms/{new}.yaml"] = text.replace(f"name: {old}\n", f"name: {new}\n", 1).encode()
    files["transitions.yaml"] = words(f"  moved: [{{from: vm/{old}, to: vm/{new}}}]\n")
    return files


def domains(one):
    return {
        name: (node.name, domain.domain.uuid)
        for node in one.cluster.nodes.values()
        for name, domain in node.guests.domains.items()
    }


def waiting(one):
    """What `pvc status` shows for a person to look at."""
    status, _ = look_at_status(one.cluster)
    return [(address, text) for address, text, _ in status.waiting]


def record(one, path):
    stamped = one.cluster.tree.records.get(path)
    return None if stamped is None else stamped.value


def test_a_renamed_guest_runs_on_and_bears_its_new_name_after_a_restart():
    one = play(ON + "settle\n", commits={"rename": renamed("app2", "app9")})
    before, old = domains(one), record(one, "/pvc/guests/app2")
    one.play("commit rename\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    new = record(one, "/pvc/guests/app9")
    assert domains(one) == before
    assert record(one, "/pvc/guests/app2") is None
    assert record(one, "/pvc/placement/app2") is None
    assert [new[key] for key in ("uuid", "nics", "disks")] == [
        old[key] for key in ("uuid", "nics", "disks")
    ]
    assert new["names"] == ["vm/app2"]
    node = one.cluster.nodes[before["app2"][0]]
    assert record(one, f"/pvc/nodes/{node.name}/report")["guests"]["app9"]["bears"] == "app2"
    assert ("vm/app9", f"still app2 in libvirt on {node.name}, until its next start") in waiting(
        one
    )
    one.play("vm app2 crash\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert waiting(one) == []
    assert domains(one)["app9"] == before["app2"]
    assert "app2" not in domains(one)


def test_a_rename_is_reverted_and_made_again_without_a_restart():
    rename = renamed("app2", "app9")
    one = play(ON + "settle\n", commits={"rename": rename, "back": BASE})
    before = domains(one)
    one.play("commit rename\nsettle 300\ncommit back\nsettle 300\ncommit rename\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert domains(one) == before
    assert len(one.cluster.checkers.starts["app2"]) == 1


def test_an_agent_that_dies_in_the_middle_of_a_rename_goes_on_with_one_guest():
    one = play(ON + "settle\n", commits={"rename": renamed("app2", "app9")})
    (home, _) = domains(one)["app2"]
    one.play("commit rename\n")
    while record(one, "/pvc/guests/app9") is None:
        one.play("wait 0.02\n")
    one.play(f"agent {home} kill\nwait 20\nagent {home} start\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert [name for name in domains(one) if name.startswith("app")].count("app2") == 1


def test_a_renamed_network_keeps_its_guests_connected():
    old, path = "app", "networks/app.yaml"
    files = dict(BASE)
    text = files.pop(path).decode()
    assert f"name: {old}\n" in text
    text = text.replace(f"name: {old}\n", "name: front\n", 1)
    files["networks/front.yaml"] = text.encode()
    for each in [p for p in files if p.startswith("vms/")]:
        guest = files[each].decode().replace(f"network: {old}}}", f"name: {old}, network: front}}")
        files[each] = guest.replace(f"network: {old},", f"name: {old}, network: front,").encode()
    files["transitions.yaml"] = words(f"  moved: [{{from: network/{old}, to: network/front}}]\n")
    one = play(ON + "settle\n", commits={"rename": files})
    before, count = domains(one), starts(one)
    bridges = {n.name: set(n.interfaces.bridges) for n in one.cluster.nodes.values()}
    neighbours = {n.name: dict(n.interfaces.neighbours) for n in one.cluster.nodes.values()}
    one.play("commit rename\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert (domains(one), starts(one)) == (before, count)
    assert {n.name: set(n.interfaces.bridges) for n in one.cluster.nodes.values()} == bridges
    after = {n.name: dict(n.interfaces.neighbours) for n in one.cluster.nodes.values()}
    assert after == neighbours


def test_a_forgotten_guest_runs_on_and_is_adopted_again():
    forget = {k: v for k, v in BASE.items() if k != "vms/app2.yaml"}
    forget["transitions.yaml"] = words("  forgotten: [vm/app2]\n")
    one = play(ON + "settle\n", commits={"forget": forget})
    before, image = domains(one), record(one, "/pvc/guests/app2")["disks"]["root"]["image"]
    one.play("commit forget\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert domains(one) == before
    assert record(one, "/pvc/guests/app2") is None
    home = before["app2"][0]
    (unmanaged,) = record(one, f"/pvc/nodes/{home}/report")["unmanaged"]
    assert (unmanaged["name"], unmanaged["uuid"]) == ("app2", before["app2"][1])
    assert ("vms", image) in one.cluster.ceph.images


LEGACY = b"""apiVersion: pvc/v1
kind: VirtualMachine
metadata: {name: legacy}
spec:
  cpu: {vcpus: 1}
  memory: 96MiB
  disks:
    - {name: vda, pool: vms, size: 64MiB, bus: virtio-blk}
  nics:
    - {network: app, mac: "52:54:00:aa:bb:cc"}
"""


def by_hand(one, node):
    """Somebody defines a domain with `virsh` on a node of ours."""
    ceph = one.cluster.ceph
    ceph.images["vms", "legacy-root"] = ImageFacts(size_mib=64, parent=None, snapshots=())
    domain = Domain(
        name="Legacy_DB",
        uuid="0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11",
        digest="",
        starts=0,
        vcpus=1,
        cpu_model="",
        memory_mib=96,
        firmware="bios",
        disks=(
            DiskAttachment(
                name="vda", pool="vms", image="legacy-root", bus="virtio-blk", boot=None
            ),
        ),
        nics=(
            NicAttachment(
                name="52:54:00:aa:bb:cc",
                mac="52:54:00:aa:bb:cc",
                bridge="br1000",
                tap="vnet3",
                model="virtio",
                mtu_bytes=0,
            ),
        ),
        console_log=False,
    )
    address = "10.22.0.2:0/77"
    ceph.open("vms", "legacy-root", address)
    guests = one.cluster.nodes[node].guests
    guests.domains["Legacy_DB"] = SimDomain(domain, GuestState.RUNNING, address, is_ours=False)
    guests.on_change()


def test_a_domain_made_by_hand_is_adopted_as_it_runs_and_restarts_as_ours():
    adopt = {
        **BASE,
        "vms/legacy.yaml": LEGACY,
        "transitions.yaml": words("  adopted: [domain/Legacy_DB as vm/legacy]\n"),
    }
    one = play(ON + "settle\n", commits={"adopt": adopt})
    by_hand(one, "hv2")
    one.play("wait 30\n")
    before = domains(one)
    one.play("commit adopt\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert domains(one) == before
    assert states(one)["legacy"] == "running"
    assert events(one, "step_failed") == []
    one.play("vm Legacy_DB crash\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert domains(one)["legacy"] == before["Legacy_DB"]


def test_data_is_purged_after_its_time_and_not_before():
    short = changed("cluster.yaml", "spec:\n", "spec:\n  trash: {keep: 2h}\n")
    without = {k: v for k, v in short.items() if k != "vms/app2.yaml"}
    one = play(ON + "settle\n", files=short, commits={"without": without})
    one.play("commit without\nsettle 300\n")
    assert [entry.name.startswith("vm.app2.") for entry in one.cluster.ceph.trash["vms"]] == [True]
    assert record(one, "/pvc/guests/app2")["phase"] == "trashed"
    ((address, text),) = waiting(one)
    assert address == "vm/app2"
    assert "is purged at" in text
    one.play("wait 6600\n")
    assert len(one.cluster.ceph.trash["vms"]) == 1
    one.play("wait 900\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert one.cluster.ceph.trash["vms"] == ()
    assert record(one, "/pvc/guests/app2") is None


def test_a_network_made_by_hand_becomes_ours_as_it_is():
    live = UnmanagedNetwork(
        bridge="br4242", vni=4242, mtu_bytes=1550, gateway="10.142.0.1/24", hindrance=""
    )
    adopt = dict(BASE)
    adopt["networks/legacy.yaml"] = (
        b"apiVersion: pvc/v1\nkind: Network\nmetadata: {name: legacy}\nspec:\n  type: managed\n"
        b"  vni: 4242\n  ipv4: {subnet: 10.142.0.0/24, gateway: 10.142.0.1}\n"
    )
    unsaid = dict(adopt)
    adopt["transitions.yaml"] = words("  adopted: [bridge/br4242 as network/legacy]\n")
    one = play(ON + "settle\n", commits={"unsaid": unsaid, "adopt": adopt})
    before, first = domains(one), min(one.cluster.nodes)
    one.cluster.nodes[first].interfaces.foreign["br4242"] = live
    one.play("wait 15\n")
    (reported,) = record(one, f"/pvc/nodes/{first}/report")["bridges"]
    assert reported["bridge"] == "br4242"
    one.play("commit unsaid\nsettle 300\n")
    assert record(one, "/pvc/networks/legacy") is None
    assert all(4242 not in node.interfaces.bridges for node in one.cluster.nodes.values())
    one.play("commit adopt\nsettle 300\n")
    assert (one.is_settled, one.result()["violations"]) == (True, [])
    assert domains(one) == before
    for node in one.cluster.nodes.values():
        assert node.interfaces.bridges[4242].gateway == "10.142.0.1/24"
        assert node.interfaces.foreign == {}
