"""The monitors' answers, as Ceph 18.2.7 gave them."""

import json
from pathlib import Path

import pytest

from pvc_gitops.adapters.ceph import answers
from pvc_gitops.adapters.ceph.temporary import CLONE, IMPORT, is_temporary
from pvc_gitops.errors import PoolError
from pvc_gitops.model.inventory import PoolFacts

FACTS = Path(__file__).parents[2] / "facts" / "ceph"


def fact(name: str):
    """The first JSON value: `blocklist` has a second one, of ranges, behind it."""
    return json.JSONDecoder().raw_decode((FACTS / f"18.2.7-{name}.json").read_text())[0]


def test_status():
    status = answers.status(fact("status"))
    assert (status.health, status.checks) == ("HEALTH_WARN", ("noout flag(s) set",))
    assert (status.osds_up, status.osds_total) == (3, 3)
    assert 0 < status.used_ratio < 0.1


def test_a_monitor_without_a_quorum_is_no_answer():
    """Ceph 18.2.7 cut off from the other monitors says so, and is in good health as far as it knows."""
    with pytest.raises(PoolError, match="in no quorum") as caught:
        answers.status({**fact("status"), "quorum": [], "quorum_names": []})
    assert caught.value.retryable


def test_a_cluster_without_osds_is_not_full():
    empty = {
        "quorum": [0],
        "health": {"status": "HEALTH_OK", "checks": {}},
        "osdmap": {"num_up_osds": 0, "num_osds": 0},
        "pgmap": {},
    }
    assert answers.status(empty).used_ratio == 0.0


def test_pools_are_those_made_for_rbd():
    listed = fact("pools")
    assert answers.pools(listed) == {"vms": PoolFacts(copies=3, min_copies=2, pgs=16)}
    assert answers.pools([{**listed[0], "application_metadata": {"cephfs": {}}}]) == {}


def test_blocklist_has_addresses_and_clients_and_no_ranges():
    found = answers.blocklist(fact("blocklist"))
    assert {"10.92.0.99:0/0", "10.92.0.98:0/77"} <= found
    assert not any(address.startswith("10.92.7") for address in found)


def test_rights_name_every_pool_and_nothing_else():
    held = answers.granted_pools(fact("auth"))
    assert held == {"adapters-test", "vms"}
    caps = answers.caps({"vms", "fast"})
    assert caps == [
        "mgr",
        "profile rbd",
        "mon",
        "profile rbd",
        "osd",
        "profile rbd pool=fast, profile rbd pool=vms",
    ]
    assert answers.granted_pools([{"caps": dict(zip(caps[::2], caps[1::2], strict=True))}]) == {
        "vms",
        "fast",
    }


def test_rights_without_a_pool_would_be_rights_to_all():
    with pytest.raises(ValueError, match="without pools"):
        answers.caps([])


def test_what_is_being_made_is_hidden():
    assert is_temporary("debian" + IMPORT)
    assert is_temporary("web1" + CLONE)
    assert not is_temporary("web1")
