"""No bytes crash the loader, the two validators agree, canonical stays canonical, fmt says the same."""

import copy
import json
from pathlib import Path

import jsonschema
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.model.document import NAMED_LISTS, Kind
from pvc_gitops.spec.canonical import complete
from pvc_gitops.spec.check import Invalid, check_of
from pvc_gitops.spec.documents import Refused, Spots, parse
from pvc_gitops.spec.explain import explain
from pvc_gitops.spec.format import NotFormatted, format_document
from pvc_gitops.spec.load import load, problems
from pvc_gitops.spec.scalars import Ambiguous, Resolver
from pvc_gitops.spec.source import schemas

ROOT = Path(__file__).parents[2]
BASE = read_working_tree(ROOT / "tests" / "schema" / "good" / "base")
GOOD = {
    Kind.VM: ("vms/web1.yaml", BASE["vms/web1.yaml"]),
    Kind.NETWORK: ("networks/app.yaml", BASE["networks/app.yaml"]),
    Kind.NODE: ("nodes/hv1.yaml", BASE["nodes/hv1.yaml"]),
    Kind.CLUSTER: ("cluster.yaml", BASE["cluster.yaml"]),
    Kind.POOL: ("pools/vms.yaml", BASE["pools/vms.yaml"]),
    Kind.IMAGE: ("images/debian-13.yaml", BASE["images/debian-13.yaml"]),
}
PATHS = ["cluster.yaml", "vms/a.yaml", "nodes/a.yaml", "networks/a.yaml", "secrets/a.yaml"]
# Words that YAML is made of, so that random text is often nearly a document.
TOKENS = st.sampled_from(
    ["apiVersion: pvc/v1\n", "kind: VirtualMachine\n", "metadata: ", "{name: a}\n", "spec:\n", "  ",
     "cpu: {vcpus: 1}\n", "memory: 1GiB\n", "- ", "? ", ": ", "&a ", "*a ", "!!str ", "<<: ", "[", "]",
     "{", "}", "'", '"', "|\n", ">-\n", "#", "---\n", "...\n", "%YAML 1.2\n", "\t", "\n", "\r", "\0",
     "\ufeff", "\x85", "\u2028", "yes", "0123", "null", "~", "1e5", "disks:\n", "name: root", ","]
)  # fmt: skip
YAML_LIKE = st.lists(TOKENS, max_size=60).map(lambda words: "".join(words).encode())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
    | st.sampled_from(["1GiB", "20", "app", "10.0.0.1/24", "auto", "30s", "yes", "vms"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["name", "size", "pool", "mtu", "x", "disk"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(PATHS), st.binary(max_size=400) | YAML_LIKE)
@settings(max_examples=400, deadline=None)
@example("vms/a.yaml", b"&a [*a")
def test_no_bytes_crash_the_loader(path, data):
    for found in (problems({path: data}), problems({**BASE, path: data})):
        for problem in found:
            assert problem.message
            assert problem.line >= 0
            assert "\n" not in problem.source_line
            assert problem.source_line.isprintable()


@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=20), max_size=4))
@settings(max_examples=150, deadline=None)
def test_no_paths_crash_the_loader(files):
    assert problems(files)


def places_of(value, path=()):
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places_of(item, (*path, key))


@st.composite
def mutated(draw):
    """A good document with up to three things changed, added or taken away."""
    kind = draw(st.sampled_from(sorted(GOOD)))
    value = parse(GOOD[kind][1], Resolver())
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places_of(value) if path]))
        holder = value
        for part in path[:-1]:
            holder = holder[part]
        act = draw(st.sampled_from(["set", "remove", "add"]))
        if act == "set":
            holder[path[-1]] = draw(JSON)
        elif act == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "mtu", "protect", "absent", "state"]))] = draw(JSON)
        elif act == "add":
            holder.append(draw(JSON))
        elif len(value) > 1:
            del holder[path[-1]]
    return kind, value


@given(mutated())
@settings(max_examples=600, deadline=None)
def test_the_compiled_check_and_jsonschema_agree(case):
    kind, value = case
    try:
        check_of(kind)(value)
        verdict = True
    except Invalid:
        verdict = False
    # JSON Schema counts 1.0 among the whole numbers; documents have no such number.
    if "1.0" not in json.dumps(value) and ".0" not in json.dumps(value):
        assert jsonschema.Draft202012Validator(schemas()[kind]).is_valid(value) is verdict
        assert jsonschema.Draft7Validator(schemas()[kind]).is_valid(value) is verdict
    if not verdict:
        data = json.dumps(value).encode()
        found = explain(kind, GOOD[kind][0], data)
        assert found
        assert "schema" not in {problem.code for problem in found}


@given(mutated())
@settings(max_examples=300, deadline=None)
def test_canonical_stays_canonical(case):
    kind, value = case
    try:
        once = complete(kind, check_of(kind)(value)["spec"])
        again = copy.deepcopy(once)
        for key in NAMED_LISTS.get(kind, ()):
            again[key] = [
                {**({"name": name} if name else {}), **item} for name, item in once[key].items()
            ]
        twice = complete(kind, check_of(kind)({**value, "spec": again})["spec"])
    except Invalid:
        return
    assert twice == once


@given(st.sampled_from(sorted(GOOD)), YAML_LIKE | st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_fmt_never_changes_what_a_document_says_and_is_done_after_once(kind, tail):
    data = GOOD[kind][1] + tail
    try:
        once = format_document(kind, data)
    except NotFormatted:
        return
    assert format_document(kind, once) == once
    before, after = parse(data, Resolver()), parse(once, Resolver())
    assert unquoted(before) == unquoted(after)


def unquoted(value):
    """Quotes that fmt adds turn doubtful words into text; nothing else may differ."""
    if isinstance(value, dict):
        return {key: unquoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if isinstance(value, Ambiguous):
        return value.text
    return value if isinstance(value, (str, type(None))) else json.dumps(value)


@given(YAML_LIKE)
@settings(max_examples=300, deadline=None)
def test_places_never_change_the_value(data):
    def outcome(spots):
        try:
            return parse(data, Resolver(), spots)
        except Refused as refused:
            return refused.flaws

    assert outcome(None) == outcome(Spots())


def test_the_base_is_good():
    assert load(BASE, commit=None).documents
