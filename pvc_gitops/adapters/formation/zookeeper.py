"""ZooKeeper's line: prepared once, started, in quorum, first records written.

`initialize` lets a server with an empty disk vote, once. It is written before the mark and the server is
started after it, so no interruption makes a second one. A disk that is lost later does not vote: without
that file a server with an empty disk takes part only when a quorum of the others has filled it (tried).
So a coordinator that comes back with a new disk gets none. Where the ensemble was made anew without it
(`pvc node recover-quorum`), it follows and is then given a vote by `reconfig`, one server at a time.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.adapters.formation import files, store, systemd
from pvc_gitops.adapters.formation.agree import RETURNING, founding_store
from pvc_gitops.adapters.formation.context import Founding
from pvc_gitops.errors import StoreUnavailable
from pvc_gitops.formation.first_records import first_records
from pvc_gitops.formation.layout import Member
from pvc_gitops.formation.render import zookeeper as render

OWNER: Final = "zookeeper:zookeeper"
UNIT: Final = "zookeeper.service"
PREPARED: Final = "zookeeper-prepared"
ASK_EVERY_S: Final = 1.0


def line(founding: Founding) -> None:
    """From nothing to the founding's records in a quorum."""
    founding.journal.begin("zookeeper")
    _prepare(founding)
    systemd.enable(UNIT)
    systemd.start(UNIT)
    founding.wait("zookeeper", lambda: _quorum_missing(founding))
    if founding.progress.has(RETURNING):
        founding.wait("zookeeper", lambda: _vote_missing(founding))
    founding.journal.end("zookeeper", f"zookeeper quorum {_in_quorum(founding)}")
    founding.journal.begin("records")
    founding.wait("records", lambda: _records_missing(founding))
    founding.journal.end("records", "first records in the store")


def _prepare(founding: Founding) -> None:
    files.write(render.JAAS, render.jaas(founding.secrets), mode=0o640, owner="root:zookeeper")
    if files.write(f"{systemd.UNITS}/{UNIT}", render.UNIT):
        systemd.reload_units()
    if founding.progress.has(PREPARED):
        return
    mine = founding.layout.my_member
    assert mine is not None  # the line runs on coordinators only
    files.make_empty_folder(render.DATA, mode=0o750, owner=OWNER)
    files.make_folder(f"{render.DATA}/version-2", mode=0o750, owner=OWNER)
    # `reconfig` rewrites zoo.cfg and writes beside it: both the file and its folder are ZooKeeper's own.
    files.make_folder(render.CONF, mode=0o750, owner=OWNER)
    members = render.members(founding.layout.members)
    if founding.progress.has(RETURNING):
        members = founding.wait_for(
            "zookeeper", lambda: _ensemble_and(mine, founding), lambda: "the store", ASK_EVERY_S
        )
    files.write(f"{render.CONF}/zoo.cfg", render.ZOO_CFG, owner=OWNER)
    files.write(f"{render.CONF}/zoo.cfg.dynamic", members, owner=OWNER)
    files.write(f"{render.DATA}/myid", f"{mine.id}\n", owner=OWNER)
    if not founding.progress.has(RETURNING):
        files.write(f"{render.DATA}/initialize", "", owner=OWNER)
    founding.progress.mark(PREPARED)


def _ensemble_and(mine: Member, founding: Founding) -> str | None:
    """The ensemble as it is now, and this server: after a recovered quorum it is not the founding's."""
    try:
        config = founding_store(founding).config()
    except StoreUnavailable:
        return None
    lines = [each for each in config.splitlines() if each.startswith("server.")]
    others = [each for each in lines if not each.startswith(f"server.{mine.id}=")]
    return "".join(f"{each}\n" for each in others) + render.members([mine])


def _vote_missing(founding: Founding) -> str | None:
    """A server whose disk was lost follows first. One that is no member any more is made one then."""
    mine, ensemble = founding.layout.my_member, founding_store(founding)
    assert mine is not None
    try:
        if ensemble.servers().get(mine.id) == mine.cluster:
            return None
        ensemble.join(render.members([mine]).strip(), founding.secrets.zookeeper_super)
    except StoreUnavailable as err:
        return f"a vote ({err.reason})"
    return "a vote"


def _modes(founding: Founding) -> dict[str, str | None]:
    return {member.name: store.mode_of(member.cluster) for member in founding.layout.members}


def _in_quorum(founding: Founding) -> str:
    modes = _modes(founding)
    return f"{sum(mode is not None for mode in modes.values())}/{len(modes)}"


def _quorum_missing(founding: Founding) -> str | None:
    mine = founding.layout.me.addresses["cluster"]
    if store.mode_of(mine) is not None:
        return None
    return f"zookeeper quorum ({_in_quorum(founding)} serve)"


def _records_missing(founding: Founding) -> str | None:
    ensemble = founding_store(founding)
    try:
        if ensemble.formation() is not None:
            return None
        if not founding.is_first:
            return f"{founding.layout.members[0].name} to write the first records"
        ensemble.found(
            first_records(
                founding.spec,
                accepted=founding.accepted,
                cluster_id=founding.secrets.cluster_id,
                formation=founding.record.formation,
            ),
            founding.secrets.zookeeper_super,
        )
    except StoreUnavailable as err:
        return f"the store ({err.reason})"
    return None
