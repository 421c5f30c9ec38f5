"""Clusters for benchmarks: nodes alike, guests of common sizes, placed unevenly by chance."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pvc_gitops.model.ids import NodeName, VmName
from pvc_gitops.scheduler.board import Board, Guest, Host

MEMORY_MIB = 262_144
KEPT_MIB = 2_048  # of every node, for itself
CPUS = 128
SIZES_MIB = (1024, 2048, 2048, 4096, 4096, 8192, 16_384)
VCPUS = (1, 2, 2, 4, 8)


@dataclass(frozen=True)
class Made:
    """A board and who is on it."""

    board: Board
    guests: Mapping[NodeName, Sequence[Guest]]


def made(
    nodes: int,
    guests: int,
    seed: int,
    *,
    sizes_mib: Sequence[int] = SIZES_MIB,
    scale: float = 1.0,
    is_even: bool = False,
) -> Made:
    """`scale` multiplies the guests' memory; `is_even`: each goes where most is free."""
    rng = random.Random(seed)
    names = [NodeName(f"hv{number:03}") for number in range(nodes)]
    drawn = [rng.random() ** 2 + 0.05 for _ in names]
    hosts = [Host(name=n, memory_mib=MEMORY_MIB - KEPT_MIB, vcpus=float(CPUS)) for n in names]
    board = Board(hosts, {})
    seated: dict[NodeName, list[Guest]] = {name: [] for name in names}
    for number in range(guests):
        guest = Guest(
            name=VmName(f"vm{number:05}"),
            memory_mib=int(rng.choice(sizes_mib) * scale),
            vcpus=rng.choice(VCPUS),
            nodes=frozenset(),
            is_strict=True,
            prefer={},
            groups=(),
            tier=3,
            must_survive=True,
        )
        node = max(names, key=lambda name: board.free_mib[name])
        while not is_even:
            node = rng.choices(names, drawn)[0]
            if board.free_mib[node] >= guest.memory_mib:
                break
        board.put(guest, node)
        seated[node].append(guest)
    return Made(board=board, guests=seated)
