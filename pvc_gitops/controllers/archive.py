"""The ledger's reading: every coordinator keeps its own archive of it, and answers from both.

The store holds the last thousand entries or so; the archive all that this node has seen. Each
coordinator says how far its archive goes, and the leader drops nothing that one of them lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pvc_gitops.controllers.records import read, typed, write
from pvc_gitops.errors import WorldError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode, encode
from pvc_gitops.model.ids import Address
from pvc_gitops.model.ledger import Entry, LedgerHead
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import World

EVERY_S: Final = 60.0  # the store holds what came since
AT_ONCE: Final = 200  # entries of one tick, and of one look of a reader
LIMIT_MAX: Final = 10_000  # entries that one question may get


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMemory:
    """When to look next."""

    due_at_s: float = 0.0
    fault: str = ""


def tick(world: World, memory: ArchiveMemory, now_s: float) -> ArchiveMemory:
    """Copy what is new. A full disk is a fault of the node, and stops nothing else."""
    if not world.me.is_coordinator or now_s < memory.due_at_s:
        return memory
    memory = replace(memory, due_at_s=now_s + EVERY_S)
    head = read(world.store, paths.LEDGER_HEAD, LedgerHead)
    if head is None:
        return memory
    try:
        last = world.archive.last()
        if last < head.number:
            first = max(last + 1, head.oldest)
            until = min(head.number, first + AT_ONCE - 1)
            entries = list(_stored(world, first, until))
            world.archive.append([encode(entry) for entry in entries])
            last = world.archive.last()
        _say(world, last)
    except WorldError as error:
        fault = f"the ledger's archive cannot be written: {error.reason}"
        if fault != memory.fault:
            world.journal.event("archive_fault", reason=error.reason)
        return replace(memory, fault=fault)
    is_behind = last < head.number
    return replace(memory, fault="", due_at_s=now_s if is_behind else memory.due_at_s)


def _say(world: World, last: int) -> None:
    path = paths.ledger_archived(world.me.node)
    said = world.store.read(path)
    if said is None or said.value["number"] != last:
        write(world.store, path, {"number": last})


def _stored(world: World, first: int, last: int) -> Iterator[Entry]:
    for number in range(first, last + 1):
        path = paths.ledger_entry(number)
        stamped = world.store.read(path)
        if stamped is None:
            return  # not seen by our server yet, or dropped meanwhile: looked for again
        yield typed(path, stamped, Entry)


def newest_first(world: World) -> Iterator[Entry | None]:
    """All entries that this node can tell of, one after the other; None where it is worth to pause.

    Raises StoreError, WorldError.
    """
    head = read(world.store, paths.LEDGER_HEAD, LedgerHead)
    if head is None:
        return
    number = head.number
    while number >= head.oldest:
        first = max(head.oldest, number - AT_ONCE + 1)
        found = list(_stored(world, first, number))
        if len(found) < number - first + 1:
            break  # dropped while we read: the archive has them
        yield from reversed(found)
        number = first - 1
        yield None
    while number > 0:
        first = max(1, number - AT_ONCE + 1)
        for value in reversed(world.archive.read(first, number)):
            yield decode(Entry, value)
        number = first - 1
        yield None


def is_about(entry: Entry, address: Address | None) -> bool:
    """Is it about the address or a part of it? Everything is about None."""
    return address is None or any(
        of == address or of.startswith(f"{address}/") for of in entry.addresses
    )
