"""What an agent answers on its socket (world/protocol.py). The socket moves lines; this decides.

A question is a generator that is stepped once a tick: it yields what can be said now and `None` when
it has to wait. So `follow` never blocks, and only the deciding thread touches what agents remember.

    desk = Desk(world)
    for ask in socket.take(): desk.ask(ask)
    memory = desk.step(memory); memory = agent.tick(world, memory); memory = desk.step(memory)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol

from pvc_gitops.controllers import (
    archive,
    serve_control,
    serve_fencing,
    serve_previews,
    serve_source,
    slices,
)
from pvc_gitops.controllers.agent import AgentMemory
from pvc_gitops.controllers.answers import (
    Event,
    Poke,
    Recall,
    Refusal,
    Said,
    Value,
    storage_of,
)
from pvc_gitops.controllers.follow import follow
from pvc_gitops.controllers.gathering import gathered, watched
from pvc_gitops.controllers.operators import is_operator
from pvc_gitops.controllers.records import read, write
from pvc_gitops.controllers.status import status
from pvc_gitops.controllers.view import cluster
from pvc_gitops.errors import PvcError, StoreError, WorldError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, PlanId, VmName
from pvc_gitops.model.ledger import Entry
from pvc_gitops.model.records import (
    Applied,
    Asked,
    Claim,
    Formation,
    PlacementRecord,
    StepResult,
    Target,
)
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.planner import PLANNER_VERSION
from pvc_gitops.world.ports import World
from pvc_gitops.world.protocol import AppliedFacts, Hello, Question

# ZooKeeper is silent for 3 s when its leader's machine dies, and a session needs a moment more.
PATIENCE_S: Final = 10.0
LOOK_TIMEOUT_S: Final = 60.0  # a fetch is killed before that
CONVERSATIONS_MAX: Final = 64
EVENTS_A_STEP: Final = 500  # of one question: what more there is has its turn at the next tick
LATE_S: Final = 3600  # a step that ended while no planner led is written down later


class Asking(Protocol):
    """A question in our hands, to be answered by any number of events and one value or error."""

    @property
    def question(self) -> Question: ...

    @property
    def is_gone(self) -> bool: ...

    def value(self, value: object) -> None: ...

    def error(self, code: str, message: str, hint: str = "") -> None: ...

    def event(self, event: object) -> None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Talk:
    asking: Asking
    says: Iterator[Said]


@dataclass(slots=True)
class Desk:
    """All open questions of one agent."""

    world: World
    _talks: list[_Talk] = field(default_factory=list)
    _memory: AgentMemory = field(default_factory=AgentMemory)

    @property
    def is_busy(self) -> bool:
        """Does somebody wait? The loop then comes back soon."""
        return bool(self._talks)

    def ask(self, asking: Asking) -> None:
        """Take a question. It is answered by `step`."""
        if len(self._talks) >= CONVERSATIONS_MAX:
            asking.error("busy", f"{CONVERSATIONS_MAX} questions are open already", "try again")
            return
        says = answer(asking.question, self.world, lambda: self._memory)
        self._talks.append(_Talk(asking=asking, says=says))

    def step(self, memory: AgentMemory) -> AgentMemory:
        """Say all that can be said now; returns the memory, poked if somebody asked for it."""
        self._memory = memory
        for talk in tuple(self._talks):
            if not self._goes_on(talk):
                self._talks.remove(talk)
        return self._memory

    def _poked(self, poke: Poke) -> AgentMemory:
        if not poke.at_storage:
            return replace(self._memory, is_poked=True, due_at_s=0.0)
        now_s = self.world.clock.monotonic_s()
        return replace(self._memory, storage_wanted_s=now_s, is_woken=True, due_at_s=0.0)

    def _goes_on(self, talk: _Talk) -> bool:
        if talk.asking.is_gone:
            return False
        for told, said in enumerate(talk.says, start=1):
            match said:
                case None:
                    return True
                case Poke():
                    self._memory = self._poked(said)
                case Event():
                    talk.asking.event(said.event)
                    if told >= EVENTS_A_STEP:
                        return True  # a reader that keeps up is not flooded
                case Value():
                    talk.asking.value(said.value)
                    return False
                case Refusal():
                    talk.asking.error(said.code, said.message, said.hint)
                    return False
        # What it raised ended the tick before, which the loop has survived and written down.
        hint = "journalctl -u pvc-node-agent on that node says why"
        talk.asking.error("broken", "this agent failed to answer that", hint)
        return False


def answer(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Everything to be said to one question, ending in a Value or a Refusal."""
    handler = _HANDLERS.get(question.op)
    if handler is None:
        yield Refusal(
            code="unknown-operation",
            message=f"this agent does not know {question.op!r}",
            hint=f"it knows {', '.join(sorted(_HANDLERS))}",
        )
        return
    silent_s: float | None = None  # since when the store gives no answer
    try:
        while True:
            try:
                for said in _said(handler, question, world, recall):
                    silent_s = None
                    yield said
            except StoreError as error:
                # Begun anew: what was told already is told again, which a listener must bear anyway.
                now_s = world.clock.monotonic_s()
                silent_s = now_s if silent_s is None else silent_s
                if not error.retryable or now_s > silent_s + PATIENCE_S:
                    raise
                yield None
            else:
                return
    except WorldError as error:
        yield Refusal(
            code="not-ready",
            message=str(error),
            hint="ask another coordinator, or again in a moment"
            if error.retryable
            else "see journalctl -u pvc-node-agent on that node",
        )
    except PvcError as error:
        yield Refusal(code="refused", message=str(error))


def _said(
    handler: Callable[[Question, World, Recall], Iterator[Said]],
    question: Question,
    world: World,
    recall: Recall,
) -> Iterator[Said]:
    if question.operator is None or is_operator(world.store, question.operator):
        yield from handler(question, world, recall)
    else:  # the connection is older than the commit that removed them
        yield _not_declared(question.operator)


def _not_declared(name: str) -> Refusal:
    return Refusal(
        code="no-operator",
        message=f"{name} is no operator of this cluster any more",
        hint=f"operators/{name}.yaml must be in the accepted commit",
    )


# --- one function a question ------------------------------------------------------------------------


def _hello(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del recall
    formation = read(world.store, paths.FORMAT, Formation)
    document = cluster(world)
    yield Value(
        value=Hello(
            node=world.me.node,
            release=_release(),
            planner_version=PLANNER_VERSION,
            cluster="" if document is None else document.name,
            formation=None if formation is None else formation.formation,
            operator=question.operator,
        )
    )


def _release() -> str:
    try:
        return version("pvc-gitops")
    except PackageNotFoundError:  # run from a tree that was never installed
        return "unknown"


def _inventory(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del question
    observed = yield from gathered(world, recall)
    yield _founded(None if observed is None else observed.inventory)


def _status(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del question
    watch = yield from watched(world, recall)
    yield _founded(status(world, watch, storage_of(recall)))


def _founded(value: object) -> Said:
    if value is None:
        return Refusal(
            code="not-founded",
            message="the cluster is not founded yet",
            hint="see journalctl -u pvc-formation on the coordinators",
        )
    return Value(value=value)


def _target(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del question, recall
    yield Value(value=read(world.store, paths.TARGET, Target))


def _plan(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del recall
    plan = slices.read_plan(world.store, PlanId(str(question.args.get("id", ""))))
    if plan is None:
        yield Refusal(
            code="no-plan",
            message=f"no plan {question.args.get('id')} is kept",
            hint="`target` names the one in force; the last 20 are kept",
        )
    else:
        yield Value(value=plan)


def _results(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del recall
    yield Value(value=slices.read_results(world.store, PlanId(str(question.args.get("id", "")))))


def _applied(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    del recall
    of, store = Address(str(question.args.get("address", ""))), world.store
    kind, _, name = of.partition("/")
    is_vm = kind == Kind.VM and "/" not in name
    applied = read(store, paths.applied(of), Applied)
    yield Value(
        value=AppliedFacts(
            applied=applied,
            placement=read(store, paths.placement(VmName(name)), PlacementRecord)
            if is_vm
            else None,
            claim=read(store, paths.claim(of), Claim),
            result=_last_result(world, of, applied),
        )
    )


def _history(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """The ledger, from the store and this node's archive, a piece a tick."""
    del recall
    args = question.args
    address = args.get("address")
    limit = min(int(args.get("limit", archive.LIMIT_MAX)), archive.LIMIT_MAX)
    since_s, until_s = args.get("since_s"), args.get("until_s")
    found: list[Entry] = []
    for entry in archive.newest_first(world):
        if entry is None:
            yield None
            continue
        if len(found) >= limit or (since_s is not None and entry.at_s < since_s - LATE_S):
            break
        is_in_time = (since_s or 0) <= entry.at_s and (until_s is None or entry.at_s <= until_s)
        if is_in_time and archive.is_about(entry, address):
            found.append(entry)
    yield Value(value=found)


def _last_result(world: World, of: Address, applied: Applied | None) -> StepResult | None:
    """Of the step that last changed an address, in the plan in force or the one that wrote it."""
    target = read(world.store, paths.TARGET, Target)
    plans = [] if target is None else [target.plan]
    plans += [applied.plan] if applied is not None and applied.plan is not None else []
    for plan in plans:
        mine = [
            result
            for name, result in slices.read_results(world.store, plan).items()
            if name.split(" ")[1:2] == [of]
        ]
        if mine:
            return max(mine, key=lambda result: (result.started_at_s, result.step))
    return None


def _look_at_git(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """All nodes fetch now, and what failed is tried again; answered after a fetch of this node that
    began after the question."""
    asked = Asked(by=world.me.node, operator=question.operator, at_s=world.clock.now_s())
    write(world.store, paths.ASKED, asked)
    before = recall().source.fetches
    # A fetch that is under way may have asked the remote before the push: it does not count.
    needed = before + (2 if recall().source.is_fetching else 1)
    until_s = world.clock.monotonic_s() + LOOK_TIMEOUT_S
    yield Poke()
    while recall().source.fetches < needed:
        if world.clock.monotonic_s() > until_s:
            yield Refusal(
                code="timeout",
                message=f"no fetch ended within {LOOK_TIMEOUT_S:.0f} s",
                hint="is the remote slow? the cluster goes on looking by itself",
            )
            return
        yield None
    yield Value(value={"seen": recall().source.seen})


_HANDLERS: Final[Mapping[str, Callable[[Question, World, Recall], Iterator[Said]]]] = {
    "hello": _hello,
    "inventory": _inventory,
    "status": _status,
    "target": _target,
    "plan": _plan,
    "results": _results,
    "applied": _applied,
    "history": _history,
    **serve_previews.HANDLERS,
    "look-at-git": _look_at_git,
    "follow": follow,
    **serve_control.HANDLERS,
    **serve_source.HANDLERS,
    **serve_fencing.HANDLERS,
}
