"""`transitions.yaml` edited as a person would: entries come and go, comments and layout stay."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import Address
from pvc_gitops.model.transitions import Word
from pvc_gitops.spec.schema_files import modeline

_NEW: Final = """apiVersion: pvc/v1
kind: Transitions
metadata: {name: transitions}
spec: {}
"""
_AS: Final = " as "


def with_entries(
    data: bytes | None, entries: Iterable[tuple[Word, Address, Address | None]]
) -> bytes:
    """The file with these words added; equal bytes where they all stand there already.

    Args:
        data: the file as it is; None where there is none.
        entries: word, address, and what it takes over, of `moved`, `restored` and `adopted`.
    """
    yaml = _yaml()
    before = data if data is not None else f"{modeline(Kind.TRANSITIONS)}\n{_NEW}".encode()
    document = yaml.load(before.decode())
    spec = _spec(document)
    is_new = False
    for word, address, source in entries:
        rows = spec.get(word.value)
        if rows is None:
            rows = spec[word.value] = CommentedSeq()
            rows.fa.set_flow_style() if word is not Word.MOVED else None
        entry = _entry(word, address, source)
        if entry not in rows:
            rows.append(entry)
            is_new = True
    return _dumped(yaml, document) if is_new else before


def without_entries(
    data: bytes, is_done: Callable[[Word, Address, Address | None], bool]
) -> bytes | None:
    """The file without the words that are done; None where none is left."""
    yaml = _yaml()
    document = yaml.load(data.decode())
    spec = _spec(document)
    has_changed = False
    for word in Word:
        rows = spec.get(word.value)
        for row in list(rows or ()):
            if is_done(word, *_parsed(row)):
                rows.remove(row)
                has_changed = True
        if rows is not None and not rows and has_changed:
            del spec[word.value]
    if not any(spec.get(word.value) for word in Word):
        return None
    return _dumped(yaml, document) if has_changed else data


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 100_000  # nothing is wrapped anew
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _spec(document: Any) -> Any:  # noqa: ANN401  ruamel's maps
    spec = document.get("spec")
    if spec is None or (isinstance(spec, CommentedMap) and spec.fa.flow_style() and not spec):
        spec = document["spec"] = CommentedMap()
    return spec


def _entry(word: Word, address: Address, source: Address | None) -> Any:  # noqa: ANN401  as YAML
    if word is Word.MOVED:
        entry = CommentedMap({"from": str(source), "to": str(address)})
        entry.fa.set_flow_style()
        return entry
    return str(address) if source is None else f"{source}{_AS}{address}"


def _parsed(row: Any) -> tuple[Address, Address | None]:  # noqa: ANN401  as YAML
    if isinstance(row, str):
        source, _, target = row.rpartition(_AS)
    else:
        source, target = row["from"], row["to"]
    return Address(target), Address(source) if source else None


def _dumped(yaml: YAML, document: Any) -> bytes:  # noqa: ANN401  ruamel's maps
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue().encode()
