"""The founding record, and when its holder may found.

Two commits in flight would found two quorums (tried). So each coordinator writes down what it is about to
found, durably and before anything else, and founds only with members that wrote down the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pvc_gitops.formation.layout import FOUNDING, Layout
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.records import Formation


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMember:
    """A coordinator as written down."""

    id: int
    name: NodeName
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingRecord:
    """What a coordinator is about to found."""

    cluster_id: str
    formation: int
    commit: CommitId
    members: tuple[RecordedMember, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a coordinator answers: its record, and whether what stands in it was founded."""

    record: FoundingRecord
    is_founded: bool


def record_of(layout: Layout, commit: CommitId) -> FoundingRecord:
    """What a node with this layout is about to found."""
    members = tuple(
        RecordedMember(id=member.id, name=member.name, address=member.cluster)
        for member in layout.members
    )
    return FoundingRecord(
        cluster_id=layout.cluster_id, formation=FOUNDING, commit=commit, members=members
    )


class Verdict(StrEnum):
    """What another coordinator's answer means for us."""

    SAME = "same"
    ABSENT = "absent"  # it does not answer, or has written nothing down yet
    DIFFERENT = "different"  # it is about to found something else: nobody founds


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Who agrees. Founding needs all: a member that is left out could found on its own later."""

    same: tuple[NodeName, ...]
    absent: tuple[NodeName, ...]
    different: tuple[NodeName, ...]

    @property
    def is_complete(self) -> bool:
        return not self.absent and not self.different


def agreement(
    mine: FoundingRecord, me: NodeName, answers: Mapping[NodeName, FoundingRecord | None]
) -> Agreement:
    """Compare the members' records with ours. A member without an answer is absent."""
    verdicts = {member.name: _verdict(mine, me, member.name, answers) for member in mine.members}

    def having(verdict: Verdict) -> tuple[NodeName, ...]:
        return tuple(name for name, found in verdicts.items() if found is verdict)

    return Agreement(
        same=having(Verdict.SAME),
        absent=having(Verdict.ABSENT),
        different=having(Verdict.DIFFERENT),
    )


class Standing(StrEnum):
    """What a running ensemble says of one of its founders."""

    STRANGER = "stranger"  # it was founded from something else, or without this one
    MEMBER = "member"
    LOST = (
        "lost"  # its quorum was made anew when most were gone for good, and knows this one no more
    )


def standing(
    mine: FoundingRecord, me: NodeName, formed: Formation | None, servers: Mapping[int, str]
) -> Standing:
    """How `me` stands to the ensemble that holds `formed` and has these servers: id -> address."""
    if formed is None or (formed.cluster_id, formed.commit) != (mine.cluster_id, mine.commit):
        return Standing.STRANGER
    if formed.formation > mine.formation:
        return Standing.LOST
    is_member = any(
        servers.get(each.id) == each.address for each in mine.members if each.name == me
    )
    return Standing.MEMBER if is_member else Standing.STRANGER


def _verdict(
    mine: FoundingRecord,
    me: NodeName,
    member: NodeName,
    answers: Mapping[NodeName, FoundingRecord | None],
) -> Verdict:
    if member == me:
        return Verdict.SAME
    answer = answers.get(member)
    if answer is None:
        return Verdict.ABSENT
    return Verdict.SAME if answer == mine else Verdict.DIFFERENT
