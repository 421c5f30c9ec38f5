"""Values to plain JSON and back, by their dataclass fields alone.

`encode` sorts nothing itself: dumping with sorted keys gives the same bytes in every process.
`decode` is strict: an unknown key, or a missing one that has no default, raises ValueError with the
type's name, so that a record written by a newer version is noticed and never half understood. A field
that was added later has a default, which stands for what older records do not say.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")


def encode(value: Any) -> Any:  # noqa: ANN401  any of our values
    """A dataclass, or anything made of them, as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f: encode(getattr(value, f)) for f in _encoded_fields(type(value))}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (tuple, list, frozenset, set)):
        items = sorted(value) if isinstance(value, (frozenset, set)) else value
        return [encode(item) for item in items]
    if isinstance(value, StrEnum):
        return value.value
    return value


def canonical(value: Any) -> bytes:  # noqa: ANN401  any of our values
    """The same bytes for equal values, in every process."""
    return canonical_json(encode(value))


def canonical_json(plain: Any) -> bytes:  # noqa: ANN401  JSON
    """As `canonical`, of what is plain JSON already."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def decode(cls: type[T], value: Any) -> T:  # noqa: ANN401  JSON
    """The inverse of `encode` for one dataclass type. Raises ValueError."""
    return cast("T", _decoder(cast("Any", cls))(value))


@cache
def _encoded_fields(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(cls) if f.name != "version")


@cache
def _decoder(of: Any) -> Callable[[Any], Any]:  # noqa: ANN401  a type expression
    if dataclasses.is_dataclass(of):
        return _dataclass_decoder(cast("type", of))
    if isinstance(of, type) and issubclass(of, StrEnum):
        return of
    origin, args = typing.get_origin(of), typing.get_args(of)
    if origin in (typing.Union, types.UnionType):
        return _optional_decoder(args)
    if origin is tuple:
        return _tuple_decoder(args)
    if origin is not None and issubclass(origin, Mapping):
        item = _decoder(args[1])
        return lambda value: {key: item(each) for key, each in value.items()}
    return lambda value: value


def _optional_decoder(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    (inner,) = [arg for arg in args if arg is not type(None)]
    item = _decoder(inner)
    return lambda value: None if value is None else item(value)


def _tuple_decoder(args: tuple[Any, ...]) -> Callable[[Any], Any]:
    if args[-1] is Ellipsis:
        item = _decoder(args[0])
        return lambda value: tuple(item(each) for each in value)
    items = [_decoder(arg) for arg in args]
    return lambda value: tuple(f(each) for f, each in zip(items, value, strict=True))


def _dataclass_decoder(cls: type) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    required = {f.name for f in dataclasses.fields(cls) if _has_no_default(f)}
    decoders = {name: _decoder(hints[name]) for name in names}

    def build(value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, Mapping):
            raise ValueError(f"{cls.__name__}: expected an object, got {type(value).__name__}")
        unknown, missing = value.keys() - names, required - value.keys()
        if unknown or missing:
            raise ValueError(
                f"{cls.__name__}: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}"
            )
        return cls(**{key: decoders[key](each) for key, each in value.items()})

    return build


def _has_no_default(of: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return of.default is missing and of.default_factory is missing
