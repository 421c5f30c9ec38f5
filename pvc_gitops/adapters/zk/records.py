"""A record as bytes: compact sorted JSON with the writer's nonce, compressed where it is large.

Pure. Readable by `zkCli get` up to 16 KiB; a plan's slice of thousands of steps is JSON that shrinks
about tenfold, and a znode may hold 1 MiB.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from pvc_gitops.world.ports import Json

COMPRESSED_FROM_BYTES: Final = 16 * 1024
MARKER: Final = b"z1:"  # no JSON object begins so
INFLATED_BYTES_MAX: Final = 64 * 1024 * 1024  # as a line of the agent's socket; stops a bomb
NONCE: Final = "nonce"


def dump(value: Json, nonce: str) -> bytes:
    """The bytes to write."""
    text = json.dumps(
        {**value, NONCE: nonce}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    data = text.encode()
    if len(data) > COMPRESSED_FROM_BYTES:
        return MARKER + zlib.compress(data)
    return data


def parse(data: bytes) -> tuple[dict[str, Any], str | None]:
    """Value and nonce; {} for a znode without content, which is a mere parent. Raises ValueError."""
    if not data:
        return {}, None
    if data.startswith(MARKER):
        inflater = zlib.decompressobj()
        try:
            data = inflater.decompress(data[len(MARKER) :], INFLATED_BYTES_MAX)
        except zlib.error as err:
            raise ValueError(f"compressed, and broken: {err}") from err
        if not inflater.eof:
            raise ValueError("compressed, and cut off or too large")
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    nonce = value.pop(NONCE, None)
    return value, nonce
