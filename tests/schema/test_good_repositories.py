"""Good repositories are valid, and together they say every field that there is."""

from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.model.document import Kind
from pvc_gitops.spec.documents import parse
from pvc_gitops.spec.load import load, problems
from pvc_gitops.spec.scalars import Resolver
from pvc_gitops.spec.source import schemas

GOOD = Path(__file__).parent / "good"
FOLDERS = sorted(path.name for path in GOOD.iterdir())
# Refused by this release whenever they are written (tests/schema/bad/profile-is-not-resolved-yet).
NOT_YET = {
    (Kind.VM, ("profile",)),
    (Kind.VM, ("userdata",)),
    (Kind.VM, ("window",)),
    (Kind.VM, ("disks", "absent")),
    (Kind.VM, ("nics", "absent")),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_good_repository(folder):
    assert problems(read_working_tree(GOOD / folder)) == ()


def _fields(schema, path=()):
    if path:
        yield path
    for key, sub in schema.get("properties", {}).items():
        yield from _fields(sub, (*path, key))
    if "items" in schema:
        yield from _fields({"properties": schema["items"].get("properties", {})}, path)


def _written(value, path=()):
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _written(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _written(item, path)


def test_every_field_is_written_somewhere():
    files = read_working_tree(GOOD / "everything")
    said = set(NOT_YET)
    for document in load(files, commit=None).documents.values():
        value = parse(files[document.file], Resolver())
        said |= {(document.kind, path) for path in _written(value["spec"])}
    words = parse(files["transitions.yaml"], Resolver())  # it declares no object
    said |= {(Kind.TRANSITIONS, path) for path in _written(words["spec"])}
    known = {
        (kind, path)
        for kind, schema in schemas().items()
        if kind is not Kind.TEST  # no cluster reads it; tests/unit/cli/test_test_command.py does
        for path in _fields(schema["properties"]["spec"])
    }
    assert known - said == set()


def test_ipv6_is_made_canonical():
    document = load(read_working_tree(GOOD / "everything"), commit=None).documents["network/app"]
    assert document.spec["ipv6"]["gateway"] == "fd00:100::1"
