"""The command line of the builder."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from pvc_image import base, cache, guest, manifest, software, source
from pvc_image.errors import ImageError

HERE = Path(__file__).resolve().parent.parent
CHECKOUT = HERE.parent
DEFAULT_ROOT = "/var/lib/pvc-lab"
# What builds the layers (first line) and the guest (second). systemd-container brings systemctl and
# nspawn.
HOST_PACKAGES = (
    "mmdebstrap",
    "debian-archive-keyring",
    "systemd-container",
    "python3-venv",
    "git",
    "mtools",
    "syslinux",
    "syslinux-common",
)


def main() -> int:
    """Build what the arguments name; 0 done, 1 failed with a reason on standard error."""
    parser = argparse.ArgumentParser(prog="build.py", description="Build the image of a node.")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get("PVC_LAB", DEFAULT_ROOT)),
        help="cache and state (PVC_LAB; default %(default)s)",
    )
    parser.add_argument("what", choices=["image", "base", "guest", "packages"])
    arguments = parser.parse_args()
    try:
        print(json.dumps(build(arguments.what, arguments.root)))
    except ImageError as err:
        print(f"build.py: {err}", file=sys.stderr)
        return 1
    return 0


def build(what: str, root: Path) -> dict[str, object]:
    """Make what is asked for, from the cache where nothing changed.

    Returns:
        For `image` and `base` {"layers": [top, ..., bottom]}, for overlayfs' `lowerdir=`;
        for `guest` {"path", "sha256", "bytes"}; for `packages` {"packages"}.
    """
    progress = cache.Progress()
    wanted = manifest.load(HERE / "manifest.toml")
    if what == "packages":
        return {"packages": list(HOST_PACKAGES)}
    if what == "guest":
        return guest_image(wanted.suite, root, progress)
    layers = [base_layer(wanted, root, progress)]
    if what == "image":
        layers.insert(0, software_layer(wanted, layers[0], root, progress))
    return {"layers": [str(layer) for layer in layers]}


def software_layer(
    wanted: manifest.Manifest, base_dir: Path, root: Path, progress: cache.Progress
) -> Path:
    """Our software over the base layer."""
    digest = source.digest(
        CHECKOUT, wanted.base_digest(), wanted.vendored_digest(), *wanted.product_packages
    )
    made = cache.ensure(
        root / "image" / f"software-{digest}",
        lambda new: software.build(
            wanted,
            checkout=CHECKOUT,
            base=base_dir,
            digest=digest,
            root=root,
            new=new,
            progress=progress,
        ),
        f"software {digest}",
        progress,
    )
    return made / "upper"


def guest_image(suite: str, root: Path, progress: cache.Progress) -> dict[str, object]:
    """The test guest's disk image."""
    scripts = HERE / "guest"
    digest = guest.source_digest(suite, scripts, Path(guest.__file__))
    made = cache.ensure(
        root / "image" / f"guest-{digest}",
        lambda new: guest.build(suite, scripts, new, root / "log" / f"guest-{digest}.log"),
        f"guest {digest}",
        progress,
    )
    image = made / "guest.raw"
    sha256 = (made / "guest.raw.sha256").read_text(encoding="ascii").strip()
    return {"path": str(image), "sha256": sha256, "bytes": image.stat().st_size}


def base_layer(wanted: manifest.Manifest, root: Path, progress: cache.Progress) -> Path:
    digest = wanted.base_digest()
    return cache.ensure(
        root / "image" / f"base-{digest}",
        lambda new: base.build(wanted, new, root / "log" / f"base-{digest}.log"),
        f"base {digest}",
        progress,
    )
