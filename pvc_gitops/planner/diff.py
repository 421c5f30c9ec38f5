"""What differs between a declared spec and the applied one, field by field, and what may come into
force now.

A field that may not (disks do not shrink) stays as it is and is reported; the rest of the object
proceeds. A field of disposition `create` is never drift: what the object was made with stays recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from pvc_gitops.model.document import Document, FieldPath, Kind, Spec, Value
from pvc_gitops.model.fields import Disposition, Fields
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.plan import Cause, FieldChange, ItemKind
from pvc_gitops.model.records import Applied
from pvc_gitops.model.units import size_mib
from pvc_gitops.model.values import dataclass

# From cheap to costly. CREATE costs nothing now; IMMUTABLE is never done.
_COST: Final = (
    Disposition.CREATE,
    Disposition.LIVE,
    Disposition.MIGRATE,
    Disposition.REBOOT,
    Disposition.REPLACE,
    Disposition.IMMUTABLE,
)
RESTARTING: Final = frozenset({Disposition.REBOOT, Disposition.MIGRATE})
_SHOWN_MAX: Final = 48  # of a value in a line; a checksum is cut to its first digits
_SHOWN_CUT: Final = 19
_OF_DISKS: Final = (Kind.IMAGE, Kind.VOLUME)
NO_ALIASES: Final[Mapping[Address, Address]] = MappingProxyType({})
TAGS: Final = "tags"  # beside the spec, but a field to people


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A field that stays as it is, and what the report says of it."""

    change: FieldChange
    kind: ItemKind  # BLOCKED, WAITING or NOTE
    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What changes now, what does not, and the spec that this makes."""

    changes: tuple[FieldChange, ...]
    held: tuple[Held, ...]
    spec: Spec

    @property
    def disposition(self) -> Disposition | None:
        """The costliest of what changes now."""
        return max((c.disposition for c in self.changes), key=_COST.index, default=None)

    @property
    def is_replacement(self) -> bool:
        return self.disposition is Disposition.REPLACE


def difference(
    doc: Document,
    applied: Applied,
    fields: Fields,
    *,
    withhold: Iterable[Held] = (),
    aliases: Mapping[Address, Address] = NO_ALIASES,
) -> Difference:
    """Compare, and hold back what may never be done and what the caller withholds by path."""
    found = field_changes(doc, applied, fields, aliases)
    held = {hold.change.path: hold for hold in withhold}
    for change in found:
        refusal = _refusal(doc.kind, change)
        if refusal is not None:
            held[change.path] = refusal
    allowed = tuple(change for change in found if change.path not in held)
    kept = [change for change in found if change.path in held]
    spec = doc.spec if not kept else _patched(doc.spec, kept)
    return Difference(
        changes=allowed,
        held=tuple(held[change.path] for change in found if change.path in held),
        spec=spec,
    )


def field_changes(
    doc: Document,
    applied: Applied,
    fields: Fields,
    aliases: Mapping[Address, Address] = NO_ALIASES,
) -> tuple[FieldChange, ...]:
    """All differences, sorted by path. An item of a named list that comes or goes is one change.
    `aliases`: what old names in the record mean; an object that was renamed is the same one."""
    today = _today(applied, aliases)
    if today == doc.spec and applied.tags == doc.tags:
        return ()  # of most objects there is nothing to say
    changes = [
        FieldChange(
            path=".".join(path),
            before=before,
            after=after,
            disposition=fields.disposition(doc.kind, path),
        )
        for path, before, after in _leaves((), today, doc.spec)
    ]
    if applied.tags != doc.tags:
        changes.append(
            FieldChange(
                path=TAGS,
                before=list(applied.tags),
                after=list(doc.tags),
                disposition=Disposition.LIVE,
            )
        )
    return tuple(sorted(changes, key=lambda change: change.path))


def _today(applied: Applied, aliases: Mapping[Address, Address]) -> Spec:
    """The applied spec with references under the names that their objects have now."""
    if not aliases or aliases.keys().isdisjoint(applied.needs):
        return applied.spec

    def name(kind: Kind, old: str) -> str:
        of = address(kind, old)
        return aliases.get(of, of).partition("/")[2]

    spec = dict(applied.spec)
    if applied.kind is Kind.VOLUME and (spec.get("source") or {}).get("image"):
        spec["source"] = {**spec["source"], "image": name(Kind.IMAGE, spec["source"]["image"])}
    if applied.kind is Kind.VM:
        spec["nics"] = {
            key: {**nic, "network": name(Kind.NETWORK, nic["network"])}
            for key, nic in spec["nics"].items()
        }
        spec["disks"] = {
            key: disk | {kind.value: name(kind, disk[kind]) for kind in _OF_DISKS if disk.get(kind)}
            for key, disk in spec["disks"].items()
        }
        groups = [name(Kind.GROUP, group) for group in spec["placement"]["groups"]]
        spec["placement"] = {**spec["placement"], "groups": groups}
    return spec


def causes(doc: Document, changes: Iterable[FieldChange]) -> tuple[Cause, ...]:
    """Why, with the line of each field; a removed field by the line of its parent."""
    return tuple(
        Cause(
            code="changed",
            text=f"{change.path} {shown(change.before)} -> {shown(change.after)}",
            place=doc.place(tuple(change.path.split("."))),
        )
        for change in changes
    )


def shown(value: Value) -> str:
    """A value in few words."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case dict():
            return ", ".join(f"{k}: {shown(v)}" for k, v in sorted(value.items()))
        case list() | tuple():
            return "[" + ", ".join(shown(item) for item in value) + "]"
        case _:
            text = str(value)
            return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_CUT]}…"


def _leaves(
    path: FieldPath, before: Value, after: Value
) -> Iterator[tuple[FieldPath, Value, Value]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield from _leaves((*path, key), before.get(key), after.get(key))
    elif before != after:
        yield path, before, after


def _refusal(kind: Kind, change: FieldChange) -> Held | None:
    if change.disposition is Disposition.CREATE:
        return Held(
            change=change,
            kind=ItemKind.NOTE,
            code="used-at-rebuild",
            text=f"{change.path} {shown(change.before)} -> {shown(change.after)}: "
            "used at the next rebuild, nothing now",
            remedy="",
        )
    if is_shrink(kind, change):
        what = "disks do not shrink" if kind is Kind.VM else "volumes do not shrink"
        return Held(
            change=change,
            kind=ItemKind.BLOCKED,
            code="shrink",
            text=f"{change.path} {change.before} -> {change.after}: {what}",
            remedy=f"keep `size: {change.before}`",
        )
    if change.disposition is Disposition.IMMUTABLE:
        return Held(
            change=change,
            kind=ItemKind.BLOCKED,
            code="immutable",
            text=f"{change.path} {shown(change.before)} -> {shown(change.after)}: "
            "cannot change while the object lives",
            remedy=f"keep `{change.path}` as it was, or declare a new object under another name",
        )
    return None


def is_shrink(kind: Kind, change: FieldChange) -> bool:
    if not change.before or not change.after:
        return False
    words = change.path.split(".")
    is_size = words == ["size"] if kind is Kind.VOLUME else False
    if kind is Kind.VM:
        is_size = len(words) == 3 and words[0] == "disks" and words[2] == "size"  # noqa: PLR2004  disks.NAME.size
    return is_size and size_mib(change.after) < size_mib(change.before)


def _patched(spec: Spec, kept: Iterable[FieldChange]) -> Spec:
    """`spec` with each of the fields as it was before."""
    result: dict[str, Any] = dict(spec)
    for change in kept:
        if change.path == TAGS:
            continue
        *parents, leaf = change.path.split(".")
        target = result
        for key in parents:
            target[key] = dict(target.get(key) or {})
            target = target[key]
        if change.before is None:
            target.pop(leaf, None)
        else:
            target[leaf] = change.before
    return result
