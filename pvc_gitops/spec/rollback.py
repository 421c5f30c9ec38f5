"""What a commit changed, whether another one still holds it, and the way back of what it moved.

Pure, over resolved specs: a template's change is the change of every guest that it reaches. A change is
held field by field, so that an unrelated edit of the same document undoes no rollback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pvc_gitops.model.document import Document, FieldPath, Value
from pvc_gitops.model.ids import Address
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.transitions import Transition, Transitions, Word
from pvc_gitops.model.values import dataclass, replace

_NOTHING: Final = "nothing"
_TAGS: Final = "tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """One thing that a commit made different: a field, or with an empty path a whole object, which
    it made (`is_there`) or took away."""

    address: Address
    path: FieldPath
    value: str  # as text, for comparing; "" of whole objects
    is_there: bool


def touches(before: ClusterSpec, after: ClusterSpec) -> tuple[Touch, ...]:
    """Everything that is declared differently in `after`, in order of address and path."""
    found: list[Touch] = []
    for of in sorted(before.documents.keys() | after.documents.keys()):
        old, new = before.documents.get(of), after.documents.get(of)
        if old is None or new is None:
            found.append(Touch(address=of, path=(), value="", is_there=new is not None))
            continue
        was, now = _fields(old), _fields(new)
        found += [
            Touch(address=of, path=path, value=now.get(path, ""), is_there=path in now)
            for path in sorted(was.keys() | now.keys())
            if was.get(path) != now.get(path)
        ]
    return tuple(found)


def still_held(
    changes: Iterable[Touch], tip: ClusterSpec, good: ClusterSpec
) -> tuple[Address, ...]:
    """The addresses at which `tip` is still as the changes left it, and not as it is in `good`."""
    fields: dict[Address, tuple[_Fields | None, _Fields | None]] = {}
    held: set[Address] = set()
    for touch in changes:
        of = touch.address
        if of in held:
            continue
        if of not in fields:
            fields[of] = (_declared(tip, of), _declared(good, of))
        here, there = fields[of]
        if not touch.path:
            is_same = (here is not None) is touch.is_there
            is_good = (here is None) is (there is None)
        else:
            is_same = here is not None and _at(here, touch.path) == (touch.is_there, touch.value)
            is_good = (
                there is not None
                and here is not None
                and (_at(here, touch.path) == _at(there, touch.path))
            )
        if is_same and not is_good:
            held.add(of)
    return tuple(sorted(held))


def returning(good: ClusterSpec, later: Iterable[ClusterSpec]) -> ClusterSpec:
    """`good` as the commit to go back to: what later commits moved is moved back.

    Args:
        good: the earlier commit.
        later: the accepted commits after it, the oldest first.
    """
    now: dict[Address, Transition] = {}  # where an object of `good` is by now
    known = {(i.word, i.address, i.source) for i in good.transitions.items}
    for spec in later:
        for item in spec.transitions.items:
            is_new = (item.word, item.address, item.source) not in known
            if item.word is Word.MOVED and item.source is not None and is_new:
                known.add((item.word, item.address, item.source))
                first = next((a for a, t in now.items() if t.address == item.source), item.source)
                now[first] = item
    back = tuple(
        Transition(word=Word.MOVED, address=first, source=item.address, place=item.place)
        for first, item in sorted(now.items())
        if first in good.documents and item.address not in good.documents
    )
    if not back:
        return good
    return replace(good, transitions=Transitions((*back, *good.transitions.items)))


_Fields = Mapping[FieldPath, str]


def _declared(spec: ClusterSpec, of: Address) -> _Fields | None:
    document = spec.documents.get(of)
    return None if document is None else _fields(document)


def _at(fields: _Fields, path: FieldPath) -> tuple[bool, str]:
    return path in fields, fields.get(path, "")


def _fields(document: Document) -> dict[FieldPath, str]:
    """Every leaf by its path. Lists of named things are maps by then; another list is one leaf."""
    found = dict(_leaves((), document.spec))
    if document.tags:
        found[(_TAGS,)] = repr(sorted(document.tags))
    return found


def _leaves(path: FieldPath, value: Value) -> Iterator[tuple[FieldPath, str]]:
    if isinstance(value, Mapping):  # an empty one holds nothing that somebody could undo
        for key in value:
            yield from _leaves((*path, str(key)), value[key])
    else:
        yield path, _NOTHING if value is None else repr(value)
