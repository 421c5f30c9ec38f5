"""`manifest.toml` as values. Parsed once, here; an unknown or missing key is an error."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pvc_image.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

# Raised when base.py itself starts to build something else from the same manifest.
BASE_RECIPE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file that the image has beside its packages, and why."""

    path: str
    why: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendored:
    """Wheels for the image's own Python, of libraries that its Debian does not have."""

    python: str
    platforms: tuple[str, ...]
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that decides what the base layer holds."""

    suite: str
    components: tuple[str, ...]
    variant: str
    packages: tuple[str, ...]
    product_packages: tuple[
        str, ...
    ]  # those that our own package depends on: all groups but `base`
    masked: tuple[str, ...]
    disabled: tuple[str, ...]
    enabled: tuple[str, ...]
    files: tuple[WrittenFile, ...]
    vendored: Vendored

    def base_digest(self) -> str:
        """Names the base layer: equal contents, equal digest; reasons and order do not count."""
        content = asdict(self)
        del content["vendored"], content["product_packages"]
        content["files"] = {file.path: file.content for file in self.files}
        return _digest({"recipe": BASE_RECIPE, **content})

    def vendored_digest(self) -> str:
        """Names the downloaded wheels."""
        return _digest(asdict(self.vendored))


def load(path: Path) -> Manifest:
    """Read and check a manifest."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ImageError(f"cannot read {path}: {err.strerror}", "run from a checkout") from err


def parse(text: str) -> Manifest:
    """The manifest of a TOML text; sorted where order means nothing."""
    try:
        raw: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise ImageError(f"manifest.toml: {err}", "correct it") from err
    _only(raw, "manifest", "suite components variant packages units files vendored")
    units = raw["units"]
    _only(units, "units", "masked disabled enabled")
    _only(raw["vendored"], "vendored", "python platforms requirements")
    for entry in raw["files"]:
        _only(entry, "files", "path why content")
    groups: dict[str, list[str]] = raw["packages"]
    names = [name for group in groups.values() for name in group]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ImageError(f"manifest.toml: listed twice: {', '.join(twice)}", "keep one of each")
    return Manifest(
        suite=raw["suite"],
        components=tuple(raw["components"]),
        variant=raw["variant"],
        packages=tuple(sorted(names)),
        product_packages=tuple(
            sorted(name for group, members in groups.items() if group != "base" for name in members)
        ),
        masked=tuple(sorted(units["masked"])),
        disabled=tuple(sorted(units["disabled"])),
        enabled=tuple(sorted(units["enabled"])),
        files=tuple(
            WrittenFile(**entry) for entry in sorted(raw["files"], key=lambda e: e["path"])
        ),
        vendored=Vendored(
            python=raw["vendored"]["python"],
            platforms=tuple(raw["vendored"]["platforms"]),
            requirements=tuple(sorted(raw["vendored"]["requirements"])),
        ),
    )


def _only(table: dict[str, Any], where: str, keys: str) -> None:
    wanted = set(keys.split())
    if unknown := sorted(set(table) - wanted):
        raise ImageError(
            f"manifest.toml: unknown key in {where}: {', '.join(unknown)}", "remove it"
        )
    if missing := sorted(wanted - set(table)):
        raise ImageError(f"manifest.toml: {where} lacks {', '.join(missing)}", "add it")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
