"""Every field of every kind says what a change of it costs, and the planner keeps to it.

One commit that writes every field is applied; then each field alone is changed, in each document that
writes it, and the plan must do what the field's disposition says: no more, and no less.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from pvc_gitops.model.document import NAMED_LISTS, Kind
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.plan import Action, ItemKind, Operation
from pvc_gitops.model.units import size_mib, size_text
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.spec.check import compile_schema
from pvc_gitops.spec.fields import fields
from pvc_gitops.spec.load import load
from pvc_gitops.spec.source import schemas

HERE = Path(__file__).parents[2] / "schema" / "good" / "everything"
# What is no object of the cluster, and what others' words decide about, not the planner's table.
NOT_PLANNED = ("transitions", "test")
ODD = {
    (Kind.NETWORK, ("type",)),  # changes with vni or vlan only
    (Kind.NETWORK, ("ipv6", "dhcp")),  # has one word
    (Kind.VM, ("profile",)),  # not admitted yet
    (Kind.VM, ("userdata",)),
}


def _files():
    files = {p.relative_to(HERE).as_posix(): p.read_bytes() for p in HERE.rglob("*") if p.is_file()}
    del files["transitions.yaml"]  # what a commit says once is no field of an object
    files["cluster.yaml"] = (
        files["cluster.yaml"]
        .replace(b"windows: [night]", b"windows: []")
        .replace(b"admission: warn", b"admission: none")
        .replace(b"formation: restore", b"formation: new")
    )
    shop = files["vms/shop.yaml"]
    files["vms/shop.yaml"] = shop.replace(b"reboot_for_changes: window", b"reboot_for_changes: now")
    db1 = files["vms/db1.yaml"].replace(b"1GiB}", b"1GiB, reboot_for_changes: now}")
    files["vms/db1.yaml"] = db1
    return files


@pytest.fixture(scope="module")
def cluster():
    spec = load(_files(), commit="1" * 40)
    before = empty(spec, 0)
    made = plan(spec, before, POLICY, None)
    return spec, replace(applied_after(made, before), target=made.id, accepted=spec.commit)


def _leaves(kind, schema, path=()):
    """Paths of fields that have no fields of their own; `*` for items of a named list."""
    below = dict(schema.get("properties", {}))
    is_named = len(path) == 1 and path[0] in NAMED_LISTS.get(kind, ())
    if is_named:
        for key, sub in schema["items"]["properties"].items():
            yield from _leaves(kind, sub, (*path, "*", key))
        return
    if not below:
        yield path, schema
    for key, sub in below.items():
        yield from _leaves(kind, sub, (*path, key))


def _cases():
    for kind, schema in schemas().items():
        if kind.value in NOT_PLANNED:
            continue
        for path, of in _leaves(kind, schema["properties"]["spec"]):
            if path and (kind, path) not in ODD and path[-1] not in ("name", "absent"):
                yield kind, path, of


CASES = list(_cases())


def test_every_field_of_every_kind_has_a_disposition():
    known = fields().by_kind
    for kind, path, _ in CASES:
        assert known[kind][path].disposition in Disposition, (kind, path)
    for kind in (Kind.VM, Kind.NETWORK, Kind.VOLUME, Kind.IMAGE):
        assert len({field.disposition for field in known[kind].values()}) > 1, kind


def _places(spec, kind, pattern):
    """Documents that write a field, with the path to it."""
    for doc in spec.of_kind(kind):
        paths = [()]
        for key in pattern:
            found = []
            for path in paths:
                at = doc.spec
                for step in path:
                    at = at[step]
                keys = list(at) if key == "*" else [key]
                found += [(*path, each) for each in keys if isinstance(at, dict) and each in at]
            paths = found
        yield from ((doc, path) for path in paths)


def _other(spec, value, schema):  # noqa: PLR0911  one return a kind of value
    """Another lawful value, larger where that matters."""
    if "x-reference" in schema:
        names = [doc.name for doc in spec.of_kind(Kind(schema["x-reference"]))]
        return next((name for name in names if name != value), value + "x")
    if isinstance(value, bool):
        return not value
    if "enum" in schema:
        return next(word for word in schema["enum"] if word != value)
    if isinstance(value, int | float):
        return value + 1 if value + 1 <= schema["maximum"] else value - 1
    if isinstance(value, list):
        return value[:-1] if value else compile_schema(schema)(schema["examples"][0])
    if schema.get("x-format") == "size" and value != "auto":
        return size_text(2 * size_mib(value))
    if schema.get("x-format") in ("duration", "subnet"):
        return "77s" if schema["x-format"] == "duration" else "10.222.0.0/24"
    if isinstance(value, str):
        examples = [e for e in schema["examples"] if e != value]
        return examples[0] if examples else f"{value}x"
    return None  # a map without fields: taken away


def _changed(spec_of, doc, path, schema):
    spec = copy.deepcopy(dict(doc.spec))
    at = spec
    for key in path[:-1]:
        at = at[key]
    other = _other(spec_of, at[path[-1]], schema)
    if other is None:
        del at[path[-1]]
    else:
        at[path[-1]] = other
    return replace(doc, spec=spec)


@pytest.mark.parametrize(
    ("kind", "pattern", "schema"), CASES, ids=[f"{k}-{'.'.join(p)}" for k, p, _ in CASES]
)
def test_a_change_costs_what_its_field_says(cluster, kind, pattern, schema):
    spec, inventory = cluster
    want = fields().by_kind[kind][pattern].disposition
    seen = 0
    for doc, path in _places(spec, kind, pattern):
        if doc.address not in inventory.applied:
            continue
        seen += 1
        documents = {**spec.documents, doc.address: _changed(spec, doc, path, schema)}
        made = plan(
            replace(spec, commit="2" * 40, documents=documents), inventory, POLICY, inventory.target
        )
        _keeps_to(want, doc, made, ".".join(path))
        assert problems(made, inventory) == ()
    assert seen, "no document of the example writes it"


def _keeps_to(want, doc, made, path):
    (change,) = [c for c in made.changes if c.address == doc.address] or [None]
    said = {i.code: i for i in made.report if i.address == doc.address}
    stops = [s for s in made.steps if s.operation is Operation.VM_STOP and s.address == doc.address]
    match want:
        case Disposition.LIVE:
            assert change is not None, said
            assert path in [field.path for field in change.fields]
            assert (change.downtime_s, stops) == (0, [])
            assert change.actions == (Action.UPDATE,)
        case Disposition.REBOOT | Disposition.MIGRATE if doc.kind is Kind.VM:
            assert change is not None, said
            assert stops
            assert change.downtime_s > 0
            assert made.summary.downtime_s >= change.downtime_s
        case Disposition.REPLACE:
            is_replaced = change is not None and change.actions == (Action.DELETE, Action.CREATE)
            assert is_replaced or said.keys() & {"network-in-use", "replace"}, said
        case Disposition.IMMUTABLE:
            assert change is None
            assert said["immutable"].kind is ItemKind.BLOCKED
            assert made.steps == ()
        case Disposition.CREATE:
            assert change is None
            assert said["used-at-rebuild"].kind is ItemKind.NOTE
            assert made.steps == ()
        case _:
            assert change is not None, said
