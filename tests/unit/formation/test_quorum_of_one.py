"""Who must be named before one coordinator becomes the whole quorum, and what is left of the list."""

import pytest

from pvc_gitops.errors import UsageError
from pvc_gitops.formation.quorum import alone, member_file, the_dead
from pvc_gitops.formation.record import RecordedMember

MEMBERS = tuple(
    RecordedMember(id=number, name=f"hv{number}", address=f"10.0.0.{number}")
    for number in (1, 2, 3)
)
DYNAMIC = """server.1=10.0.0.1:2888:3888:participant;0.0.0.0:2181
server.2=10.0.0.2:2888:3888:participant;0.0.0.0:2181
server.3=10.0.0.3:2888:3888:participant;0.0.0.0:2181
version=100000000
"""


def test_all_others_are_the_dead():
    assert [m.name for m in the_dead(MEMBERS, "hv1", {"hv2", "hv3"})] == ["hv2", "hv3"]


@pytest.mark.parametrize(
    ("me", "named", "word"),
    [
        ("hv1", {"hv2"}, "hv3 is not named"),
        ("hv1", {"hv2", "hv3", "hv9"}, "hv9"),
        ("hv1", {"hv1", "hv2", "hv3"}, "hv1"),
        ("hv8", {"hv1", "hv2", "hv3"}, "no member"),
    ],
)
def test_anybody_else_named_or_left_out_is_refused(me, named, word):
    with pytest.raises(UsageError, match=word):
        the_dead(MEMBERS, me, named)


def test_one_server_and_the_version_are_left():
    assert alone(DYNAMIC, 2) == (
        "server.2=10.0.0.2:2888:3888:participant;0.0.0.0:2181\nversion=100000000\n"
    )
    assert alone(alone(DYNAMIC, 2), 2) == alone(DYNAMIC, 2)
    with pytest.raises(UsageError, match="server 7"):
        alone(DYNAMIC, 7)


def test_the_list_is_where_zookeeper_moved_it():
    assert member_file("a=b\ndynamicConfigFile=/x/zoo.cfg.dynamic.5\n") == "/x/zoo.cfg.dynamic.5"
    with pytest.raises(UsageError):
        member_file("a=b\n")
