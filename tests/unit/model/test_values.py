"""Values are the standard library's dataclasses in all that can be seen of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping

import pytest

from pvc_gitops.model.values import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A value with all kinds of fields."""

    name: str
    size: int = 3
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict, compare=False)
    secret: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """The same, by the standard library."""

    name: str
    size: int = 3
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict, compare=False)
    secret: str = dataclasses.field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Point:
    """Positional, with one field kept for keywords."""

    label: str = dataclasses.field(default="p", kw_only=True)
    x: int
    y: int = 0


@dataclass(slots=True)
class Open:
    """Not frozen: handed on as it is."""

    count: int = 0


def test_text_equality_and_hash_are_those_of_the_standard_library() -> None:
    ours, theirs = (of(name="a", parts={"x": 1}, secret="s") for of in (Ours, Theirs))
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert hash(ours) == hash(theirs)
    assert ours == Ours(name="a", parts={"y": 2}, secret="s")
    assert ours != Ours(name="a", parts={"x": 1}, secret="t")
    assert ours != theirs
    assert {ours, Ours(name="a", secret="s")} == {ours}


def test_defaults_are_made_anew_for_each_value() -> None:
    one, other = Ours(name="a"), Ours(name="b")
    assert (one.size, one.parts, one.secret) == (3, {}, "")
    assert one.parts is not other.parts


def test_the_standard_librarys_functions_know_its_fields() -> None:
    value = Ours(name="a", parts={"x": 1})
    assert dataclasses.is_dataclass(Ours)
    names = [(field.name, field.kw_only, field.compare) for field in dataclasses.fields(Ours)]
    assert names == [
        (field.name, field.kw_only, field.compare) for field in dataclasses.fields(Theirs)
    ]
    assert dataclasses.replace(value, size=4) == Ours(name="a", parts={"x": 1}, size=4)
    expected = {"name": "a", "size": 3, "parts": {"x": 1}, "secret": ""}
    assert dataclasses.asdict(value) == expected
    assert copy.copy(value) == copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_replace_is_the_standard_librarys() -> None:
    value = Ours(name="a", parts={"x": 1}, secret="s")
    changed = replace(value, size=5, secret="t")
    assert changed == dataclasses.replace(value, size=5, secret="t")
    assert changed.parts is value.parts
    assert replace(Open(count=1), count=2) == Open(count=2)
    assert replace(Point(1, 2), y=3) == Point(1, 3)
    for refused in (replace, dataclasses.replace):
        with pytest.raises(TypeError, match="other"):
            refused(value, other=1)


def test_nothing_of_a_value_can_be_changed() -> None:
    value = Ours(name="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "b"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.other = "b"  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.name
    assert value == Ours(name="a")
    assert not hasattr(value, "__dict__")


def test_arguments_are_checked_from_the_first_instance_on() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Fresh:
        """Never made before."""

        name: str

    for _ in range(2):
        with pytest.raises(TypeError, match="name"):
            Fresh()
        with pytest.raises(TypeError, match="other"):
            Fresh(name="a", other=1)
        with pytest.raises(TypeError, match="positional"):
            Fresh("a")
    assert Fresh(name="a").name == "a"


def test_positional_fields_come_before_those_for_keywords() -> None:
    assert Point(1, 2) == Point(x=1, y=2, label="p")
    assert Point(1, label="q").label == "q"


def test_other_shapes_are_the_standard_librarys() -> None:
    value = Open()
    value.count += 1
    assert value == Open(count=1)
    assert Open.__hash__ is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Longer(Ours):
    """Its base's fields and one of its own."""

    more: int


def test_a_class_below_another_has_the_fields_of_both() -> None:
    longer = Longer(name="a", more=2)
    assert (longer.name, longer.size, longer.parts, longer.more) == ("a", 3, {}, 2)
    assert replace(longer, size=4) == Longer(name="a", size=4, more=2)
    assert longer != Ours(name="a")
    assert pickle.loads(pickle.dumps(longer)) == longer
    with pytest.raises(dataclasses.FrozenInstanceError):
        longer.name = "b"  # type: ignore[misc]
