"""The command line of the builder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pvc_image import base, cache, manifest
from pvc_image.errors import ImageError

HERE = Path(__file__).resolve().parent.parent
CHECKOUT = HERE.parent
DEFAULT_ROOT = "/var/lib/pvc-lab"


def main() -> int:
    """Build what the arguments name; 0 done, 1 failed with a reason on standard error."""
    parser = argparse.ArgumentParser(prog="build.py", description="Build the image of a node.")
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("PVC_LAB", DEFAULT_ROOT)),
                        help="cache and state (PVC_LAB; default %(default)s)")
    parser.add_argument("what", choices=["image", "base", "guest", "packages"])
    arguments = parser.parse_args()
    try:
        print(json.dumps(build(arguments.what, arguments.root)))
    except ImageError as err:
        print(f"build.py: {err}", file=sys.stderr)
        return 1
    return 0


def build(what: str, root: Path) -> dict[str, object]:
    progress = cache.Progress()
    wanted = manifest.load(HERE / "manifest.toml")
    base_dir = base_layer(wanted, root, progress)
    return {"layers": [str(base_dir)]}


def base_layer(wanted: manifest.Manifest, root: Path, progress: cache.Progress) -> Path:
    digest = wanted.base_digest()
    return cache.ensure(
        root / "image" / f"base-{digest}",
        lambda new: base.build(wanted, new, root / "log" / f"base-{digest}.log"),
        f"base {digest}",
        progress,
    )
