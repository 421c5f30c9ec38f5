"""The image that nodes boot: asked for from `iso-builder/build.py`, which caches it by what it is
made from.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pvc_gitops.lab.errors import LabError

# A slow mirror may need long for 600 packages; usually 60 to 90 s.
BUILD_TIMEOUT_S: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """The tiny test guest as a raw disk image."""

    path: Path
    sha256: str
    size_bytes: int


def checkout() -> Path | None:
    """The source tree that this package runs from; None for an installation without iso-builder."""
    here = Path(__file__).resolve().parents[2]
    return here if (here / "iso-builder" / "build.py").exists() else None


def layers(root: Path, *, software: bool = True) -> tuple[Path, ...]:
    """The image's layers, top first, built now where something changed.

    Args:
        root: image cache.
        software: without it only Debian, which is enough to try the hardware.
    """
    return tuple(Path(layer) for layer in _build("image" if software else "base", root)["layers"])


def guest(root: Path) -> GuestImage:
    """The test guest, built now if it is not there."""
    found = _build("guest", root)
    return GuestImage(path=Path(found["path"]), sha256=found["sha256"], size_bytes=found["bytes"])


def _build(what: str, root: Path) -> dict[str, Any]:
    source = checkout()
    if source is None:
        raise LabError(
            "the image is built from a checkout",
            hint="git clone the project and run `pvc lab` there",
        )
    argv = [sys.executable, str(source / "iso-builder" / "build.py"), "--root", str(root), what]
    # Standard error is left alone: it shows the stages with their times.
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"the {what} could not be built", hint="the reason stands above")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
