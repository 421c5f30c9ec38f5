"""What the tables of states have in common: every event in every state has its entry.

A table is written by event: from which states it leads where, and why it cannot happen in the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

from pvc_gitops.errors import InvariantViolation
from pvc_gitops.model.values import dataclass

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """An event that cannot happen in a state, and why. That it does is a bug of ours."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[S, E]):
    """One event: where it leads, and why it does not happen in any state that is not named."""

    event: E
    leads: Mapping[S, S]
    otherwise: str = ""


class Table(Generic[S, E]):
    """A total map from states and events to states. `meanings`: of both, in a sentence each."""

    def __init__(
        self,
        name: str,
        states: type[S],
        rows: Iterable[Row[S, E]],
        meanings: Mapping[S | E, str],
    ) -> None:
        self.name, self.states, self.rows, self.meanings = name, states, tuple(rows), meanings
        self.entries: Mapping[tuple[S, E], S | Impossible] = MappingProxyType(
            {
                (state, row.event): row.leads.get(state, Impossible(why=row.otherwise))
                for row in self.rows
                for state in states
            }
        )

    def next(self, state: S, event: E) -> S:
        """Where an event leads. Raises InvariantViolation where it cannot happen."""
        found = self.entries[state, event]
        if isinstance(found, Impossible):
            raise InvariantViolation(f"{self.name}: {event} while {state}: {found.why}")
        return found

    def fold(self, state: S, events: Iterable[E]) -> S:
        """Where several lead, one after the other."""
        for event in events:
            state = self.next(state, event)
        return state

    def edges(self) -> Iterator[tuple[S, E, S]]:
        """All that may happen."""
        for (state, event), found in self.entries.items():
            if not isinstance(found, Impossible):
                yield state, event, found
