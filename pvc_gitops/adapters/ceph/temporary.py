"""Names of images that are still being made. No listing shows them."""

from __future__ import annotations

from typing import Final

IMPORT: Final = ".import-tmp"
CLONE: Final = ".clone-tmp"


def is_temporary(image: str) -> bool:
    return image.endswith((IMPORT, CLONE))
