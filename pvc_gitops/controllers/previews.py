"""Previews of branches and pull requests by the cluster itself: outbound only, and never in the way.

The leading planner asks the server for the heads of proposals, has each planned as if it were merged
into the accepted commit, and keeps the answer in the store. Nothing that a proposal holds is read in
this process, and nothing that goes wrong here keeps the planner from its work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from pvc_gitops.controllers.decisions import inputs_now
from pvc_gitops.controllers.records import put, read_all, version_of
from pvc_gitops.errors import RepoError, WorldError
from pvc_gitops.model import paths
from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.model.forge import Forge
from pvc_gitops.model.ids import CommitId, PlanId
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.preview import Answer, Ask, Outcome, Preview, Told
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.planner.codec import export_to_bytes
from pvc_gitops.planner.markdown import marker
from pvc_gitops.planner.planner import PLANNER_VERSION
from pvc_gitops.world.ports import Create, Delete, Leadership, World

FETCH_JOB: Final = "previews.fetch"
PLAN_JOB: Final = "previews.plan"
EVERY_S: Final = 30.0  # a comment half a minute after the push is soon enough for a review
KEPT_MAX: Final = 50  # proposals; more open ones than this are not looked at
STEPS_KEPT: Final = 2000  # of a plan, by name
# A step that waits for a lost node keeps no review waiting for longer.
PATIENCE_S: Final = 120.0
AGAIN_S: Final = 900.0  # after a plan that ended without an answer
GOOD_CODES: Final = frozenset({0, 2})  # of `pvc plan`: nothing to do, changes
ASKED_JOB: Final = "previews.asked"
ASKED_AT_ONCE: Final = 2  # by clients, on one node


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A proposal that is being planned."""

    ref: str
    head: CommitId
    base: CommitId
    target: PlanId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewsMemory:
    """When to look next, what was found, what is under way."""

    due_at_s: float = 0.0
    is_fetching: bool = False
    asked: int | None = None  # version of the last question to look now
    heads: Mapping[str, CommitId] | None = None
    running: Mapping[int, Running] = field(default_factory=dict)  # by slot
    unquiet_since_s: float | None = None  # something of the plan in force is under way
    failed_at_s: Mapping[str, float] = field(default_factory=dict)  # by ref and head
    fault: str = ""  # said once


def tick(
    world: World, lead: Leadership, memory: PreviewsMemory, inv: Inventory, *, is_quiet: bool
) -> PreviewsMemory:
    """One look: fetch when it is time, write down what ended, begin what is missing.

    Args:
        world: the planner's.
        lead: proof of leading, for every write.
        memory: what the last call returned.
        inv: the cluster now.
        is_quiet: nothing of the plan in force is under way, so that a preview shows the difference.
    """
    now_s = world.clock.monotonic_s()
    forge = forge_of(inv)
    known = read_all(world.store, paths.PREVIEWS, Preview)
    if forge is None:
        _drop(world, lead, known, keep=frozenset())
        return PreviewsMemory()
    memory = _fetched(world, memory, forge, now_s)
    memory = _ended(world, lead, memory, known, now_s)
    if memory.heads is None:
        return memory
    heads = _open(world, memory.heads, inv)
    _drop(world, lead, known, keep=frozenset(heads))
    since_s = memory.unquiet_since_s
    since_s = None if is_quiet else now_s if since_s is None else since_s
    memory = replace(memory, unquiet_since_s=since_s)
    if since_s is not None and now_s < since_s + PATIENCE_S:
        return memory
    return _begun(world, memory, forge, inv, heads=heads, now_s=now_s)


def forge_of(inv: Inventory) -> Forge | None:
    """The forge that is in force; the first by name."""
    for of, record in sorted(inv.applied.items()):
        if of.startswith(f"{Kind.FORGE}/"):
            return Forge.from_spec(record.name, record.spec)
    return None


# --- heads -------------------------------------------------------------------------------------------


def _fetched(world: World, memory: PreviewsMemory, forge: Forge, now_s: float) -> PreviewsMemory:
    if memory.is_fetching:
        job = world.jobs.state(FETCH_JOB)
        if job is not None and not job.is_done:
            return memory
        world.jobs.forget(FETCH_JOB)
        memory = replace(memory, is_fetching=False)
        if job is not None and job.error is None:
            memory = replace(memory, heads=job.value, fault="")
        elif job is not None and isinstance(job.error, RepoError):
            memory = _faulty(world, memory, job.error.reason)
        elif job is not None and job.error is not None:
            raise job.error  # a bug of ours
    asked = version_of(world.store.read(paths.ASKED))
    if now_s < memory.due_at_s and asked == memory.asked:
        return memory
    only_ours = not forge.from_forks

    def look(_: object) -> Mapping[str, CommitId]:
        return world.proposals.fetch(forge.patterns, only_ours=only_ours, most=KEPT_MAX)

    world.jobs.start(FETCH_JOB, look)
    return replace(memory, is_fetching=True, due_at_s=now_s + EVERY_S, asked=asked)


def _faulty(world: World, memory: PreviewsMemory, fault: str) -> PreviewsMemory:
    if fault != memory.fault:
        world.journal.event("previews_fault", fault=fault)
    return replace(memory, fault=fault)


def _open(world: World, heads: Mapping[str, CommitId], inv: Inventory) -> Mapping[str, CommitId]:
    """Those that are not merged yet."""
    base = inv.accepted
    assert base is not None
    return {
        ref: head
        for ref, head in heads.items()
        if not (world.repo.has(head) and world.repo.is_ancestor(head, base))
    }


def _drop(
    world: World, lead: Leadership, known: Mapping[str, Preview], *, keep: frozenset[str]
) -> None:
    for name, preview in known.items():
        if preview.ref not in keep:
            path = f"{paths.PREVIEWS}/{name}"
            world.store.commit((*lead.checks, Delete(path=path, version=preview.version)))


# --- plans -------------------------------------------------------------------------------------------


def _ended(
    world: World,
    lead: Leadership,
    memory: PreviewsMemory,
    known: Mapping[str, Preview],
    now_s: float,
) -> PreviewsMemory:
    for slot, running in sorted(memory.running.items()):
        job = world.jobs.state(f"{PLAN_JOB} {slot}")
        if job is not None and not job.is_done:
            continue
        world.jobs.forget(f"{PLAN_JOB} {slot}")
        memory = replace(
            memory, running={n: each for n, each in memory.running.items() if n != slot}
        )
        if job is None:
            continue  # of a life before this one
        told = ""
        if job.error is not None:
            reason = getattr(job.error, "reason", str(job.error))
            answer = _unanswered(f"it was not planned: {reason}")
            world.journal.event("preview_failed", ref=running.ref, why=reason)
        else:
            answer, told = job.value
        if told:
            world.journal.event("preview_not_told", ref=running.ref, why=told)
        if answer.outcome is Outcome.FAILED:
            key = f"{running.ref} {running.head}"
            memory = replace(memory, failed_at_s={**memory.failed_at_s, key: now_s})
        _keep(world, lead, running, answer, told=told, known=known)
    return memory


def _keep(
    world: World,
    lead: Leadership,
    running: Running,
    answer: Answer,
    *,
    told: str,
    known: Mapping[str, Preview],
) -> None:
    preview = Preview(
        ref=running.ref,
        head=running.head,
        base=running.base,
        target=running.target,
        made_at_s=world.clock.now_s(),
        outcome=answer.outcome,
        reason=answer.reason,
        problems=answer.problems,
        planner_version=answer.planner_version,
        effect=answer.effect,
        exit_code=answer.exit_code,
        status=answer.status,
        text=answer.text,
        markdown=answer.markdown,
        steps=answer.steps[:STEPS_KEPT],
        steps_total=len(answer.steps),
        told=told,
    )
    path = paths.preview(running.ref)
    before = known.get(path.rpartition("/")[2])
    ops = [put(path, preview, None if before is None else before.version)]
    if world.store.read(paths.PREVIEWS) is None:  # a formation of before has no such folder
        ops.insert(0, Create(path=paths.PREVIEWS, value={}))
    world.store.commit((*lead.checks, *ops))
    world.journal.event(
        "preview", ref=running.ref, head=running.head, outcome=answer.outcome, effect=answer.effect
    )


def _begun(
    world: World,
    memory: PreviewsMemory,
    forge: Forge,
    inv: Inventory,
    *,
    heads: Mapping[str, CommitId],
    now_s: float,
) -> PreviewsMemory:
    base = inv.accepted
    assert base is not None
    wanted = {f"{ref} {head}" for ref, head in heads.items()}
    failed = {key: at_s for key, at_s in memory.failed_at_s.items() if key in wanted}
    memory = replace(memory, failed_at_s=failed)
    known = {each.ref: each for each in read_all(world.store, paths.PREVIEWS, Preview).values()}
    under_way = {running.ref for running in memory.running.values()}
    free = [slot for slot in range(forge.at_once) if slot not in memory.running]
    inputs: bytes | None = None
    for ref, head in sorted(heads.items()):
        if not free:
            break
        before = known.get(ref)
        is_made = (
            before is not None
            and before.outcome is not Outcome.FAILED
            and before.is_of(head, base, inv.target, PLANNER_VERSION)
        )
        failed_s = memory.failed_at_s.get(f"{ref} {head}")
        if ref in under_way or is_made or (failed_s is not None and now_s < failed_s + AGAIN_S):
            continue
        if inputs is None:
            inputs = export_to_bytes(inputs_now(world, inv))
        slot = free.pop(0)
        teller = _teller(world, forge, ref, base)
        _start(world, slot, ask_of(inv, forge, ref, head), inputs, teller)
        running = Running(ref=ref, head=head, base=base, target=inv.target)
        memory = replace(memory, running={**memory.running, slot: running})
    return memory


def _start(world: World, slot: int, ask: Ask, inputs: bytes, teller: _Teller | None) -> None:
    def work(_: object) -> tuple[Answer, str]:
        answer = world.proposals.plan(ask, inputs)
        return answer, "" if teller is None else teller.tell(world, ask, answer)

    world.jobs.start(f"{PLAN_JOB} {slot}", work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teller:
    """Whom an answer is told, and with what."""

    forge: Forge
    sealed: bytes
    number: int | None

    def tell(self, world: World, ask: Ask, answer: Answer) -> str:
        """Nothing, or why it could not be told. A forge that is away keeps no preview from being made."""
        assert ask.head is not None
        told = Told(
            number=self.number,
            commit=ask.head,
            marker=marker(ask.cluster),
            comment=answer.markdown,
            context=f"pvc/plan ({ask.cluster})",
            is_good=answer.exit_code in GOOD_CODES,
            status=answer.status,
        )
        try:
            world.proposals.tell(self.forge, self.sealed, told)
        except WorldError as error:
            return error.reason
        return ""


def _teller(world: World, forge: Forge, ref: str, base: CommitId) -> _Teller | None:
    sealed = sealed_token(world, forge, base)
    if sealed is None:
        return None
    return _Teller(forge=forge, sealed=sealed, number=forge.number(ref))


def sealed_token(world: World, forge: Forge, commit: CommitId) -> bytes | None:
    """What opens the forge, as a commit has it; None where it is told nothing."""
    if forge.token_secret is None or not forge.api or not forge.repository:
        return None
    # The documents were checked: where it is not there, it went with a commit not in force yet.
    folder = DOCUMENT_KINDS[Kind.SECRET][1]
    return world.repo.files(commit).get(f"{folder}/{forge.token_secret}.yaml")


def ask_of(inv: Inventory, forge: Forge, ref: str, head: CommitId) -> Ask:
    """What a proposal's planning needs to know, and how its comment speaks."""
    assert inv.accepted is not None
    cluster, onto = tracked(inv)
    return Ask(
        cluster=cluster,
        base=inv.accepted,
        head=head,
        files=None,
        branch=ref.removeprefix("refs/heads/").removeprefix("refs/"),
        onto=onto,
        again=f"git fetch origin {ref} && pvc plan --commit FETCH_HEAD --base origin/{onto}",
        links=forge.links(head),
    )


def tracked(inv: Inventory) -> tuple[str, str]:
    """The cluster's name and the branch that it follows."""
    for of, record in sorted(inv.applied.items()):
        if of.startswith(f"{Kind.CLUSTER}/"):
            return record.name, str(record.spec["source"]["branch"])
    return "", "main"


# --- for clients -------------------------------------------------------------------------------------


def listed(world: World) -> tuple[Preview, ...]:
    """All that is kept, without texts."""
    kept = read_all(world.store, paths.PREVIEWS, Preview).values()
    return tuple(replace(each, text="", markdown="", steps=()) for each in kept)


def find(world: World, ref: str) -> Preview | None:
    """By ref, or by a branch's name or a pull request's number."""
    kept = read_all(world.store, paths.PREVIEWS, Preview).values()
    names = {ref, f"refs/{ref}", f"refs/heads/{ref}", f"refs/pull/{ref}/head"}
    names.add(f"refs/merge-requests/{ref}/head")
    return next((each for each in kept if each.ref in names), None)


def free_slot(world: World) -> int | None:
    """For a client's question; one whose client left is free when its work has ended."""
    for slot in range(ASKED_AT_ONCE):
        job = world.jobs.state(f"{ASKED_JOB} {slot}")
        if job is None:
            return slot
        if job.is_done:
            world.jobs.forget(f"{ASKED_JOB} {slot}")
            return slot
    return None


def start_asked(world: World, slot: int, inv: Inventory, files: Mapping[str, str]) -> None:
    """Plan a client's files onto the accepted commit."""
    assert inv.accepted is not None
    cluster, onto = tracked(inv)
    ask = Ask(
        cluster=cluster,
        base=inv.accepted,
        head=None,
        files=files,
        branch="",
        onto=onto,
        again="pvc plan --remote",
        links="",
    )
    inputs = export_to_bytes(inputs_now(world, inv))
    world.jobs.start(f"{ASKED_JOB} {slot}", lambda _: world.proposals.plan(ask, inputs))


def is_done(world: World, slot: int) -> bool:
    job = world.jobs.state(f"{ASKED_JOB} {slot}")
    return job is None or job.is_done


def take(world: World, slot: int) -> Answer:
    """The answer of one that is done. Raises what its work raised."""
    key = f"{ASKED_JOB} {slot}"
    job = world.jobs.state(key)
    world.jobs.forget(key)
    if job is None:
        return _unanswered("its process ended")
    if job.error is not None:
        raise job.error
    answer = job.value
    assert isinstance(answer, Answer)
    return answer


def _unanswered(reason: str) -> Answer:
    return Answer(
        outcome=Outcome.FAILED,
        reason=reason,
        problems=(),
        planner_version=PLANNER_VERSION,
        effect="",
        exit_code=1,
        status=reason[:140],
        text=reason,
        markdown="",
        steps=(),
        plan="",
    )
