"""`pvc-leave`: a machine that goes down in order empties itself first, and is filled again afterwards.

Two units call it at shutdown, in turn: `pvc-leave down` while all else still runs, so that guests
move to other nodes; `pvc-leave stop` when the agent has ended, so that who stayed is asked to power
off and nobody starts it again. `pvc-leave up`, at the next boot, takes the first back.

A unit that a person stops on a machine that goes on does nothing: only systemd's own shutdown counts.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.client import Client, connect
from pvc_gitops.adapters.libvirt.hypervisor import LibvirtHypervisor
from pvc_gitops.adapters.libvirt.kvm import acceleration
from pvc_gitops.adapters.libvirt.xml import CephAccess
from pvc_gitops.errors import UsageError, WorldError
from pvc_gitops.ha.migration import ASK_AGAIN_S
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.intents import IntentId, IntentKind
from pvc_gitops.model.moves import DrainState
from pvc_gitops.world import names
from pvc_node_agent.config import NodeConfig, load

NOTE: Final = Path("/var/lib/pvc/left")  # the intent that is to be ended at the next boot
REASON: Final = "its machine goes down"
BACK_S: Final = 3600  # it ends by itself, should the machine never say that it is back
MOVE_LIMIT_S: Final = 180.0
TAKEN_UP_S: Final = 20.0  # nobody carries it out: the guests power off instead
STUCK_S: Final = 5.0
STOP_LIMIT_S: Final = 90.0
BACK_LIMIT_S: Final = 120.0
LOOK_S: Final = 0.5


def main() -> None:
    """By the first word."""
    match sys.argv[1:]:
        case ["down"]:
            _if_going_down(_move)
        case ["stop"]:
            _if_going_down(_stop)
        case ["up"]:
            _take_back()
        case _:
            sys.exit("usage: pvc-leave down | stop | up")


def _if_going_down(work: Callable[[NodeConfig], None]) -> None:
    said = subprocess.run(
        ["/usr/bin/systemctl", "is-system-running"], capture_output=True, text=True, check=False
    )
    if said.stdout.strip() == "stopping":
        work(load(Path(names.NODE_CONFIG)))


def _move(config: NodeConfig) -> None:
    """Drain this node, and wait as long as somebody still leaves. A machine goes down all the same."""
    name = NodeName(config.node.name)
    try:
        client = connect(f"unix://{names.AGENT_SOCKET}", Path("/"))
        made = client.wish(IntentKind.MAINTENANCE, f"node/{name}", reason=REASON, for_s=BACK_S)
    except UsageError as error:
        print(f"guests are not moved: {error.message}", flush=True)
        return
    NOTE.write_text(made.id, encoding="ascii")
    try:
        print(_waited(client, name, made.id), flush=True)
    except UsageError as error:
        print(f"the cluster does not answer any more: {error.message}", flush=True)
    finally:
        client.close()


def _waited(client: Client, name: NodeName, intent: IntentId) -> str:
    begun_s = moved_s = time.monotonic()
    before: DrainState | None = None
    while True:
        now_s = time.monotonic()
        state = client.status().moves.drains.get(name)
        if state is not None and state.intent != intent:
            return "somebody drains this node already"
        if state is None:
            if now_s > begun_s + TAKEN_UP_S:
                return "nobody moves the guests: no pvc-ha leads"
        elif state.is_done:
            return f"empty after {now_s - begun_s:.0f} s"
        else:
            if state != before:
                moved_s, before = now_s, state
            is_stuck = not state.moving and set(state.left) <= state.staying.keys()
            if (is_stuck and now_s > moved_s + STUCK_S) or now_s > begun_s + MOVE_LIMIT_S:
                return f"these stay and power off: {', '.join(state.left)}"
        time.sleep(LOOK_S)


def _stop(config: NodeConfig) -> None:
    """Ask whoever is left to power off, and wait; systemd ends the rest."""
    hypervisor = LibvirtHypervisor(
        access=CephAccess(
            user=config.ceph.client, secret_uuid=config.ceph.secret_uuid, conf=str(config.ceph.conf)
        ),
        acceleration=acceleration(),
    )
    end_s = time.monotonic() + STOP_LIMIT_S
    asked_s: dict[str, float] = {}
    try:
        while time.monotonic() < end_s:
            left = {name for name, facts in hypervisor.domains().items() if facts.domain}
            if not left:
                return
            now_s = time.monotonic()
            for name in sorted(left):
                if now_s >= asked_s.get(name, -ASK_AGAIN_S) + ASK_AGAIN_S:
                    hypervisor.shutdown(name)
                    asked_s[name] = now_s
                    print(f"{name} is asked to power off", flush=True)
            time.sleep(LOOK_S)
    except WorldError as error:
        print(f"guests cannot be asked: {error}", flush=True)


def _take_back() -> None:
    """The machine is back: whoever left for its sake returns."""
    if not NOTE.exists():
        return
    intent, end_s = (
        IntentId(NOTE.read_text(encoding="ascii").strip()),
        time.monotonic() + BACK_LIMIT_S,
    )
    while True:
        try:
            client = connect(f"unix://{names.AGENT_SOCKET}", Path("/"))
            client.end_intent(intent, reason="its machine is back")
        except UsageError as error:
            if "there is no intent" in error.message:
                break
            if time.monotonic() > end_s:
                sys.exit(f"{intent} ends by itself; {error.message}")
            time.sleep(LOOK_S)
        else:
            client.close()
            break
    NOTE.unlink()
