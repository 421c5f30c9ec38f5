"""Schemas compiled to functions: one pass that checks, fills in defaults and makes canonical.

A check takes what the parser left and returns what `Document.spec` holds, or raises `Invalid`
without a word: saying what is wrong, and where, is the work of `explain`, which runs jsonschema on
the few documents that failed. A test holds the two to the same verdict. Checks share what they
return (defaults, remembered texts), so what they return is read-only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import cache
from typing import Final

from pvc_gitops.model.document import Kind, Value
from pvc_gitops.model.units import duration_ms, duration_text, size_mib, size_text
from pvc_gitops.spec.source import schema_of
from pvc_gitops.spec.source.parts import Schema

Check = Callable[[Value], Value]
REMEMBERED_MAX: Final = (
    20_000  # texts of one field; forgets all of them beyond, in a long-lived agent
)


class Invalid(Exception):
    """The value does not meet its schema."""


@cache
def check_of(kind: Kind) -> Check:
    """The check of a whole document of one kind."""
    return compile_schema(schema_of(kind))


def compile_schema(schema: Schema) -> Check:
    """The check of one schema made of `source.parts`."""
    of_type = schema["type"]
    if of_type == "object":
        return _record(schema) if "properties" in schema else _mapping(schema)
    if of_type == "array":
        return _rows(schema)
    if of_type == "string":
        return _word(schema) if "enum" in schema else _text(schema)
    if of_type == "boolean":
        return _flag
    if isinstance(of_type, list):
        return _either(schema)
    return _number(schema)


def _record(schema: Schema) -> Check:
    checks = {key: compile_schema(sub) for key, sub in schema["properties"].items()}
    defaults = {
        key: compile_schema(sub)(sub["default"])
        for key, sub in schema["properties"].items()
        if "default" in sub
    }
    required = frozenset(schema.get("required", ()))

    def check(value: Value) -> Value:
        if value.__class__ is not dict or not required <= value.keys():
            raise Invalid
        result = defaults.copy()
        try:
            for key, item in value.items():
                result[key] = checks[key](item)
        except KeyError:
            raise Invalid from None
        return result

    return check


def _mapping(schema: Schema) -> Check:
    items = schema.get("additionalProperties")
    item_check = None if items is None else compile_schema(items)
    names = schema.get("propertyNames")
    name_check = (
        None if names is None else compile_schema({"minLength": 1, "maxLength": 128} | names)
    )
    least, most = schema.get("minProperties", 0), schema.get("maxProperties", 10**6)

    def check(value: Value) -> Value:
        if value.__class__ is not dict or not least <= len(value) <= most:
            raise Invalid
        if name_check is not None:
            for key in value:
                name_check(key)
        if item_check is None:
            return value
        return {key: item_check(item) for key, item in value.items()}

    return check


def _rows(schema: Schema) -> Check:
    item_check = compile_schema(schema["items"])
    least, most = schema.get("minItems", 0), schema["maxItems"]
    is_unique = schema.get("uniqueItems", False)

    def check(value: Value) -> Value:
        if value.__class__ is not list or not least <= len(value) <= most:
            raise Invalid
        # Items of unique lists are all scalars of one type.
        if is_unique and len(value) > 1 and len(set(map(repr, value))) != len(value):
            raise Invalid
        return [item_check(item) for item in value]

    return check


def _word(schema: Schema) -> Check:
    words = {word: word for word in schema["enum"]}

    def check(value: Value) -> Value:
        if value.__class__ is not str or value not in words:
            raise Invalid
        return value

    return check


def _text(schema: Schema) -> Check:
    match = pattern_of(schema["pattern"]).search
    least, most = schema["minLength"], schema["maxLength"]
    make_canonical = CANONICAL.get(schema.get("x-format", ""))
    remembered: dict[str, str] = {}

    def check(value: Value) -> Value:
        if value.__class__ is not str:
            raise Invalid
        known = remembered.get(value)
        if known is not None:
            return known
        if not least <= len(value) <= most or match(value) is None:
            raise Invalid
        result = value if make_canonical is None else make_canonical(value)
        if len(remembered) >= REMEMBERED_MAX:
            remembered.clear()
        remembered[value] = result
        return result

    return check


def _flag(value: Value) -> Value:
    if value.__class__ is not bool:
        raise Invalid
    return value


def _number(schema: Schema) -> Check:
    classes = (int,) if schema["type"] == "integer" else (int, float)
    least, most = schema["minimum"], schema["maximum"]

    def check(value: Value) -> Value:
        if value.__class__ not in classes or not least <= value <= most:
            raise Invalid
        return value

    return check


def _either(schema: Schema) -> Check:
    check_text = compile_schema({"minLength": 1, **schema, "type": "string"})
    check_number = compile_schema({**schema, "type": "integer"})

    def check(value: Value) -> Value:
        return check_text(value) if value.__class__ is str else check_number(value)

    return check


@cache
def pattern_of(pattern: str) -> re.Pattern[str]:
    """A pattern of JSON Schema in Python's words: `$` is the end, never the place before a newline."""
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))


def _canonical_size(text: str) -> str:
    return text if text == "auto" else size_text(size_mib(text))


def _canonical_duration(text: str) -> str:
    return duration_text(duration_ms(text))


def _canonical_ip(text: str) -> str:
    # Only IPv6 has several ways of writing one address; what is none is refused by `checks`.
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _canonical_subnet(text: str) -> str:
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        return text


CANONICAL: Final[dict[str, Callable[[str], str]]] = {
    "size": _canonical_size,
    "duration": _canonical_duration,
    "mac": str.lower,
    "ip": _canonical_ip,
    "subnet": _canonical_subnet,
}
