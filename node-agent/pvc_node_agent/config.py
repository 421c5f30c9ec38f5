"""`/etc/pvc/node.toml`: what formation decided once for this node, as every process here reads it.

Written by formation, never by a person and never from a later commit. An unknown or missing key is an
error, so that a file of another release is noticed and never half understood. The contract, with a
comment for each key, is `node-agent/etc/node.toml.example`.
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pvc_gitops.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSection:
    """Which node this is."""

    name: str
    role: Literal["coordinator", "hypervisor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSection:
    """Which cluster it belongs to."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperSection:
    """The ensemble. `servers` are ADDRESS:PORT, this node's own server first if it has one."""

    servers: tuple[str, ...]
    user: str
    password_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSection:
    """L and h (DESIGN section 8)."""

    seconds: float
    heartbeat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressesSection:
    """This node on the three core networks; an address only, without a prefix."""

    upstream: str
    cluster: str
    storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSection:
    """The repository. `path` is the folder in it that holds cluster.yaml, "." for the top."""

    url: str
    branch: str
    path: str
    credential_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CephSection:
    """How this node reaches Ceph."""

    client: str
    conf: Path
    secret_uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """The whole file."""

    node: NodeSection
    cluster: ClusterSection
    zookeeper: ZookeeperSection
    lease: LeaseSection
    addresses: AddressesSection
    source: SourceSection
    ceph: CephSection


# A key whose type allows None may be left out; TOML has no null.
_OPTIONAL: typing.Final = type(None)


def load(path: Path) -> NodeConfig:
    """Read the file. Raises UsageError that names the file, the key and what to do."""
    try:
        with path.open("rb") as stream:
            return parse(tomllib.load(stream))
    except FileNotFoundError:
        raise UsageError(
            f"{path} is not there: this node has not been formed",
            hint="journalctl -u pvc-formation",
        ) from None
    except (OSError, ValueError) as err:
        raise UsageError(
            f"{path}: {err}",
            hint="formation writes this file: systemctl restart pvc-formation writes it anew",
        ) from err


def parse(document: dict[str, Any]) -> NodeConfig:
    """The parsed TOML as a value. Raises ValueError."""
    config = _section(NodeConfig, document, "")
    if not config.zookeeper.servers:
        raise ValueError("zookeeper.servers is empty")
    return config


def _section(cls: type[T], document: object, where: str) -> T:
    if not isinstance(document, dict):
        raise ValueError(f"{where or 'the file'} is not a table")
    hints = typing.get_type_hints(cls)
    fields = {field.name for field in dataclasses.fields(cast("Any", cls))}
    optional = {name for name in fields if _OPTIONAL in typing.get_args(hints[name])}
    unknown = sorted(document.keys() - fields)
    missing = sorted(fields - optional - document.keys())
    if unknown:
        raise ValueError(f"unknown key {where}{unknown[0]}")
    if missing:
        raise ValueError(f"missing key {where}{missing[0]}")
    return cls(
        **{
            name: _value(hints[name], document.get(name), f"{where}{name}")
            for name in sorted(fields)
        }
    )


def _value(of: Any, value: object, where: str) -> object:  # noqa: ANN401, PLR0911  a type expression
    if dataclasses.is_dataclass(of):
        return _section(cast("type[object]", of), value, f"{where}.")
    if value is None:
        return None
    if of is float and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    if isinstance(value, str) and value:
        if of is str:
            return value
        if of in (Path, Path | None):
            return Path(value)
        if typing.get_origin(of) is Literal and value in typing.get_args(of):
            return value
    is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if of == tuple[str, ...] and is_texts:
        return tuple(cast("list[str]", value))
    raise ValueError(f"{where} = {value!r} is not what belongs there")
