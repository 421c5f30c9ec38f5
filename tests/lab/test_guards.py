"""A commit that deletes more than its budget is held back on the real cluster, with the way through."""

from __future__ import annotations

import pytest
from cloud import Cloud, until

pytestmark = pytest.mark.lab

APPLIED_LIMIT_S = 180.0
HERD = tuple(f"herd{number:02}" for number in range(1, 11))
GUEST = """# yaml-language-server: $schema=../.pvc/schema/virtual-machine.json
apiVersion: pvc/v1
kind: VirtualMachine
metadata:
  name: {name}
spec:
  run_state: disabled
  cpu: {{vcpus: 1}}
  memory: 64MiB
"""


def test_a_commit_that_deletes_ten_guests_is_held_back_until_they_are_named(cloud: Cloud) -> None:
    domains = cloud.domains()
    wide = cloud.read("cluster.yaml")
    assert "vms: 100," in wide
    cloud.write("cluster.yaml", wide.replace("vms: 100,", "vms: 3,"))
    for name in HERD:
        cloud.write(f"vms/{name}.yaml", GUEST.format(name=name))
    cloud.commit_and_push("a herd of ten, and a budget of three")
    cloud.pvc("apply", "--yes")
    assert set(HERD) <= set(cloud.status()["guests"])

    for name in HERD:
        (cloud.clone / "vms" / f"{name}.yaml").unlink()
    cloud.commit_and_push("clean up")
    said = " ".join(cloud.pvc("apply", "--yes", ok=(3,)).split())
    assert "10 vms to destroy" in said  # at once, or after others on the same day
    assert "apply.max_destroy allows 3" in said
    assert set(HERD) <= set(cloud.status()["guests"]), "some of them are gone"
    assert cloud.domains() == domains

    cloud.pvc("allow", *(f"vm/{name}" for name in HERD))
    assert "removed:" in cloud.read("transitions.yaml")
    cloud.commit_and_push("meant so")
    cloud.pvc("apply", "--yes")
    until(
        "the herd is gone",
        APPLIED_LIMIT_S,
        lambda: not set(HERD) & set(cloud.status()["guests"]),
    )
    assert cloud.domains() == domains
    cloud.git("rm", "--quiet", "transitions.yaml")
    cloud.write("cluster.yaml", wide)
    cloud.commit_and_push("done")
    cloud.pvc("apply", "--yes")
    assert "Nothing to do" in cloud.pvc("plan")
