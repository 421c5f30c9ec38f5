"""Values of any size in the store, whose records hold at most 1 MiB.

A small value stands in its record as it is. A large one is cut into parts one level below, which are
written first: a record without all its parts is never looked at, because nothing names it yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from pvc_gitops.errors import StoreError
from pvc_gitops.model.codec import canonical
from pvc_gitops.world.ports import Create, Json, Op, Store

# ZooKeeper drops the connection of a writer of 1 MiB and more, which looks like a lost network. Text
# grows by its escapes when it becomes a JSON string, at most to double for what we write.
PART_BYTES_MAX: Final = 384 * 1024
TRANSACTION_BYTES_MAX: Final = 800 * 1024


def creates(path: str, value: object) -> Iterator[Create]:
    """The records of one value, in the order in which they must be written."""
    text = canonical(value).decode()
    if len(text) * 4 <= PART_BYTES_MAX or len(text.encode()) <= PART_BYTES_MAX:
        yield Create(path=path, value={"value": json.loads(text)})
        return
    # Characters of up to four bytes: a quarter of the limit is always small enough.
    size = PART_BYTES_MAX // 4
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    yield Create(path=path, value={"parts": len(parts)})
    for number, part in enumerate(parts):
        yield Create(path=f"{path}/{number}", value={"text": part})


def read(store: Store, path: str) -> Json | None:
    """The value, or None where there is none. Raises StoreError if a part is missing."""
    stamped = store.read(path)
    if stamped is None:
        return None
    if "value" in stamped.value:
        value: Json = stamped.value["value"]
        return value
    texts = []
    for number in range(stamped.value["parts"]):
        part = store.read(f"{path}/{number}")
        if part is None:
            raise StoreError("read", f"{path}/{number}", "this part is missing", retryable=True)
        texts.append(part.value["text"])
    whole: Json = json.loads("".join(texts))
    return whole


def batches(ops: Sequence[Op]) -> Iterator[tuple[Op, ...]]:
    """Ops in order, cut so that no transaction is refused for its size."""
    batch: list[Op] = []
    size = 0
    for op in ops:
        weight = len(canonical(op.value)) if hasattr(op, "value") else 0
        if batch and size + weight > TRANSACTION_BYTES_MAX:
            yield tuple(batch)
            batch, size = [], 0
        batch.append(op)
        size += weight
    if batch:
        yield tuple(batch)
