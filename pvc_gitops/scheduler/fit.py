"""Can this host take this guest, and if not, why."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from pvc_gitops.model.ids import NodeName
from pvc_gitops.scheduler.board import Board, Guest


class FitFailure(StrEnum):
    """Why a host cannot take a guest."""

    MEMORY = "memory"
    VCPU = "vcpu"
    VF = "vf"  # its cards on SR-IOV networks need more virtual functions than are left
    NODE_LIMIT = "node-limit"  # placement.nodes names others
    ANTI_AFFINITY = "anti-affinity"  # a strict group apart has as many members there as it may
    AFFINITY = "affinity"  # a strict group together is elsewhere


def fit(board: Board, node: NodeName, guest: Guest) -> FitFailure | None:
    """The first reason, or None. Rules before room: a rule does not change by waiting."""
    return broken_rule(board, node, guest) or short_of(board, node, guest)


def broken_rule(board: Board, node: NodeName, guest: Guest) -> FitFailure | None:
    """A strict rule that forbids it, whatever room there is."""
    if guest.is_strict and guest.nodes and node not in guest.nodes:
        return FitFailure.NODE_LIMIT
    for name in guest.groups:
        rule = board.rules.get(name)
        if rule is None or not rule.is_strict:
            continue
        if rule.is_apart:
            if board.count(name, node) >= rule.max_per_node:
                return FitFailure.ANTI_AFFINITY
        elif board.nodes_of(name) and not board.count(name, node):
            return FitFailure.AFFINITY
    return None


def short_of(board: Board, node: NodeName, guest: Guest) -> FitFailure | None:
    """What there is too little of."""
    if board.free_mib[node] < guest.memory_mib:
        return FitFailure.MEMORY
    if board.free_vcpus[node] < guest.vcpus:
        return FitFailure.VCPU
    if board.free_vfs[node] < guest.vfs:
        return FitFailure.VF
    return None


def sentence(failure: FitFailure, board: Board, node: NodeName, guest: Guest) -> str:
    """The reason for people, with numbers."""
    match failure:
        case FitFailure.MEMORY:
            return f"needs {guest.memory_mib} MiB, {max(0, board.free_mib[node])} MiB free"
        case FitFailure.VCPU:
            return f"needs {guest.vcpus} vCPUs, {max(0, int(board.free_vcpus[node]))} left"
        case FitFailure.VF:
            left = max(0, board.free_vfs[node])
            return f"needs {guest.vfs} virtual functions, {left} left"
        case FitFailure.NODE_LIMIT:
            return f"placement.nodes allows only {', '.join(sorted(guest.nodes))}"
        case FitFailure.ANTI_AFFINITY:
            full = [
                f"group {name} {board.count(name, node)} of {board.rules[name].max_per_node}"
                for name in guest.groups
                if name in board.rules and board.rules[name].is_apart
            ]
            return ", ".join(full)
        case FitFailure.AFFINITY:
            held = [
                f"group {name} is on {', '.join(sorted(board.nodes_of(name)))}"
                for name in guest.groups
                if name in board.rules and not board.rules[name].is_apart
            ]
            return ", ".join(held)
    assert_never(failure)
