"""What somebody else runs becomes ours as it runs, and the other way round, on real libvirt."""

from __future__ import annotations

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
