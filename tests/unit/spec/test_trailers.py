"""Words at the end of a commit's message."""

from __future__ import annotations

import pytest

from pvc_gitops.model.trailers import APPROVE, RELEASE, trailer


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("bigger web tier\n\nPvc-Approve: 48ec4726\n", ("48ec4726",)),
        ("s\n\nbody\n\nSigned-off-by: ann <ann@x>\npvc-approve:  48ec4726  \n", ("48ec4726",)),
        ("s\n\nPvc-Approve: 1\nPvc-Approve: 2\n", ("1", "2")),
        ("Pvc-Approve: 48ec4726", ()),  # a subject is no trailer
        ("s\n\nPvc-Approve: 48ec4726\n\nand more text\n", ()),  # quoted in the middle
        ("s\n\nPvc-Approve:\n", ()),
        ("s\n\nnot Pvc-Approve: 48ec4726\n", ()),
        ("", ()),
    ],
)
def test_only_the_last_paragraph_counts(message, found):
    assert trailer(message, APPROVE) == found


def test_keys_do_not_mix():
    message = "s\n\nPvc-Release: abcdef0\n"
    assert trailer(message, APPROVE) == ()
    assert trailer(message, RELEASE) == ("abcdef0",)
