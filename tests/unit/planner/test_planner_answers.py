"""Single answers of the planner that golden cases do not show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from clusters import BASE, FIELDS, document, example, network, node, spec_of, vm

from pvc_gitops.errors import UsageError
from pvc_gitops.model.document import Kind
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import derived_mac
from pvc_gitops.model.inventory import StorageReach
from pvc_gitops.model.plan import CapacityVerdict, ItemKind
from pvc_gitops.planner import codec
from pvc_gitops.planner.diff import difference, shown
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, exit_code, plan
from pvc_gitops.planner.render import last_line, text
from pvc_gitops.planner.replay import applied_after


def applied(spec):
    inventory = empty(spec, 0)
    made = plan(spec, inventory, POLICY, None)
    return replace(applied_after(made, inventory), target=made.id, accepted=spec.commit)


def replanned(before, after):
    return plan(after, applied(before), POLICY, None)


def test_the_last_line_has_exactly_this_form():
    made = plan(example(), empty(example(), 0), POLICY, None)
    summary = replace(
        made.summary, create=3, update=1, delete=0, blocked=0, downtime_s=0.3,
        n1=CapacityVerdict.HOLDS,
    )  # fmt: skip
    assert last_line(summary) == (
        "Plan: 3 to create, 1 to change, 0 to destroy; longest guest downtime 0.3 s; N-1 holds."
    )
    assert "1 to restore, 1 to change" in last_line(replace(summary, restore=1))
    assert "0 to destroy, 2 blocked;" in last_line(replace(summary, blocked=2))


def test_nothing_to_do_has_exactly_this_form():
    spec = spec_of(*BASE, commit="9f0e1d3" + "0" * 33)
    made = replanned(spec, spec)
    assert text(made, elapsed_s=0.21) == "Nothing to do: 9f0e1d3 is applied (7 objects, 0.21 s)."
    assert exit_code(made) == 0


def test_colour_and_ascii_change_nothing_but_colour_and_signs():
    made = plan(example(), empty(example(), 0), POLICY, None)
    plain = text(made)
    coloured = text(made, color=True)
    assert coloured != plain
    for code in ("\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain
    assert text(made, unicode=False).isascii()


def test_reading_what_is_no_plan_says_what_it_is():
    with pytest.raises(UsageError, match="no JSON"):
        codec.plan_from_bytes(b"{")
    inventory = codec.inventory_to_bytes(empty(example(), 0))
    with pytest.raises(UsageError, match="pvc-inventory/1"):
        codec.plan_from_bytes(inventory)
    data = json.loads(inventory)
    with pytest.raises(UsageError, match="unknown keys"):
        codec.inventory_from_bytes(json.dumps({**data, "extra": 1}).encode())


def test_what_waits_for_a_window_is_on_record_and_counted_at_once():
    night = document(
        Kind.WINDOW, "night", {"allow": ["Sun 02:00-04:00"], "deny": [], "timezone": "UTC"}
    )
    before = spec_of(*BASE, night, vm("mail", reboot_for_changes="window", window="night"))
    changed = vm("mail", "128MiB", reboot_for_changes="window", window="night", stop_timeout="60s")
    made = replanned(before, spec_of(*BASE, night, changed, commit="2" * 40))
    (waiting,) = [item for item in made.report if item.kind is ItemKind.WAITING]
    assert waiting.code == "restart-pending"
    assert "window night: opens Sun 04 Jan 02:00 UTC" in waiting.text
    (change,) = made.changes
    assert [field.path for field in change.fields] == ["memory", "stop_timeout"]
    assert change.downtime_s == 0
    (step,) = made.steps
    assert step.inputs["is_deferred"] is True
    assert step.record.pending_since_s == 0


def test_the_lowest_free_address_goes_to_the_first_name_and_is_kept():
    declared = vm(
        "b",
        nics={"app": {"network": "app", "mac": "auto", "model": "virtio", "address": "10.0.0.100"}},
    )
    before = spec_of(*BASE, vm("c"), declared, commit="1" * 40)
    inventory = applied(before)
    assert inventory.applied["vm/c"].nics["app"].address == "10.0.0.101"
    made = plan(
        spec_of(*BASE, vm("a"), vm("c"), declared, commit="2" * 40), inventory, POLICY, None
    )
    (put,) = (step for step in made.steps if step.id == "vm.put vm/a")
    assert put.record.nics["app"].address == "10.0.0.102"
    mac = derived_mac(inventory.cluster_id, "vm/a/nic/app")
    assert put.record.nics["app"].mac == mac


def test_another_subnet_gives_new_addresses_to_guests_whose_documents_did_not_change():
    before = spec_of(*BASE, vm("a"), commit="1" * 40)
    moved = replace(FIELDS, by_kind={**FIELDS.by_kind, Kind.NETWORK: {}})  # subnet as a live field
    after = spec_of(*BASE[:-1], network("app", 1000, **_subnet(77)), vm("a"), commit="2" * 40)
    made = plan(replace(after, fields=moved), applied(before), POLICY, None)
    (put,) = (step for step in made.steps if step.id == "vm.put vm/a")
    assert put.record.nics["app"].address == "10.77.0.100"
    (change,) = (change for change in made.changes if change.address == "vm/a")
    assert change.because[0].code == "addresses"


def _subnet(third):
    return {
        "ipv4": {
            "subnet": f"10.{third}.0.0/24",
            "gateway": f"10.{third}.0.1",
            "dhcp": {"start": f"10.{third}.0.100", "end": f"10.{third}.0.199"},
        }
    }


def test_a_difference_is_the_costliest_field_and_keeps_what_may_not_change():
    before = applied(spec_of(*BASE, vm("a"), commit="1" * 40)).applied["vm/a"]
    disks = {"root": {"pool": "vms", "size": "32MiB", "image": "other", "bus": "virtio-scsi"}}
    found = difference(vm("a", "128MiB", disks=disks, tags=["x"]), before, FIELDS)
    assert [change.path for change in found.changes] == ["memory", "tags"]
    assert [hold.code for hold in found.held] == ["used-at-rebuild", "shrink"]
    assert found.disposition is Disposition.REBOOT
    assert found.spec["disks"]["root"] == before.spec["disks"]["root"]
    assert found.spec["memory"] == "128MiB"


def test_values_are_shown_in_few_words():
    assert shown({"b": [1, "x"], "a": None}) == "a: none, b: [1, x]"
    assert shown(True) == "true"
    assert shown("sha256:" + "a" * 64) == "sha256:" + "a" * 12 + "…"


def test_the_id_covers_the_inputs_and_the_effect_what_is_done():
    spec = example()
    made = plan(spec, empty(spec, 0), POLICY, None)
    later = plan(spec, empty(spec, 3600), POLICY, None)
    other = plan(replace(spec, commit="2" * 40), empty(spec, 0), POLICY, None)
    assert len({made.id, later.id, other.id}) == 3
    assert {made.effect, later.effect, other.effect} == {made.effect}
    assert len(made.id) == 16
    assert len(made.effect) == 8
    bigger = spec_of(*spec.documents.values(), vm("more"), commit=spec.commit)
    assert plan(bigger, empty(bigger, 0), POLICY, None).effect != made.effect


def test_the_files_of_a_fields_line_stand_in_its_cause():
    changed = document(Kind.VM, "a", vm("a", "128MiB").spec)
    changed = replace(changed, places={("memory",): (7, 3)})
    made = replanned(
        spec_of(*BASE, vm("a"), commit="1" * 40), spec_of(*BASE, changed, commit="2" * 40)
    )
    (change,) = made.changes
    assert str(change.because[0].place) == "vms/a.yaml:7"


def test_a_lab_of_one_node_is_not_refused_what_no_cluster_of_one_can_have():
    spec = spec_of(*BASE[:1], node("hv1"), *BASE[4:], vm("a"), commit="1" * 40)
    made = plan(spec, empty(spec, 0), POLICY, None)
    assert made.summary.blocked == 0
    assert made.summary.n1 is CapacityVerdict.FAILS


def test_a_secret_is_shown_by_the_digest_of_what_is_encrypted():
    def secret(value):
        return replace(
            vm("keys"),
            kind=Kind.SECRET,
            address="secret/keys",
            spec={"ceph": value, "ca": "ENC[x]"},
        )

    before, after = "ENC[AES256_GCM,data:old]", "ENC[AES256_GCM,data:new]"
    first = spec_of(*BASE, secret(before), commit="1" * 40)
    made = replanned(first, spec_of(*BASE, secret(after), commit="2" * 40))
    (change,) = made.changes
    assert [field.path for field in change.fields] == ["ceph"]
    written = codec.plan_to_bytes(made) + codec.inventory_to_bytes(applied(first))
    assert b"ENC[" not in written
    assert change.after["ceph"].startswith("sha256:")


def test_a_node_that_lost_its_storage_gets_no_new_guests_but_where_ceph_is_away_for_all():
    spec = spec_of(*BASE, vm("web1"), vm("web2"), vm("web3"))

    def nodes_of(**storage):
        inventory = empty(spec, 0)
        facts = {
            name: replace(each, storage=storage.get(name, StorageReach.ANSWERS))
            for name, each in inventory.nodes.items()
        }
        made = plan(spec, replace(inventory, nodes=facts), POLICY, None)
        return {choice.vm: choice for choice in made.placement}

    everybody = {each.node for each in nodes_of().values()}
    lost = min(everybody)
    found = nodes_of(**{lost: StorageReach.LOST}).values()
    assert lost not in {each.node for each in found}
    assert all(each.rejected[lost] == "has lost its storage" for each in found)
    away = dict.fromkeys(empty(spec, 0).nodes, StorageReach.LOST)
    assert {each.node for each in nodes_of(**away).values()} == everybody
