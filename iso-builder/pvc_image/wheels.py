"""Wheels: ours, built from the checkout, and those of libraries that the image's Debian does not
have.
 Both need pip and our build backend; they live in a virtual environment in the cache, so that a
bare Debian machine needs no more than python3-venv.
"""

from __future__ import annotations

import hashlib
import sys
import tomllib
from typing import TYPE_CHECKING

from pvc_image import cache
from pvc_image.errors import ImageError
from pvc_image.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from pvc_image.manifest import Vendored

PIP_TIMEOUT_S = 600


def build_ours(checkout: Path, root: Path, target: Path, progress: cache.Progress) -> Path:
    """Our wheel, made in `target` by the backend that pyproject.toml names."""
    requires: list[str] = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))[
        "build-system"
    ]["requires"]
    python = _tools(root, tuple(sorted(requires)), progress)
    # The backend is in the environment already: no download, no isolation, 2 s instead of 8.
    run(
        python,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        target,
        checkout,
        timeout_s=PIP_TIMEOUT_S,
    )
    return only_wheel(target)


def vendored(
    wanted: Vendored, digest: str, root: Path, progress: cache.Progress
) -> tuple[Path, ...]:
    """The libraries' wheels for the image's Python, downloaded once."""
    if not wanted.requirements:
        return ()

    def download(new: Path) -> None:
        python = _tools(root, (), progress)
        platforms = (word for platform in wanted.platforms for word in ("--platform", platform))
        run(
            python,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--only-binary=:all:",
            "--no-deps",
            "--python-version",
            wanted.python,
            *platforms,
            "--dest",
            new,
            *wanted.requirements,
            timeout_s=PIP_TIMEOUT_S,
        )

    folder = cache.ensure(
        root / "image" / f"wheels-{digest}", download, f"wheels {digest}", progress
    )
    return tuple(sorted(folder.glob("*.whl")))


def only_wheel(folder: Path) -> Path:
    """The one wheel of a folder."""
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise ImageError(
            f"{len(found)} wheels in {folder}, expected one", "look at pyproject.toml's targets"
        )
    return found[0]


def _tools(root: Path, requires: tuple[str, ...], progress: cache.Progress) -> Path:
    words = "\0".join((sys.version, sys.executable, *requires))
    name = f"tools-{hashlib.sha256(words.encode()).hexdigest()[:12]}"

    def make(new: Path) -> None:
        run(sys.executable, "-m", "venv", new, timeout_s=120)
        if requires:
            run(
                new / "bin/python",
                "-m",
                "pip",
                "install",
                "--quiet",
                *requires,
                timeout_s=PIP_TIMEOUT_S,
            )

    return cache.ensure(root / "image" / name, make, "build tools", progress) / "bin/python"
