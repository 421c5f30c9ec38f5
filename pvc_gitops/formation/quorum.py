"""What is left of an ensemble when most of it is gone for good: this server alone. Pure.

The others must never serve again as they are: two of three members that come back with their disks are a
quorum of the old ensemble, beside the recovered one (tried: both accept writes).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pvc_gitops.errors import UsageError
from pvc_gitops.formation.record import RecordedMember
from pvc_gitops.model.ids import NodeName

_SERVER = "server."


def the_dead(
    members: Sequence[RecordedMember], me: NodeName, named: Collection[str]
) -> tuple[RecordedMember, ...]:
    """Everybody but this node, if exactly they were named. Raises UsageError."""
    others = tuple(member for member in members if member.name != me)
    if len(others) == len(members):
        raise UsageError(
            f"{me} is no member of this cluster's quorum",
            hint="run it on a coordinator that is left",
        )
    unknown = sorted(set(named) - {member.name for member in others})
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)}: not another coordinator of this cluster",
            hint=f"the others are {', '.join(member.name for member in others)}",
        )
    missing = [member.name for member in others if member.name not in named]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} is not named: a recovered quorum is this node alone",
            hint="if it can be repaired, repair it: then nothing is lost. Else name it as dead too",
        )
    return others


def alone(dynamic: str, me: int) -> str:
    """ZooKeeper's member list with one server only. Raises UsageError where that one is not in it."""
    lines = dynamic.splitlines()
    mine = [line for line in lines if line.startswith(f"{_SERVER}{me}=")]
    if not mine:
        raise UsageError(f"server {me} is not in the ensemble", hint="run it on a member")
    rest = [line for line in lines if line.strip() and not line.startswith(_SERVER)]
    return "\n".join([*mine, *rest]) + "\n"


def member_file(config: str) -> str:
    """Where zoo.cfg says that the member list lies. Raises UsageError."""
    for line in config.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "dynamicConfigFile":
            return value.strip()
    raise UsageError("zoo.cfg names no dynamicConfigFile", hint="it was not written by formation")
