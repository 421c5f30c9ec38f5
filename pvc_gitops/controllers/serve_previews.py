"""What an agent answers about previews and about what plans are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pvc_gitops.controllers import decisions, previews
from pvc_gitops.controllers.answers import Recall, Refusal, Said, Value
from pvc_gitops.controllers.gathering import gathered
from pvc_gitops.model.ids import PlanId
from pvc_gitops.world.ports import World
from pvc_gitops.world.protocol import Question

_NOT_FOUNDED: Final = (
    "not-founded",
    "the cluster is not founded yet, or has accepted no commit",
    "see journalctl -u pvc-formation on the coordinators",
)


def _export(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """What the planner reads now, or what one of the last plans was computed from."""
    asked = question.args.get("plan")
    if asked is not None:
        kept = decisions.inputs_of(world.store, PlanId(str(asked)))
        yield _or_refused(
            kept, "no-plan", f"the inputs of plan {asked} are not kept", "pvc history"
        )
        return
    observed = yield from gathered(world, recall)
    found = None if observed is None else decisions.inputs_now(world, observed.inventory)
    yield _or_refused(found, *_NOT_FOUNDED)


def _or_refused(value: object, code: str, message: str, hint: str) -> Said:
    """The value, or the refusal that says why there is none."""
    return Refusal(code=code, message=message, hint=hint) if value is None else Value(value=value)


def _preview(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """Plan what a client hands in, by a child with limits."""
    observed = yield from gathered(world, recall)
    if observed is None or observed.inventory.accepted is None:
        yield _or_refused(None, *_NOT_FOUNDED)
        return
    slot = previews.free_slot(world)
    if slot is None:
        yield Refusal(code="busy", message="previews are being made already", hint="try again")
        return
    previews.start_asked(world, slot, observed.inventory, dict(question.args.get("files") or {}))
    while not previews.is_done(world, slot):
        yield None
    yield Value(value=previews.take(world, slot))


def _previews(question: Question, world: World, recall: Recall) -> Iterator[Said]:
    """All that the cluster made of proposals, without their texts; or one of them whole."""
    del recall
    ref = question.args.get("ref")
    if ref is None:
        yield Value(value=previews.listed(world))
        return
    found = previews.find(world, str(ref))
    yield _or_refused(found, "no-preview", f"no proposal {ref} is known", "pvc preview list")


HANDLERS: Final[Mapping[str, Callable[[Question, World, Recall], Iterator[Said]]]] = {
    "export": _export,
    "preview": _preview,
    "previews": _previews,
}
