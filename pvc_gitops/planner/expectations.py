"""Whether a plan is what the repository's authors expect of every plan (`tests/*.yaml`). Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.model.document import Kind, Spec
from pvc_gitops.model.fields import Disposition
from pvc_gitops.model.ids import Address, VmName
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.plan import Action, CapacityVerdict, Change, ItemKind, Plan
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.units import duration_s
from pvc_gitops.model.values import dataclass
from pvc_gitops.planner import lines

_NAMED_MAX: Final = 10  # of a failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, and where it stands."""

    name: str
    file: str
    line: int
    select: Spec
    expect: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A rule that holds, or each object of which it does not, in a sentence."""

    rule: Rule
    failures: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A plan, looked up by address."""

    plan: Plan
    spec: ClusterSpec
    inventory: Inventory
    changes: Mapping[Address, Change]
    owners: Mapping[str, str]  # guest -> the node where it is
    places: Mapping[str, str]  # guest -> the node where it will be, where that is chosen
    waiting: frozenset[Address]  # whose restart waits for its window
    migrating: frozenset[Address]

    def tags(self, of: Address) -> frozenset[str]:
        doc, record = self.spec.documents.get(of), self.inventory.applied.get(of)
        after = () if doc is None else doc.tags
        return frozenset({*after, *(() if record is None else record.tags)})

    def groups(self, of: Address) -> frozenset[str]:
        doc, record = self.spec.documents.get(of), self.inventory.applied.get(of)
        specs = [each.spec for each in (doc, record) if each is not None]
        return frozenset(
            group for each in specs for group in (each.get("placement") or {}).get("groups", ())
        )


def verdicts(
    rules: tuple[Rule, ...], plan: Plan, spec: ClusterSpec, inventory: Inventory
) -> tuple[Verdict, ...]:
    """Of every rule, in order."""
    case = _Case(
        plan=plan,
        spec=spec,
        inventory=inventory,
        changes={change.address: change for change in plan.changes},
        owners={vm: placed.owner for vm, placed in inventory.placements.items()},
        places={choice.vm: choice.node for choice in plan.placement},
        waiting=frozenset(
            item.address
            for item in plan.report
            if item.kind is ItemKind.WAITING and "window" in item.code
        ),
        migrating=frozenset(
            step.address for step in plan.steps if step.operation.value.startswith("vm.migrate")
        ),
    )
    return tuple(
        Verdict(rule=rule, failures=_shortened(tuple(_failures(rule, case)))) for rule in rules
    )


def _shortened(found: tuple[str, ...]) -> tuple[str, ...]:
    more = len(found) - _NAMED_MAX
    return found if more <= 0 else (*found[:_NAMED_MAX], f"and {more} more")


# --- which objects -----------------------------------------------------------------------------------


def selected(select: Spec, case: _Case) -> tuple[Address, ...]:
    """Everything declared or owned that the selector means, by address."""
    everything = {*case.spec.documents, *case.inventory.applied, *case.changes}
    return tuple(sorted(of for of in everything if _is_meant(of, select, case)))


def _is_meant(of: Address, select: Spec, case: _Case) -> bool:
    addresses, kinds = select["addresses"], select["kinds"]
    if addresses and not _matches(of, addresses):
        return False
    if kinds and of.partition("/")[0] not in kinds:
        return False
    if select["tags"] and not case.tags(of) & set(select["tags"]):
        return False
    if select["groups"] and not case.groups(of) & set(select["groups"]):
        return False
    return not _matches(of, select["except"])


def _matches(of: Address, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(of, pattern) for pattern in patterns)


# --- what is expected --------------------------------------------------------------------------------


def _failures(rule: Rule, case: _Case) -> Iterator[str]:
    expect = rule.expect
    meant = selected(rule.select, case)
    if not meant:
        yield "it selects nothing that is declared or applied: correct it, or take it out"
        return
    if not any(expect.get(word) for word in _EXPECTATIONS):
        yield "it expects nothing: write at least one word under expect"
        return
    for word, failures in _EXPECTATIONS.items():
        if expect.get(word):
            yield from failures(expect[word], meant, case)


def _touches(wanted: str, meant: tuple[Address, ...], case: _Case) -> Iterator[str]:
    if wanted == "all":
        yield from (f"{of} does not change" for of in meant if of not in case.changes)
        return
    hit = set(meant) if wanted == "nothing" else set(case.changes) - set(meant)
    yield from (_said(case.changes[of]) for of in sorted(hit & set(case.changes)))


def _never(words: list[str], meant: tuple[Address, ...], case: _Case) -> Iterator[str]:
    for of in meant:
        for word in words:
            if _HAPPENS[word](of, case):
                change = case.changes.get(of)
                about = "" if change is None else f" ({_said(change)})"
                yield f"{of}: {word}{about}"


def _dispositions(allowed: list[str], meant: tuple[Address, ...], case: _Case) -> Iterator[str]:
    for of in meant:
        change = case.changes.get(of)
        for field in () if change is None else change.fields:
            if field.disposition.value not in allowed:
                yield f"{of}: {field.path} costs {field.disposition.value}"


def _max_downtime(limit: str, meant: tuple[Address, ...], case: _Case) -> Iterator[str]:
    for of in meant:
        change = case.changes.get(of)
        if change is not None and change.downtime_s > duration_s(limit):
            yield f"{of}: down for {lines.seconds(change.downtime_s)}, {limit} is the most"


def _blocked(wanted: str, meant: tuple[Address, ...], case: _Case) -> Iterator[str]:
    refused = {
        item.address: item.text for item in case.plan.report if item.kind is ItemKind.BLOCKED
    }
    if wanted == "all":
        yield from (f"{of} is not blocked" for of in meant if of not in refused)
    else:
        yield from (f"{of} is blocked: {refused[of]}" for of in meant if of in refused)


def _n1(_: str, __: tuple[Address, ...], case: _Case) -> Iterator[str]:
    for loss in (*case.plan.capacity, *case.plan.during):
        if loss.verdict is not CapacityVerdict.HOLDS:
            named = ", ".join(loss.homeless[:3]) or "not proven"
            yield f"N-1 {loss.verdict}: without {loss.label}: {named}"


def _said(change: Change) -> str:
    what = "+".join(change.actions)
    fields = ", ".join(field.path for field in change.fields)
    return f"{change.address}: {what}" + (f" {fields}" if fields else "")


_EXPECTATIONS: Final[Mapping[str, Callable[..., Iterator[str]]]] = MappingProxyType(
    {
        "touches": _touches,
        "never": _never,
        "dispositions": _dispositions,
        "max_downtime": _max_downtime,
        "blocked": _blocked,
        "n1": _n1,
    }
)


# --- what happens ------------------------------------------------------------------------------------


def _acts(*actions: Action) -> Callable[[Address, _Case], bool]:
    def happens(of: Address, case: _Case) -> bool:
        change = case.changes.get(of)
        return change is not None and change.actions == actions

    return happens


def _restarts(of: Address, case: _Case) -> bool:
    change = case.changes.get(of)
    if of in case.waiting:
        return True
    return change is not None and (
        change.downtime_s > 0 or change.actions == (Action.DELETE, Action.CREATE)
    )


def _migrates(of: Address, case: _Case) -> bool:
    change = case.changes.get(of)
    costs = () if change is None else [field.disposition for field in change.fields]
    return of in case.migrating or Disposition.MIGRATE in costs


def _leaves(of: Address, case: _Case) -> bool:
    kind, _, name = of.partition("/")
    change = case.changes.get(of)
    if change is not None and Action.DELETE in change.actions:
        return True
    if kind != Kind.VM or VmName(name) not in case.owners:
        return False
    moved = case.places.get(name, case.owners[name]) != case.owners[name]
    return moved or of in case.migrating


_HAPPENS: Final[Mapping[str, Callable[[Address, _Case], bool]]] = MappingProxyType(
    {
        "create": _acts(Action.CREATE),
        "update": _acts(Action.UPDATE),
        "delete": _acts(Action.DELETE),
        "replace": _acts(Action.DELETE, Action.CREATE),
        "restore": _acts(Action.RESTORE),
        "move": _acts(Action.MOVE),
        "adopt": _acts(Action.ADOPT),
        "restart": _restarts,
        "migrate": _migrates,
        "leave": _leaves,
    }
)
