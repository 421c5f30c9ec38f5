"""Views that are made once: found by the object that they were made from."""

from __future__ import annotations

from pvc_gitops.model import known


class Named:
    made = 0

    def __init__(self, name, spec):
        self.name, self.size = name, spec["size"]
        Named.made += 1

    @classmethod
    @known.made_once
    def from_spec(cls, name, spec):
        return cls(name, spec)


def test_the_same_document_is_viewed_once():
    spec = {"size": 1}
    assert Named.from_spec("a", spec) is Named.from_spec("a", spec)
    assert Named.from_spec("b", spec).name == "b"


def test_an_equal_document_is_another_one():
    one, other = {"size": 1}, {"size": 1}
    assert Named.from_spec("a", one) is not Named.from_spec("a", other)


def test_what_is_gone_is_never_taken_for_what_came_after_it():
    """A new document may lie where one was that nobody holds any more."""
    assert [Named.from_spec("a", {"size": n}).size for n in range(1000)] == list(range(1000))


def test_so_many_are_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(known, "KNOWN_MAX", 3)
    specs = [{"size": n} for n in range(4)]
    views = [Named.from_spec("a", spec) for spec in specs]
    before = Named.made
    assert Named.from_spec("a", specs[3]) is views[3]
    assert Named.made == before
    assert Named.from_spec("a", specs[0]) is not views[0]


def test_what_is_said_of_a_specification_is_said_once_of_that_very_object():
    asked = []

    @known.said_once
    def size(spec):
        asked.append(spec)
        return spec["size"]

    one, other = {"size": 1}, {"size": 1}
    assert [size(one), size(one), size(other), size({"size": 2})] == [1, 1, 1, 2]
    assert [each is one for each in asked] == [True, False, False]
