"""Good repositories: what a spec looks like once it is loaded."""

import gc
from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.errors import SpecError
from pvc_gitops.model import spec as model
from pvc_gitops.model.document import Kind, Place
from pvc_gitops.model.ids import CommitId
from pvc_gitops.spec.load import PROBLEMS_MAX, load, problems
from pvc_gitops.spec.warnings import warnings

ROOT = Path(__file__).parents[3]
BASE = ROOT / "tests" / "schema" / "good" / "base"
EXAMPLE = ROOT / "example-cluster-repo"
COMMIT = CommitId("0" * 40)
VIEWS = {
    Kind.NODE: model.Node,
    Kind.POOL: model.Pool,
    Kind.IMAGE: model.Image,
    Kind.VOLUME: model.Volume,
    Kind.NETWORK: model.Network,
    Kind.VM: model.VirtualMachine,
    Kind.GROUP: model.Group,
    Kind.CLUSTER: model.Cluster,
}


@pytest.fixture(scope="module")
def base():
    return read_working_tree(BASE)


def with_guest(base, extra, name="mail", memory="1GiB"):
    text = (
        f"apiVersion: pvc/v1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\n"
        f"spec:\n  cpu: {{vcpus: 1}}\n  memory: {memory}\n{extra}"
    )
    return {**base, f"vms/{name}.yaml": text.encode()}


@pytest.mark.parametrize("folder", [BASE, EXAMPLE])
def test_every_kind_has_its_typed_view(folder):
    spec = load(read_working_tree(folder), commit=COMMIT)
    assert spec.commit == COMMIT
    assert list(spec.documents) == sorted(spec.documents)
    for document in spec.documents.values():
        view = VIEWS.get(document.kind)
        if view is not None:
            assert view.from_spec(document.name, document.spec).name == document.name


def test_defaults_are_filled_in_and_values_made_canonical(base):
    files = with_guest(
        base,
        "  stop_timeout: 120s\n  disks:\n    - {name: root, pool: vms, size: 1024MiB}\n"
        "  nics:\n    - {network: app, mac: 52:54:00:AB:CD:EF}\n",
        memory="2048MiB",
    )
    spec = load(files, commit=None).documents["vm/mail"].spec
    assert spec["memory"] == "2GiB"
    assert spec["stop_timeout"] == "2m"
    assert spec["disks"] == {"root": {"pool": "vms", "size": "1GiB", "bus": "virtio-scsi"}}
    assert spec["nics"] == {
        "app": {"network": "app", "mac": "52:54:00:ab:cd:ef", "address": "auto", "model": "virtio"}
    }
    assert spec["ha"]["tier"] == 3
    assert spec["reboot_for_changes"] == "never"
    assert spec["migration"] == {"method": "live", "max_downtime": "300ms"}


def test_min_copies_follow_copies(base):
    for copies, least in ((1, 1), (2, 1), (3, 2)):
        pool = (
            f"apiVersion: pvc/v1\nkind: Pool\nmetadata: {{name: p}}\nspec: {{copies: {copies}}}\n"
        )
        spec = load({**base, "pools/p.yaml": pool.encode()}, commit=None)
        assert spec.documents["pool/p"].spec["min_copies"] == least


def test_places_are_found_when_asked_for(base):
    files = with_guest(base, "  disks:\n    - {name: root, pool: vms, size: 1GiB}\n")
    document = load(files, commit=None).documents["vm/mail"]
    assert document.place(()) == Place(file="vms/mail.yaml", line=4, column=1)
    assert document.place(("memory",)) == Place(file="vms/mail.yaml", line=6, column=11)
    assert document.place(("disks", "root", "size")).column == 37
    assert document.place(("disks", "root", "bus")).line == 8  # a default: its disk's place
    assert document.place(("ha", "tier")).line == 4  # nothing of it is written


def test_metadata_is_kept(base):
    text = base["vms/web1.yaml"].replace(
        b"{name: web1}", b"{name: web1, description: x, tags: [a, b]}"
    )
    document = load({**base, "vms/web1.yaml": text}, commit=None).documents["vm/web1"]
    assert (document.description, document.tags) == ("x", ("a", "b"))


def test_macs_need_no_quotes_and_numbers_as_text_do(base):
    good = with_guest(base, "  nics:\n    - {network: app, mac: 52:54:00:12:34:57}\n")
    assert problems(good) == ()


def test_a_refused_repository_hands_out_nothing(base):
    with pytest.raises(SpecError) as caught:
        load({**base, "vms/x.yaml": b"nonsense"}, commit=None)
    assert [problem.file for problem in caught.value.problems] == ["vms/x.yaml"]


def test_problems_are_capped_and_the_rest_is_counted(base):
    tags = ", ".join(f"Tag{number}" for number in range(PROBLEMS_MAX))
    bad = {
        f"vms/{name}.yaml": f"apiVersion: pvc/v1\nkind: VirtualMachine\nmetadata: {{name: {name}, "
        f"tags: [{tags}]}}\nspec: {{cpu: {{vcpus: 1}}, memory: 1GiB}}\n".encode()
        for name in ("a", "b")
    }
    found = problems({**base, **bad})
    assert len(found) == PROBLEMS_MAX + 1
    assert found[-1].code == "more-problems"


def test_files_that_are_no_documents_are_admitted_and_ignored(base):
    extra = {
        "userdata/web.txt": b"\xff",
        "tftp/app/IPXE.efi": b"\0",
        "scripts/a.py": b"",
    }
    assert (
        load({**base, **extra}, commit=None).documents.keys()
        == load(base, commit=None).documents.keys()
    )


def test_a_key_of_two_operators_has_no_author(base):
    text = (
        "apiVersion: pvc/v1\nkind: Operator\nmetadata: {{name: {0}}}\n"
        "spec:\n  keys:\n    - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA {0}@example\n"
    )
    two = {f"operators/{name}.yaml": text.format(name).encode() for name in ("alice", "bob")}
    found = problems({**base, **two})
    assert [(each.file, each.code) for each in found] == [("operators/bob.yaml", "duplicate-key")]
    assert "operator/alice has it" in found[0].message


def test_the_collector_runs_again_after_a_load(base):
    assert gc.isenabled()
    load(base, commit=None)
    assert gc.isenabled()


def test_a_repository_without_founding_secrets_is_warned_about(base):
    codes = [row.code for row in warnings(load(base, commit=None), base)]
    assert codes == ["no-founding-secrets"]


def test_declared_rules_that_nobody_keeps_are_warned_about(base):
    text = base["networks/app.yaml"] + b"  firewall: {default: drop}\n"
    files = {**base, "networks/app.yaml": text}
    rows = [
        row for row in warnings(load(files, commit=None), files) if row.code == "not-in-force-yet"
    ]
    assert [(row.file, row.line) for row in rows] == [("networks/app.yaml", 11)]


def test_one_coordinator_is_lawful_and_warned_about(base):
    files = {
        path: data
        for path, data in base.items()
        if path not in ("nodes/hv2.yaml", "nodes/hv3.yaml")
    }
    files["pools/vms.yaml"] = files["pools/vms.yaml"].replace(b"copies: 3", b"copies: 1")
    assert "single-coordinator" in [row.code for row in warnings(load(files, commit=None), files)]


def test_guests_alike_share_one_spec_and_no_more_than_they_have_in_common(base):
    disks = "  disks:\n" + 2 * "    - {{name: {}, pool: vms, size: 1GiB}}\n"
    files = with_guest(base, disks.format("root", "data"), "mail")
    files = with_guest(files, disks.format("root", "data"), "news")
    files = with_guest(files, disks.format("data", "root"), "blog")
    files = with_guest(files, disks.format("root", "data"), "more", memory="2GiB")
    found = load(files, commit=COMMIT).documents
    mail, news, blog, more = (found[f"vm/{name}"] for name in ("mail", "news", "blog", "more"))
    assert mail.spec is news.spec
    assert (mail.name, news.name) == ("mail", "news")
    assert mail.spec == blog.spec
    assert [list(each.spec["disks"]) for each in (mail, blog)] == [
        ["root", "data"],
        ["data", "root"],
    ]
    assert more.spec["memory"] == "2GiB"
