"""Steps that fail, and mistakes that are undone, on a real cluster."""

from __future__ import annotations

import pytest
from cloud import Cloud, until
from test_first_light import vm

pytestmark = pytest.mark.lab

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
