"""An operator at the socket of a simulated node: asks what a person would ask, as root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pvc_gitops.controllers.answers import Poke, Refusal, Value
from pvc_gitops.controllers.intents import TERMS
from pvc_gitops.controllers.serve import answer
from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.codec import decode
from pvc_gitops.model.control import Quarantine, Withheld
from pvc_gitops.model.ids import Address
from pvc_gitops.model.intents import CLUSTER, Intent, IntentKind
from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.records import Applied, Target
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.node import SimNode
from pvc_gitops.sim.process import Killed
from pvc_gitops.world.protocol import Question

STEP_S: Final = 0.1
LIMIT_S: Final = 120.0


def ask(cluster: SimCluster, op: str, **args: object) -> Any:  # noqa: ANN401  as the operation says
    """Ask the first coordinator that reaches the store.

    Raises UsageError with the refusal, or where the agent dies over it: it may have come about.
    """
    nodes = [n for n in cluster.nodes.values() if n.is_coordinator and _answers(cluster, n)]
    if not nodes:
        raise UsageError("no coordinator answers", hint="power on a majority first")
    node = nodes[0]
    try:
        return _asked(cluster, node, op, args)
    except Killed:
        node.agent.die()
        raise UsageError(f"the agent of {node.name} died over it", hint="ask again") from None


def _asked(cluster: SimCluster, node: SimNode, op: str, args: Mapping[str, object]) -> Any:  # noqa: ANN401
    kernel = cluster.kernel
    world = cluster.world_of(node, node.agent)
    question = Question(id=1, op=op, args=dict(args))
    until_s = kernel.now_s + LIMIT_S
    for said in answer(question, world, lambda: node.agent.memory):
        match said:
            case Value():
                return said.value
            case Refusal():
                raise UsageError(said.message, hint=said.hint)
            case Poke():
                _poke(node, at_storage=said.at_storage, now_s=world.clock.monotonic_s())
            case None:
                kernel.run_until(kernel.now_s + STEP_S)
        if kernel.now_s > until_s:
            break
    raise UsageError(f"{op} was not answered in {LIMIT_S:.0f} s")


WISHES: Final = frozenset(
    {"freeze", "halt", "approve", "retry", "rollback", "release"}
    | {"drain", "undrain", "hold", "maintenance", "run"}
)
REASON: Final = "as the script says"
# Intents of scripts do not end by themselves; these kinds need an end, and take this at most.
_ENDS_S: Final = {
    IntentKind.HOLD: TERMS[IntentKind.HOLD].max_s,
    IntentKind.MAINTENANCE: TERMS[IntentKind.HOLD].max_s,  # of the cluster
    IntentKind.POWER: TERMS[IntentKind.POWER].max_s,
}


def wish(cluster: SimCluster, verb: str, args: Sequence[str]) -> None:
    """Play one of WISHES. Raises UsageError with the refusal, as an operator would read it."""
    match verb, args:
        case (("freeze" | "halt" | "hold" | "maintenance"), [("on" | "off") as state]):
            _switch(cluster, IntentKind(verb), CLUSTER, on=state == "on")
        case "drain", [node]:
            _switch(cluster, IntentKind.DRAIN, f"node/{node}", on=True)
        case "undrain", [node]:
            _switch(cluster, IntentKind.DRAIN, f"node/{node}", on=False)
        case "run", [vm, ("start" | "stop") as power]:
            _power(cluster, f"vm/{vm}", power)
        case "run", [vm, "migrate", node]:
            _move(cluster, f"vm/{vm}", node, MoveMethod.LIVE)
        case "run", [vm, "relocate", node]:
            _move(cluster, f"vm/{vm}", node, MoveMethod.SHUTDOWN)
        case "approve", _:
            held = _record(cluster, paths.WITHHELD, Withheld)
            effect = "" if held is None else held.effect
            ask(cluster, "intent", kind=verb, subject=effect)
        case "retry", _:
            target = _record(cluster, paths.TARGET, Target)
            ask(cluster, "intent", kind=verb, subject="" if target is None else target.commit)
        case "rollback", _:
            shown = ask(cluster, "rollback")
            ask(cluster, "rollback", commit=shown.commit, effect=shown.plan.effect)
        case "release", _:
            aside = _record(cluster, paths.QUARANTINED, Quarantine)
            for each in () if aside is None else aside.commits:
                ask(cluster, "release", commit=each.commit, reason=REASON)


def _switch(cluster: SimCluster, kind: IntentKind, subject: str, *, on: bool) -> None:
    """An intent about something stands, or none does."""
    before = _standing(cluster, kind, subject)
    if on and not before:
        for_s = _ENDS_S.get(kind)
        ask(cluster, "intent", kind=kind.value, subject=subject, reason=REASON, for_s=for_s)
    for intent in () if on else before:
        ask(cluster, "end-intent", id=intent.id, reason=REASON)


def _power(cluster: SimCluster, subject: str, power: str) -> None:
    """As `pvc vm start` and `pvc vm stop`: starting what git wants running ends who stopped it."""
    before = _standing(cluster, IntentKind.POWER, subject)
    record = _record(cluster, paths.applied(Address(subject)), Applied)
    is_declared_so = record is not None and record.spec["run_state"] == "running"
    if power == "stop" or not is_declared_so:
        for_s = _ENDS_S[IntentKind.POWER]
        data = {"power": power}
        ask(cluster, "intent", kind="power", subject=subject, data=data, for_s=for_s)
    for intent in before:
        ask(cluster, "end-intent", id=intent.id, reason=REASON)


def _move(cluster: SimCluster, subject: str, node: str, method: MoveMethod) -> None:
    """As `pvc vm migrate`: a new wish takes the place of the old one."""
    for intent in _standing(cluster, IntentKind.MIGRATE, subject):
        ask(cluster, "end-intent", id=intent.id, reason=REASON)
    data = {"node": node, "method": method.value}
    ask(cluster, "intent", kind="migrate", subject=subject, reason=REASON, data=data)


def _standing(cluster: SimCluster, kind: IntentKind, subject: str) -> list[Intent]:
    return [i for i in ask(cluster, "intents") if i.kind is kind and i.subject == subject]


def _answers(cluster: SimCluster, node: SimNode) -> bool:
    return node.agent.is_up and not node.agent.is_paused and cluster.reaches_store(node.name)


def _poke(node: SimNode, *, at_storage: bool, now_s: float) -> None:
    changes: Mapping[str, object] = (
        {"storage_wanted_s": now_s, "is_woken": True} if at_storage else {"is_poked": True}
    )
    node.agent.poke(**changes)


def _record(cluster: SimCluster, path: str, cls: type[Any]) -> Any:  # noqa: ANN401  of that class
    stamped = cluster.tree.records.get(path)
    return None if stamped is None else decode(cls, stamped.value)
