"""A plan made with what an earlier run has left is the plan made without it, byte for byte, whatever
happened to the repository, or to what was left, in between."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pvc_gitops.adapters import cache
from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.errors import SpecError
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.codec import plan_to_bytes
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.preview import applied
from pvc_gitops.planner.render import text
from pvc_gitops.spec.known import Known
from pvc_gitops.spec.load import load

ROOT = Path(__file__).parents[2]
BASE = dict(read_working_tree(ROOT / "example-cluster-repo"))
GUESTS = sorted(path for path in BASE if path.startswith("vms/"))
MADE_BY = b"m" * 32
FOUNDED = applied(load(BASE, commit=None), 0)


@st.composite
def edited(draw):
    files = dict(BASE)
    for path in draw(st.lists(st.sampled_from(GUESTS), max_size=3)):
        match draw(st.sampled_from(["remove", "comment", "vcpus", "copy"])):
            case "remove":
                files.pop(path, None)
            case "comment":
                files[path] = files.get(path, b"") + b"# a word\n"
            case "vcpus":
                files[path] = BASE[path].replace(b"vcpus: 1", b"vcpus: 2")
            case "copy":
                name = Path(path).stem
                files[f"vms/{name}-2.yaml"] = BASE[path].replace(
                    name.encode(), f"{name}-2".encode()
                )
    return files


def made(files, known):
    """What commands show of a repository, onto an empty cluster and onto one that stands."""
    try:
        spec = load(files, commit=None, known=known)
    except SpecError as err:
        return [str(problem) for problem in err.problems]
    shown = []
    for inventory in (empty(spec, 0), FOUNDED):
        of = plan(spec, inventory, POLICY, None)
        assert problems(of, inventory) == ()
        words = text(of, width=80, unicode=True, color=False, elapsed_s=0.0, already=frozenset())
        shown += [plan_to_bytes(of), words]
    return shown


def damaged(data, how, at):
    match how:
        case "whole":
            return data
        case "cut":
            return data[: at % len(data)]
        case "flipped":
            at %= len(data)
            return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        case "foreign":
            return os.urandom(64)
    raise AssertionError(how)


@given(
    st.lists(edited(), min_size=2, max_size=3),
    st.sampled_from(["whole", "whole", "cut", "flipped", "foreign"]),
    st.integers(0, 2**20),
)
@settings(max_examples=25, deadline=None)
def test_what_an_earlier_run_has_left_changes_no_byte_of_a_plan(tmp_path_factory, runs, how, at):
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    try:
        for files in runs:
            known = Known(cache.read("repo", MADE_BY))
            assert made(files, known) == made(files, None)
            cache.write("repo", MADE_BY, dict(known.rows))
            (kept,) = cache.folder().iterdir()
            kept.write_bytes(damaged(kept.read_bytes(), how, at))
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before
