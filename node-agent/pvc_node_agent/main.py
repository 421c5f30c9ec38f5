"""The processes of a node: argv, signals, loops. Decisions are the controllers'."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from pvc_gitops.adapters.socket import AgentSocket
from pvc_gitops.adapters.system import notify
from pvc_gitops.controllers import agent as agent_controller
from pvc_gitops.controllers import ha as ha_controller
from pvc_gitops.controllers import plan as plan_controller
from pvc_gitops.controllers.agent import AgentMemory
from pvc_gitops.controllers.ha import HaMemory
from pvc_gitops.controllers.loop import Round, play
from pvc_gitops.controllers.plan import PlannerMemory
from pvc_gitops.controllers.serve import Desk
from pvc_gitops.errors import UsageError, WorldError
from pvc_gitops.world import names
from pvc_gitops.world.ports import World
from pvc_node_agent.config import load
from pvc_node_agent.wiring import Wake, store_of, world_of

AGENT_REST_MAX_S: Final = 0.5
CANDIDATE_REST_MAX_S: Final = 1.0
BUSY_REST_MAX_S: Final = 0.1  # while somebody waits at the socket, above all for `follow`
REST_MIN_S: Final = 0.02  # so that a flood of news costs ticks, and not a core

_Memory = TypeVar("_Memory", PlannerMemory, HaMemory)


@dataclass(slots=True)
class Stop:
    """Whether the service manager wants this process to end."""

    is_asked: bool = False

    def listen(self) -> None:
        def ask(_signal: int, _frame: object) -> None:
            # Seen after the rest, within a second. Waking here could meet the lock that the
            # interrupted rest is holding.
            self.is_asked = True

        signal.signal(signal.SIGTERM, ask)
        signal.signal(signal.SIGINT, ask)


def agent() -> None:
    """pvc-node-agent."""
    _process(_agent)


def planner() -> None:
    """pvc-planner."""
    _process(_planner)


def ha() -> None:
    """pvc-ha."""
    _process(_ha)


def _process(play_it: Callable[[World, Wake, Stop], None]) -> None:
    wake, stop = Wake(), Stop()
    stop.listen()
    try:
        config = load(Path(names.NODE_CONFIG))
        store = store_of(config, wake)
        world = world_of(config, store, wake)
    except UsageError as err:
        sys.exit(f"{err.message}; {err.hint}")
    except (WorldError, OSError) as err:
        sys.exit(f"this node is not as formation leaves it: {err}; systemctl restart pvc-formation")
    play_it(world, wake, stop)
    store.close()  # candidacies are gone at once, and the next leader need not wait


def _agent(world: World, wake: Wake, stop: Stop) -> None:
    socket = AgentSocket(Path(names.AGENT_SOCKET), wake.asked, group=names.OPERATORS_GROUP)
    desk = Desk(world)

    def tick(world: World, memory: AgentMemory) -> AgentMemory:
        for ask in socket.take():
            desk.ask(ask)
        return desk.step(agent_controller.tick(world, desk.step(memory)))

    before = Round(memory=AgentMemory(), failures=0, pause_s=0.0)
    notify("READY=1")
    while not stop.is_asked:
        before = play(world, before, tick, lambda memory: memory.due_at_s)
        _exit_if_hopeless(before)
        notify("WATCHDOG=1")
        limit_s = BUSY_REST_MAX_S if desk.is_busy else AGENT_REST_MAX_S
        if wake.rest(max(REST_MIN_S, min(limit_s, before.pause_s))):
            before = replace(before, memory=replace(before.memory, is_woken=True))
    socket.close()


def _planner(world: World, wake: Wake, stop: Stop) -> None:
    _candidate(world, wake, stop, plan_controller.tick, PlannerMemory())


def _ha(world: World, wake: Wake, stop: Stop) -> None:
    _candidate(world, wake, stop, ha_controller.tick, HaMemory())


def _candidate(
    world: World, wake: Wake, stop: Stop, tick: Callable[[World, _Memory], _Memory], empty: _Memory
) -> None:
    """A process that stands for election, and acts while it leads."""
    before = Round(memory=empty, failures=0, pause_s=0.0)
    notify("READY=1")
    while not stop.is_asked:
        before = play(world, before, tick, lambda memory: memory.due_at_s)
        _exit_if_hopeless(before)
        notify("WATCHDOG=1")
        if wake.rest(max(REST_MIN_S, min(CANDIDATE_REST_MAX_S, before.pause_s))):
            before = replace(before, memory=replace(before.memory, is_woken=True))


def _exit_if_hopeless(
    after: Round[AgentMemory] | Round[PlannerMemory] | Round[HaMemory],
) -> None:
    if after.must_exit:
        sys.exit(
            f"{after.failures} ticks in a row failed; a new process begins with an empty memory"
        )
