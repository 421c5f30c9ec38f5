"""The image that nodes boot: asked for from `iso-builder/build.py`, which caches it by what it is
made from.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pvc_gitops.lab.errors import LabError

# A slow mirror may need long for 600 packages; usually 60 to 90 s.
BUILD_TIMEOUT_S: Final = 3600
# So that going back to the edit before costs nothing, and another lab's `up` finds what it built.
UNUSED_KEPT: Final = 8


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


def prune(root: Path) -> list[Path]:
    """Remove software layers that no lab uses and that are not among the newest; what was removed.

    An edit of the code makes a layer of 5 MB, and a day has many edits.
    """
    used = {
        Path(layer)
        for found in (*root.glob("labs/*/layers.json"), *root.glob("labs/*/nodes/*/layers.json"))
        for layer in json.loads(found.read_text(encoding="utf-8"))
    }
    made = [path for path in (root / "image").glob("software-*") if path.suffix == ""]
    layers_made = [path for path in made if (path / "upper").is_dir()]
    newest_first = sorted(layers_made, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    old = [path for path in newest_first[UNUSED_KEPT:] if path / "upper" not in used]
    for path in old:
        shutil.rmtree(path)
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
    return old


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
