"""What nodes say to each other on port 7481: one question, one answer, each a line of JSON.

Invariant: whatever bytes come, reading them gives a Question, an Answer or a ValueError, and costs no
more than the limits here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from pvc_gitops.model.ids import NodeName

PORT: Final = 7481
VERSION: Final = 1  # of this protocol; another one is refused in words
QUESTION_BYTES_MAX: Final = 16 * 1024  # a certificate request has 400 bytes
ANSWER_BYTES_MAX: Final = 64 * 1024  # the founding record of a large cluster has 3 KiB
KNOWN_MAX: Final = 64  # commits that whoever asks for objects names as known
WORDS_MAX: Final = 1000  # of a refusal: it is shown to people


class Verb(StrEnum):
    """What may be asked."""

    RECORD = "record"  # the founding record
    CERTIFICATE = "certificate"  # sign my key; the only question that needs no certificate
    SECRETS = "secrets"  # what my node needs, to its own certificate only
    OBJECTS = "objects"  # git objects of an accepted commit; a bundle follows the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A verb and what it is about; `fields` hold text only."""

    verb: Verb
    fields: Mapping[str, str]

    def to_line(self) -> bytes:
        return _line({"version": VERSION, "verb": self.verb, "fields": dict(self.fields)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No, and what to do about it."""

    reason: str
    hint: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.hint}" if self.hint else self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the other side knows: JSON values. `bytes_after`: length of the raw bytes that follow."""

    value: Mapping[str, Any]
    bytes_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, as its certificate proves: the node's name and the fingerprint of its key."""

    name: NodeName
    key: str


def read_question(line: bytes) -> Question:
    """Raises ValueError in words for the one who asked."""
    raw = _object(line)
    if raw.get("version") != VERSION:
        raise ValueError(f"protocol {raw.get('version')!r}; this node speaks {VERSION}")
    if raw.keys() != {"version", "verb", "fields"}:
        raise ValueError(f"keys {sorted(raw)}, expected version, verb, fields")
    fields = raw["fields"]
    if raw["verb"] not in tuple(Verb):
        raise ValueError(f"unknown verb {raw['verb']!r}; there are {', '.join(Verb)}")
    if not isinstance(fields, dict) or not all(isinstance(each, str) for each in fields.values()):
        raise ValueError("fields is not an object of texts")
    return Question(verb=Verb(raw["verb"]), fields=MappingProxyType(fields))


def answer_line(answer: Answer | Refusal) -> bytes:
    """As it goes over the wire."""
    if isinstance(answer, Refusal):
        refused = {"reason": answer.reason[:WORDS_MAX], "hint": answer.hint[:WORDS_MAX]}
        return _line({"version": VERSION, "refused": refused})
    value = dict(answer.value)
    return _line({"version": VERSION, "value": value, "bytes_after": answer.bytes_after})


def read_answer(line: bytes) -> Answer | Refusal:
    """Raises ValueError."""
    raw = _object(line)
    if raw.get("version") != VERSION:
        raise ValueError(f"protocol {raw.get('version')!r}; this node speaks {VERSION}")
    if raw.keys() == {"version", "refused"}:
        refused = raw["refused"]
        if isinstance(refused, dict) and refused.keys() == {"reason", "hint"}:
            words = {key: str(each)[:WORDS_MAX] for key, each in refused.items()}
            return Refusal(**words)
    if raw.keys() == {"version", "value", "bytes_after"}:
        value, after = raw["value"], raw["bytes_after"]
        if isinstance(value, dict) and isinstance(after, int) and after >= 0:
            return Answer(value=value, bytes_after=after)
    raise ValueError("neither an answer nor a refusal")


def _object(line: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ValueError("not a line of JSON") from err
    if not isinstance(raw, dict):
        raise ValueError("not a JSON object")
    return raw


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
