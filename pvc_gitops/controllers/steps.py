"""A node's steps of the plan in force: claim, run, result.

Every change of the store is one transaction. A claim holds the object for one step until its result
is written, whatever happens to this process in between: a claim of this node without a result is
taken up again, and appliers finish what an interrupted run began. A step whose plan is not the target
any more does not begin; one that has begun is finished.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace
from typing import Final

from pvc_gitops.appliers.outcome import Applier, Outcome, Writes
from pvc_gitops.appliers.registry import APPLIERS
from pvc_gitops.controllers.records import (
    check_incarnation,
    put,
    read,
    read_all,
    version_of,
)
from pvc_gitops.controllers.slices import Slice, read_results, read_slice
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import (
    ApplyError,
    DownloadError,
    HypervisorError,
    LinkError,
    PrereqError,
    StoreConflict,
    StoreError,
    WorldError,
)
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address, PlanId, VmName
from pvc_gitops.model.plan import Operation, Step
from pvc_gitops.model.records import (
    Applied,
    Claim,
    GuestPhase,
    PlacementRecord,
    StepResult,
    StepStatus,
    Target,
)
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import Check, Create, Delete, Op, Put, World

# Imports and clones share one Ceph cluster and one network card: more at once finish no sooner.
STEPS_AT_ONCE_MAX: Final = 8
NOTE: Final = "target"
PROGRESS_STEP: Final = 0.05  # results are written again when the progress moved by this much
CONVERGENCE_POLL_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A step that this node has claimed."""

    plan: PlanId
    step: Step
    since_s: float  # monotonic, in this process
    result: StepResult  # as last written

    @property
    def job(self) -> str:
        return f"{self.step.operation} {self.plan} {self.step.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsMemory:
    """What is known of the plan in force. All of it can be read again."""

    obeyed: tuple[int, int] | None = None  # formation, generation: the highest ever
    refused: PlanId | None = None
    slice: Slice | None = None
    slice_of: PlanId | None = None
    done: frozenset[str] = frozenset()  # steps of the target known to be done, anybody's
    ended: frozenset[str] = frozenset()  # own steps that have a result
    running: Mapping[Address, Running] = field(default_factory=dict)
    has_read_claims: bool = False

    def unsure(self) -> StepsMemory:
        """After a transaction whose outcome was not learnt: read claims and results again."""
        return replace(self, has_read_claims=False, slice_of=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsDone:
    """What a tick did to the steps."""

    memory: StepsMemory
    has_acted: bool
    faults: tuple[str, ...]
    touched_storage: bool
    due_at_s: float | None


_STORAGE: Final = ("pool.", "image.", "disk.")


def tick(world: World, view: View, memory: StepsMemory, faults: tuple[str, ...] = ()) -> StepsDone:
    """Obey the target, go on with what is claimed, begin what can begin.

    `faults` are what is wrong on this node: the reason why something does not come true.
    """
    if view.incarnation is None or view.incarnation.is_over:
        return StepsDone(
            memory=memory, has_acted=False, faults=(), touched_storage=False, due_at_s=None
        )
    work = _Work(world=world, view=view, memory=memory, known_faults=faults)
    work.take_up_claims()
    for running in tuple(work.memory.running.values()):
        work.follow(running)
    if work.obeys() and not view.is_halted:
        for step in work.ready():
            work.begin(step)
    return StepsDone(
        memory=work.memory,
        has_acted=work.has_acted,
        faults=tuple(work.faults),
        touched_storage=work.touched_storage,
        due_at_s=view.now_s + CONVERGENCE_POLL_S if work.memory.running else None,
    )


@dataclass(slots=True, kw_only=True)
class _Work:
    """One tick's work on the steps of this node."""

    world: World
    view: View
    memory: StepsMemory
    known_faults: tuple[str, ...]
    has_acted: bool = False
    touched_storage: bool = False
    faults: list[str] = field(default_factory=list)

    # --- whom to obey ---

    def obeys(self) -> bool:
        """Is there a target that is not older than what this node has obeyed before?"""
        target = self.view.target
        if target is None:
            return False
        key = (self.view.formation.formation, target.generation)
        obeyed = self.memory.obeyed or _noted(self.world)
        if obeyed is not None and key < obeyed:
            if self.memory.refused != target.plan:
                self.world.journal.event(
                    "target_refused",
                    plan=target.plan,
                    generation=target.generation,
                    obeyed=obeyed[1],
                )
                self.memory = replace(self.memory, refused=target.plan)
            return False
        if key != obeyed:
            self.world.notes.put(NOTE, {"formation": key[0], "generation": key[1]})
        if self.memory.slice_of != target.plan:
            self._load(target)
        self.memory = replace(self.memory, obeyed=key)
        mine = self.memory.slice
        return mine is not None and (mine.formation, mine.generation) == key

    def _load(self, target: Target) -> None:
        me = self.world.me.node
        results = read_results(self.world.store, target.plan)
        self.memory = replace(
            self.memory,
            slice=read_slice(self.world.store, target.plan, me),
            slice_of=target.plan,
            done=frozenset(r.step for r in results.values() if r.status is StepStatus.DONE),
            ended=frozenset(
                r.step for r in results.values() if r.node == me and r.ended_at_s is not None
            ),
        )

    # --- what was begun by a process before this one ---

    def take_up_claims(self) -> None:
        """Every claim of this node is a step that nobody else may end. Read at the beginning, and
        whenever the outcome of a transaction was not learnt."""
        if self.memory.has_read_claims:
            return
        me, store = self.world.me.node, self.world.store
        store.sync()  # a claim that is gone already must not be seen: its object may be another by now
        claims = read_all(store, paths.CLAIMS, Claim).values()
        self._drop_ended({(claim.plan, claim.step) for claim in claims})
        found: dict[Address, Running] = {}
        for claim in claims:
            is_of_a_move = not claim.plan  # `migrate` ends it
            if claim.node != me or is_of_a_move or claim.address in self.memory.running:
                continue
            running = self._taken_up(claim)
            if running is None:
                self.faults.append(
                    f"{claim.address} is claimed for {claim.step} of plan {claim.plan}, "
                    "which is gone; see docs/commands.md, `pvc explain`"
                )
                continue
            found[claim.address] = running
            self.world.journal.event("step_resumed", step=claim.step, plan=claim.plan)
        self.memory = replace(
            self.memory, running={**self.memory.running, **found}, has_read_claims=True
        )

    def _drop_ended(self, claimed: Collection[tuple[PlanId, str]]) -> None:
        """Forget steps whose result was written, although the answer to that was lost. Running one
        again would do it to whatever bears its name now."""
        for running in tuple(self.memory.running.values()):
            if (running.plan, running.step.id) in claimed:
                continue
            path = paths.plan_result(running.plan, running.step.id)
            result = read(self.world.store, path, StepResult)
            self.touched_storage = self.touched_storage or _is_storage(running.step)
            self._forget(running, running.result if result is None else result)

    def _taken_up(self, claim: Claim) -> Running | None:
        store = self.world.store
        mine = read_slice(store, claim.plan, claim.node)
        steps = {} if mine is None else {step.id: step for step in mine.steps}
        result = read(store, paths.plan_result(claim.plan, claim.step), StepResult)
        if claim.step not in steps or result is None:
            return None
        assert self.view.incarnation is not None
        if claim.incarnation != self.view.incarnation.id:
            # A later life of the same node goes on with it; the claim must say so.
            renewed = replace(claim, incarnation=self.view.incarnation.id)
            self._commit(put(paths.claim(claim.address), renewed, claim.version))
        return Running(
            plan=claim.plan, step=steps[claim.step], since_s=self.view.now_s, result=result
        )

    # --- beginning ---

    def ready(self) -> Iterator[Step]:
        """Own steps whose needs are done, in the plan's order, as many as may run at once."""
        assert self.memory.slice is not None
        for step in self.memory.slice.steps:
            if len(self.memory.running) >= STEPS_AT_ONCE_MAX:
                return
            if step.id in self.memory.ended or step.address in self.memory.running:
                continue
            if all(self._is_done(need) for need in step.needs):
                yield step

    def _is_done(self, need: str) -> bool:
        if need in self.memory.done:
            return True
        assert self.view.target is not None
        path = paths.plan_result(self.view.target.plan, need)
        result = read(self.world.store, path, StepResult)
        if result is None or result.status is not StepStatus.DONE:
            self.world.store.watch(path)
            return False
        self.memory = replace(self.memory, done=self.memory.done | {need})
        return True

    def begin(self, step: Step) -> None:
        """Claim it, with everything it relies on checked in the same transaction."""
        applier, plan = APPLIERS[step.operation], self._plan()
        try:
            if not applier.is_long:  # a long one checks in its job, off this thread
                applier.check(step, self.world)
            checks = self._checked(step)
        except PrereqError as error:
            self._refuse(step, error.reason)
            return
        except StoreError:
            raise
        except WorldError as error:
            self.faults.append(f"step {step.id}: {error}")
            return
        assert self.view.incarnation is not None
        claim = Claim(
            address=step.address,
            plan=plan,
            step=step.id,
            node=self.world.me.node,
            incarnation=self.view.incarnation.id,
        )
        result = self._result(step, StepStatus.RUNNING)
        try:
            self._commit(
                *checks,
                Create(path=paths.claim(step.address), value=encode(claim)),
                Create(path=paths.plan_result(plan, step.id), value=encode(result)),
                *self._first_writes(applier, step, plan),
            )
        except StoreConflict:
            return  # another step holds the object, or something changed: looked at again next tick
        self.has_acted = True
        running = Running(plan=plan, step=step, since_s=self.view.now_s, result=result)
        self.memory = replace(self.memory, running={**self.memory.running, step.address: running})
        self.world.journal.event("step_running", step=step.id, plan=plan)
        self.follow(running)

    def _checked(self, step: Step) -> list[Op]:
        """The target and the records that the plan was made from, as they must still be."""
        target = self.view.target
        assert target is not None
        ops: list[Op] = [Check(path=paths.TARGET, version=target.version)]
        if self.view.wishes is not None:  # a halt that was made since we looked counts
            ops.append(Check(path=paths.INTENTS, version=self.view.wishes))
        for of, digest in sorted(step.pre.items()):
            have = read(self.world.store, paths.applied(of), Applied)
            if _digest(have) != digest:
                # Reads may lag behind the result that allowed this step.
                self.world.store.sync()
                have = read(self.world.store, paths.applied(of), Applied)
            if _digest(have) != digest:
                raise PrereqError(
                    f"{of} is {_digest(have) or 'not there'}, the plan was made when it was "
                    f"{digest or 'not there'}; the next plan starts from what is there"
                )
            ops.append(
                Check(path=paths.applied(of), version=None if have is None else have.version)
            )
        return ops

    def _first_writes(self, applier: Applier, step: Step, plan: PlanId) -> Iterator[Op]:
        if applier.writes is Writes.MOVE:
            yield from self._move(step, plan)
            return
        if applier.writes is not Writes.FIRST:
            return
        yield from self._put_record(step, plan)
        if step.operation not in (Operation.VM_PUT, Operation.VM_ADOPT):
            return
        path = paths.placement(VmName(step.address.partition("/")[2]))
        placement = read(self.world.store, path, PlacementRecord)
        now_s = self.world.clock.now_s()
        if step.operation is Operation.VM_ADOPT:
            assert self.view.incarnation is not None
            runs = PlacementRecord(
                owner=self.world.me.node,
                incoming=None,
                incarnation=self.view.incarnation.id,
                starts=0,
                state=GuestPhase.RUNNING,
                why="",
                since_s=now_s,
            )
            yield Create(path=path, value=encode(runs))
        elif placement is None:
            fresh = PlacementRecord(
                owner=self.world.me.node,
                incoming=None,
                incarnation=None,
                starts=0,
                state=GuestPhase.WAITING,
                why="just declared",
                since_s=now_s,
            )
            yield Create(path=path, value=encode(fresh))
        elif placement.state is GuestPhase.FAILED or placement.rests:
            # Whatever failed before, this step shall not be judged by it.
            again = replace(
                placement,
                state=GuestPhase.WAITING,
                why="changed",
                since_s=now_s,
                restarts=0,
                tried=(),
                rests=False,
            )
            yield put(path, again, placement.version)

    def _move(self, step: Step, plan: PlanId) -> Iterator[Op]:
        """Record and placement under the new address and out of the old one: all or nothing, and only
        while nobody else is at the old one."""
        old = Address(str(step.inputs["from"]))
        yield Check(path=paths.claim(old), version=None)
        assert step.record is not None
        moved = replace(step.record, plan=plan)
        yield Create(path=paths.applied(step.address), value=encode(moved))
        doomed = [paths.applied(old)]
        if moved.kind is Kind.VM:
            before = paths.placement(VmName(old.partition("/")[2]))
            placement = self.world.store.read(before)
            if placement is not None:
                after = paths.placement(VmName(moved.name))
                yield Create(path=after, value=placement.value)
                doomed.append(before)
        for path in doomed:
            stamped = self.world.store.read(path)
            assert stamped is not None  # checked with the records that the plan was made from
            yield Delete(path=path, version=stamped.version)

    def _put_record(self, step: Step, plan: PlanId) -> Iterator[Op]:
        if step.record is None:
            return
        path = paths.applied(step.record.address)
        yield put(path, replace(step.record, plan=plan), version_of(self.world.store.read(path)))

    def _refuse(self, step: Step, reason: str) -> None:
        """Nothing was touched; the plan goes on without it and what needs it."""
        ended = replace(
            self._result(step, StepStatus.FAILED),
            ended_at_s=self.world.clock.now_s(),
            error=reason,
            is_retryable=True,
        )
        target = self.view.target
        assert target is not None
        try:
            self._commit(
                Check(path=paths.TARGET, version=target.version),
                Create(path=paths.plan_result(self._plan(), step.id), value=encode(ended)),
            )
        except StoreConflict:
            return
        self._ended(step, ended)

    # --- going on, and ending ---

    def follow(self, running: Running) -> None:
        """See whether a step is done; start or take up its work where it is not."""
        applier = APPLIERS[running.step.operation]
        try:
            outcome = (
                self._long(applier, running) if applier.is_long else self._short(applier, running)
            )
        except StoreError:
            raise
        except PrereqError as error:
            self._end(running, StepStatus.FAILED, error=error.reason, is_retryable=True)
        except ApplyError as error:
            self._end(running, StepStatus.FAILED, error=error.reason, is_retryable=True)
        except WorldError as error:
            text = f"{error}{_remedy(running.step, error)}"
            self._end(running, StepStatus.FAILED, error=text, is_retryable=error.retryable)
        else:
            if outcome is not None:
                self._end(running, StepStatus.DONE, evidence=outcome.evidence)

    def _short(self, applier: Applier, running: Running) -> Outcome | None:
        outcome, silent = None, ""
        try:
            outcome = applier.run(running.step, self.world, _no_progress)
        except (HypervisorError, LinkError) as error:
            # What is waited for cannot be seen now; a restart of libvirt is no reason to fail.
            silent = f"; {error}"
        waited_s = self.view.now_s - running.since_s
        if outcome is None and waited_s > running.step.timeout_s:
            raise ApplyError(
                f"not done after {waited_s:.0f} s{self._last_word(running.step)}{silent}; "
                f"`pvc explain {running.step.address}` shows what it waits for"
            )
        return outcome

    def _last_word(self, step: Step) -> str:
        kind, _, name = step.address.partition("/")
        record = self.view.networks.get(name) if kind == Kind.NETWORK else None
        if record is not None:
            about = f"network {record.spec.get('vni')}:"
            return "".join(f"; {fault}" for fault in self.known_faults if fault.startswith(about))
        placement = self.view.placements.get(VmName(name)) if kind == Kind.VM else None
        if placement is None:
            return ""
        return f": it is {placement.state}{', ' + placement.why if placement.why else ''}"

    def _long(self, applier: Applier, running: Running) -> Outcome | None:
        jobs, world, step = self.world.jobs, self.world, running.step
        job = jobs.state(running.job)
        if job is None:

            def work(progress: object) -> Outcome | None:
                applier.check(step, world)
                return applier.run(step, world, progress)  # type: ignore[arg-type]

            jobs.start(running.job, work)
            return None
        if not job.is_done:
            self._progress(running, job.progress)
            return None
        jobs.forget(running.job)
        self.touched_storage = self.touched_storage or _is_storage(step)
        if job.error is not None:
            raise job.error
        outcome: Outcome | None = job.value
        return outcome

    def _progress(self, running: Running, progress: float | None) -> None:
        before = running.result.progress or 0.0
        if progress is None or progress < before + PROGRESS_STEP:
            return
        path = paths.plan_result(running.plan, running.step.id)
        stamped = self.world.store.read(path)
        if stamped is None:
            return
        result = replace(running.result, progress=round(progress, 2))
        self._commit(put(path, result, stamped.version))
        self.memory = replace(
            self.memory,
            running={
                **self.memory.running,
                running.step.address: replace(running, result=result),
            },
        )

    def _end(
        self,
        running: Running,
        status: StepStatus,
        *,
        evidence: Mapping[str, str] | None = None,
        error: str = "",
        is_retryable: bool = False,
    ) -> None:
        """Result, release and the new applied record: one transaction."""
        step, store = running.step, self.world.store
        path = paths.plan_result(running.plan, step.id)
        claim = read(store, paths.claim(step.address), Claim)
        ended = replace(
            running.result,
            status=status,
            ended_at_s=self.world.clock.now_s(),
            error=error,
            is_retryable=is_retryable,
            evidence=evidence or {},
            progress=None,
        )
        if claim is None or (claim.plan, claim.step) != (running.plan, step.id):
            # The answer to our own transaction was lost: it is in the store already.
            self._forget(running, ended)
            return
        stamped = store.read(path)
        assert stamped is not None  # created with the claim
        ops: list[Op] = [Put(path=path, value=encode(ended), version=stamped.version)]
        ops.append(Delete(path=paths.claim(step.address), version=claim.version))
        if status is StepStatus.DONE:
            ops.extend(self._last_writes(APPLIERS[step.operation], running))
        try:
            self._commit(*ops)
        except StoreConflict:
            # Our life or a record changed under us, or what was read was old.
            self.memory = self.memory.unsure()
            return
        self._forget(running, ended)

    def _last_writes(self, applier: Applier, running: Running) -> Iterator[Op]:
        step = running.step
        if applier.writes is Writes.LAST:
            yield from self._put_record(step, running.plan)
        elif applier.writes in (Writes.DROP, Writes.KEEP):
            if applier.writes is Writes.KEEP:
                yield from self._put_record(step, running.plan)
            doomed = [] if applier.writes is Writes.KEEP else [paths.applied(step.address)]
            kind, _, name = step.address.partition("/")
            if kind == Kind.VM:
                doomed.append(paths.placement(VmName(name)))
            for path in doomed:
                stamped = self.world.store.read(path)
                if stamped is not None:
                    yield Delete(path=path, version=stamped.version)

    def _forget(self, running: Running, ended: StepResult) -> None:
        left = {a: r for a, r in self.memory.running.items() if a != running.step.address}
        self.memory = replace(self.memory, running=left)
        if running.plan == self.memory.slice_of:
            self._ended(running.step, ended)
        else:
            self._say(ended)

    def _ended(self, step: Step, result: StepResult) -> None:
        self.has_acted = True
        is_done = result.status is StepStatus.DONE
        self.memory = replace(
            self.memory,
            ended=self.memory.ended | {step.id},
            done=self.memory.done | {step.id} if is_done else self.memory.done,
        )
        self._say(result)

    def _say(self, result: StepResult) -> None:
        if result.status is StepStatus.DONE:
            self.world.journal.event("step_done", step=result.step, **result.evidence)
        else:
            self.world.journal.event("step_failed", step=result.step, error=result.error)

    # --- parts ---

    def _plan(self) -> PlanId:
        assert self.view.target is not None
        return self.view.target.plan

    def _result(self, step: Step, status: StepStatus) -> StepResult:
        return StepResult(
            step=step.id,
            node=self.world.me.node,
            status=status,
            started_at_s=self.world.clock.now_s(),
            ended_at_s=None,
            error="",
            is_retryable=False,
            evidence={},
            progress=None,
        )

    def _commit(self, *ops: Op) -> None:
        assert self.view.incarnation is not None
        self.world.store.commit(
            (check_incarnation(self.world.me.node, self.view.incarnation), *ops)
        )


def _is_storage(step: Step) -> bool:
    return step.operation.startswith(_STORAGE)


def _remedy(step: Step, error: WorldError) -> str:
    """What to do about a failure that does not pass by itself."""
    if not isinstance(error, DownloadError):
        return ""
    name = step.address.partition("/")[2]
    return f"; correct images/{name}.yaml or what lies at its url, then `pvc apply`"


def _noted(world: World) -> tuple[int, int] | None:
    note = world.notes.get(NOTE)
    return None if note is None else (note["formation"], note["generation"])


def _digest(record: Applied | None) -> str:
    return "" if record is None else record.digest


def _no_progress(done: float) -> None:
    del done
