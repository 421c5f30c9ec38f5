"""Why a document was refused, in words: the slow path, run only on documents that failed.

jsonschema finds the errors; this file says them. One problem a field: a wrong type says all there
is to say, whatever else the schema holds against the value.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from itertools import chain, islice
from typing import Any, Final

import jsonschema
from jsonschema.validators import extend

from pvc_gitops.model.document import DOCUMENT_KINDS, NAMED_LISTS, Kind, Value
from pvc_gitops.model.problem import Problem
from pvc_gitops.spec.canonical import item_name
from pvc_gitops.spec.check import pattern_of
from pvc_gitops.spec.documents import Flaw, RawPath, Refused, Spot, Spots, decode, lines_of, parse
from pvc_gitops.spec.findings import caret, meant, path_text, shown, source_line
from pvc_gitops.spec.scalars import Resolver
from pvc_gitops.spec.source import schemas
from pvc_gitops.spec.wording import Words, wording

KINDS_AS_WRITTEN: Final = {written: kind for kind, (written, _) in DOCUMENT_KINDS.items()}
# What people write who come from elsewhere, where the letters alone do not give it away.
OTHER_WORDS: Final = {
    "cidr": "subnet",
    "ip": "address",
    "ip4": "ipv4",
    "ip6": "ipv6",
    "ram": "memory",
    "cores": "vcpus",
    "cpus": "vcpus",
    "restart_policy": "reboot_for_changes",
    "selector": "strategy",
    "node_selector": "strategy",
    "labels": "tags",
    "networks": "nics",
    "interfaces": "nics",
    "storage": "disks",
    "replicas": "copies",
    "replcfg": "copies",
    "autostart": "run_state",
    "state": "run_state",
}
EXPLAINED_MAX: Final = 100  # of one file: a hostile one has 50,000, and each costs a millisecond
# The first of these that holds speaks for a field.
_PRECEDENCE: Final = ("type", "enum", "minLength", "maxLength", "pattern", "minimum", "maximum")


def _pattern(
    _: Value, pattern: str, instance: Value, __: Value
) -> Iterator[jsonschema.ValidationError]:
    # `$` means the very end, as in `check` and in the schema's own language.
    if isinstance(instance, str) and not pattern_of(pattern).search(instance):
        yield jsonschema.ValidationError("does not match")


def _unique(
    _: Value, wanted: bool, instance: Value, __: Value
) -> Iterator[jsonschema.ValidationError]:
    # Scalars only; jsonschema's own comparison is quadratic.
    if wanted and isinstance(instance, list) and len(set(map(repr, instance))) < len(instance):
        yield jsonschema.ValidationError("not unique")


_Validator: Final = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, {"pattern": _pattern, "uniqueItems": _unique}
)


def explain(kind: Kind, file: str, data: bytes, others: Container[str] = ()) -> tuple[Problem, ...]:
    """What is wrong with a file that should be a document of `kind`.

    Args:
        kind: of the folder that it lies in.
        file: its path.
        data: its bytes.
        others: the paths of the whole repository.

    Returns:
        Problems in order of line; never none for a document that `check` refused.
    """
    stem = file.rsplit("/", 1)[-1].removesuffix(".yaml")
    teller = _Teller(kind, file, f"{kind.value}/{stem}")
    spots = Spots()
    try:
        value = parse(data, Resolver(), spots)
    except Refused as refused:
        return teller.flaws(data, refused.flaws)
    teller.spots, teller.lines = spots, lines_of(decode(data))
    if value is None:
        return (
            teller.tell((), Words("empty-file", "is empty", "remove it, or pvc new writes one")),
        )
    if not isinstance(value, dict):
        words = Words("wrong-type", "is not a document: its top is " + shown(value),
                      "a document begins with apiVersion: pvc/v1")  # fmt: skip
        return (teller.tell((), words),)
    if _names_another_kind(kind, value):
        return (teller.tell(("kind",), _kind_words(kind, file, value.get("kind"))),)
    found = chain(
        _name_problem(teller, kind, file, value, others),
        _twins(teller, kind, value.get("spec")),
        _schema_problems(teller, kind, value),
    )
    return tuple(sorted(islice(found, EXPLAINED_MAX))) or (
        teller.tell((), Words("schema", "does not meet its schema", f"see .pvc/schema for {kind}")),
    )


class _Teller:
    """Makes problems of one file."""

    def __init__(self, kind: Kind, file: str, address: str) -> None:
        self.kind = kind
        self.file = file
        self.address = address
        self.spots = Spots()
        self.lines: list[str] = []

    def flaws(self, data: bytes, flaws: tuple[Flaw, ...]) -> tuple[Problem, ...]:
        # Megabytes of brackets in one line are not split and shown.
        text = data[: 1 << 18].decode("utf-8", "replace")
        lines = lines_of(text)
        return tuple(
            Problem(
                file=self.file,
                line=flaw.line,
                column=flaw.column,
                address=self.address,
                code=flaw.code,
                message=flaw.message,
                hint=flaw.hint,
                source_line=source_line(lines, flaw.line),
                width=flaw.width,
            )
            for flaw in flaws
        )

    def spot(self, path: RawPath) -> Spot | None:
        while path and path not in self.spots.at:
            path = path[:-1]
        return self.spots.at.get(path)

    def tell(self, path: RawPath, words: Words, *, at_key: bool = False) -> Problem:
        spot = self.spot(path)
        line, column, width = (1, 1, 1)
        if spot is not None and path:
            line, column, width = caret(spot, at_key=at_key)
        field = path_text(path)
        text = source_line(self.lines, line)
        if words.code == "plain-secret":
            # A secret that stands here by mistake is not carried on into logs and reports.
            text = text[: column - 1] + "…"
            width = 1
        return Problem(
            file=self.file,
            line=line,
            column=column,
            address=self.address,
            code=words.code,
            message=f"{field} {words.message}" if field else words.message,
            hint=words.hint,
            source_line=text,
            width=width,
        )


def _names_another_kind(kind: Kind, value: dict[str, Any]) -> bool:
    written = value.get("kind")
    return "kind" in value and written != DOCUMENT_KINDS[kind][0]


def _kind_words(kind: Kind, file: str, written: Value) -> Words:
    expected, folder = DOCUMENT_KINDS[kind]
    where = f"{folder}/ holds" if folder else f"{kind}.yaml is"
    known = KINDS_AS_WRITTEN.get(written) if isinstance(written, str) else None
    if known is None:
        hint = f"write kind: {expected}"
    else:
        target = DOCUMENT_KINDS[known][1]
        name = file.rsplit("/", 1)[-1]
        move = f"git mv {file} {target}/{name}" if target else f"move it to {known}.yaml"
        hint = f"write kind: {expected}, or {move}"
    return Words("kind-mismatch", f"is {shown(written)}, but {where} {expected}", hint)


def _name_problem(
    teller: _Teller, kind: Kind, file: str, value: dict[str, Any], others: Container[str]
) -> Iterator[Problem]:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    stem = file.rsplit("/", 1)[-1].removesuffix(".yaml")
    if kind is Kind.CLUSTER or not isinstance(name, str) or name == stem:
        return
    if not re.fullmatch(r"[a-z0-9-]{1,63}", name):
        return  # no name at all; the schema's problem says so
    folder = file[: -len(stem) - len(".yaml")]
    target = f"{folder}{name}.yaml"
    if target in others:
        words = Words("duplicate-name", f"is {name}, which {target} declares",
                      f"set metadata.name: {stem}, as the file is called")  # fmt: skip
    else:
        words = Words("name-mismatch", f"is {name}, but the file is {stem}.yaml",
                      f"set metadata.name: {stem}, or git mv {file} {target}")  # fmt: skip
    yield teller.tell(("metadata", "name"), words)


def _twins(teller: _Teller, kind: Kind, spec: Value) -> Iterator[Problem]:
    """Two items of a named list with one name."""
    for key in NAMED_LISTS.get(kind, ()):
        items = spec.get(key) if isinstance(spec, dict) else None
        seen: set[str] = set()
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if not isinstance(item, dict):
                continue  # its type is a problem of its own
            name = item_name(item)
            if name in seen:
                path: RawPath = ("spec", key, index)
                words = Words("duplicate-name", f'is the second one named "{name[:63]}"',
                              "give it a name of its own")  # fmt: skip
                yield teller.tell((*path, "name") if "name" in item else path, words)
            seen.add(name)


def _schema_problems(teller: _Teller, kind: Kind, value: dict[str, Any]) -> Iterator[Problem]:
    by_path: dict[RawPath, list[jsonschema.ValidationError]] = {}
    meant_keys: set[RawPath] = set()  # missing, and plainly misspelled: told once
    first = islice(_Validator(schemas()[kind]).iter_errors(value), EXPLAINED_MAX)
    errors = sorted(first, key=_is_about_missing)
    for error in errors:
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            yield from _unknown_keys(teller, error, meant_keys)
        elif error.validator == "required":
            yield from _missing_keys(teller, error, meant_keys)
        else:
            by_path.setdefault(tuple(error.absolute_path), []).append(error)
    for path, of_field in by_path.items():
        error = min(of_field, key=_precedence)
        spot = teller.spots.at.get(path)
        yield teller.tell(path, wording(error, path, "" if spot is None else spot.text or ""))


def _is_about_missing(error: jsonschema.ValidationError) -> bool:
    return error.validator == "required"


def _precedence(error: jsonschema.ValidationError) -> int:
    word = str(error.validator)
    return _PRECEDENCE.index(word) if word in _PRECEDENCE else len(_PRECEDENCE)


def _unknown_keys(
    teller: _Teller, error: jsonschema.ValidationError, meant_keys: set[RawPath]
) -> Iterator[Problem]:
    schema: dict[str, Any] = error.schema  # type: ignore[assignment]
    instance: dict[str, Any] = error.instance  # type: ignore[assignment]
    path = tuple(error.absolute_path)
    known = schema["properties"]
    for key in instance:
        if key in known:
            continue
        free = [name for name in known if name not in instance]
        other = OTHER_WORDS.get(key)
        guess = other if other in free else meant(key, free)
        if guess is not None:
            meant_keys.add((*path, guess))
        hint = f"did you mean {guess}?" if guess else "known here: " + ", ".join(sorted(known))
        where = path_text(path) or "the document"
        yield teller.tell((*path, key), Words("unknown-key", f"is not a field of {where}", hint),
                          at_key=True)  # fmt: skip


def _missing_keys(
    teller: _Teller, error: jsonschema.ValidationError, meant_keys: set[RawPath]
) -> Iterator[Problem]:
    # jsonschema reports each missing key on its own; its message begins with the key's repr.
    path = tuple(error.absolute_path)
    schema: dict[str, Any] = error.schema  # type: ignore[assignment]
    instance: dict[str, Any] = error.instance  # type: ignore[assignment]
    for key in schema["required"]:
        if key in instance or (*path, key) in meant_keys or not error.message.startswith(repr(key)):
            continue
        example = schema["properties"][key]["examples"][0]
        is_small = not isinstance(example, (dict, list))
        hint = f"for example {key}: {example}" if is_small else f"add {key}:"
        yield teller.tell(path, Words("missing-key", f"lacks {key}", hint),
                          at_key=True)  # fmt: skip
