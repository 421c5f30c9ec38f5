"""Who may do what: by affected addresses, by the roles of the commit before."""

from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.model.document import Kind
from pvc_gitops.model.people import VERBS
from pvc_gitops.model.transitions import Transition, Transitions, Word
from pvc_gitops.spec.authority import (
    Change,
    admins,
    affected,
    may_commit,
    may_operate,
    needs_admin,
    overstep_lines,
)
from pvc_gitops.spec.load import load, problems
from pvc_gitops.spec.warnings import warnings

BASE = Path(__file__).parents[3] / "tests" / "schema" / "good" / "base"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"
WEB = """apiVersion: pvc/v1
kind: Role
metadata: {name: web}
spec:
  commit:
    - {may: [create, change, delete], addresses: ["vm/web*", "userdata/web*"]}
    - {may: [change], addresses: ["vm/*"], tags: [shared]}
  use: {networks: [app], pools: [vms]}
  quota: {vms: 3, vcpus: 6, memory: 8GiB, disk: 50GiB}
  operate: {select: {tags: [web]}, verbs: [start, stop, console]}
"""
GUEST = """apiVersion: pvc/v1
kind: VirtualMachine
metadata: {name: NAME, tags: [TAGS]}
spec:
  cpu: {vcpus: 1}
  memory: MEMORY
  disks: [{name: root, pool: vms, size: 10GiB}]
"""


def person(name, number, roles):
    key = f"{KEY}{number:04d}{'A' * 39}"
    text = f"apiVersion: pvc/v1\nkind: Operator\nmetadata: {{name: {name}}}\n"
    return (text + f"spec: {{keys: ['{key}'], roles: [{roles}]}}\n").encode()


def guest(name, *, tags="web", memory="1GiB", extra=""):
    text = GUEST.replace("NAME", name).replace("TAGS", tags).replace("MEMORY", memory)
    return (text + extra).encode()


FILES = {
    **read_working_tree(BASE),
    "roles/web.yaml": WEB.encode(),
    "operators/ann.yaml": person("ann", 1, "admin"),
    "operators/bob.yaml": person("bob", 2, "web"),
    "operators/guest.yaml": person("guest", 3, ""),
    "vms/web1.yaml": guest("web1"),
    "vms/db9.yaml": guest("db9", tags="db"),
    "vms/pool1.yaml": guest("pool1", tags="shared"),
}


def spec_of(files):
    return load(files, commit=None)


@pytest.fixture(scope="module")
def rules():
    return spec_of(FILES)


def oversteps(rules, operator, changes, before=None):
    """What `operator` may not do of `changes`, path to new content or None."""
    old = FILES if before is None else before
    new = {**old, **{path: data for path, data in changes.items() if data is not None}}
    new = {path: data for path, data in new.items() if changes.get(path, data) is not None}
    change = Change(before=spec_of(old), after=spec_of(new), paths=tuple(sorted(changes)))
    return [(o.address, o.what, o.allowed) for o in may_commit(rules, operator, change)]


def test_the_repository_of_these_tests_is_valid():
    assert problems(FILES) == ()


def test_what_is_ones_own_may_be_made_changed_and_deleted(rules):
    assert oversteps(rules, "bob", {"vms/web2.yaml": guest("web2")}) == []
    assert oversteps(rules, "bob", {"vms/web1.yaml": guest("web1", memory="2GiB")}) == []
    assert oversteps(rules, "bob", {"vms/web1.yaml": None}) == []


def test_what_is_others_is_refused_with_what_one_may(rules):
    (found,) = oversteps(rules, "bob", {"vms/db9.yaml": guest("db9", tags="db", memory="2GiB")})
    assert found == (
        "vm/db9",
        "changes",
        "bob may change vm/web*, userdata/web*, vm/* with tag shared",
    )
    (found,) = oversteps(rules, "bob", {"vms/db9.yaml": None})
    assert found == ("vm/db9", "is deleted", "bob may delete vm/web*, userdata/web*")
    (found,) = oversteps(rules, "guest", {"vms/web1.yaml": None})
    assert found[2] == "guest may delete nothing"


def test_a_tag_that_is_put_on_now_gives_no_right(rules):
    taken = guest("db9", tags="shared")
    assert oversteps(rules, "bob", {"vms/db9.yaml": taken})[0][0] == "vm/db9"
    assert oversteps(rules, "bob", {"vms/pool1.yaml": guest("pool1", tags="other")}) == []


def test_what_one_is_given_must_be_ones_to_use(rules):
    nic = "  nics: [{network: NET}]\n"
    networks = [doc.name for doc in rules.of_kind(Kind.NETWORK)]
    assert "app" in networks
    fine = guest("web2", extra=nic.replace("NET", "app"))
    assert oversteps(rules, "bob", {"vms/web2.yaml": fine}) == []
    mgmt = {
        **FILES,
        "networks/mgmt.yaml": b"apiVersion: pvc/v1\nkind: Network\nmetadata: {name: mgmt}\n"
        b"spec: {type: managed, vni: 4711}\n",
    }
    wrong = guest("web2", extra=nic.replace("NET", "mgmt"))
    (found,) = oversteps(rules, "bob", {"vms/web2.yaml": wrong}, before=mgmt)
    assert found == ("vm/web2", "nics.mgmt.network: mgmt", "role web may use networks: app")


def test_what_an_admin_gave_stays_when_its_owner_changes_something_else(rules):
    given = {
        **FILES,
        "networks/mgmt.yaml": b"apiVersion: pvc/v1\nkind: Network\nmetadata: {name: mgmt}\n"
        b"spec: {type: managed, vni: 4711}\n",
        "vms/web1.yaml": guest("web1", extra="  nics: [{network: mgmt}]\n  ha: {tier: 1}\n"),
    }
    changed = guest("web1", memory="2GiB", extra="  nics: [{network: mgmt}]\n  ha: {tier: 1}\n")
    assert oversteps(rules, "bob", {"vms/web1.yaml": changed}, before=given) == []


@pytest.mark.parametrize(
    ("extra", "what", "allowed"),
    [
        ("  ha: {tier: 1}\n", "ha.tier: 1", "role web may have tier 3 and later"),
        ("  placement: {nodes: [hv1]}\n", "placement names nodes", "role web may not name nodes"),
        ("  protect: true\n", "protect: true", "role web may not switch protection"),
    ],
)
def test_limits(rules, extra, what, allowed):
    (found,) = oversteps(rules, "bob", {"vms/web2.yaml": guest("web2", extra=extra)})
    assert found == ("vm/web2", what, allowed)


def test_a_quota_counts_all_that_the_role_may_change(rules):
    two = {"vms/web2.yaml": guest("web2"), "vms/web3.yaml": guest("web3")}
    (found,) = oversteps(rules, "bob", two)
    assert found == ("role/web", "vms: 4 in all", "its quota is 3")  # pool1 has tag shared
    (found,) = oversteps(rules, "bob", {"vms/web1.yaml": guest("web1", memory="8GiB")})
    assert found == ("role/web", "memory: 9GiB in all", "its quota is 8GiB")
    assert oversteps(rules, "bob", {"vms/web1.yaml": guest("web1", memory="7GiB")}) == []


def test_a_quota_that_is_exceeded_already_refuses_no_shrinking(rules):
    over = {**FILES, **{f"vms/web{n}.yaml": guest(f"web{n}") for n in range(2, 6)}}
    assert oversteps(rules, "bob", {"vms/web5.yaml": None}, before=over) == []


@pytest.mark.parametrize(
    "path", ["cluster.yaml", "operators/bob.yaml", "roles/web.yaml", "trust/allowed_signers"]
)
def test_what_gives_rights_is_for_admins_only(rules, path):
    new = FILES.get(path, b"")
    if path == "cluster.yaml":
        new = new.replace(b"domain: ", b"domain: x.")
    elif path.endswith(".yaml"):
        new = new.replace(b"metadata: {name: ", b"metadata: {description: x, name: ")
    assert oversteps(rules, "ann", {path: new}) == []
    found = oversteps(rules, "bob", {path: new})
    assert [row[2] for row in found] == ["only admins may change it"]
    old, after = spec_of(FILES), spec_of({**FILES, path: new})
    change = Change(before=old, after=after, paths=(path,))
    assert len(needs_admin(change)) == 1


def test_files_are_judged_by_their_paths(rules):
    assert oversteps(rules, "bob", {"userdata/web1.yaml": b"#cloud-config\n"}) == []
    (found,) = oversteps(rules, "bob", {"userdata/db.yaml": b"#cloud-config\n"})
    assert found[0] == "userdata/db.yaml"
    (found,) = oversteps(rules, "bob", {".github/workflows/pvc.yml": b"x"})
    assert found[2] == "only admins may change it"
    assert oversteps(rules, "bob", {"docs/notes.md": b"x", "README.md": b"x"}) == []


def test_a_change_that_comes_through_another_file_names_it(rules):
    after = spec_of({**FILES, "vms/db9.yaml": guest("db9", tags="db", memory="2GiB")})
    change = Change(before=rules, after=after, paths=("templates/system/small.yaml",))
    (step,) = affected(change)
    assert (step.address, step.words) == (
        "vm/db9",
        "changes through templates/system/small.yaml",
    )


def test_a_word_about_an_object_is_a_deed_to_it(rules):
    from dataclasses import replace

    place = rules.cluster and rules.documents["vm/db9"].place(())
    words = (
        Transition(word=Word.REMOVED, address="vm/db9", source=None, place=place),
        Transition(word=Word.MOVED, address="vm/web2", source="vm/db9", place=place),
    )
    after = replace(rules, transitions=Transitions(items=words))
    change = Change(before=rules, after=after, paths=("transitions.yaml",))
    found = may_commit(rules, "bob", change)
    assert {o.address for o in found} == {"vm/db9"}
    assert may_commit(rules, "ann", change) == ()


def test_while_nobody_is_an_admin_everybody_is():
    files = {path: data for path, data in FILES.items() if not path.startswith("roles/")}
    files |= {f"operators/{n}.yaml": person(n, i, "") for i, n in enumerate(("ann", "bob"))}
    spec = spec_of(files)
    assert admins(spec) == {"ann", "bob", "guest"}


def test_operations_are_judged_by_verb_and_object(rules):
    assert may_operate(rules, None, "drain", "node/hv1") is None
    assert may_operate(rules, "ann", "freeze", "cluster") is None
    assert may_operate(rules, "bob", "stop", "vm/web1") is None
    refused = may_operate(rules, "bob", "stop", "vm/db9")
    assert refused is not None
    assert (
        refused.message
        == "bob may not stop vm/db9: bob may start stop console on objects with tag web"
    )
    assert may_operate(rules, "bob", "migrate", "vm/web1") is not None
    assert may_operate(rules, "bob", "freeze", "cluster") is not None
    nobody = may_operate(rules, "guest", "start", "vm/web1")
    assert nobody is not None
    assert nobody.message.endswith("guest may only look")
    gone = may_operate(rules, "carol", "start", "vm/web1")
    assert gone is not None
    assert "no operator" in gone.message


def test_every_verb_can_be_given(rules):
    for verb in VERBS:
        assert may_operate(rules, "guest", verb, "vm/web1") is not None


def test_lines_stand_in_columns(rules):
    change = Change(
        before=rules,
        after=spec_of({**FILES, "vms/db9.yaml": guest("db9", memory="2GiB", tags="db")}),
        paths=("vms/db9.yaml",),
    )
    (line,) = overstep_lines(may_commit(rules, "bob", change))
    assert (
        line == "  vm/db9   changes   bob may change vm/web*, userdata/web*, vm/* with tag shared"
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"operators/bob.yaml": person("bob", 2, "wbe")}, "dangling-reference"),
        ({"operators/ann.yaml": person("ann", 1, "")}, "no-admin"),
        ({"roles/admin.yaml": WEB.replace("name: web", "name: admin").encode()}, "reserved-name"),
        ({"operators/root.yaml": person("root", 9, "")}, "reserved-name"),
        (
            {
                "roles/web.yaml": WEB.replace(
                    'addresses: ["vm/*"], tags: [shared]', "tags: []"
                ).encode()
            },
            "empty-right",
        ),
        ({"operators/guest.yaml": person("guest", 2, "")}, "duplicate-key"),
        ({"roles/web.yaml": WEB.replace("console]", "consoel]").encode()}, "unknown-value"),
    ],
)
def test_documents_that_cannot_be_meant(changes, code):
    assert [p.code for p in problems({**FILES, **changes})] == [code]


@pytest.mark.parametrize(
    ("mode", "words"),
    [("none", "nothing that is committed"), ("tip", "only commits that are signed"), ("every", "")],
)
def test_roles_that_signatures_do_not_enforce_are_said_to_be_advisory(mode, words):
    cluster = FILES["cluster.yaml"] + f"  source: {{signers: {mode}}}\n".encode()
    files = {**FILES, "cluster.yaml": cluster}
    found = [w for w in warnings(spec_of(files), files) if w.code == "advisory-roles"]
    assert [(w.file, words in w.message) for w in found] == (
        [("roles/web.yaml", True)] if words else []
    )
