"""Steps that fail, and machines that fall silent, on a real cluster."""

from __future__ import annotations

import pytest
from cloud import Cloud, until
from test_first_light import vm

pytestmark = pytest.mark.lab

SILENT_LIMIT_S = 60.0
BACK_LIMIT_S = 180.0


def test_a_wrong_checksum_leaves_no_half_image_and_stops_only_what_needs_it(cloud: Cloud) -> None:
    images = cloud.on("hv1", "rbd", "ls", "vms").split()
    good = cloud.read("images/tiny-guest.yaml")
    line = next(row for row in good.splitlines() if "checksum:" in row)
    bad = good.replace("tiny-guest", "bad-guest", 1).replace(
        line, f'  checksum: "sha256:{"ab" * 32}"'
    )
    cloud.write("images/bad-guest.yaml", bad.replace("name: tiny-guest", "name: bad-guest"))
    cloud.write("vms/sound.yaml", vm("sound"))
    cloud.write("vms/broken.yaml", vm("broken").replace("tiny-guest", "bad-guest"))
    cloud.commit_and_push("sound: new; broken: from an image with a wrong checksum")
    said = cloud.pvc("apply", "--yes", ok=(1,))
    assert "image.import image/bad-guest" in said
    assert "checksum" in said
    cloud.wait_running({*cloud.running(), "sound"})
    after = cloud.on("hv1", "rbd", "ls", "vms").split()
    assert not [name for name in after if "bad-guest" in name]
    assert len(after) == len(images) + 1  # the disk of `sound`
    status = cloud.pvc("status")
    assert "image/bad-guest" in status
    cloud.git("rm", "-q", "images/bad-guest.yaml", "vms/broken.yaml")
    cloud.commit_and_push("broken: given up")
    cloud.pvc("apply", "--yes")
    assert "Nothing to do" in cloud.pvc("plan")


def test_a_silent_node_is_unknown_and_its_guests_wait_for_it(cloud: Cloud) -> None:
    before = cloud.domains()
    starts = {name: guest["starts"] for name, guest in cloud.status()["guests"].items()}
    lost = {name for name, nodes in before.items() if nodes == ["hv3"]}
    assert lost
    cloud.lab.power("hv3", "off")

    def says_so() -> bool:
        # Who was blind itself while ZooKeeper elected forgives all nodes that time first.
        return "hv3 silent" in cloud.try_pvc("status").stdout.partition("\n")[0]

    until("the first line says that hv3 is silent", SILENT_LIMIT_S, says_so)
    assert cloud.status()["nodes"]["hv3"]["state"] == "unknown"
    for node in ("hv1", "hv2"):
        assert not lost & set(cloud.on(node, "virsh", "-q", "list", "--name").split())
    cloud.lab.power("hv3", "on")
    until("all guests run again", BACK_LIMIT_S, lambda: cloud.domains() == before)
    until("status says so", BACK_LIMIT_S, lambda: cloud.running() == set(before))
    for name, guest in cloud.status()["guests"].items():
        assert guest["starts"] == starts[name] + (1 if name in lost else 0), name
    for name in sorted(lost):
        cloud.marker(name)
    until(
        "storage is whole again",
        BACK_LIMIT_S,
        lambda: cloud.status()["storage"]["health"] == "HEALTH_OK",
    )
    assert "Nothing to do" in cloud.pvc("plan")


def test_a_deleted_guest_comes_back_with_its_data_by_a_revert(cloud: Cloud) -> None:
    owner = cloud.owner("web1")
    address = cloud.address("web1")
    counted = cloud.counter("web1")
    assert counted > 0
    uuid = cloud.on(owner, "virsh", "domuuid", "web1").strip()
    cloud.git("rm", "-q", "vms/web1.yaml")
    cloud.commit_and_push("web1: removed by mistake")
    cloud.pvc("apply", "--yes")
    assert "web1" not in cloud.domains()
    cloud.git("revert", "--no-edit", "HEAD")
    cloud.git("push", "--quiet")
    cloud.pvc("apply", "--yes")
    until("web1 runs again", BACK_LIMIT_S, lambda: "web1" in cloud.running())
    owner = cloud.owner("web1")
    assert cloud.on(owner, "virsh", "domuuid", "web1").strip() == uuid
    assert cloud.address("web1") == address
    # It counts on its own disk: an empty disk of the same name would begin again.
    assert cloud.counter("web1") >= counted
    assert "Nothing to do" in cloud.pvc("plan")
