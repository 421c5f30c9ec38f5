"""Disk image formats to raw, by qemu-img.

An image from elsewhere may name other files: a qcow2 its backing file, a VMDK its extents. qemu-img
would read them, on this node, as root. So the format is never guessed and such images are refused
before anything is converted.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pvc_gitops.adapters.download.fetch import SIZE_BYTES_MAX
from pvc_gitops.errors import DownloadError

RAW: Final = "raw"
FORMATS: Final = frozenset({RAW, "qcow2", "vmdk", "vdi", "vpc"})
INFO_LIMIT_S: Final = 30
CONVERT_LIMIT_S: Final = 3600  # 100 GiB at 30 MiB/s
_LONE_VMDKS: Final = frozenset({"monolithicSparse", "streamOptimized"})  # all in one file


def to_raw(source: Path, image_format: str, target: Path) -> None:
    """Convert. `target` is sparse afterwards. Raises DownloadError."""
    answer = _qemu_img(
        ["info", "--output=json", "-f", image_format, str(source)], source, INFO_LIMIT_S
    )
    refusal = refusal_of(json.loads(answer), image_format)
    if refusal:
        raise DownloadError("convert", source.name, refusal, retryable=False)
    _qemu_img(
        ["convert", "-f", image_format, "-O", RAW, str(source), str(target)],
        source,
        CONVERT_LIMIT_S,
    )


def refusal_of(info: Mapping[str, Any], image_format: str) -> str:
    """Why an image is not converted, from `qemu-img info`; or an empty text."""
    details = info.get("format-specific", {}).get("data", {})
    has_strange_extents = image_format == "vmdk" and details.get("create-type") not in _LONE_VMDKS
    rules = (
        (
            info.get("format") != image_format,
            f"it is {info.get('format')}, declared is {image_format}",
        ),
        (
            info.get("virtual-size", 0) > SIZE_BYTES_MAX,
            f"its disk has {info.get('virtual-size')} bytes, {SIZE_BYTES_MAX} is the most",
        ),
        (
            "backing-filename" in info or "full-backing-filename" in info,
            "it needs a backing file; publish it flattened (qemu-img convert)",
        ),
        ("data-file" in details, "its data lies in another file; publish it as one"),
        (bool(info.get("encrypted")), "it is encrypted"),
        (has_strange_extents, "its data lies in other files; publish it as monolithicSparse"),
    )
    return next((words for is_so, words in rules if is_so), "")


def _qemu_img(arguments: list[str], source: Path, limit_s: float) -> bytes:
    try:
        done = subprocess.run(
            ["qemu-img", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise DownloadError(
            "convert", source.name, f"qemu-img took over {limit_s:g} s", retryable=True
        ) from err
    except OSError as err:
        raise DownloadError(
            "convert", source.name, f"qemu-img did not start: {err}", retryable=False
        ) from err
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        raise DownloadError("convert", source.name, words or "qemu-img failed", retryable=False)
    return done.stdout
