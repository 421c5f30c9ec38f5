"""Ceph's monitors by librados: one connection, commands as JSON. The `ceph` program would start a
Python of 0.5 s for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import rados

from pvc_gitops.errors import PoolError

LIMIT_S: Final = 10  # without a quorum librados would wait for ever
CONF: Final = "/etc/ceph/ceph.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What `ceph status` says, as far as formation waits for it."""

    status: str
    checks: tuple[str, ...]
    monitors: tuple[str, ...]  # in quorum
    osds_up: int


class Monitors:
    """A connection; what it may ask depends on the client that made it."""

    def __init__(self, cluster: Any) -> None:  # noqa: ANN401  librados has no types
        self._cluster = cluster

    def health(self) -> Health:
        raw = self._ask("status")
        checks = raw["health"]["checks"]
        return Health(
            status=raw["health"]["status"],
            checks=tuple(check["summary"]["message"] for _, check in sorted(checks.items())),
            monitors=tuple(raw["quorum_names"]),
            osds_up=raw["osdmap"]["num_up_osds"],
        )

    def require_clone_v2(self) -> None:
        """Clones of unprotected snapshots need mimic; without it they refuse (DESIGN section 10)."""
        self._ask("osd set-require-min-compat-client", version="mimic")

    def remove(self, name: str) -> None:
        """Take a monitor out of the map. No error if it is not in it."""
        known = {each["name"] for each in self._ask("mon dump")["mons"]}
        if name in known:
            self._ask("mon rm", name=name)

    def map(self) -> bytes:
        """The monitors as they are now, as `ceph-mon --mkfs` reads it."""
        return self._answer("mon getmap", "", {})

    def manager_key(self, name: str) -> str:
        """The key of a manager, made if it is new."""
        caps = ["mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"]
        (entry,) = self._ask("auth get-or-create", entity=f"mgr.{name}", caps=caps)
        return str(entry["key"])

    def bootstrap_key(self) -> str:
        """The key with which ceph-volume makes OSDs."""
        caps = ["mon", "allow profile bootstrap-osd"]
        (entry,) = self._ask("auth get-or-create", entity="client.bootstrap-osd", caps=caps)
        return str(entry["key"])

    def forget_osd(self, uuid: str) -> bool:
        """Take the OSD with this uuid, if there is one, out of the maps; False while it is up."""
        for each in self._ask("osd dump")["osds"]:
            if each["uuid"] == uuid:
                if each["up"]:
                    return False
                self._ask("osd purge-actual", id=each["osd"], yes_i_really_mean_it=True)
        return True

    def new_osd(self, uuid: str, key: str) -> int:
        """The number of the OSD with this uuid: a new one, or the one it has from an earlier call."""
        answer = self._ask("osd new", json.dumps({"cephx_secret": key}), uuid=uuid)
        return int(answer["osdid"])

    def _ask(self, prefix: str, stdin: str = "", **arguments: Any) -> Any:  # noqa: ANN401  JSON
        output = self._answer(prefix, stdin, {"format": "json", **arguments})
        return json.loads(output) if output.strip() else None

    def _answer(self, prefix: str, stdin: str, arguments: Mapping[str, Any]) -> bytes:
        command = json.dumps({"prefix": prefix, **arguments})
        try:
            status, output, words = self._cluster.mon_command(
                command, stdin.encode(), timeout=LIMIT_S
            )
        except rados.Error as err:
            raise PoolError(prefix, "monitors", str(err), retryable=True) from err
        if status != 0:
            raise PoolError(prefix, "monitors", words or f"error {status}", retryable=True)
        return bytes(output)


@contextmanager
def monitors(client: str = "client.admin") -> Iterator[Monitors]:
    """Connect. Raises PoolError while there is no quorum."""
    cluster = rados.Rados(
        conffile=CONF,
        name=client,
        conf={"client_mount_timeout": str(LIMIT_S), "rados_mon_op_timeout": str(LIMIT_S)},
    )
    try:
        cluster.connect(timeout=LIMIT_S)
        yield Monitors(cluster)
    except rados.Error as err:
        raise PoolError("connect", "monitors", str(err), retryable=True) from err
    finally:
        cluster.shutdown()
