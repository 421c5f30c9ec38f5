"""What N-1 lets in: a new demand that would leave a loss worse off than it is, is refused.

Judged are demands only: guests that are new, and guests that ask for more than before. What asks for
less, repairs, or goes is never judged, so that a cluster that lost its margin can always be mended.
`margin` is taken after all that goes and shrinks in the same commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.document import Document
from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.model.plan import Bound, CapacityVerdict, Loss
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner.context import Context
from pvc_gitops.planner.draft import Draft
from pvc_gitops.planner.table import Table
from pvc_gitops.scheduler.board import Guest
from pvc_gitops.scheduler.evacuate import holds
from pvc_gitops.scheduler.fit import FitFailure, sentence, short_of

# Each refusal costs a search over all new guests; a commit that is refused more often than this is
# refused from there on, and says so for each guest. The second limit is of losses looked at.
_REFUSALS_SEARCHED_MAX: Final = 16
_LOSSES_SEARCHED_MAX: Final = 6_000
_NAMES_SHOWN_MAX: Final = 3

Margin = Mapping[tuple[NodeName, ...], tuple[int, int]]  # lost -> (missing MiB, homeless); if any


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Why an existing guest may not ask for more: what the report says of each field that does."""

    code: str
    text: str
    remedy: str


def is_enforced(context: Context, table: Table) -> bool:
    """A cluster with too few nodes for guests survives nothing whatever is declared: that is a lab's
    choice, and nothing is refused."""
    cluster = context.cluster
    return (
        cluster.admission == "enforce"
        and cluster.tolerate_nodes > 0
        and len(table.board.hosts) > cluster.tolerate_nodes
    )


def margin(found: Iterable[Loss]) -> Margin:
    """How much is missing at every loss that does not hold."""
    return {
        loss.lost: (max(0, -loss.spare_mib), len(loss.homeless))
        for loss in found
        if loss.verdict is not CapacityVerdict.HOLDS
    }


def is_worse(found: Iterable[Loss], than: Margin) -> bool:
    """Whether any loss leaves more without a place, or as many with more missing."""
    return any(entry > than.get(lost, (0, 0)) for lost, entry in margin(found).items())


# --- guests that ask for more ----------------------------------------------------------------------


def denied(
    context: Context, table: Table, old: Guest | None, new: Guest, node: NodeName
) -> Denied | None:
    """Whether a guest that stays on its node may ask for more: room first, then N-1.

    The table is as it stands before the change, with `old` on it.
    """
    trial = table.copy()
    if old is not None:
        trial.take(old, node)
    short = short_of(trial.board, node, new)
    if short is not None:
        return _no_room(trial, node, new, old, short)
    if not is_enforced(context, table):
        return None
    tolerate = context.cluster.tolerate_nodes
    trial.put(new, node)
    then = trial.losses(tolerate)
    if holds(then) or not is_worse(then, margin(table.losses(tolerate))):
        return None
    before = margin(table.losses(tolerate))
    worst = _worst(
        loss
        for loss in then
        if margin([loss]).get(loss.lost, (0, 0)) > before.get(loss.lost, (0, 0))
    )
    text, remedy = _said(worst)
    return Denied(code="n-minus-1", text=text, remedy=remedy)


def _no_room(
    table: Table, node: NodeName, new: Guest, old: Guest | None, short: FitFailure
) -> Denied:
    if short is FitFailure.MEMORY:
        had = 0 if old is None else old.memory_mib
        text = f"{node} has {max(0, table.board.free_mib[node] - had)} MiB free"
    else:
        text = f"{node}: {sentence(short, table.board, node, new)}"
    return Denied(code="no-room", text=text, remedy=f"pvc vm migrate {new.name}")


# --- new guests ------------------------------------------------------------------------------------


def refused(
    context: Context,
    table: Table,
    before: Table,
    placed: Sequence[tuple[Guest, NodeName]],
) -> Mapping[VmName, Loss]:
    """New guests that N-1 does not allow, each with the loss that shows it; taken off the table.

    Args:
        context: what the cluster says of admission.
        table: with all new guests.
        before: without those of `placed`.
        placed: new guests, in the order in which they are let in.
    """
    tolerate = context.cluster.tolerate_nodes
    if not is_enforced(context, table) or not placed:
        return {}
    now = table.losses(tolerate)
    if holds(now):
        return {}
    start = before.losses(tolerate)
    limit = margin(start)
    if not is_worse(now, limit):
        return {}
    search = _Search(before.copy(), tolerate, limit)
    found: dict[VmName, Loss] = {}
    rest = list(placed)
    while rest:
        admitted = search.longest_admitted(rest)
        for guest, node in rest[:admitted]:
            search.trial.put(guest, node)
        rest = rest[admitted:]
        if not rest:
            break
        worst = search.worst_with(*rest[0])
        count = 1 if len(found) < _REFUSALS_SEARCHED_MAX and not search.is_spent else len(rest)
        found |= {guest.name: worst for guest, _ in rest[:count]}
        rest = rest[count:]
    for guest, node in placed:
        if guest.name in found:
            table.take(guest, node)
    return found


class _Search:
    """Which new guests leave every loss as it was."""

    def __init__(self, trial: Table, tolerate: int, limit: Margin) -> None:
        self.trial, self._tolerate, self._limit = trial, tolerate, limit
        self._looked_at = 0

    @property
    def is_spent(self) -> bool:
        return self._looked_at > _LOSSES_SEARCHED_MAX

    def longest_admitted(self, rest: Sequence[tuple[Guest, NodeName]]) -> int:
        """How many from the front leave the margin no worse than it is. More guests never help, so
        the answer can be searched by halves."""
        return _last_true(
            len(rest), lambda count: not is_worse(self._with(rest[:count]), self._limit)
        )

    def worst_with(self, guest: Guest, node: NodeName) -> Loss:
        found = self._with([(guest, node)])
        return _worst(loss for loss in found if is_worse([loss], self._limit))

    def _with(self, guests: Iterable[tuple[Guest, NodeName]]) -> tuple[Loss, ...]:
        tried = self.trial.copy()
        for guest, node in guests:
            tried.put(guest, node)
        found = tried.losses(self._tolerate)
        self._looked_at += len(found)
        return found


def _last_true(most: int, is_true: Callable[[int], bool]) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if is_true(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _worst(found: Iterable[Loss]) -> Loss:
    return min(found, key=lambda loss: (loss.spare_mib, loss.lost))


# --- what the report says --------------------------------------------------------------------------


def report_refused(draft: Draft, doc: Document, loss: Loss) -> None:
    text, remedy = _said(loss)
    draft.blocked(doc.address, "n-minus-1", f"with it, {text}", remedy, doc.place(()))


def homeless_words(loss: Loss) -> str:
    """`web1, web2 and 3 more`."""
    names = ", ".join(loss.homeless[:_NAMES_SHOWN_MAX])
    more = len(loss.homeless) - _NAMES_SHOWN_MAX
    return f"{names} and {more} more" if more > 0 else names


def _said(loss: Loss) -> tuple[str, str]:
    """What would be lost, and the text that would allow it."""
    match loss.bound:
        case Bound.LIMIT | Bound.SEARCH:
            lack, remedy = f": memory would be enough, but {loss.why}", "add memory or a node"
        case Bound.RULE | Bound.PIGEONHOLE if loss.spare_mib >= 0:
            lack = f": {loss.why}"
            remedy = "set `strict: false` in the rule, `ha: {relocate: false}` in the guest"
        case _ if loss.spare_mib < 0:
            lack, remedy = f": {-loss.spare_mib} MiB are missing", "add memory or a node"
        case _:
            lack, remedy = f": {loss.why}", "add a node"
    text = f"the loss of {loss.label} would leave {homeless_words(loss)} without a place{lack}"
    return text, f"{remedy}, or set `ha: {{admission: warn}}` in cluster.yaml"
