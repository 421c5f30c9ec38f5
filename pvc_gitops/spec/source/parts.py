"""The parts of which schemas are made, in the common subset of draft 7 and 2020-12.

Every part returns a plain JSON Schema. Objects are closed (`additionalProperties: false`) and
nothing is shared by `$ref`: language servers of all ages then flag unknown keys alike. Keywords of
ours begin with `x-`: `x-owner`, `x-disposition`, `x-format` (how a value is made canonical),
`x-reference` (the kind that a name refers to).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pvc_gitops.model.document import Kind, Value
from pvc_gitops.model.units import DURATION_PATTERN, SIZE_PATTERN

Schema = dict[str, Any]

NAME_PATTERN: Final = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"  # a DNS label, RFC 1123 section 2.1
TAG_PATTERN: Final = "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"
DOMAIN_PATTERN: Final = (
    "^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
)
_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = f"({_OCTET}[.]){{3}}{_OCTET}"
# Only the shape: `checks` parses IPv6 addresses, since a full pattern helps no reader.
_IPV6: Final = "[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]{1,43}"
IPV4_PATTERN: Final = f"^{_IPV4}$"
IPV4_SUBNET_PATTERN: Final = f"^{_IPV4}/([0-9]|[12][0-9]|3[0-2])$"
IPV6_PATTERN: Final = f"^{_IPV6}$"
IPV6_SUBNET_PATTERN: Final = f"^{_IPV6}/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])$"
IP_PATTERN: Final = f"^({_IPV4}|{_IPV6})$"
MAC_PATTERN: Final = "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"
# Text of one line: no control characters, so that no message and no log can be forged with it.
LINE_PATTERN: Final = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$"
TEXT_PATTERN: Final = "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*$"
LIST_ITEMS_MAX: Final = 1000  # of any list without a tighter limit of its own

_MISSING: Final = object()
_DISPOSITIONS: Final = {
    "live": "Changes live.",
    "migrate": "A change takes effect at the next live migration.",
    "reboot": "A change takes effect at the next stop and start.",
    "replace": "A change replaces the object.",
    "immutable": "Cannot be changed.",
    "create": "Read only when the object is made.",
}


def _field(schema: Schema, description: str, default: Value, changes: str, **more: Value) -> Schema:
    # The disposition goes into the text too: hovering in an editor shows the description only.
    words = [description]
    if default is not _MISSING and not isinstance(default, (dict, list)):
        words.append(f"Default {str(default).lower() if isinstance(default, bool) else default}.")
    words.append(_DISPOSITIONS[changes])
    result = {"description": " ".join(words), **schema}
    if default is not _MISSING:
        result["default"] = default
    result |= {key.replace("_", "-"): value for key, value in more.items() if value is not None}
    return result | {"x-owner": "git", "x-disposition": changes}


def text(
    description: str,
    example: str,
    *,
    pattern: str = LINE_PATTERN,
    longest: int = 255,
    default: Value = _MISSING,
    changes: str = "live",
    x_format: str | None = None,
    x_reference: Kind | None = None,
) -> Schema:
    """A string. Every string has a pattern and a longest length."""
    schema = {"type": "string", "pattern": pattern, "minLength": 1, "maxLength": longest}
    return _field(
        schema,
        description,
        default,
        changes,
        examples=[example],
        x_format=x_format,
        x_reference=None if x_reference is None else x_reference.value,
    )


def name(description: str, example: str, **more: Value) -> Schema:
    """A name of ours."""
    return text(description, example, pattern=NAME_PATTERN, longest=63, **more)


def reference(kind: Kind, description: str, example: str, **more: Value) -> Schema:
    """The name of another object; that it exists is checked after the schemas."""
    return name(description, example, x_reference=kind, **more)


def size(description: str, example: str, **more: Value) -> Schema:
    """An amount of memory or storage."""
    return text(description, example, pattern=SIZE_PATTERN, longest=12, x_format="size", **more)


def duration(description: str, example: str, **more: Value) -> Schema:
    """A length of time."""
    return text(
        description, example, pattern=DURATION_PATTERN, longest=11, x_format="duration", **more
    )


def ipv4(description: str, example: str, **more: Value) -> Schema:
    """An IPv4 address."""
    return text(description, example, pattern=IPV4_PATTERN, longest=15, x_format="ipv4", **more)


def ip(description: str, example: str, **more: Value) -> Schema:
    """An IPv4 or IPv6 address."""
    return text(description, example, pattern=IP_PATTERN, longest=45, x_format="ip", **more)


def ipv4_subnet(description: str, example: str, **more: Value) -> Schema:
    """An IPv4 subnet without host bits."""
    return text(
        description, example, pattern=IPV4_SUBNET_PATTERN, longest=18, x_format="subnet", **more
    )


def mac(description: str, example: str, **more: Value) -> Schema:
    """A MAC address."""
    return text(description, example, pattern=MAC_PATTERN, longest=17, x_format="mac", **more)


def choice(
    description: str,
    meanings: Mapping[str, str],
    *,
    default: Value = _MISSING,
    changes: str = "live",
) -> Schema:
    """One of a few words, each with its meaning."""
    told = "; ".join(f"{word}: {meaning}" for word, meaning in meanings.items())
    schema = {"type": "string", "enum": list(meanings)}
    return _field(
        schema, f"{description} {told}.", default, changes, examples=[next(iter(meanings))]
    )


def whole(
    description: str,
    example: int,
    *,
    least: int,
    most: int,
    default: Value = _MISSING,
    changes: str = "live",
) -> Schema:
    """A whole number."""
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return _field(schema, description, default, changes, examples=[example])


def auto_or_whole(
    description: str, example: int, *, least: int, most: int, changes: str = "live"
) -> Schema:
    """A whole number, or `auto`, which is the default."""
    schema = {
        "type": ["integer", "string"],
        "pattern": "^auto$",
        "maxLength": 4,
        "minimum": least,
        "maximum": most,
    }
    return _field(schema, description, "auto", changes, examples=["auto", example])


def number(
    description: str, example: float, *, least: float, most: float, default: float
) -> Schema:
    """A number that need not be whole."""
    schema = {"type": "number", "minimum": least, "maximum": most}
    return _field(schema, description, default, "live", examples=[example])


def flag(description: str, *, default: bool, changes: str = "live") -> Schema:
    """True or false."""
    return _field({"type": "boolean"}, description, default, changes, examples=[not default])


def record(
    description: str,
    fields: Mapping[str, Schema],
    *,
    required: Sequence[str] = (),
    optional: bool = False,
    changes: str = "live",
) -> Schema:
    """A closed object. Where nothing in it is required, its default is all of its defaults.

    Args:
        description: one sentence.
        fields: by key.
        required: those that have no default.
        changes: the disposition of the object as a whole.
        optional: leave the object out when it is not written, although it could have a default.
    """
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": dict(fields)}
    if required:
        schema["required"] = list(required)
    default: Value = _MISSING
    if not required and not optional:
        default = {key: field["default"] for key, field in fields.items() if "default" in field}
    example = {key: _example(fields[key]) for key in required} or _first_example(fields)
    return _field(schema, description, default, changes, examples=[example])


def rows(
    description: str,
    items: Schema,
    *,
    most: int = LIST_ITEMS_MAX,
    least: int | None = None,
    unique: bool = False,
    changes: str = "live",
    required: bool = False,
) -> Schema:
    """A list. Its default is the empty one, unless it is required."""
    schema: Schema = {"type": "array", "items": items, "maxItems": most}
    if least is not None:
        schema["minItems"] = least
    if unique:
        schema["uniqueItems"] = True
    return _field(
        schema, description, _MISSING if required else [], changes, examples=[[_example(items)]]
    )


def _example(schema: Schema) -> Value:
    return schema["examples"][0]


def _first_example(fields: Mapping[str, Schema]) -> Value:
    key = next(iter(fields))
    return {key: _example(fields[key])}


def document(kind: str, spec: Schema, *, top: Mapping[str, Schema]) -> Schema:
    """The envelope around a spec.

    Args:
        kind: as documents write it.
        spec: the schema of `spec`.
        top: further keys beside `spec`; all of them are required.
    """
    needs_spec = "default" not in spec
    required = ["apiVersion", "kind", "metadata", *(["spec"] if needs_spec else []), *top]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": kind,
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": {
            "apiVersion": _field(
                {"type": "string", "enum": ["pvc/v1"]},
                "The version of this format.",
                _MISSING,
                "live",
                examples=["pvc/v1"],
            ),
            "kind": _field(
                {"type": "string", "enum": [kind]},
                "What this document declares. The folder must agree.",
                _MISSING,
                "immutable",
                examples=[kind],
            ),
            "metadata": _metadata(),
            "spec": spec,
            **top,
        },
    }


def _metadata() -> Schema:
    return record(
        "What the object is called.",
        {
            "name": name(
                "The object's name, the same as the file's without .yaml. It is its identity: "
                "another name is another object.",
                "web1",
                changes="immutable",
            ),
            "description": text(
                "What a person on call should know.",
                "front end",
                pattern=TEXT_PATTERN,
                longest=2000,
                default="",
            )
            | {"minLength": 0},
            "tags": rows(
                "Words to organise by, and to select with in policies and on the command line.",
                text("One word.", "production", pattern=TAG_PATTERN, longest=63),
                most=50,
                unique=True,
            ),
        },
        required=["name"],
    )
