"""Whatever changed since a load, loading with what it left gives what loading without it gives."""

from __future__ import annotations

import marshal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.spec.known import Known
from pvc_gitops.spec.load import examine

ROOT = Path(__file__).parents[2]
BASE = dict(read_working_tree(ROOT / "tests" / "schema" / "good" / "base"))
PATHS = st.sampled_from(sorted(BASE))


@st.composite
def edited(draw, files):
    result = dict(files)
    for _ in range(draw(st.integers(0, 4))):
        path = draw(PATHS)
        match draw(st.sampled_from(["remove", "swap", "comment", "replace", "break", "restore"])):
            case "remove":
                result.pop(path, None)
            case "swap":
                other = draw(PATHS)
                result[path] = result.get(other, b"")
            case "comment":
                result[path] = result.get(path, b"") + b"# a word\n"
            case "replace":
                result[path] = result.get(path, b"").replace(b"1", b"2")
            case "break":
                result[path] = result.get(path, b"")[:-20]
            case "restore":
                result[path] = BASE[path]
    return result


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_loading_with_what_is_known_is_loading_without(data):
    rows = {}
    for _ in range(3):
        files = data.draw(edited(BASE))
        known = Known(rows)
        warm, cold = examine(files, known), examine(files)
        assert warm == cold
        assert list(warm.documents) == list(cold.documents)
        assert [digest for _, digest in warm.digests] == [digest for _, digest in cold.digests]
        assert all(
            warm.documents[a].place(()) == cold.documents[a].place(()) for a in cold.documents
        )
        rows = marshal.loads(marshal.dumps(dict(known.rows)))  # as between two processes
