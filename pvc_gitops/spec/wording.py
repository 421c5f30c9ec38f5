"""One schema error in words: what was expected there, and what to write instead."""

from __future__ import annotations

import re
from typing import Any, Final

from pvc_gitops.model.document import Value
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.documents import RawPath
from pvc_gitops.spec.findings import meant, shown
from pvc_gitops.spec.scalars import Ambiguous
from pvc_gitops.spec.source.parts import NAME_PATTERN, TAG_PATTERN

_UNIT_GUESS: Final = {"size": "GiB", "duration": "s"}
_SIZE_LIKE: Final = re.compile(r"\s*([1-9][0-9]{0,8})\s*([kmgt])(i?b)?\s*\Z", re.IGNORECASE)
_DURATION_LIKE: Final = re.compile(
    r"\s*([0-9]{1,9})\s*(ms|milli|s|sec|m|min|h|hour|d|day)[a-z]*\s*\Z", re.IGNORECASE
)
_DURATION_UNITS: Final = {"ms": "ms", "milli": "ms", "s": "s", "sec": "s", "m": "m", "min": "m",
                          "h": "h", "hour": "h", "d": "d", "day": "d"}  # fmt: skip
_TRUTHS: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false",
                  "n": "false"}  # fmt: skip
_TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a map",
    "array": "a list",
}


@dataclass(frozen=True, slots=True)
class Words:
    """A problem without its place."""

    code: str
    message: str
    hint: str = ""


def wording(error: Value, path: RawPath, written: str) -> Words:  # noqa: PLR0911  one a case
    """Say one jsonschema error.

    Args:
        error: a jsonschema.ValidationError.
        path: of the field, from the document's top.
        written: the scalar as it stands in the file; "" for maps and lists.
    """
    schema, value = error.schema, error.instance
    match error.validator:
        case "type":
            return _type_words(schema, value, path, written)
        case "enum":
            return _enum_words(schema, value)
        case "pattern":
            return _pattern_words(schema, value)
        case "minimum":
            return Words("out-of-range", f"must be at least {schema['minimum']}, not {value}")
        case "maximum":
            return Words("out-of-range", f"must be at most {schema['maximum']}, not {shown(value)}")
        case "minLength":
            return Words("empty-value", "is empty", _example_hint(schema))
        case "maxLength":
            return Words(
                "too-long", f"has {len(value)} characters, {schema['maxLength']} is the most"
            )
        case "maxItems":
            return Words("too-many", f"has {len(value)} items, {schema['maxItems']} is the most")
        case "minItems" | "minProperties":
            return Words("empty-value", "must hold at least one item", _example_hint(schema))
        case "uniqueItems":
            return Words("duplicate-item", "names something twice", "keep one of them")
        case _:
            return Words("schema", f"does not meet its schema ({error.validator})")


def _example_hint(schema: dict[str, Any]) -> str:
    example = schema.get("examples", [None])[0]
    return "" if example is None or isinstance(example, (dict, list)) else f"for example {example}"


def _type_words(  # noqa: PLR0911  one a type
    schema: dict[str, Any], value: Value, path: RawPath, written: str
) -> Words:
    wanted = schema["type"]
    unit = _UNIT_GUESS.get(schema.get("x-format", ""))
    if value is None:
        return Words(
            "empty-value", "is empty", _example_hint(schema) or "give it a value or remove it"
        )
    if wanted == "object" and isinstance(value, str) and path[-1] == "password":
        return Words(
            "plain-secret",
            "holds a value; a reference belongs here",
            "write {secret: NAME}; if it was ever pushed, set a new one",
        )
    if wanted == "string" and unit is not None and _is_number(value):
        # Memory is thought of in MiB where the number is a large one; disks never are.
        is_mib = str(path[-1]).startswith("memory") and len(written) >= 3  # noqa: PLR2004
        return Words("missing-unit", "needs a unit", f"write {written}{'MiB' if is_mib else unit}")
    if wanted == "string" and "enum" in schema and not isinstance(value, (dict, list)):
        return _enum_words(schema, value)
    if wanted == "string" and schema.get("x-format") and not isinstance(value, (dict, list)):
        return _pattern_words(schema, written)
    if wanted == "string" and not isinstance(value, (dict, list)):
        return Words(
            "ambiguous-scalar",
            f"must be text, and {written} is {_taken_for(value)} to readers of YAML",
            f'write "{written}"',
        )
    if wanted == "boolean":
        truth = _TRUTHS.get(written.lower(), "") or (written.lower() if written else "")
        fix = f"write {truth}" if truth in ("true", "false") else "write true or false"
        return Words("wrong-type", f"must be true or false, not {shown(value)}", fix)
    if wanted in ("integer", "number") or isinstance(wanted, list):
        return _number_words(wanted, value)
    if wanted == "array":
        hint = f"write [{written}]" if written else "begin each item with `- `"
        return Words("wrong-type", f"must be a list, not {shown(value)}", hint)
    if wanted == "object":
        known = ", ".join(sorted(schema.get("properties", {})))
        return Words("wrong-type", f"must be a map, not {shown(value)}",
                     f"its keys: {known}" if known else "")  # fmt: skip
    return Words(
        "wrong-type", f"must be {_TYPES[wanted]}, not {shown(value)}", _example_hint(schema)
    )


def _number_words(wanted: str | list[str], value: Value) -> Words:
    told = "auto or a whole number" if isinstance(wanted, list) else _TYPES[wanted]
    hint = ""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        hint = f"write {int(value)} without quotes"
    elif isinstance(value, Ambiguous) and re.fullmatch(r"[0-9]{1,18}(\.[0-9]{1,9})?", value.text):
        number = float(value.text)
        hint = f"write {int(number) if number.is_integer() else number}"
    return Words("wrong-type", f"must be {told}, not {shown(value)}", hint)


def _is_number(value: Value) -> bool:
    if isinstance(value, Ambiguous):
        return value.text.isdigit()
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _taken_for(value: Value) -> str:
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, Ambiguous):
        if value.text.lower() in _TRUTHS:
            return "a truth value"
        return "a date" if re.match(r"[0-9]{4}-", value.text) else "a number"
    return "a number"


def _enum_words(schema: dict[str, Any], value: Value) -> Words:
    words = [str(word) for word in schema["enum"]]
    guess = meant(value, words) if isinstance(value, str) else None
    choices = " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
    hint = f"did you mean {guess}?" if guess else f"write {choices}"
    return Words("unknown-value", f"is {shown(value)}, which is none of {', '.join(words)}", hint)


def _pattern_words(schema: dict[str, Any], value: str) -> Words:
    form = schema.get("x-format", "")
    if form == "size":
        return _size_words(value)
    if form == "duration":
        return _duration_words(value)
    if schema["pattern"] in (NAME_PATTERN, TAG_PATTERN):
        return _name_words(value)
    told = shown(value)
    if value.startswith(" ") or value.endswith((" ", "\n")):
        return Words("bad-value", f"is {told}, with space around it", f"write {value.strip()[:60]}")
    if schema["pattern"].startswith("^ENC"):
        # The value itself is not repeated: a plain secret in a log is one leak more.
        return Words(
            "plain-secret", "is not encrypted", "pvc secret set, or sops encrypt --in-place"
        )
    names = {
        "mac": "a MAC address",
        "ipv4": "an IPv4 address",
        "ip": "an IP address",
        "subnet": "a subnet",
    }
    wrong = f"is not {names[form]}" if form in names else "has not the right form"
    return Words("bad-value", f"is {told}, which {wrong}", _example_hint(schema))


def _size_words(value: str) -> Words:
    like = _SIZE_LIKE.match(value)
    if value.strip().isdigit():
        return Words("missing-unit", "needs a unit", f"write {value.strip()}GiB")
    if like and like[2].lower() != "k":
        return Words("bad-unit", f"is {shown(value)}; units are MiB, GiB and TiB",
                     f"write {like[1]}{like[2].upper()}iB")  # fmt: skip
    return Words("bad-value", f"is {shown(value)}, which is not a size", "for example 20GiB")


def _duration_words(value: str) -> Words:
    like = _DURATION_LIKE.match(value)
    if value.strip().isdigit():
        return Words("missing-unit", "needs a unit", f"write {value.strip()}s")
    if like:
        return Words("bad-unit", f"is {shown(value)}; units are ms, s, m, h and d",
                     f"write {like[1]}{_DURATION_UNITS[like[2].lower()]}")  # fmt: skip
    return Words("bad-value", f"is {shown(value)}, which is not a duration", "for example 30s")


def _name_words(value: str) -> Words:
    better = re.sub(r"[^a-z0-9-]+", "-", value.lower()[:63]).strip("-")
    return Words(
        "bad-name",
        f"is {shown(value)}; names have a-z, 0-9 and -, and begin and end with a letter or digit",
        f"for example {better}" if better else "",
    )
