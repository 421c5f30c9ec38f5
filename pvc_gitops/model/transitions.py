"""One-shot words in the reviewed diff: `transitions.yaml` (DESIGN section 4).

spec:
  moved: [{from: vm/web1, to: vm/www1}]
  removed: [vm/web2]        # its deletion is meant, whatever the budget
  forgotten: [vm/web3]      # no longer ours; it goes on as it is
  restored: [vm/web4]       # its data comes out of the trash
  adopted: [vm/web5]        # what is live becomes ours as declared
  disrupted: [vm/db1]       # its restart, replacement or move is meant, whatever the budget
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pvc_gitops.model.document import Place
from pvc_gitops.model.ids import Address
from pvc_gitops.model.values import dataclass


class Word(StrEnum):
    """What is said of an address."""

    MOVED = "moved"
    REMOVED = "removed"
    FORGOTTEN = "forgotten"
    RESTORED = "restored"
    ADOPTED = "adopted"
    DISRUPTED = "disrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One entry. `source` is the old address of what moved, and of what is restored or adopted under
    another name: `vm/mail/disk/root`, `rbd/vms/legacy`, `domain/Legacy`. None of all else."""

    word: Word
    address: Address
    source: Address | None
    place: Place


@dataclass(frozen=True, slots=True)
class Transitions:
    """All entries, in the order of the file."""

    items: tuple[Transition, ...] = ()

    def says(self, word: Word, of: Address) -> Transition | None:
        """The entry that says it of an address."""
        if not self.items:  # of every object, as nearly always
            return None
        return next((i for i in self.items if i.word is word and i.address == of), None)

    def source_of(self, of: Address) -> Address | None:
        """The address that an object had before."""
        moved = self.says(Word.MOVED, of)
        return None if moved is None else moved.source

    def successor_of(self, of: Address) -> Address | None:
        """The address that an object has now."""
        return next((i.address for i in self.items if i.source == of), None)


NO_TRANSITIONS: Final = Transitions()
