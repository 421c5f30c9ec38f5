"""`pvc node recover-quorum`: most coordinators are gone for good. On the last one, as root."""

from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pvc_gitops.errors import UsageError, WorldError

if TYPE_CHECKING:
    from pvc_gitops.controllers.lost_members import Evidence
    from pvc_gitops.formation.record import RecordedMember
    from pvc_gitops.model.ids import NodeName
    from pvc_gitops.model.spec import Bmc

HA: Final = "pvc-ha.service"
CONNECT_S: Final = 30.0
BEGIN_S: Final = 3.0  # a BMC is given its order within that, or not at all
ASKED_MAX: Final = 3  # a BMC that is busy refuses a session now and then
_BRANCH: Final = "refs/remotes/source"


@click.command("recover-quorum")
@click.option("--dead", multiple=True, metavar="NODE", help="A coordinator that is gone for good.")
@click.option(
    "--seen-dead",
    multiple=True,
    metavar="NODE",
    help="You have seen yourself that it has no power; for one whose BMC proves nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def recover_quorum(dead: tuple[str, ...], seen_dead: tuple[str, ...], *, yes: bool) -> None:
    """Make a quorum of this coordinator alone, when all others are gone for good.

    For the worst night: most coordinators are lost with their disks, nothing can be decided any more, and
    no repair brings one of them back. Runs on the coordinator that is left, as root. What only the
    lost ones knew is lost. All others are named with --dead; each must be silent, and its BMC must
    read OFF, or you say with --seen-dead that you have seen it.

    The lost ones must never start again with their old disks: together they would be the old quorum,
    beside this one. Installed anew from their seeds they are let in again.
    """
    from pvc_gitops.adapters.formation import recover, store, systemd
    from pvc_gitops.formation.quorum import the_dead
    from pvc_gitops.model.ids import NodeName

    if os.geteuid() != 0:
        raise UsageError("only root may do this", hint="sudo pvc node recover-quorum …")
    config = _config()
    record = recover.record()
    name = NodeName(config["node"]["name"])
    others = the_dead(record.members, name, set(dead))
    me = next(member for member in record.members if member.name == name)
    if store.mode_of(me.address) is not None and not recover.is_alone(me):
        raise UsageError(
            "ZooKeeper has a quorum: there is nothing to recover",
            hint="pvc status; a coordinator that was lost comes back when it is installed anew",
        )
    if alive := recover.answering(others):
        raise UsageError(
            "; ".join(f"{each} is not dead: {why}" for each, why in sorted(alive.items())),
            hint="repair it: with its disk nothing is lost. Else cut its power",
        )
    found = {member.name: _proof(member, config, seen_dead) for member in others}
    for member in others:
        click.echo(f"{member.name}: {found[member.name].text}")
    if not yes:
        names = ", ".join(member.name for member in others)
        click.echo(f"{names} must never start again with their disks as they are.")
        click.confirm(f"Make {name} on {socket.gethostname()} the only member?", abort=True)
    # It would fence the others, and every fence of a coordinator ends with its power on.
    systemd.stop(HA)
    recover.zookeeper(me)
    formation = _declare(me, config, found)
    click.echo(f"ZooKeeper: {name} is the only member, formation {formation}")
    click.echo(recover.monitors(name, [member.name for member in others]))
    systemd.start(HA)


def _declare(
    me: RecordedMember,
    config: dict[str, dict[str, str]],
    found: dict[NodeName, Evidence],
) -> int:
    import time

    from pvc_gitops.adapters.zk import ZooKeeperStore
    from pvc_gitops.controllers.lost_members import declare
    from pvc_gitops.errors import StoreUnavailable
    from pvc_gitops.formation.render.zookeeper import CLIENT_PORT

    password = Path(config["zookeeper"]["password_file"]).read_text(encoding="utf-8").strip()
    server = f"{me.address}:{CLIENT_PORT}"
    store = ZooKeeperStore(
        [server], user=config["zookeeper"]["user"], password=password, wake=lambda: None
    )
    try:
        if not store.wait(CONNECT_S):
            raise StoreUnavailable("connect", server, f"no answer within {CONNECT_S:.0f} s")
        return int(declare(store, me.name, found, int(time.time())).formation)
    finally:
        store.close()


def _config() -> dict[str, dict[str, str]]:
    from pvc_gitops.world.names import NODE_CONFIG

    try:
        return tomllib.loads(Path(NODE_CONFIG).read_text(encoding="utf-8"))
    except OSError as err:
        raise UsageError(f"{NODE_CONFIG}: {err.strerror}", hint="run it on a coordinator") from err


def _proof(
    member: RecordedMember, config: dict[str, dict[str, str]], seen_dead: tuple[str, ...]
) -> Evidence:
    """How its death is known. Raises UsageError where it is not."""
    from pvc_gitops.controllers.lost_members import Evidence
    from pvc_gitops.model.ha import ProofKind

    try:
        return Evidence(kind=ProofKind.BMC, text=_by_bmc(member, config))
    except WorldError as error:
        if member.name in seen_dead:
            text = f"root has seen that it has no power; its BMC: {error.reason}"
            return Evidence(kind=ProofKind.WORD, text=text)
        raise UsageError(
            f"nothing proves that {member.name} has no power: {error.reason}",
            hint=f"look at it, cut its power, and say --seen-dead {member.name}",
        ) from error


def _by_bmc(member: RecordedMember, config: dict[str, dict[str, str]]) -> str:
    """Raises WorldError where the BMC proves nothing."""
    from pvc_gitops.adapters.fence import FenceAgents
    from pvc_gitops.adapters.system import SystemClock
    from pvc_gitops.errors import BmcError
    from pvc_gitops.world.names import BMC_PASSWORDS

    machines, bmc = FenceAgents(Path(BMC_PASSWORDS)), _bmc(member, config)
    if hindrance := machines.hindrance(member.name, bmc):
        raise BmcError("prove the death of", member.name, hindrance, retryable=False)
    for asked in range(1, ASKED_MAX + 1):
        try:
            found = machines.guid(member.name, bmc)
            break
        except BmcError:
            if asked == ASKED_MAX:
                raise
    wanted = machines.expected(member.name, bmc)
    if found != wanted:
        why = f"its BMC is {found}, not {wanted}: another machine's"
        raise BmcError("prove the death of", member.name, why, retryable=False)
    machines.switch_off(member.name, bmc, by_s=SystemClock().monotonic_s() + BEGIN_S)
    return "its BMC took our OFF and read OFF twice"


def _bmc(member: RecordedMember, config: dict[str, dict[str, str]]) -> Bmc | None:
    """By the branch's tip as this node last fetched it: git and the store may both be away."""
    from pvc_gitops.adapters.git.tree import scan_commit
    from pvc_gitops.spec.load import load
    from pvc_gitops.world.names import MIRROR

    source = config["source"]
    commit, files, _ = scan_commit(
        Path(MIRROR), f"{_BRANCH}/{source['branch']}", folder=source["path"]
    )
    node = load(files, commit=commit).nodes.get(member.name)
    return None if node is None else node.bmc
