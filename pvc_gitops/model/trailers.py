"""`Key: value` lines at the end of a commit's message, as `git interpret-trailers` reads them."""

from __future__ import annotations

import re
from typing import Final

APPROVE: Final = "Pvc-Approve"  # the effect of a plan that waits
RELEASE: Final = "Pvc-Release"  # a commit that leaves quarantine
VOUCH: Final = "Pvc-Vouch"  # A..B: the signer answers for what B holds and A does not
_LINE: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*):[ \t]+(\S.*)")


def trailer(message: str, key: str) -> tuple[str, ...]:
    """The values of one key, in order; keys are compared without case.

    Only the last paragraph counts, and only if it is not the first: a subject is no trailer.
    """
    paragraphs = [part for part in re.split(r"\n[ \t]*\n", message.strip()) if part.strip()]
    if len(paragraphs) < 2:  # noqa: PLR2004
        return ()
    found = (_LINE.fullmatch(line.strip()) for line in paragraphs[-1].splitlines())
    return tuple(m[2].strip() for m in found if m is not None and m[1].lower() == key.lower())
