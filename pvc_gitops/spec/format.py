"""The one way a document is laid out: modeline, two spaces, doubtful words in quotes.

Comments stay. Nothing that a document says may change: the result is parsed again and compared, and
a text that would say something else is not handed out.
"""

from __future__ import annotations

import io
import re
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pvc_gitops.model.document import Kind, Value
from pvc_gitops.spec.documents import RawPath, Refused, Spot, Spots, decode, lines_of, parse
from pvc_gitops.spec.scalars import Resolver, resolve
from pvc_gitops.spec.schema_files import modeline
from pvc_gitops.spec.source import schemas

WIDTH: Final = 100_000  # of a line: nothing is wrapped anew
_MODELINE: Final = re.compile(r"#\s*yaml-language-server:\s*\$schema=")


class NotFormatted(Exception):
    """The text stays as it is; the message says why."""


def format_document(kind: Kind, data: bytes) -> bytes:
    """The document as `pvc fmt` writes it.

    Raises:
        NotFormatted: it is no YAML that we read, or could not be laid out without changing it.
    """
    if kind is Kind.SECRET:
        return data  # sops writes these, and its checksum covers them
    try:
        text = _with_quotes(kind, data)
        wanted = parse(text.encode(), Resolver())
    except Refused as err:
        raise NotFormatted(f"it is not read at all: {err}") from err
    result = _with_modeline(kind, _laid_out(text)).encode()
    try:
        is_same = parse(result, Resolver()) == wanted
    except Refused:
        is_same = False
    if not is_same:
        raise NotFormatted("laying it out would change what it says")
    return result


def _with_quotes(kind: Kind, data: bytes) -> str:
    """Quotes around plain words of text fields that some reader of YAML takes for something else."""
    text = decode(data)
    spots = Spots()
    parse(data, Resolver(), spots)
    schema = schemas()[kind]
    doubtful = [
        spot
        for path, spot in spots.at.items()
        if spot.is_plain and spot.text and _is_text_field(schema, path) and _is_doubtful(spot.text)
    ]
    if not doubtful:
        return text
    lines = lines_of(text)
    # From the end, so that columns of what comes before stay true.
    for spot in sorted(doubtful, key=_end_first):
        line = lines[spot.line - 1]
        start = spot.column - 1
        lines[spot.line - 1] = f'{line[:start]}"{spot.text}"{line[start + spot.width :]}'
    return "\n".join(lines)


def _end_first(spot: Spot) -> tuple[int, int]:
    return -spot.line, -spot.column


def _is_doubtful(text: str) -> bool:
    # 1.1 readers take digits with colons for numbers to the base of 60; MACs are among them.
    is_base_60 = re.fullmatch(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+", text) is not None
    is_mac = re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text) is not None
    value = resolve(text)
    return is_base_60 or is_mac or not (isinstance(value, str) or value is None)


def _is_text_field(schema: dict[str, Any], path: RawPath) -> bool:
    for part in path:
        below = (
            schema.get("items")
            if isinstance(part, int)
            else schema.get("properties", {}).get(part) or schema.get("additionalProperties")
        )
        if not isinstance(below, dict):
            return False
        schema = below
    # What needs a unit is not mended by quotes; enumerated words are not either.
    return (
        schema.get("type") == "string"
        and "enum" not in schema
        and (schema.get("x-format") in (None, "mac"))
    )


def _laid_out(text: str) -> str:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    try:
        loaded: Value = yaml.load(text)
        yaml.dump(loaded, out)
    except (YAMLError, ValueError) as err:
        raise NotFormatted(f"it cannot be laid out: {err}") from err
    lines = [line.rstrip() for line in out.getvalue().split("\n")]
    return "\n".join(lines).rstrip("\n") + "\n"


def _with_modeline(kind: Kind, text: str) -> str:
    rest = [line for line in text.split("\n") if not _MODELINE.match(line)]
    return "\n".join([modeline(kind), *rest])
