"""Rebalancing and evacuation: order, feasibility, and that nothing moves which need not."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import replace

import pytest

from pvc_gitops.model.plan import MoveMethod
from pvc_gitops.model.spec import Strategy
from pvc_gitops.scheduler.board import Board, Guest, Host, Rule
from pvc_gitops.scheduler.drain import evacuate
from pvc_gitops.scheduler.order import MOVES_PER_NODE_MAX, Hop, in_turn, side_by_side
from pvc_gitops.scheduler.rebalance import THRESHOLD, imbalance, rebalance
from pvc_gitops.scheduler.units import units

LIVE = MoveMethod.LIVE


def guest(name, memory_mib=100, *, nodes=(), groups=(), vcpus=1, prefer=None):
    return Guest(
        name=name,
        memory_mib=memory_mib,
        vcpus=vcpus,
        nodes=frozenset(nodes),
        is_strict=True,
        prefer=prefer or {},
        groups=tuple(groups),
        tier=3,
        must_survive=True,
    )


def host(name, memory_mib=1000, vcpus=64.0, load=0.0):
    return Host(name=name, memory_mib=memory_mib, vcpus=vcpus, load=load)


APART = Rule(name="apart", is_apart=True, is_strict=True, max_per_node=1)
PAIR = Rule(name="pair", is_apart=False, is_strict=True, max_per_node=1)


def board(hosts, on, rules=()):
    table = Board(hosts, {each.name: each for each in rules})
    for node, guests in on.items():
        for each in guests:
            table.put(each, node)
    return table


def everyone(on, method=LIVE):
    return {each.name: method for guests in on.values() for each in guests}


def carried_out(table, on, moves, rng):
    """Start and end the moves in a random order that `after` allows, and watch every moment."""
    who = {each.name: each for guests in on.values() for each in guests}
    at = {each.name: node for node, guests in on.items() for each in guests}
    trial, waiting, running, done = table.copy(), list(moves), [], set()
    while waiting or running:
        ready = [m for m in waiting if set(m.after) <= done]
        if ready and (not running or rng.random() < 0.6):
            move = rng.choice(ready)
            assert at[move.vm] == move.source
            trial.put(who[move.vm], move.to)  # and it still counts at its source
            waiting.remove(move)
            running.append(move)
            room = trial.free_mib[move.to], trial.free_vcpus[move.to]
            assert min(room) >= 0, (move, moves)
            for rule in trial.rules.values():
                if rule.is_apart and rule.name in who[move.vm].groups:
                    assert trial.count(rule.name, move.to) <= rule.max_per_node
        else:
            assert running, "moves wait for each other"
            move = running.pop(rng.randrange(len(running)))
            trial.take(who[move.vm], move.source)
            at[move.vm] = move.to
            done.add(move.id)
    return at


def random_cluster(rng, fill=0.95):
    hosts = [host(f"hv{n}", rng.choice([400, 500, 600])) for n in range(rng.choice([3, 3, 4]))]
    rules = [APART, PAIR]
    on = {}
    table = board(hosts, {}, rules)
    for number in range(rng.randint(3, 7)):
        groups = rng.choice([(), (), (), ("apart",), ("pair",)])
        each = guest(f"g{number}", rng.choice([100, 150, 200, 250]), groups=groups)
        seats = [
            h.name for h in hosts
            if table.free_mib[h.name] >= each.memory_mib
            and not ("apart" in groups and table.count("apart", h.name))
            and not ("pair" in groups and table.nodes_of("pair") and not table.count("pair", h.name))
        ]  # fmt: skip
        if seats and rng.random() < fill:
            node = rng.choice(seats)
            table.put(each, node)
            on.setdefault(node, []).append(each)
    return hosts, rules, on, table


def can_be_emptied(hosts, on, goal):
    """Exhaustive: every sequence of single moves, each of which must fit while it still counts where
    it came from. Guests of `pair` move as one. Written without the scheduler."""
    parts = {}
    for node, guests in sorted(on.items()):
        for each in guests:
            key = "pair" if "pair" in each.groups else each.name
            parts.setdefault(key, ([], node))[0].append(each)
    names, size = sorted(parts), {h.name: h.memory_mib for h in hosts}
    start = tuple(parts[name][1] for name in names)
    memory = [sum(g.memory_mib for g in parts[name][0]) for name in names]
    apart = ["apart" in parts[name][0][0].groups for name in names]
    seen, queue = {start}, deque([start])
    while queue:
        seats = queue.popleft()
        if goal not in seats:
            return True
        for number in range(len(names)):
            for to, room in size.items():
                used = sum(m for m, at in zip(memory, seats, strict=True) if at == to)
                crowd = any(a for a, at in zip(apart, seats, strict=True) if at == to)
                then = (*seats[:number], to, *seats[number + 1 :])
                fits = used + memory[number] <= room and not (apart[number] and crowd)
                if to != seats[number] and fits and then not in seen:
                    seen.add(then)
                    queue.append(then)
    return False


def test_an_evacuation_is_found_exactly_where_exhaustive_search_finds_one():
    rng = random.Random(7)
    seen = Counter()
    for _ in range(1500):
        hosts, _, on, table = random_cluster(rng)
        goal = rng.choice(hosts).name
        found = evacuate(table, on, goal, everyone(on))
        assert found.is_complete is can_be_emptied(hosts, on, goal), (hosts, on, goal)
        at = carried_out(table, on, found.moves, rng)
        left = {name for name, node in at.items() if node == goal}
        assert left == {each.vm for each in found.staying}
        others = any(move.source != goal for move in found.moves)
        seen[(found.is_complete, others)] += 1
    assert seen[(True, True)] > 20, "others made room"
    assert seen[(False, False)] > 100
    assert seen[(True, False)] > 100


def test_a_guest_that_is_never_moved_stays_and_the_drain_is_not_complete():
    on = {"hv1": [guest("a"), guest("b")], "hv2": []}
    found = evacuate(board([host("hv1"), host("hv2")], on), on, "hv1", {"a": LIVE, "b": None})
    assert [move.vm for move in found.moves] == ["a"]
    assert [(each.vm, each.code) for each in found.staying] == [("b", "method-none")]
    assert not found.is_complete


def test_a_guest_tied_to_the_node_stays_and_the_others_go():
    on = {"hv1": [guest("licence", nodes=["hv1"]), guest("web")], "hv2": []}
    found = evacuate(board([host("hv1"), host("hv2")], on), on, "hv1", everyone(on))
    assert [move.vm for move in found.moves] == ["web"]
    (stays,) = found.staying
    assert (stays.code, stays.text) == ("rule", "placement.nodes allows only hv1")


def test_what_blocks_is_named_with_what_is_missing():
    on = {"hv1": [guest("big", 700)], "hv2": [guest("x", 600)], "hv3": [guest("y", 500)]}
    table = board([host("hv1"), host("hv2"), host("hv3")], on)
    found = evacuate(table, on, "hv1", everyone(on, method=None) | {"big": LIVE})
    (stays,) = found.staying
    assert (stays.vm, stays.missing_mib) == ("big", 200)
    assert stays.text == (
        "no node takes it: hv2: needs 700 MiB, 400 MiB free; hv3: needs 700 MiB, 500 MiB free"
    )


def test_somebody_else_makes_room_where_that_is_enough():
    on = {"hv1": [guest("big", 700)], "hv2": [guest("x", 400)], "hv3": [guest("y", 500)]}
    table = board([host("hv1"), host("hv2"), host("hv3")], on)
    found = evacuate(table, on, "hv1", everyone(on))
    assert [(m.vm, m.source, m.to) for m in found.moves] == [
        ("x", "hv2", "hv3"), ("big", "hv1", "hv2"),
    ]  # fmt: skip
    assert found.moves[1].after == ("x hv2 hv3",)


def test_a_large_cluster_makes_room_by_chains():
    # Nobody fits in anywhere as it is; one gives way to one that gives way.
    on = {f"hv{n:02}": [guest(f"a{n:02}", 250), guest(f"b{n:02}", 600)] for n in range(1, 9)}
    on["hv00"] = [guest("big", 700)]
    on["hv09"] = [guest("a09", 600)]
    hosts = [host(f"hv{n:02}") for n in range(10)]
    table = board(hosts, on)
    found = evacuate(table, on, "hv00", everyone(on))
    assert not found.is_complete  # no single chain frees 700 of 1000 beside a 600
    on["hv09"] = [guest("a09", 350)]
    found = evacuate(board(hosts, on), on, "hv00", everyone(on))
    assert found.is_complete
    assert [m.vm for m in found.moves] == ["a01", "a09", "big"]
    carried_out(board(hosts, on), on, found.moves, random.Random(1))


def hops(table, on, goals):
    bare = Board(table.hosts.values(), table.rules)
    at = {each.name: node for node, guests in on.items() for each in guests}
    every = [each for guests in on.values() for each in guests if each.name in goals]
    return [
        Hop(unit=u, source=at[u.guests[0].name], to=goals[u.guests[0].name])
        for u in units(bare, every)
    ]


def test_a_circle_goes_by_way_of_a_free_node():
    on = {"hv1": [guest("a", 600)], "hv2": [guest("b", 600)], "hv3": []}
    table = board([host("hv1"), host("hv2"), host("hv3")], on)
    order = in_turn(table.copy(), hops(table, on, {"a": "hv2", "b": "hv1"}))
    assert not order.stuck
    assert [(h.unit.label, h.to) for h in order.hops] == [("a", "hv3"), ("b", "hv1"), ("a", "hv2")]
    moves = side_by_side(table, order.hops, {"a": LIVE, "b": LIVE})
    assert carried_out(table, on, moves, random.Random(2)) == {"a": "hv2", "b": "hv1"}


def test_a_circle_without_a_free_node_says_that_it_cannot():
    on = {"hv1": [guest("a", 600)], "hv2": [guest("b", 600)], "hv3": [guest("c", 600)]}
    table = board([host("hv1"), host("hv2"), host("hv3")], on)
    order = in_turn(table.copy(), hops(table, on, {"a": "hv2", "b": "hv1"}))
    assert not order.hops
    assert {hop.unit.label for hop in order.stuck} == {"a", "b"}


def test_independent_moves_run_side_by_side_and_a_node_is_in_two_at_once_at_most():
    on = {"hv1": [guest(f"a{n}") for n in range(5)], "hv2": [guest("b")], "hv3": [], "hv4": []}
    table = board([host(f"hv{n}") for n in (1, 2, 3, 4)], on)
    goals = {f"a{n}": "hv3" for n in range(5)} | {"b": "hv4"}
    moves = side_by_side(table, in_turn(table.copy(), hops(table, on, goals)).hops, everyone(on))
    after = {move.vm: move.after for move in moves}
    assert after["b"] == ()
    assert sum(not each for vm, each in after.items() if vm != "b") == MOVES_PER_NODE_MAX


def uneven(rng, nodes, guests):
    """Hosts of two sizes and guests wherever they happen to fit."""
    hosts = [host(f"hv{n}", rng.choice([4000, 6000])) for n in range(nodes)]
    table = board(hosts, {}, [APART, PAIR])
    on = {each.name: [] for each in hosts}
    for number in range(guests):
        groups = rng.choice([(), (), (), (), ("apart",), ("pair",)])
        wishes = {"hv0": 20} if rng.random() < 0.1 else None
        each = guest(
            f"g{number:02}", rng.choice([100, 200, 400, 800]), vcpus=rng.choice([1, 2, 4]),
            groups=groups, prefer=wishes,
        )  # fmt: skip
        seats = [h.name for h in hosts if table.free_mib[h.name] >= each.memory_mib]
        if "apart" in groups:
            seats = [name for name in seats if not table.count("apart", name)]
        if "pair" in groups and table.nodes_of("pair"):
            seats = [name for name in seats if table.count("pair", name)]
        if seats:
            node = min(rng.sample(seats, min(2, len(seats))))
            table.put(each, node)
            on[node].append(each)
    return hosts, on, table


def balanced(table, on, strategy=Strategy.MEM, moves_max=1000):
    names = [each.name for guests in on.values() for each in guests]
    return rebalance(table, on, names, strategy=strategy, moves_max=moves_max)


def settled(table, on, moves, rng):
    at = carried_out(table, on, moves, rng)
    who = {each.name: each for guests in on.values() for each in guests}
    then = {node: [who[name] for name in sorted(at) if at[name] == node] for node in on}
    return then, board(table.hosts.values(), then, table.rules.values())


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_rebalance_of_the_result_is_empty_and_every_moment_of_it_has_room(strategy):
    rng = random.Random(strategy.value)
    moved = 0
    for _ in range(60):
        hosts, on, table = uneven(rng, rng.randint(2, 5), rng.randint(4, 30))
        if strategy is Strategy.LOAD:
            loaded = [replace(h, load=rng.random() * h.vcpus / 4) for h in hosts]
            table = board(loaded, on, [APART, PAIR])
        found = balanced(table, on, strategy)
        then, after = settled(table, on, found.moves, rng)
        if not found.moves:
            continue
        moved += 1
        assert found.before > THRESHOLD
        assert found.after < found.before
        if strategy is not Strategy.LOAD:  # a node reports another load afterwards
            assert imbalance(after, then, strategy) == pytest.approx(found.after, abs=0.01)
            assert balanced(after, then, strategy).moves == ()
    assert moved > 10


def test_what_is_even_enough_is_left_alone():
    on = {"hv1": [guest(f"a{n}") for n in range(5)], "hv2": [guest(f"b{n}") for n in range(4)]}
    found = balanced(board([host("hv1"), host("hv2")], on), on)
    assert found.moves == ()
    assert found.before <= THRESHOLD


def test_load_that_trembles_within_its_quantum_moves_nothing():
    rng = random.Random(5)
    hosts = [host(f"hv{n}", 4000, load=4.0) for n in range(4)]
    on = {each.name: [guest(f"{each.name}g{n}", 200) for n in range(8)] for each in hosts}
    for _ in range(200):
        trembling = [replace(h, load=4.0 + rng.uniform(-0.25, 0.25)) for h in hosts]
        assert balanced(board(trembling, on), on, Strategy.LOAD).moves == ()


def test_one_guest_is_moved_where_one_is_enough():
    on = {"hv1": [guest("a", 400), guest("b", 400)], "hv2": []}
    found = balanced(board([host("hv1"), host("hv2")], on), on)
    assert [(m.vm, m.source, m.to, m.method) for m in found.moves] == [("a", "hv1", "hv2", LIVE)]
    assert found.after == 0


def test_no_more_moves_than_allowed_and_it_says_so():
    on = {"hv1": [guest(f"a{n}", 90) for n in range(10)], "hv2": []}
    found = balanced(board([host("hv1"), host("hv2")], on), on, moves_max=2)
    assert len(found.moves) == 2
    assert found.why.endswith("no more than 2 moves at a time")


def test_nobody_is_moved_away_from_a_node_that_it_prefers():
    wishing = [guest(f"a{n}", 200, prefer={"hv1": 10}) for n in range(4)]
    on = {"hv1": wishing, "hv2": []}
    found = balanced(board([host("hv1"), host("hv2")], on), on)
    assert found.moves == ()
    assert "too little" in found.why


def test_who_may_not_be_moved_counts_and_stays():
    on = {"hv1": [guest("a", 400), guest("b", 400)], "hv2": []}
    table = board([host("hv1"), host("hv2")], on)
    found = rebalance(table, on, ["b"], strategy=Strategy.MEM, moves_max=9)
    assert [move.vm for move in found.moves] == ["b"]
