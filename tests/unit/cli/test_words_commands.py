"""allow, adopt and fmt, on a checkout and an exported inventory: what they write plans as it should."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.cli.adopt import adopt
from pvc_gitops.cli.allow import allow
from pvc_gitops.cli.fmt import fmt
from pvc_gitops.errors import UsageError
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.inventory import (
    ImageFacts,
    UnmanagedDisk,
    UnmanagedGuest,
    UnmanagedNetwork,
    UnmanagedNic,
)
from pvc_gitops.planner import codec
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.spec.load import load

BASE = Path(__file__).parents[2] / "golden" / "plans" / "base"


def spec_of(repo, number=2):
    return load(read_working_tree(repo), commit=CommitId(str(number) * 40))


def carried_out(repo, inventory):
    spec = spec_of(repo)
    made = plan(spec, inventory, POLICY, inventory.target)
    assert problems(made, inventory) == ()
    return made, replace(
        applied_after(made, inventory), target=made.id, accepted=CommitId("2" * 40)
    )


@pytest.fixture
def repo(tmp_path):
    return Path(shutil.copytree(BASE, tmp_path / "repo"))


@pytest.fixture
def inventory(repo):
    _, after = carried_out(repo, empty(spec_of(repo), 0))
    return after


def run(command, repo, inventory, *words, code=0):
    file = repo.parent / "inventory.json"
    file.write_bytes(codec.inventory_to_bytes(inventory))
    arguments = [*words, "--repo", str(repo), "--inventory", str(file)]
    result = CliRunner().invoke(command, arguments)
    if isinstance(result.exception, UsageError):
        raise result.exception
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def rename(repo, old="mail", new="post"):
    text = (repo / "vms" / f"{old}.yaml").read_text()
    (repo / "vms" / f"{old}.yaml").unlink()
    (repo / "vms" / f"{new}.yaml").write_text(text.replace(f"name: {old}}}", f"name: {new}}}"))


def test_allow_writes_the_word_that_the_plan_asks_for_and_shows_it(repo, inventory):
    rename(repo)
    said = run(allow, repo, inventory, "--last")
    assert "+    - {from: vm/mail, to: vm/post}" in said
    made, after = carried_out(repo, inventory)
    assert made.steps[0].id == "record.move vm/post"
    assert plan(spec_of(repo), after, POLICY, after.target).steps == ()


def test_allow_keeps_what_stands_in_the_file(repo, inventory):
    (repo / "transitions.yaml").write_text(
        "# why we do this\napiVersion: pvc/v1\nkind: Transitions\nmetadata: {name: transitions}\n"
        "spec:\n  removed: [vm/old]  # agreed with ann\n"
    )
    for name in ("mail", "web1", "web2", "web3"):
        (repo / "vms" / f"{name}.yaml").unlink()
    run(allow, repo, inventory, "vm/web1")
    text = (repo / "transitions.yaml").read_text()
    assert text.startswith("# why we do this\n")
    assert "  removed: [vm/old, vm/web1] # agreed with ann\n" in text


def test_allow_of_an_effect_is_of_that_plan_only(repo, inventory):
    rename(repo)
    effect = plan(spec_of(repo), inventory, POLICY, inventory.target).effect
    with pytest.raises(UsageError, match=f"plans to effect {effect}"):
        run(allow, repo, inventory, "0badc0de")
    assert not (repo / "transitions.yaml").exists()
    run(allow, repo, inventory, effect)
    assert (repo / "transitions.yaml").exists()


def test_allow_says_when_no_word_helps(repo, inventory):
    (repo / "vms" / "db1.yaml").unlink()  # protected
    with pytest.raises(UsageError, match="no word would let anything pass"):
        run(allow, repo, inventory, "--last")
    with pytest.raises(UsageError, match="say which"):
        run(allow, repo, inventory)


def test_fmt_takes_out_what_is_done_and_leaves_the_rest(repo, inventory):
    rename(repo)
    run(allow, repo, inventory, "--last")
    assert "changed transitions.yaml" not in run(fmt, repo, inventory)
    _, after = carried_out(repo, inventory)
    text = (repo / "transitions.yaml").read_text()
    (repo / "transitions.yaml").write_text(text + "  removed: [vm/web1]\n")
    assert "changed transitions.yaml" in run(fmt, repo, after)
    text = (repo / "transitions.yaml").read_text()
    assert "vm/post" not in text
    assert "removed: [vm/web1]" in text


def test_fmt_takes_the_file_away_with_its_last_word(repo, inventory):
    rename(repo)
    run(allow, repo, inventory, "--last")
    _, after = carried_out(repo, inventory)
    run(fmt, repo, after)
    assert not (repo / "transitions.yaml").exists()
    made, _ = carried_out(repo, after)
    assert [step.id for step in made.steps] == ["record.drop transitions/transitions"]


def with_strangers(inventory):
    """A domain and an image that somebody made by hand."""
    image = ImageFacts(size_mib=128, parent=None, snapshots=())
    images = {"vms/legacy-root": image, "vms/Attic.img": image}
    storage = replace(inventory.storage, images={**inventory.storage.images, **images})
    guest = UnmanagedGuest(
        name="Legacy_DB",
        uuid="0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11",
        vcpus=1,
        memory_mib=96,
        disks=(UnmanagedDisk(name="vda", pool="vms", image="legacy-root", bus="virtio-blk"),),
        nics=(UnmanagedNic(mac="52:54:00:aa:bb:cc", bridge="br1000", model="virtio"),),
        hindrance="",
    )
    other = replace(guest, name="cd", uuid="1" * 36, disks=(), nics=(), hindrance="it has a tpm")
    facts = replace(inventory.nodes["hv2"], unmanaged=(guest, other))
    return replace(inventory, storage=storage, nodes={**inventory.nodes, "hv2": facts})


def test_adopt_lists_what_is_not_ours(repo, inventory):
    assert run(adopt, repo, inventory) == "Nothing here that is not ours.\n"
    said = run(adopt, repo, with_strangers(inventory))
    assert "Legacy_DB          runs on hv2, as vm/legacy-db" in said
    assert "rbd/vms/Attic.img  128MiB, as volume/attic-img" in said
    assert "cd                 runs on hv2, cannot be adopted: it has a tpm" in said
    assert "legacy-root" not in said  # the domain's


def test_what_adopt_writes_is_adopted_and_the_plan_afterwards_is_empty(repo, inventory):
    strange = with_strangers(inventory)
    run(adopt, repo, strange, "--all")
    made, after = carried_out(repo, strange)
    assert sorted(change.actions for change in made.changes) == [("adopt",), ("adopt",)]
    assert made.summary.downtime_s == 0
    record = after.applied["vm/legacy-db"]
    assert (record.uuid, record.disks["vda"].image) == (
        "0c6f1a52-2f0e-4f1c-9a53-0e6a6b1f0c11", "legacy-root"
    )  # fmt: skip
    assert record.nics["nic0"].mac == "52:54:00:aa:bb:cc"
    assert after.placements["legacy-db"].owner == "hv2"
    then = plan(spec_of(repo), after, POLICY, after.target)
    assert then.steps == ()
    assert then.summary.blocked == 0


def with_bridges(inventory):
    """A network made by hand on two nodes, a guest on it, and what cannot be adopted."""
    live = UnmanagedNetwork(
        bridge="br4242", vni=4242, mtu_bytes=1400, gateway="10.142.0.1/24", hindrance=""
    )
    wrong = replace(live, bridge="virbr0", vni=None, hindrance="no VXLAN joins it with other nodes")
    nodes = dict(inventory.nodes)
    nodes["hv1"] = replace(nodes["hv1"], bridges=(live, wrong))
    (guest, _) = nodes["hv2"].unmanaged
    card = replace(guest.nics[0], bridge="br4242")
    nodes["hv2"] = replace(nodes["hv2"], bridges=(live,), unmanaged=(replace(guest, nics=(card,)),))
    return replace(inventory, nodes=nodes)


def test_adopt_writes_a_network_as_it_is_live_and_the_plan_afterwards_is_empty(repo, inventory):
    strange = with_bridges(with_strangers(inventory))
    said = run(adopt, repo, strange)
    assert "br4242             a bridge on hv1, hv2, as network/br4242" in said
    assert "virbr0             a bridge on hv1, cannot be adopted: no VXLAN joins it" in said
    run(adopt, repo, strange, "Legacy_DB")  # brings the network that it is on
    made, after = carried_out(repo, strange)
    assert {c.address: c.actions for c in made.changes} == {
        "network/br4242": ("adopt",),
        "vm/legacy-db": ("adopt",),
    }
    assert made.summary.downtime_s == 0
    spec = after.applied["network/br4242"].spec
    assert (spec["vni"], spec["mtu"]) == (4242, 1400)
    assert spec["ipv4"] == {"subnet": "10.142.0.0/24", "gateway": "10.142.0.1"}
    then = plan(spec_of(repo), after, POLICY, after.target)
    assert then.steps == ()
    assert then.summary.blocked == 0
    assert "br4242" not in run(adopt, repo, after).replace("virbr0", "")


def test_nodes_that_differ_in_a_bridge_keep_it_from_being_adopted(repo, inventory):
    strange = with_bridges(with_strangers(inventory))
    (live,) = strange.nodes["hv2"].bridges
    facts = replace(strange.nodes["hv2"], bridges=(replace(live, mtu_bytes=9000),))
    strange = replace(strange, nodes={**strange.nodes, "hv2": facts})
    with pytest.raises(UsageError, match="hv2 has it with another VNI, MTU or address than hv1"):
        run(adopt, repo, strange, "br4242")


def test_adopt_writes_over_nothing(repo, inventory):
    (repo / "vms" / "legacy-db.yaml").write_text("# mine\n")
    (repo / "vms" / "legacy-db.yaml").rename(repo / "vms" / "legacy-db.yaml.keep")
    strange = with_strangers(inventory)
    run(adopt, repo, strange, "Legacy_DB")
    with pytest.raises(UsageError, match="exists already"):
        run(adopt, repo, strange, "Legacy_DB")
    with pytest.raises(UsageError, match="it has a tpm"):
        run(adopt, repo, strange, "cd")
    with pytest.raises(UsageError, match="nothing here is called"):
        run(adopt, repo, strange, "nobody")
