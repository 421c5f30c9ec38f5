"""libvirt's last word on a domain."""

from __future__ import annotations

import pytest

from pvc_gitops.adapters.libvirt.endings import ending_of
from pvc_gitops.model.inventory import Ending

STARTED = (
    "2026-01-01 10:00:00.000+0000: starting up libvirt version: 9.0.0\nchar device redirected\n"
)


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        ("shutdown", Ending.POWERED_OFF),
        ("crashed", Ending.ENDED),
        ("destroyed", Ending.ENDED),
        ("failed", Ending.ENDED),
    ],
)
def test_the_last_word_tells(word, ending):
    log = f"{STARTED}2026-01-01 10:05:00.000+0000: shutting down, reason={word}\n"
    assert ending_of(log) is ending


def test_an_earlier_word_tells_nothing_of_the_last_start():
    """The host lost its power: nobody wrote a last word."""
    off = "2026-01-01 09:59:00.000+0000: shutting down, reason=shutdown\n"
    assert ending_of(off + STARTED) is Ending.ENDED
    assert ending_of("") is Ending.ENDED
