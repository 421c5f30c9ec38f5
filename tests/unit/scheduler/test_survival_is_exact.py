"""N-1 verdicts against exhaustive search: on thousands of small clusters they are the same."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, product

import pytest

from pvc_gitops.model.plan import Bound, CapacityVerdict
from pvc_gitops.scheduler.board import Board, Guest, Host, Rule
from pvc_gitops.scheduler.evacuate import loss, losses
from pvc_gitops.scheduler.pack import pack

CASES = 4000


def guest(name, memory_mib=100, *, nodes=(), groups=(), vcpus=1, vfs=0, must_survive=True):
    return Guest(
        name=name,
        memory_mib=memory_mib,
        vcpus=vcpus,
        nodes=frozenset(nodes),
        is_strict=True,
        prefer={},
        groups=tuple(groups),
        tier=3,
        must_survive=must_survive,
        vfs=vfs,
    )


def host(name, memory_mib=1000, vcpus=16.0, vfs=0):
    return Host(name=name, memory_mib=memory_mib, vcpus=vcpus, vfs=vfs)


def rule(name, *, is_apart=True, max_per_node=1):
    return Rule(name=name, is_apart=is_apart, is_strict=True, max_per_node=max_per_node)


def board(hosts, rules=(), on=None):
    table = Board(hosts, {each.name: each for each in rules})
    for node, guests in (on or {}).items():
        for each in guests:
            table.put(each, node)
    return table


def random_cluster(rng):
    """Hosts, rules and guests that stand anywhere: also where a rule forbids it, as in life."""
    hosts = [
        host(f"hv{n}", rng.choice([300, 500, 700]), rng.choice([4.0, 8.0]), rng.choice([0, 1, 2]))
        for n in range(rng.randint(2, 4))
    ]
    rules = [
        rule("apart", max_per_node=rng.choice([1, 1, 2])),
        rule("pair", is_apart=False),
    ]
    on = {}
    for number in range(rng.randint(1, 8)):
        groups = [each.name for each in rules if rng.random() < 0.25]
        nodes = rng.sample([h.name for h in hosts], rng.randint(1, 2)) if rng.random() < 0.2 else []
        each = guest(
            f"g{number}",
            rng.choice([50, 100, 150, 200, 250]),
            groups=groups,
            nodes=nodes,
            vcpus=rng.choice([1, 1, 2]),
            vfs=rng.choice([0, 0, 0, 1]),
            must_survive=rng.random() < 0.9,
        )
        on.setdefault(rng.choice(hosts).name, []).append(each)
    return hosts, rules, on


def is_allowed(hosts, rules, seats, moved):
    """All rules in one place, for whoever was moved; written without the scheduler."""
    for node in {seats[name][1] for name in moved}:
        here = [each for each, at in seats.values() if at == node]
        room = next(each for each in hosts if each.name == node)
        if sum(each.memory_mib for each in here) > room.memory_mib:
            return False
        if sum(each.vcpus for each in here) > room.vcpus or sum(e.vfs for e in here) > room.vfs:
            return False
        for each in rules:
            count = sum(each.name in member.groups for member in here)
            came = any(
                each.name in seats[name][0].groups for name in moved if seats[name][1] == node
            )
            if each.is_apart and came and count > each.max_per_node:
                return False
    for name in moved:
        member, node = seats[name]
        if member.nodes and node not in member.nodes:
            return False
        for each in rules:
            if each.is_apart or each.name not in member.groups:
                continue
            stayed = {
                at for n, (o, at) in seats.items() if each.name in o.groups and n not in moved
            }
            came = {seats[n][1] for n in moved if each.name in seats[n][0].groups}
            if len(came) > 1 or (stayed and not came <= stayed):
                return False
    return True


def can_survive(hosts, rules, on, lost):
    """Whether any assignment of the lost guests to the survivors keeps every rule."""
    left = [each for each in hosts if each.name not in lost]
    stay = {e.name: (e, node) for node, each in on.items() if node not in lost for e in each}
    must = [e for node in lost for e in on.get(node, ()) if e.must_survive]
    for nodes in product([each.name for each in left], repeat=len(must)):
        seats = stay | {e.name: (e, node) for e, node in zip(must, nodes, strict=True)}
        if is_allowed(left, rules, seats, [each.name for each in must]):
            return True
    return not must


@pytest.mark.parametrize("tolerate", [1, 2])
def test_the_verdict_is_that_of_exhaustive_search(tolerate):
    rng = random.Random(tolerate)
    seen = Counter()
    for _ in range(CASES):
        hosts, rules, on = random_cluster(rng)
        table = board(hosts, rules, on)
        found = losses(table, on, tolerate=tolerate)
        size = min(tolerate, len(hosts))
        assert [each.lost for each in found] == list(combinations([h.name for h in hosts], size))
        for each in found:
            truth = can_survive(hosts, rules, on, each.lost)
            expected = CapacityVerdict.HOLDS if truth else CapacityVerdict.FAILS
            assert each.verdict is expected, (each, hosts, rules, on)
            assert (each.bound is None) is truth
            assert bool(each.homeless) is not truth
            seen[each.bound] += 1
            if truth:
                left = [h for h in hosts if h.name not in each.lost]
                stay = {e.name: (e, n) for n, es in on.items() if n not in each.lost for e in es}
                who = {e.name: e for es in on.values() for e in es}
                moved = {name: (who[name], node) for name, node in each.certificate.items()}
                assert is_allowed(left, rules, stay | moved, list(moved))
    # Each kind of answer is exercised, so that none is true for want of cases.
    assert set(seen) >= {None, Bound.RULE, Bound.BIGGEST, Bound.VOLUME, Bound.PIGEONHOLE}


def test_what_best_fit_misses_the_search_finds():
    # 90+30+30 and 50+50+30+30: best-fit puts a fifty beside the ninety.
    hosts = [host("lost", 3200), host("hv1", 160), host("hv2", 160)]
    sizes = [90, 50, 50, 30, 30, 30, 30]
    on = {"lost": [guest(f"g{n}", size) for n, size in enumerate(sizes)]}
    found = loss(board(hosts, on=on), ("lost",), on)
    assert found.verdict is CapacityVerdict.HOLDS
    assert found.spare_mib == 10
    nodes = [{name for name, at in found.certificate.items() if at == n} for n in ("hv1", "hv2")]
    assert {"g1", "g2"} in [each & {"g1", "g2"} for each in nodes]


def test_what_no_bound_refutes_the_search_does():
    # 299 of 300, no size is short of holes; but two seventies leave a hole that nothing fills.
    hosts = [host("lost", 3200), host("hv1", 150), host("hv2", 150)]
    sizes = [70, 70, 70, 30, 30, 29]
    on = {"lost": [guest(f"g{n}", size) for n, size in enumerate(sizes)]}
    found = loss(board(hosts, on=on), ("lost",), on)
    assert (found.verdict, found.bound) == (CapacityVerdict.FAILS, Bound.SEARCH)
    assert found.homeless


def test_what_the_search_does_not_end_is_unknown_and_names_who_is_left():
    # 1800 MiB on six nodes of 300: more than five nodes is not small, and the steps run out.
    sizes = [74, 60, 104, 128, 131, 75, 85, 95, 110, 137, 88, 88, 134, 84, 99, 90, 83, 135]
    hosts = [host("lost", 3200), *(host(f"hv{n}", 300) for n in range(6))]
    on = {"lost": [guest(f"g{n:02}", size) for n, size in enumerate(sizes)]}
    found = loss(board(hosts, on=on), ("lost",), on)
    assert (found.verdict, found.bound) == (CapacityVerdict.UNKNOWN, Bound.LIMIT)
    assert found.homeless
    assert found.certificate == {}


def test_a_certificate_that_still_holds_is_kept():
    hosts = [host("hv1"), host("hv2"), host("hv3")]
    on = {"hv1": [guest("a", 300)]}
    table = board(hosts, on=on)
    (first, *_) = losses(table, on)
    other = {"hv2": "hv3", "hv3": "hv2"}[first.certificate["a"]]
    assert pack(without(table, "hv1"), on["hv1"], last={"a": other}).places == {"a": other}
    table.put(guest("big", 900), other)  # now it does not fit there any more
    assert pack(without(table, "hv1"), on["hv1"], last={"a": other}).places != {"a": other}


def without(table, node):
    left = table.copy()
    left.remove_host(node)
    return left


def test_the_biggest_that_fits_nowhere_is_named_with_what_is_missing():
    hosts = [host("hv1"), host("hv2", 400), host("hv3", 500)]
    on = {"hv1": [guest("db", 800), guest("web", 100)]}
    found = loss(board(hosts, on=on), ("hv1",), on)
    assert (found.bound, found.homeless, found.spare_mib) == (Bound.BIGGEST, ("db",), -300)
    assert found.why == "db needs 800 MiB, no node has more than 500"


def test_a_guest_tied_to_the_lost_node_has_no_place_by_rule():
    hosts = [host("hv1"), host("hv2")]
    on = {"hv1": [guest("licence", nodes=["hv1"])]}
    found = loss(board(hosts, on=on), ("hv1",), on)
    assert (found.bound, found.why) == (Bound.RULE, "licence may run on hv1 only")
    assert found.spare_mib == 0


def test_three_strictly_apart_on_three_nodes_are_too_many_for_two():
    hosts = [host("hv1"), host("hv2"), host("hv3")]
    on = {f"hv{n}": [guest(f"web{n}", groups=["web"])] for n in (1, 2, 3)}
    found = loss(board(hosts, [rule("web")], on), ("hv1",), on)
    assert found.verdict is CapacityVerdict.FAILS
    assert found.bound is Bound.RULE
    assert "group web is strict" in found.why


def test_guests_that_belong_together_go_as_one():
    # Either has room for one of them only; the sum of the rooms would do.
    hosts = [host("hv1"), host("hv2", 150), host("hv3", 150)]
    on = {"hv1": [guest("a", groups=["pair"]), guest("b", groups=["pair"])]}
    found = loss(board(hosts, [rule("pair", is_apart=False)], on), ("hv1",), on)
    assert found.verdict is CapacityVerdict.FAILS
    assert found.homeless == ("a", "b")


def test_virtual_functions_are_a_capacity():
    hosts = [host("hv1", vfs=2), host("hv2", vfs=1), host("hv3")]
    on = {"hv1": [guest("a", vfs=1), guest("b", vfs=1)]}
    found = loss(board(hosts, on=on), ("hv1",), on)
    assert (found.verdict, found.bound) == (CapacityVerdict.FAILS, Bound.VOLUME)
    assert found.why == "they need 2 virtual functions, 1 are left"


def test_more_losses_than_are_looked_at_are_said_to_be_unknown():
    hosts = [host(f"hv{n:02}") for n in range(64)]  # 2016 pairs
    found = losses(board(hosts), {}, tolerate=2)
    assert found[-1].verdict is CapacityVerdict.UNKNOWN
    assert found[-1].why == "216 further losses of 2 nodes are not examined"
    assert all(each.verdict is CapacityVerdict.HOLDS for each in found[:-1])
