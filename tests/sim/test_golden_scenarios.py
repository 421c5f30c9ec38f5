"""Every directory of tests/golden/sim is a claim: README, script, commits as overlays, the journal.

PVC_BLESS=1 rewrites the journals; a missing one fails.
"""

from __future__ import annotations

import os

import pytest
from simulated import BASE, CASES, journal, overlay, player

NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir() and path.name != "base")


@pytest.mark.parametrize("name", NAMES)
def test_scenario(name):
    case = CASES / name
    assert 1 <= len((case / "README.md").read_text().splitlines()) <= 8
    one = player(BASE)
    one.read_folder = lambda folder: overlay(case / folder)
    one.play((case / "script.txt").read_text(), name=f"{name}/script.txt")
    text = journal(one)
    expected = case / "journal.expect"
    if os.environ.get("PVC_BLESS") == "1":
        expected.write_text(text)
    assert expected.is_file(), f"no expectation: look at the journal, then PVC_BLESS=1\n{text}"
    assert text == expected.read_text()
    assert one.result()["violations"] == []


def test_a_scenario_is_the_same_every_time():
    script = (CASES / NAMES[0] / "script.txt").read_text()
    texts = set()
    for _ in range(2):
        one = player(BASE)
        one.read_folder = lambda folder: overlay(CASES / NAMES[0] / folder)
        one.play(script)
        texts.add(journal(one))
    assert len(texts) == 1
