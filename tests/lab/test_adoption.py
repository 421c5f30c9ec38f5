"""What somebody else runs becomes ours as it runs, and the other way round, on real libvirt."""

from __future__ import annotations

import re

import pytest
from cloud import Cloud, until

from pvc_gitops.adapters.libvirt.xml import NAMESPACE

pytestmark = pytest.mark.lab

GUEST = "web2"
FILE = f"vms/{GUEST}.yaml"
SEEN_LIMIT_S = 120.0


def process(cloud: Cloud, node: str) -> str:
    """The guest's QEMU: as long as it is the same, the guest has not noticed anything."""
    return cloud.on(node, "cat", f"/run/libvirt/qemu/{GUEST}.pid").strip()


def test_a_forgotten_guest_runs_on_and_is_adopted_again_as_it_runs(cloud: Cloud) -> None:
    node, counted = cloud.owner(GUEST), cloud.counter(GUEST)
    address, lives = cloud.address(GUEST), process(cloud, node)

    cloud.git("rm", "--quiet", FILE)
    cloud.write(
        "transitions.yaml",
        "apiVersion: pvc/v1\nkind: Transitions\nmetadata: {name: transitions}\n"
        f"spec:\n  forgotten: [vm/{GUEST}]\n",
    )
    cloud.commit_and_push(f"{GUEST} is no longer ours")
    cloud.pvc("apply", "--yes")
    assert GUEST not in cloud.status()["guests"]
    assert process(cloud, node) == lives
    assert NAMESPACE not in cloud.on(node, "virsh", "dumpxml", GUEST)
    assert "Nothing to do" in cloud.pvc("plan")

    until("it is seen as nobody's", SEEN_LIMIT_S, lambda: GUEST in cloud.pvc("adopt"))
    said = cloud.pvc("adopt", GUEST)
    assert "nothing restarts" in said
    assert (cloud.clone / FILE).exists()
    cloud.commit_and_push(f"{GUEST} is ours again")
    assert "restart" not in cloud.pvc("plan", ok=(0, 2)).replace("nothing restarts", "")
    cloud.pvc("apply", "--yes")
    until("it runs as ours", SEEN_LIMIT_S, lambda: GUEST in cloud.running())
    assert process(cloud, node) == lives
    assert cloud.owner(GUEST) == node
    assert cloud.address(GUEST) == address
    assert cloud.counter(GUEST) >= counted
    assert "Nothing to do" in cloud.pvc("plan")

    cloud.git("rm", "--quiet", "transitions.yaml")
    cloud.commit_and_push("the words have been heard")
    cloud.pvc("apply", "--yes")


BRIDGE, VNI = "br4242", 4242


def test_a_network_made_by_hand_is_adopted_as_it_is(cloud: Cloud) -> None:
    made = cloud.nodes()[:2]
    mtu_bytes = int(cloud.on(made[0], "cat", "/sys/class/net/br1000/mtu"))
    for node in made:
        end = re.search(
            r"vxlan id 1000 local (\S+)", cloud.on(node, "ip", "-d", "link", "show", "vx1000")
        )
        assert end is not None
        cloud.on(node, "ip", "link", "add", BRIDGE, "type", "bridge")
        cloud.on(
            node, "ip", "link", "add", f"vx{VNI}", "type", "vxlan", "id", str(VNI),
            "local", end[1], "dstport", "4789", "nolearning",
        )  # fmt: skip
        for name in (f"vx{VNI}", BRIDGE):
            cloud.on(node, "ip", "link", "set", name, "mtu", str(mtu_bytes), "up")
        cloud.on(node, "ip", "link", "set", f"vx{VNI}", "master", BRIDGE)
        cloud.on(node, "ip", "addr", "add", "10.142.0.1/24", "dev", BRIDGE)
    indexes = [cloud.on(node, "cat", f"/sys/class/net/{BRIDGE}/ifindex") for node in made]

    found = f"{BRIDGE}  a bridge on {', '.join(made)}, as network/{BRIDGE}"
    until("the nodes report it", SEEN_LIMIT_S, lambda: found in cloud.pvc("adopt"))
    assert "nothing restarts" in cloud.pvc("adopt", BRIDGE)
    assert "vni: 4242" in cloud.read(f"networks/{BRIDGE}.yaml")
    cloud.commit_and_push("a network that was made by hand is ours")
    assert "1 to adopt" in cloud.pvc("plan", ok=(0, 2))
    cloud.pvc("apply", "--yes")
    assert [cloud.on(node, "cat", f"/sys/class/net/{BRIDGE}/ifindex") for node in made] == indexes
    for node in cloud.nodes():
        assert "10.142.0.1/24" in cloud.on(node, "ip", "-4", "addr", "show", BRIDGE)
        assert "pvc:" in cloud.on(node, "cat", f"/sys/class/net/{BRIDGE}/ifalias")
    assert "Nothing to do" in cloud.pvc("plan")

    cloud.git("rm", "--quiet", "transitions.yaml", f"networks/{BRIDGE}.yaml")
    cloud.commit_and_push("the network goes again")
    cloud.pvc("apply", "--yes")
    for node in cloud.nodes():
        assert BRIDGE not in cloud.on(node, "ip", "-o", "link")
