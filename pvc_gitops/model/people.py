"""Who may do what: operators and their roles, as documents say it (DESIGN D12)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.model.document import Spec
from pvc_gitops.model.units import size_mib
from pvc_gitops.model.values import dataclass

ADMIN: Final = "admin"  # a role that everybody knows; it has no document

# What an operator may be allowed to do for the moment, with what it means. Reading needs no word.
VERBS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "start": "start a guest",
        "stop": "stop a guest",
        "restart": "stop and start a guest",
        "migrate": "move a guest",
        "place": "keep a guest on a node",
        "rebuild": "make a guest's disks anew",
        "console": "type on a guest's console",
        "log": "read a guest's console",
        "vnc": "use a guest's screen",
        "snapshot": "take, roll back and drop snapshots",
        "backup": "take a backup",
        "restore": "bring back a backup or a disk from the trash",
        "drain": "empty a node",
        "maintenance": "silence the alarms of a node",
        "hold": "suspend fencing",
        "freeze": "let no plan become the target",
        "halt": "let no step begin",
        "approve": "approve a plan",
        "retry": "try again what was given up",
        "rollback": "go back to an earlier commit",
        "submit": "hand over commits while git is away",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Objects that a commit may create, change or delete. Empty: whatever their address or tags."""

    may: tuple[str, ...]
    addresses: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The most that the guests of a role may sum up to. None: no limit."""

    vms: int | None
    vcpus: int | None
    memory_mib: int | None
    disk_mib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What operators who have it may do."""

    name: str
    commit: tuple[Right, ...]
    use: Mapping[str, tuple[str, ...]]  # folder of what is referred to -> globs of names
    ha_tier: int
    may_name_nodes: bool
    may_protect: bool
    quota: Quota
    operate_addresses: tuple[str, ...]
    operate_tags: tuple[str, ...]
    operate_verbs: tuple[str, ...]

    @classmethod
    def from_spec(cls, name: str, spec: Spec) -> Role:
        limits, quota, operate = spec["limits"], spec["quota"], spec["operate"]
        memory, disk = quota.get("memory"), quota.get("disk")
        return cls(
            name=name,
            commit=tuple(
                Right(
                    may=tuple(right["may"]),
                    addresses=tuple(right["addresses"]),
                    tags=tuple(right["tags"]),
                )
                for right in spec["commit"]
            ),
            use=MappingProxyType({kind: tuple(globs) for kind, globs in spec["use"].items()}),
            ha_tier=limits["ha_tier"],
            may_name_nodes=limits["nodes"],
            may_protect=limits["protect"],
            quota=Quota(
                vms=quota.get("vms"),
                vcpus=quota.get("vcpus"),
                memory_mib=None if memory is None else size_mib(memory),
                disk_mib=None if disk is None else size_mib(disk),
            ),
            operate_addresses=tuple(operate["select"]["addresses"]),
            operate_tags=tuple(operate["select"]["tags"]),
            operate_verbs=tuple(operate["verbs"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """A person, or a program that acts for one. `keys` are ssh public keys: type and body."""

    name: str
    keys: tuple[str, ...]
    roles: tuple[str, ...]

    @classmethod
    def from_spec(cls, name: str, spec: Spec) -> Operator:
        return cls(
            name=name,
            keys=tuple(" ".join(key.split()[:2]) for key in spec["keys"]),
            roles=tuple(spec["roles"]),
        )
