"""What a plain scalar means: YAML 1.2's core schema, narrowed to one way of writing each value.

A scalar that some reader of YAML (1.1 or 1.2) takes for something other than text, and that is not
the one plain way of writing that something, is `Ambiguous`: it fits no field, so the schema refuses
it and the message shows the quoted form. `52:54:00:12:34:56` is text in 1.2 and stays text; `pvc
fmt` quotes it for the sake of 1.1 readers.
"""

from __future__ import annotations

import re
from typing import Final

from pvc_gitops.model.document import Value

# 18 digits fit 64 bits in every language; int() of more than 4,300 digits raises in Python.
_INT: Final = re.compile(r"(0|-?[1-9][0-9]{0,17})\Z")
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})\.[0-9]{0,14}[1-9]\Z")
# Numbers of YAML 1.1 or 1.2 in any other dress: 0123 1.10 1e5 0x1F 0o7 +5 .5 5. 1_000 .inf .nan
_NUMBER_LIKE: Final = re.compile(
    r"""[-+]?( \.(inf|Inf|INF|nan|NaN|NAN)
             | 0[xX][0-9a-fA-F_]+ | 0[oO]?[0-7_]+ | 0b[01_]+
             | [0-9][0-9_]* (\.[0-9_]*)? ([eE][-+]?[0-9]+)?
             | \.[0-9][0-9_]* ([eE][-+]?[0-9]+)? )\Z""",
    re.VERBOSE,
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?\Z")
_WORDS_OF_1_1: Final = frozenset(
    word
    for lower in ("yes", "no", "on", "off", "y", "n")
    for word in (lower, lower.capitalize(), lower.upper())
)
_CONSTANTS: Final[dict[str, Value]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_FIRST_OF_NUMBERS: Final = frozenset("0123456789+-.")


class Ambiguous:
    """A plain scalar that readers disagree about. Of no JSON type, so no field takes it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Ambiguous({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ambiguous) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def resolve(text: str) -> Value:  # noqa: PLR0911  a chain of patterns
    """The value of a plain scalar."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text in _WORDS_OF_1_1:
        return Ambiguous(text)
    if text[0] not in _FIRST_OF_NUMBERS:
        return text
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    if _NUMBER_LIKE.match(text) or _DATE.match(text):
        return Ambiguous(text)
    return text


class Resolver(dict[str, Value]):
    """Remembers what it resolved: a repository says the same few hundred words again and again."""

    def __missing__(self, text: str) -> Value:
        value = self[text] = resolve(text)
        return value
