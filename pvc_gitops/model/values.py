"""`dataclass` for values: as the standard library's, at a sixth of its cost to define.

The standard library compiles half a dozen methods for every class when it is defined: with some two
hundred classes that is most of the start of `pvc plan`. Here a frozen class with slots shares the
methods that can be shared, and its `__init__` is compiled when its first instance is made, which then
costs half. All else is the standard library's: fields, `replace`, `asdict`, pickling, equality and the
text are the same, and type checkers see the original. Classes of any other shape are handed on.
`replace` is a fifth of the standard library's, for values of such classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

__all__ = ["dataclass", "replace"]


def _dataclass(
    *, frozen: bool = False, slots: bool = False, **others: bool
) -> Callable[[type], type]:
    def make(cls: type) -> type:
        if frozen and slots and others.keys() <= {"kw_only"} and not hasattr(cls, "__post_init__"):
            return _value(cls, kw_only=others.get("kw_only", False))
        return dataclasses.dataclass(frozen=frozen, slots=slots, **others)(cls)

    return make


def _replace(value: Any, /, **changes: object) -> Any:  # noqa: ANN401  a value, and one of its class
    names, all_of = _SLOTS.get(value.__class__, _NO_SLOTS)
    if not names:
        return dataclasses.replace(value, **changes)
    return value.__class__(**{**dict(zip(names, all_of(value), strict=True)), **changes})


# Of each class that `_value` made: the names of its fields, and what gets them all.
_SLOTS: dict[type, tuple[tuple[str, ...], Callable[[object], tuple[object, ...]]]] = {}
_NO_SLOTS: Final[tuple[tuple[str, ...], Callable[[object], tuple[object, ...]]]] = (
    (),
    lambda _: (),
)


if TYPE_CHECKING:
    from dataclasses import dataclass, replace
else:
    dataclass, replace = _dataclass, _replace


def _value(of: type, *, kw_only: bool) -> type:
    bare = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)
    cls: Any = bare(of)
    fields = dataclasses.fields(cls)
    names = tuple(field.name for field in fields)
    shown = tuple(field.name for field in fields if field.repr)
    key = _key(tuple(field.name for field in fields if field.compare))

    def first_init(self: object, /, *args: object, **kwargs: object) -> None:
        cls.__init__ = _compiled_init(cls)
        cls.__init__(self, *args, **kwargs)

    def eq(self: object, other: object) -> object:
        return key(self) == key(other) if other.__class__ is cls else NotImplemented

    def text(self: object) -> str:
        return f"{cls.__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"

    def state(self: object) -> list[object]:
        return [getattr(self, name) for name in names]

    def set_state(self: object, values: list[object]) -> None:
        for name, value in zip(names, values, strict=True):
            object.__setattr__(self, name, value)

    _SLOTS[cls] = names, _key(names)
    cls.__init__, cls.__repr__ = first_init, text
    cls.__eq__, cls.__hash__ = eq, lambda self: hash(key(self))
    cls.__setattr__, cls.__delattr__ = _refuse_set, _refuse_delete
    cls.__getstate__, cls.__setstate__ = state, set_state
    return cls  # type: ignore[no-any-return]  # Any, since attributes of a `type` cannot be set


def _key(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda self: tuple(getattr(self, name) for name in names)


def _refuse_set(_self: object, name: str, _value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(_self: object, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _compiled_init(cls: Any) -> Callable[..., None]:  # noqa: ANN401  a class, see above
    """An `__init__` that sets each slot by its descriptor, past the `__setattr__` that refuses."""
    given: dict[str, object] = {"_MISSING": dataclasses.MISSING}
    head: list[str] = []
    body: list[str] = []
    has_star = False
    for field in sorted(dataclasses.fields(cls), key=lambda field: field.kw_only is True):
        assert field.init, f"{cls.__qualname__}.{field.name}: a value is made of all its fields"
        name = field.name
        if field.kw_only and not has_star:
            has_star = True
            head.append("*")
        given[f"_set_{name}"] = getattr(cls, name).__set__  # it may be a base's
        value = name
        if field.default is not dataclasses.MISSING:
            given[f"_default_{name}"] = field.default
            head.append(f"{name}=_default_{name}")
        elif field.default_factory is not dataclasses.MISSING:
            given[f"_factory_{name}"] = field.default_factory
            head.append(f"{name}=_MISSING")
            value = f"_factory_{name}() if {name} is _MISSING else {name}"
        else:
            head.append(name)
        body.append(f"  _set_{name}(self, {value})\n")
    text = (
        f"def make({', '.join(given)}):\n"
        f" def __init__(self, {', '.join(head)}):\n{''.join(body) or '  pass'}\n"
        " return __init__\n"
    )
    made: dict[str, Any] = {}
    exec(text, made)  # noqa: S102  made of field names alone, as the standard library does
    init: Callable[..., None] = made["make"](**given)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init
