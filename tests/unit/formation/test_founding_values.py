"""Founding secrets, seed, identity, layout, record: the values that a founding is made from."""

import base64
import dataclasses
import itertools
import json
import struct

import pytest
from documents import CLUSTER_ID, COMMIT, HV1, mac, spec

from pvc_gitops.errors import UsageError
from pvc_gitops.formation import identity, seed
from pvc_gitops.formation.first_records import first_records
from pvc_gitops.formation.layout import layout
from pvc_gitops.formation.record import FoundingRecord, Standing, agreement, record_of, standing
from pvc_gitops.formation.secrets import Authority, FoundingSecrets, ceph_key, draw
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import Accepted, Applied, Formation, Phase

NOW_S = 1_790_000_000


def drawn() -> FoundingSecrets:
    counter = itertools.count()
    return draw(
        lambda n: bytes(next(counter) % 256 for _ in range(n)),
        NOW_S,
        lambda cluster_id: Authority(key=f"key of {cluster_id}", certificate="certificate"),
    )


# --- secrets ---


def test_a_ceph_key_is_type_time_length_bytes():
    packed = base64.b64decode(ceph_key(bytes(range(16)), NOW_S))
    assert struct.unpack("<HIIH", packed[:12]) == (1, NOW_S, 0, 16)
    assert packed[12:] == bytes(range(16))


def test_every_secret_is_drawn_on_its_own():
    values = list(drawn().to_data().values())
    assert len(set(values)) == len(values)
    assert all(values)


def test_passwords_need_no_quoting_in_any_configuration():
    for password in (drawn().zookeeper_quorum, drawn().zookeeper_super, drawn().zookeeper_pvc):
        assert password.replace("-", "").replace("_", "").isalnum()


def test_secrets_survive_their_document():
    assert FoundingSecrets.from_data(drawn().to_data()) == drawn()


def test_a_missing_or_foreign_secret_is_named():
    data = drawn().to_data()
    data["ceph_mgr"] = data.pop("ceph_mon")
    with pytest.raises(UsageError, match="missing ceph_mon, unknown ceph_mgr"):
        FoundingSecrets.from_data(data)


# --- seed ---


def test_a_seed_survives_its_file():
    made = seed.make(
        url="http://10.20.0.254/lab.git", founding_commit=COMMIT, cluster_key="AGE-SECRET-KEY-1X"
    )
    read = seed.parse(made)
    assert (read.branch, read.path, read.signers) == ("main", ".", "none")
    assert (read.founding_commit, read.cluster_key) == (COMMIT, "AGE-SECRET-KEY-1X")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"founding_commit": "main"}, "not 40 hex digits"),
        ({"host_keys": "x"}, "host_keys is no list"),
        ({"cluster_key": 7}, "cluster_key is neither text nor null"),
        ({"surprise": 1}, "expected exactly"),
        ({"authority": None}, "not exactly one of cluster_key"),
        ({"cluster_key": "AGE-SECRET-KEY-1X"}, "not exactly one of cluster_key"),
    ],
)
def test_a_seed_that_is_not_understood_whole_is_refused(change, reason):
    made = json.loads(seed.make(url="u", founding_commit=COMMIT, cluster_key=None, authority="PEM"))
    with pytest.raises(UsageError, match=reason):
        seed.parse(json.dumps({**made, **change}).encode())


# --- identity ---


def machine(number: int, **changes: object) -> identity.MachineFacts:
    facts = identity.MachineFacts(
        nics={name: mac(number, index) for index, name in enumerate(("up0", "cl0", "st0"))},
        system_uuid=None,
        serial="CZJ12345A7",
    )
    return dataclasses.replace(facts, **changes)


def test_a_machine_is_the_one_node_whose_facts_all_hold():
    assert identity.match(spec().nodes.values(), machine(2)).name == "hv2"


def test_a_machine_that_lacks_one_mac_is_nobody_and_told_what_to_write():
    partial = machine(2, nics={"up0": mac(2, 0), "cl0": mac(2, 1)})
    with pytest.raises(UsageError, match="matches no document") as refusal:
        identity.match(spec().nodes.values(), partial)
    assert mac(2, 1) in refusal.value.message


def test_every_fact_that_is_named_must_hold():
    node = spec().nodes[HV1]
    both = dataclasses.replace(node, identity_match={**node.identity_match, "serial": "other"})
    with pytest.raises(UsageError, match="matches no document"):
        identity.match([both], machine(1))


def test_a_document_without_facts_matches_nobody():
    empty = dataclasses.replace(spec().nodes[HV1], identity_match={})
    with pytest.raises(UsageError, match="matches no document"):
        identity.match([empty], machine(1))


def test_a_machine_that_two_documents_claim_is_refused():
    twin = dataclasses.replace(spec().nodes[HV1], name=NodeName("hv9"))
    with pytest.raises(UsageError, match="several documents: hv1, hv9"):
        identity.match([spec().nodes[HV1], twin], machine(1))


def test_a_card_is_found_by_its_mac_whatever_the_kernel_calls_it():
    renamed = machine(1, nics={"eth7": mac(1, 0), "eth8": mac(1, 1), "eth9": mac(1, 2)})
    assert identity.interface_name(spec().nodes[HV1], "cluster", renamed) == "eth8"


def test_a_card_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UsageError, match="no interface for storage") as refusal:
        identity.interface_name(spec().nodes[HV1], "storage", machine(1, nics={"up0": mac(1, 0)}))
    assert mac(1, 0) in refusal.value.hint


# --- layout and record ---


def test_members_have_the_same_ids_on_every_node():
    seen = {layout(spec(), name, CLUSTER_ID).members for name in spec().nodes}
    assert len(seen) == 1
    assert [(member.id, member.name) for member in seen.pop()] == [
        (1, "hv1"),
        (2, "hv2"),
        (3, "hv3"),
    ]


def test_a_hypervisor_is_no_member():
    fourth = layout(spec(hypervisor=True), NodeName("hv4"), CLUSTER_ID)
    assert fourth.my_member is None
    assert len(fourth.members) == 3


def test_an_osd_keeps_its_uuid_over_runs_and_no_two_share_one():
    uuids = [layout(spec(), name, CLUSTER_ID).osd_uuid(i) for name in spec().nodes for i in (0, 1)]
    assert len(set(uuids)) == 6
    assert uuids[0] == layout(spec(), HV1, CLUSTER_ID).osd_uuid(0)


def record() -> FoundingRecord:
    return record_of(layout(spec(), HV1, CLUSTER_ID), COMMIT)


def test_founding_needs_every_member():
    same = agreement(record(), HV1, {NodeName("hv2"): record(), NodeName("hv3"): None})
    assert (same.same, same.absent, same.is_complete) == (("hv1", "hv2"), ("hv3",), False)
    whole = agreement(record(), HV1, {NodeName("hv2"): record(), NodeName("hv3"): record()})
    assert whole.is_complete


@pytest.mark.parametrize("change", [{"commit": "d" * 40}, {"formation": 2}, {"cluster_id": "x"}])
def test_a_member_that_founds_something_else_is_different(change):
    other = dataclasses.replace(record(), **change)
    found = agreement(record(), HV1, {NodeName("hv2"): other, NodeName("hv3"): record()})
    assert found.different == ("hv2",)
    assert not found.is_complete


FORMED = Formation(cluster_id=CLUSTER_ID, tree=1, formation=1, founded_at_s=NOW_S, commit=COMMIT)
SERVERS = {member.id: member.address for member in record().members}


@pytest.mark.parametrize(
    ("formed", "servers", "expected"),
    [
        (FORMED, SERVERS, Standing.MEMBER),
        (FORMED, {2: SERVERS[2], 3: SERVERS[3]}, Standing.STRANGER),
        (FORMED, {**SERVERS, 1: "10.21.0.9"}, Standing.STRANGER),
        (None, SERVERS, Standing.STRANGER),
        (dataclasses.replace(FORMED, cluster_id="x"), SERVERS, Standing.STRANGER),
        (dataclasses.replace(FORMED, commit="d" * 40), SERVERS, Standing.STRANGER),
        (dataclasses.replace(FORMED, formation=2), {3: SERVERS[3]}, Standing.LOST),
        # Known again, and interrupted then: it still has no vote until it has caught up.
        (dataclasses.replace(FORMED, formation=2), SERVERS, Standing.LOST),
    ],
)
def test_how_a_founder_stands_to_a_running_ensemble(formed, servers, expected):
    assert standing(record(), HV1, formed, servers) is expected


# --- first records ---


def test_first_records_say_what_was_founded_and_put_nodes_in_force():
    accepted = Accepted(commit=COMMIT, subject="found", author="ann", accepted_at_s=NOW_S)
    written = dict(first_records(spec(), accepted=accepted, cluster_id=CLUSTER_ID, formation=1))
    assert decode(Accepted, json.loads(written[paths.ACCEPTED])) == accepted
    founded = decode(Formation, json.loads(written[paths.FORMAT]))
    assert (founded.cluster_id, founded.formation, founded.commit) == (CLUSTER_ID, 1, COMMIT)
    owned = {path for path in written if path.startswith(f"{paths.OWNED}/")}
    assert owned == {
        f"{paths.OWNED}/{name}" for name in ("cluster:lab", "node:hv1", "node:hv2", "node:hv3")
    }
    node = decode(Applied, json.loads(written[f"{paths.OWNED}/node:hv1"]))
    assert (node.phase, node.incarnation, node.needs) == (Phase.PRESENT, 1, ())
    assert node.uuid == layout(spec(), HV1, CLUSTER_ID).host_uuid


def test_parents_come_before_children():
    accepted = Accepted(commit=COMMIT, subject="", author="", accepted_at_s=NOW_S)
    order = [
        path
        for path, _ in first_records(spec(), accepted=accepted, cluster_id=CLUSTER_ID, formation=1)
    ]
    assert len(set(order)) == len(order)
    for index, path in enumerate(order[1:], start=1):
        assert path.rpartition("/")[0] in order[:index]
