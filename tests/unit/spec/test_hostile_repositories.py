"""Hostile repositories take bounded time: seconds for 64 MiB, not minutes."""

import time
from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.spec.load import problems

BASE = read_working_tree(Path(__file__).parents[2] / "schema" / "good" / "base")
LIMIT_S = 20  # each takes 0.1 to 3 s on a quiet machine; without its cap it takes minutes

HEAD = b"apiVersion: pvc/v1\nkind: VirtualMachine\nmetadata: {name: %s}\nspec:\n  cpu: {vcpus: 1}\n"


def guests(count, body):
    return {
        f"vms/g{number}.yaml": HEAD % f"g{number}".encode() + body % {b"n": b"%d" % number}
        for number in range(count)
    }


CASES = {
    "eighteen thousand unknown keys in each of 50 files": lambda: guests(
        50, b"".join(b"  k%d: 1\n" % number for number in range(18_000))
    ),
    "forty thousand wrong items in each of 50 files": lambda: guests(
        50, b"  memory: 1GiB\n  disks: [%s]\n" % b",".join([b"1"] * 40_000)
    ),
    "five thousand references to nothing": lambda: guests(
        5_000, b"  memory: 1GiB\n  nics: [{network: apx%(n)s}]\n  ha: {depends_on: [gx%(n)s]}\n"
    ),
    "fifty files of the deepest brackets": lambda: {
        f"vms/g{number}.yaml": b"[" * 262_000 for number in range(50)
    },
    "two hundred files of one long word": lambda: {
        f"vms/g{number}.yaml": b"x" * 262_000 for number in range(200)
    },
    "five thousand refused files": lambda: guests(5_000, b"  memory: 1\n"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_hostile_repository(case):
    files = {**BASE, **CASES[case]()}
    started = time.process_time()
    assert problems(files)
    assert time.process_time() - started < LIMIT_S
