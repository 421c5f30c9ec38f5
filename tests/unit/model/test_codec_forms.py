"""`canonical` writes what `encode` makes plain, and differs for nobody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType

import pytest

from pvc_gitops.model.codec import canonical, canonical_json, encode
from pvc_gitops.model.document import Kind
from pvc_gitops.model.records import DiskRef, Lease


@dataclass(frozen=True)
class Odd:
    """All that fields may hold."""

    kind: Kind
    names: frozenset[str]
    parts: tuple[object, ...]
    leases: MappingProxyType[str, Lease]
    plain: dict[str, object]
    version: int = 7


ODD = Odd(
    kind=Kind.VM,
    names=frozenset({"b", "ä", "a"}),
    parts=(DiskRef(pool="p", image="i", size_mib=1), None, 0.5, [True, {"x"}]),
    leases=MappingProxyType({Kind.NODE: Lease(mac="52:54:00:00:00:01", address=None)}),
    plain={"b": [1, {"d": "é"}], "a": {}},
)


@pytest.mark.parametrize("value", [ODD, [ODD, ODD], {"of": ODD}, ODD.plain, "text", None, 3])
def test_canonical_is_the_json_of_what_encode_makes_plain(value):
    assert canonical(value) == canonical_json(encode(value))
    assert json.loads(canonical(value)) == encode(value)


def test_sets_are_sorted_words_are_plain_and_versions_stay_out():
    plain = encode(ODD)
    assert plain["names"] == ["a", "b", "ä"]
    assert type(plain["kind"]) is str
    assert list(plain["leases"]) == ["node"]
    assert "version" not in plain


def test_what_has_no_json_is_refused():
    with pytest.raises(TypeError):
        canonical(object())
