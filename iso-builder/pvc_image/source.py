"""The checkout as input of the software layer: what counts, and its digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pvc_image.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What ends up in our package, or decides how it is made.
_INPUTS = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "pvc_gitops",
    "node-agent",
    "schema",
    "example-cluster-repo",
    "iso-builder/pvc_image",
)


def digest(checkout: Path, *also: str) -> str:
    """Names the software layer: the contents of all inputs, by path, and further words."""
    if not (checkout / "pyproject.toml").exists():
        raise ImageError(f"{checkout} has no pyproject.toml", "run from a checkout of the project")
    found = hashlib.sha256("\0".join(also).encode())
    for path in sorted(_files(checkout)):
        content = path.read_bytes()
        found.update(f"{path.relative_to(checkout)}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:16]


def _files(checkout: Path) -> Iterator[Path]:
    for name in _INPUTS:
        top = checkout / name
        if top.is_file():
            yield top
        for path in top.rglob("*"):
            parts = path.relative_to(checkout).parts
            if path.is_file() and "__pycache__" not in parts:
                yield path
