"""One file's bytes to one value, from libyaml's events, refusing what strict YAML 1.2 leaves out.

Invariant: no recursion and no unbounded work on any input; depth and size stop the loop (libyaml's
own composer crashes on 100,000 brackets, so only its event parser is used). Positions are recorded
only when asked for: a good repository never needs most of them.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Final

from yaml.cyaml import CParser  # type: ignore[attr-defined]  # libyaml's binding, not in the stubs
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.reader import ReaderError

from pvc_gitops.model.document import Value
from pvc_gitops.model.tree import DOCUMENT_BYTES_MAX
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.scalars import Resolver

DEPTH_MAX: Final = 32  # the deepest field of any kind is at 6
NODES_MAX: Final = (
    50_000  # the largest document of DOCUMENT_BYTES_MAX that says anything has 30,000
)
FLAWS_MAX: Final = 20  # of one file; more of the same helps nobody

RawPath = tuple[str | int, ...]
# libyaml counts lines at these; what we show must agree with its marks.
_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE: Final = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff"
_NO_KEY: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something that strict YAML refuses. Lines and columns count from 1."""

    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    width: int = 1


class Refused(Exception):
    """The bytes are no document. Carries at least one flaw."""

    def __init__(self, *flaws: Flaw) -> None:
        self.flaws = flaws
        super().__init__(flaws[0].message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a node stands: its key (its own place, for an item of a list) and its value."""

    key_line: int
    key_column: int
    key_width: int
    line: int
    column: int
    width: int
    text: str | None  # the scalar as written; None for a map or a list
    is_plain: bool


@dataclass(slots=True)
class Spots:
    """The places of one document, filled by `parse` when it is handed one."""

    at: dict[RawPath, Spot] = field(default_factory=dict)


def lines_of(text: str) -> list[str]:
    """The lines as libyaml counts them."""
    return _LINE_BREAK.split(text)


def decode(data: bytes) -> str:
    """The text of a document. Raises Refused."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise Refused(
            Flaw(
                line=1,
                column=1,
                code="too-large",
                message=f"has {len(data)} bytes, {DOCUMENT_BYTES_MAX} is the most for a document",
                hint="large files belong on the server that images come from",
            )
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        before = data[data.rfind(b"\n", 0, err.start) + 1 : err.start]
        raise Refused(
            Flaw(
                line=line,
                column=len(before.decode("utf-8", "replace")) + 1,
                code="not-utf-8",
                message=f"is not UTF-8: byte 0x{data[err.start]:02x}",
                hint="save it as UTF-8 without a byte order mark",
            )
        ) from err
    if text.startswith("\ufeff"):
        raise Refused(
            Flaw(
                line=1,
                column=1,
                code="byte-order-mark",
                message="begins with a byte order mark",
                hint="save it as UTF-8 without a byte order mark",
            )
        )
    return text


def parse(data: bytes, resolver: Resolver, spots: Spots | None = None) -> Value:
    """The value of the one document in `data`.

    Args:
        data: the whole file.
        resolver: remembers plain scalars; share one among the documents of a load.
        spots: filled with the place of every node, when given.

    Raises:
        Refused: with every flaw found before the parser had to stop.
    """
    text = decode(data)
    reader = _Reader(resolver, spots)
    try:
        root = reader.read(CParser(text))
    except MarkedYAMLError as err:
        raise Refused(*reader.flaws, _syntax_flaw(text, err)) from err
    except ReaderError as err:
        raise Refused(*reader.flaws, _unprintable_flaw(text)) from err
    except YAMLError as err:
        raise Refused(*reader.flaws, _flaw_at(1, 1, "syntax", str(err))) from err
    if reader.flaws:
        raise Refused(*reader.flaws)
    return root


class _Reader:
    __slots__ = ("_resolver", "_spots", "flaws")

    def __init__(self, resolver: Resolver, spots: Spots | None) -> None:
        self.flaws: list[Flaw] = []
        self._resolver = resolver
        self._spots = spots

    def read(self, parser: Value) -> Value:  # noqa: C901, PLR0912, PLR0915  one loop, kept flat for speed
        resolver, spots, get_event = self._resolver, self._spots, parser.get_event
        root: Value = _NO_KEY
        container: Value = None
        key: Value = _NO_KEY
        stack: list[tuple[Any, Any]] = []  # (container, key of the value being read)
        key_event: Value = None
        nodes = 0
        while True:
            event = get_event()
            cls = event.__class__
            if cls is ScalarEvent:
                if event.anchor is not None or event.tag is not None:
                    self._note_decoration(event)
                value: Value = event.value
                if container.__class__ is dict and key is _NO_KEY:
                    key, key_event = value, event
                    if value in container or value == "<<":
                        self._note_key(event, value)
                    continue
                if event.style == "":
                    value = resolver[value]
            elif cls is MappingStartEvent or cls is SequenceStartEvent:
                if event.anchor is not None or event.tag is not None:
                    self._note_decoration(event)
                if container.__class__ is dict and key is _NO_KEY:
                    self._stop(event, "complex-key", "a key must be a word, not a list or a map")
                if len(stack) >= DEPTH_MAX:
                    self._stop(event, "too-deep", f"is nested deeper than {DEPTH_MAX} levels")
                value = {} if cls is MappingStartEvent else []
            elif cls is MappingEndEvent or cls is SequenceEndEvent:
                container, _ = stack.pop()
                key = _NO_KEY
                continue
            elif cls is AliasEvent:
                self._note(
                    event, "alias", f"aliases (*{event.anchor}) are not allowed", "write it out"
                )
                value = None
                if container.__class__ is dict and key is _NO_KEY:
                    self._stop(event, "complex-key", "a key must be a word, not an alias")
            elif cls is DocumentStartEvent:
                if root is not _NO_KEY:
                    self._stop(
                        event,
                        "several-documents",
                        "a second document begins here; one file holds one object",
                        "move it to a file of its own",
                    )
                if event.version is not None or event.tags:
                    self._note(
                        event, "directive", "directives (%YAML, %TAG) are not allowed", "remove it"
                    )
                continue
            elif cls is StreamEndEvent:
                break
            elif cls is DocumentEndEvent or cls is StreamStartEvent:
                continue
            else:  # pragma: no cover  libyaml has no other events
                self._stop(event, "syntax", "is not understood")
            nodes += 1
            if nodes > NODES_MAX:
                self._stop(event, "too-many-values", f"holds more than {NODES_MAX} values")
            if spots is not None:
                path = _path(stack, container, key)
                spots.at[path] = _spot(event, key_event if container.__class__ is dict else event)
            if container is None:
                root = value
            elif container.__class__ is dict:
                container[key] = value
            else:
                container.append(value)
            if value.__class__ is dict or value.__class__ is list:
                stack.append((container, key))
                container = value
            key = _NO_KEY
        return None if root is _NO_KEY else root

    def _note(self, event: Value, code: str, message: str, hint: str = "") -> None:
        if len(self.flaws) < FLAWS_MAX:
            self.flaws.append(_event_flaw(event, code, message, hint))

    def _note_decoration(self, event: Value) -> None:
        if event.anchor is not None:
            self._note(event, "anchor", f"anchors (&{event.anchor}) are not allowed", "remove it")
        if event.tag is not None:
            self._note(event, "tag", f"tags ({_shown_tag(event.tag)}) are not allowed", "remove it")

    def _note_key(self, event: Value, key: str) -> None:
        if key == "<<" and event.style == "":
            self._note(event, "merge-key", "merge keys (<<) are not allowed", "write the keys out")
        else:
            self._note(
                event, "duplicate-key", f'"{key[:60]}" stands here twice', "keep one of them"
            )

    def _stop(self, event: Value, code: str, message: str, hint: str = "") -> None:
        raise Refused(*self.flaws, _event_flaw(event, code, message, hint))


def _path(stack: list[tuple[Any, Any]], container: Value, key: Value) -> RawPath:
    parts: list[str | int] = []
    for holder, held in stack:
        if holder.__class__ is dict:
            parts.append(held)
        elif holder is not None:
            parts.append(len(holder) - 1)  # the item is in the list already
    if container.__class__ is dict:
        parts.append(key)
    elif container is not None:
        parts.append(len(container))
    return tuple(parts)


def _spot(event: Value, key_event: Value) -> Spot:
    start, key_start = event.start_mark, key_event.start_mark
    is_scalar = event.__class__ is ScalarEvent
    return Spot(
        key_line=key_start.line + 1,
        key_column=key_start.column + 1,
        key_width=_width(key_event),
        line=start.line + 1,
        column=start.column + 1,
        width=_width(event),
        text=event.value if is_scalar else None,
        is_plain=is_scalar and event.style == "",
    )


def _width(event: Value) -> int:
    start, end = event.start_mark, event.end_mark
    if event.__class__ is not ScalarEvent or start.line != end.line:
        return 1
    return max(1, int(end.column) - int(start.column))


def _event_flaw(event: Value, code: str, message: str, hint: str = "") -> Flaw:
    mark = event.start_mark
    return Flaw(
        line=mark.line + 1,
        column=mark.column + 1,
        code=code,
        message=message,
        hint=hint,
        width=_width(event),
    )


def _flaw_at(line: int, column: int, code: str, message: str, hint: str = "") -> Flaw:
    return Flaw(line=line, column=column, code=code, message=message, hint=hint)


def _syntax_flaw(text: str, err: MarkedYAMLError) -> Flaw:
    mark = err.problem_mark or err.context_mark
    if mark is None:
        return _flaw_at(1, 1, "syntax", f"is not YAML: {err.problem or err}")
    lines = lines_of(text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    before = line[: mark.column + 1]
    if "\t" in before and not before.strip():
        column = before.index("\t") + 1
        return _flaw_at(
            mark.line + 1, column, "tab", "is indented with a tab", "indent with spaces"
        )
    context = f" {err.context}" if err.context else ""
    return _flaw_at(
        mark.line + 1,
        mark.column + 1,
        "syntax",
        f"is not YAML: {err.problem}{context}",
    )


def _unprintable_flaw(text: str) -> Flaw:
    found = re.search(_UNPRINTABLE, text)  # 2 ms to compile, for a rare mistake
    at = 0 if found is None else found.start()
    lines = lines_of(text[:at])
    return _flaw_at(
        len(lines),
        len(lines[-1]) + 1,
        "control-character",
        f"holds a control character (U+{ord(text[at : at + 1] or chr(0)):04X})",
        "remove it; in quotes it may be written as an escape",
    )


def _shown_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:60]
