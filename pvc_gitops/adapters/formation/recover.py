"""Making a quorum of one coordinator when all others are gone for good: ZooKeeper and Ceph.

Every act may be repeated: an interrupted run is finished by the next one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.formation import agree, ceph, commands, files, store, systemd
from pvc_gitops.adapters.formation.zookeeper import OWNER, UNIT
from pvc_gitops.errors import PoolError, StoreUnavailable, UsageError
from pvc_gitops.formation.quorum import alone, member_file
from pvc_gitops.formation.record import FoundingRecord, RecordedMember
from pvc_gitops.formation.render import zookeeper as render
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import NodeName

WAIT_S: Final = 60.0
LOOK_S: Final = 0.5
KEPT: Final = "/var/lib/pvc/before-recovery"  # copies of what is rewritten
MONMAP: Final = "/var/lib/ceph/tmp/monmap"


def record() -> FoundingRecord:
    """Who founded. Raises UsageError on a node that is no coordinator."""
    text = files.read(agree.RECORD)
    if text is None:
        raise UsageError(
            "this node has no founding record", hint="run it on a coordinator that is left, as root"
        )
    return decode(FoundingRecord, json.loads(text))


def answering(members: Sequence[RecordedMember]) -> dict[NodeName, str]:
    """Members that show any sign of life, and which."""
    found: dict[NodeName, str] = {}
    for member in members:
        if store.mode_of(member.address) is not None:
            found[member.name] = f"its ZooKeeper serves at {member.address}"
        elif commands.succeeds("ping", "-n", "-q", "-c", "2", "-W", "1", member.address):
            found[member.name] = f"it answers at {member.address}"
    return found


def is_alone(me: RecordedMember, conf: str = render.CONF) -> bool:
    """Was this begun before? Then this server is its only member already."""
    config = files.read(f"{conf}/zoo.cfg")
    if config is None:
        return False
    members = Path(member_file(config.decode())).read_text(encoding="utf-8")
    return members == alone(members, me.id)


def zookeeper(me: RecordedMember, conf: str = render.CONF) -> None:
    """Make this server an ensemble of its own, with the data that it has. Raises WorldError."""
    config = files.read(f"{conf}/zoo.cfg")
    if config is None:
        raise UsageError(f"{conf}/zoo.cfg is not there", hint="run it on a coordinator")
    path = member_file(config.decode())
    members = Path(path).read_text(encoding="utf-8")
    if members == alone(members, me.id) and store.mode_of(me.address) is not None:
        return
    files.make_folder(KEPT, mode=0o700)
    files.write(f"{KEPT}/{Path(path).name}", members, mode=0o600)
    systemd.stop(UNIT)
    files.write(path, alone(members, me.id), owner=OWNER)
    systemd.start(UNIT)
    end_s = time.monotonic() + WAIT_S
    while store.mode_of(me.address) is None:
        if time.monotonic() > end_s:
            raise StoreUnavailable("recover", UNIT, f"it does not serve within {WAIT_S:.0f} s")
        time.sleep(LOOK_S)


def monitors(me: NodeName, dead: Sequence[NodeName]) -> str:
    """Make this node's monitor a quorum of its own; in words what was done. Raises WorldError."""
    try:
        with ceph.monitors() as there:
            return f"ceph has a quorum of {len(there.health().monitors)} monitors: left as it is"
    except PoolError:
        pass  # nobody answers: that is what this is for
    unit = f"ceph-mon@{me}.service"
    rights = ("--setuser", "ceph", "--setgroup", "ceph")
    files.make_folder("/var/lib/ceph/tmp", mode=0o750, owner="ceph:ceph")
    systemd.stop(unit)
    commands.run("ceph-mon", "-i", me, "--extract-monmap", MONMAP, *rights)
    kept = files.read(MONMAP)
    assert kept is not None
    files.make_folder(KEPT, mode=0o700)
    files.write(f"{KEPT}/monmap", kept, mode=0o600)
    known = commands.run("monmaptool", "--print", MONMAP)
    gone = [name for name in dead if f"mon.{name}\n" in known]
    for name in gone:
        commands.run("monmaptool", "--rm", name, MONMAP)
    files.give_all("/var/lib/ceph/tmp", "ceph:ceph")
    commands.run("ceph-mon", "-i", me, "--inject-monmap", MONMAP, *rights)
    systemd.start(unit)
    end_s = time.monotonic() + WAIT_S
    while True:
        try:
            with ceph.monitors() as there:
                count = len(there.health().monitors)
                return f"ceph has a quorum of {count} monitor, without {', '.join(gone)}"
        except PoolError as err:
            if time.monotonic() > end_s:
                raise PoolError("recover", unit, err.reason, retryable=True) from err
            time.sleep(LOOK_S)
