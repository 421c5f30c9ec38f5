"""The tables and what is made of them: files, examples, checks, fields."""

import json
from pathlib import Path

import jsonschema
import pytest

from pvc_gitops.model.document import DOCUMENT_KINDS, NAMED_LISTS, Kind
from pvc_gitops.model.fields import Disposition, Owner
from pvc_gitops.spec.check import Invalid, compile_schema
from pvc_gitops.spec.fields import fields, references
from pvc_gitops.spec.scaffold import vscode_settings
from pvc_gitops.spec.schema_files import modeline, schema_files, schema_name
from pvc_gitops.spec.source import schemas

ROOT = Path(__file__).parents[3]
KINDS = list(Kind)
ALLOWED_WORDS = {
    "$schema", "title", "type", "additionalProperties", "required", "properties", "description",
    "pattern", "minLength", "maxLength", "examples", "default", "enum", "minimum", "maximum", "items",
    "maxItems", "minItems", "uniqueItems", "minProperties", "maxProperties", "propertyNames",
    "x-owner", "x-disposition", "x-format", "x-reference",
}  # fmt: skip


def nodes(schema, path=()):
    yield path, schema
    for key, sub in schema.get("properties", {}).items():
        yield from nodes(sub, (*path, key))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], (*path, "*"))


def test_committed_schemas_are_what_the_tables_say():
    committed = {path.name: path.read_text() for path in (ROOT / "schema").glob("*.json")}
    assert committed == dict(schema_files()), "run python schema/generate.py"


def test_the_example_repository_carries_the_same_schemas():
    folder = ROOT / "example-cluster-repo" / ".pvc" / "schema"
    assert {path.name: path.read_text() for path in folder.glob("*.json")} == dict(schema_files())
    settings = ROOT / "example-cluster-repo" / ".vscode" / "settings.json"
    assert settings.read_text() == vscode_settings()


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_valid_alike_as_draft_7_and_2020_12(kind):
    jsonschema.Draft7Validator.check_schema(schemas()[kind])
    jsonschema.Draft202012Validator.check_schema(schemas()[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_stay_in_the_subset_that_old_editors_know(kind):
    for path, schema in nodes(schemas()[kind]):
        assert set(schema) <= ALLOWED_WORDS, path
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_description_example_owner_and_disposition(kind):
    for path, schema in nodes(schemas()[kind]):
        if not path:
            continue
        assert schema["description"].endswith("."), path
        assert schema["examples"], path
        Owner(schema["x-owner"])
        Disposition(schema["x-disposition"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_and_default_meets_its_own_schema(kind):
    for path, schema in nodes(schemas()[kind]):
        check = compile_schema(schema)
        for value in [
            *schema.get("examples", ()),
            *([schema["default"]] if "default" in schema else ()),
        ]:
            check(value)  # raises Invalid
            jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)
            jsonschema.validate(value, schema, cls=jsonschema.Draft7Validator)
            assert check(value) is not None, path


def test_every_string_is_bounded():
    for kind in KINDS:
        for path, schema in nodes(schemas()[kind]):
            if schema.get("type") == "string" and "enum" not in schema:
                assert schema["maxLength"], path
            if schema.get("type") == "array":
                assert schema["maxItems"], path


def test_patterns_end_at_the_end_and_not_before_a_newline():
    check = compile_schema(schemas()[Kind.VM]["properties"]["spec"]["properties"]["memory"])
    assert check("2048MiB") == "2GiB"
    with pytest.raises(Invalid):
        check("2GiB\n")


def test_a_field_tells_its_owner_and_what_a_change_costs():
    known = fields()
    assert known.disposition(Kind.VM, ("memory",)) is Disposition.REBOOT
    assert known.disposition(Kind.VM, ("disks", "root", "image")) is Disposition.CREATE
    assert known.disposition(Kind.VM, ("disks", "root", "size")) is Disposition.LIVE
    assert known.disposition(Kind.VM, ("ha", "tier")) is Disposition.LIVE
    assert known.disposition(Kind.NETWORK, ("vni",)) is Disposition.REPLACE
    assert known.disposition(Kind.NODE, ("addresses", "upstream")) is Disposition.IMMUTABLE
    assert {field.owner for of in known.by_kind.values() for field in of.values()} == {Owner.GIT}


def test_references_are_known_by_kind():
    found = set(references(Kind.VM))
    assert (("disks", "*", "pool"), Kind.POOL) in found
    assert (("nics", "*", "network"), Kind.NETWORK) in found
    assert (("placement", "prefer", "*", "node"), Kind.NODE) in found
    assert (("bmc", "password", "secret"), Kind.SECRET) in set(references(Kind.NODE))


def test_kinds_and_files_agree():
    assert set(schemas()) == set(DOCUMENT_KINDS)
    assert schema_name(Kind.VM) == "virtual-machine.json"
    assert modeline(Kind.CLUSTER).endswith("=.pvc/schema/cluster.json")
    assert modeline(Kind.GROUP).endswith("=../.pvc/schema/placement-group.json")
    assert json.loads(schema_files()["pool.json"])["title"] == "Pool"
    assert set(NAMED_LISTS[Kind.VM]) <= set(schemas()[Kind.VM]["properties"]["spec"]["properties"])
