"""The parts of the store that need no server: bytes of records, and what became of a lost answer."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_gitops.adapters.zk.cache import Cache, Listing
from pvc_gitops.adapters.zk.commit import learn
from pvc_gitops.adapters.zk.election import Candidacy, sequence
from pvc_gitops.adapters.zk.ensemble import counted
from pvc_gitops.adapters.zk.records import MARKER, dump, parse
from pvc_gitops.errors import StoreConflict, StoreUnavailable
from pvc_gitops.model.ids import NodeName
from pvc_gitops.world.ports import Check, Create, Delete, Put, Stamped

VALUES = st.dictionaries(
    st.text().filter(lambda key: key != "nonce"),
    st.none() | st.integers() | st.text(max_size=20000) | st.lists(st.text()),
    max_size=5,
)


@given(VALUES)
def test_what_is_dumped_is_parsed(value):
    assert parse(dump(value, "mine")) == (value, "mine")


def test_equal_values_give_equal_bytes():
    assert dump({"b": 1, "a": 2}, "n") == dump({"a": 2, "b": 1}, "n")


def test_a_mere_parent_and_a_record_without_a_mark_are_read():
    assert parse(b"") == ({}, None)
    assert parse(b'{"a":1}') == ({"a": 1}, None)


@pytest.mark.parametrize(
    "data",
    [b"[1]", b"{", MARKER + b"junk", MARKER + zlib.compress(b"{}")[:-3], b"\xff"],
)
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ValueError):  # noqa: PT011  any reason will do; the caller names the path
        parse(data)


def test_a_bomb_is_not_inflated():
    with pytest.raises(ValueError, match="too large"):
        parse(MARKER + zlib.compress(b" " * (65 * 1024 * 1024), 1))


def look_at(**records):
    return lambda path: records.get(path.strip("/"))


def record(version, nonce):
    return Stamped(value={}, version=version), nonce


PUT = Put(path="/a", value={}, version=4)
CREATE = Create(path="/b", value={})


def test_our_mark_proves_the_whole_transaction():
    learn([Check(path="/x", version=1), PUT, CREATE], "mine", look_at(a=record(5, "mine")))
    learn([PUT, CREATE], "mine", look_at(a=record(9, "theirs"), b=record(0, "mine")))


def test_a_successor_with_another_mark_proves_the_contrary():
    with pytest.raises(StoreConflict):
        learn([PUT], "mine", look_at(a=record(5, "theirs")))
    with pytest.raises(StoreConflict):
        learn([CREATE], "mine", look_at(b=record(0, "theirs")))


@pytest.mark.parametrize(
    "ops", [[PUT], [CREATE], [Delete(path="/a", version=4)], [Check(path="/a", version=4)]]
)
def test_all_else_stays_unknown(ops):
    with pytest.raises(StoreUnavailable):
        learn(ops, "mine", look_at(a=record(4, "before")))
    with pytest.raises(StoreUnavailable):
        learn(ops, "mine", look_at(a=record(7, "theirs"), b=record(3, "theirs")))


def test_the_lowest_number_leads_whatever_the_name():
    candidacy = Candidacy.of("planner", NodeName("hv9"))
    mine, other = f"{candidacy.mark}0000000007", "hv1.4.abc-0000000009"
    assert not candidacy.place((other,))
    assert candidacy.name is None
    assert candidacy.place((other, mine))
    leads = candidacy.won(3)
    assert [check.version for check in leads.checks] == [0, 3]
    assert leads.checks[0].path == f"/pvc/election/planner/{mine}"
    assert not candidacy.place(("hv1.4.abc-0000000002", mine))
    assert sequence(mine) == 7


def test_a_candidacy_that_is_gone_leads_no_more():
    candidacy = Candidacy.of("planner", NodeName("hv9"))
    candidacy.place((f"{candidacy.mark}0000000007",))
    candidacy.won(3)
    assert not candidacy.place(())
    assert candidacy.leadership is None
    assert candidacy.place((f"{candidacy.mark}0000000011",))
    assert candidacy.leadership is None  # a new candidacy needs an epoch of its own


def test_a_listing_begun_before_a_change_is_not_kept():
    import time

    cache = Cache(lambda: None)
    cache.add("/p")
    listing = Listing(own=None, below={}, listed_at_s=time.monotonic())
    mark = cache.mark("/p")
    cache.changed("/p")
    cache.keep("/p", listing, mark)
    assert cache.listing("/p") is None
    cache.keep("/p", listing, cache.mark("/p"))
    assert cache.listing("/p") is listing
    cache.wrote("/p/child")
    assert cache.listing("/p") is None


def test_those_are_counted_whom_the_ensemble_names_as_voters():
    config = """server.1=10.21.0.1:2888:3888:participant;0.0.0.0:2181
server.2=10.21.0.2:2888:3888:observer;0.0.0.0:2181
server.4=127.0.0.1:2888:3888:participant;127.0.0.4:2184
version=200000003"""
    assert counted(config) == ("10.21.0.1:2181", "127.0.0.4:2184")
    assert counted("version=0") == ()
