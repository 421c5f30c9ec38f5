"""What there is to say to a question of the socket, and what all questions may ask of their agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pvc_gitops.controllers.agent import AgentMemory
from pvc_gitops.model.inventory import StorageFacts
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

STORAGE_TIMEOUT_S: Final = 5.0  # then what is known must do


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """The answer."""

    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The answer, where there is none."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something before the answer."""

    event: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Poke:
    """Look at git, or at Ceph, now."""

    at_storage: bool = False


Said = Value | Refusal | Event | Poke | None
Recall = Callable[[], AgentMemory]


def storage_of(recall: Recall) -> StorageFacts | None:
    return recall().storage.facts


def fresh_storage(world: World, recall: Recall) -> Iterator[Said]:
    """Wait for a look at Ceph that began after the question, unless Ceph does not answer."""
    if not world.me.is_coordinator:
        return
    asked_s = world.clock.monotonic_s()
    yield Poke(at_storage=True)
    while world.clock.monotonic_s() < asked_s + STORAGE_TIMEOUT_S:
        memory = recall().storage
        if memory.fault or (memory.asked_at_s is not None and memory.asked_at_s >= asked_s):
            return
        yield None
