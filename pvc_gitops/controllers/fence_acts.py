"""What a fence does to the world: BMC, blocklist, OSDs. Jobs, since each may take long.

A leader that was stopped in the middle must not go on with its list when it wakes up: another one may
have fenced the node, which is back and runs guests by now. So right before each act a transaction that
changes nothing says that this process still leads, that the fence is still there and that the node has
not begun a new life; what it says is believed for a moment only.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.controllers.records import check_incarnation, put, read
from pvc_gitops.errors import BmcError, StoreConflict, StoreUnavailable
from pvc_gitops.model import paths
from pvc_gitops.model.ha import Fence
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import IncarnationRecord
from pvc_gitops.model.spec import Bmc
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.world.ports import Check, Leadership, Op, World

# An entry that ended while a frozen QEMU was still there let 287 foreign writes through (measured): it
# is lifted on evidence only.
BLOCKED_S: Final = 10 * 365 * 24 * 3600
# From sending the question to acting on the answer. A successor is elected after a session of 4 s at the
# earliest, and a node that it fences is not back within a minute.
FRESH_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A node's documents, as far as fencing needs them."""

    bmc: Bmc | None
    addresses: tuple[str, ...]  # on the core networks


def entry(address: str) -> str:
    """All clients of a host, as Ceph's blocklist names them."""
    return f"{address}:0/0"


def block(world: World, lead: Leadership, fence: Fence, machine: Machine) -> None:
    """Close Ceph to the incarnation. Raises PoolError, StoreError."""
    del machine
    _confirm(world, lead, fence)
    confirmed_s = world.clock.monotonic_s()
    world.pools.mark_down(fence.node)
    for each in fence.storage_addresses:
        world.pools.block(entry(each), BLOCKED_S)
    if world.clock.monotonic_s() - confirmed_s > FRESH_S:
        _put_back(world, fence)


def _put_back(world: World, fence: Fence) -> None:
    """Whoever stood still before the last act may have closed Ceph to a life that nobody fences any more:
    with the fence back, who leads by now releases it. It decides nothing, so it needs no lead."""
    blocked = replace(fence, is_blocked=True)
    try:
        world.store.commit((put(paths.fence(fence.node), blocked, None),))
    except StoreConflict:
        return  # one stands, and its end opens Ceph as well
    world.journal.event("fence_put_back", of=fence.node, incarnation=fence.incarnation)


def release(world: World, lead: Leadership, fence: Fence, machine: Machine) -> None:
    """Open Ceph again, to the node's new life. Raises PoolError, StoreError."""
    del machine
    confirmed_s = _confirm(world, lead, fence, is_back=True)
    for each in fence.storage_addresses:
        late_s = world.clock.monotonic_s() - confirmed_s
        if late_s > FRESH_S:
            # The node may have died again, and its next life be the one that is shut out.
            raise StoreUnavailable("release", fence.node, f"it took {late_s:.1f} s to begin")
        world.pools.unblock(entry(each))


def cycle(world: World, lead: Leadership, fence: Fence, machine: Machine) -> None:
    """Off and on in one go: without this node's vote nobody may be able to give the order to switch it
    on. Raises BmcError, StoreError; the power is then perhaps off, and the fence says so."""
    node, bmc, machines = fence.node, machine.bmc, world.machines
    identify(world, node, bmc)
    # Written before the button is pressed: whoever leads later knows whose power we took.
    confirmed_s = _confirm(world, lead, fence, is_off=True)
    machines.switch_off(node, bmc, by_s=confirmed_s + FRESH_S)
    answering = machines.answering(machine.addresses)
    if answering:
        why = f"it says off, and the node answers at {', '.join(answering)}: it is disbelieved"
        raise BmcError("read", f"the BMC of {node}", why, retryable=True)
    machines.switch_on(node, bmc)


def power_on(world: World, lead: Leadership, fence: Fence, machine: Machine) -> None:
    """Give back the power that a fence took. Raises BmcError, StoreError."""
    del lead  # who was deposed does no harm by switching on
    identify(world, fence.node, machine.bmc)
    world.machines.switch_on(fence.node, machine.bmc)


def identify(world: World, node: NodeName, bmc: Bmc | None) -> None:
    """Raises BmcError unless the controller says that it is the one that this node's must be."""
    found, wanted = world.machines.guid(node, bmc), world.machines.expected(node, bmc)
    if found != wanted:
        why = f"it is {found}, not {wanted}: another machine's"
        raise BmcError("identify", f"the BMC of {node}", why, retryable=False)


def _confirm(
    world: World,
    lead: Leadership,
    fence: Fence,
    *,
    is_back: bool = False,
    is_off: bool = False,
) -> float:
    """When it was asked that the act may be done; what was told is believed for FRESH_S from then. Raises
    StoreError unless it may.

    Args:
        world: of the process that is about to act.
        lead: in whose name.
        fence: as it was when the act was begun.
        is_back: whether the act is about the node's next life.
        is_off: whether the power is about to be taken.
    """
    sent_s = world.clock.monotonic_s()
    path = paths.fence(fence.node)
    now = read(world.store, path, Fence)
    life = read(world.store, paths.incarnation(fence.node), IncarnationRecord)
    if now is None or now.incarnation != fence.incarnation:
        raise StoreConflict(path, "this fence is over")
    if life is None or (life.id != fence.incarnation) is not is_back:
        raise StoreConflict(paths.incarnation(fence.node), f"its life is {life and life.id}")
    mark: Op = Check(path=path, version=now.version)
    if is_off:
        mark = put(path, replace(now, is_off=True), now.version)
    world.store.commit((*lead.checks, check_incarnation(fence.node, life), mark))
    late_s = world.clock.monotonic_s() - sent_s
    if late_s > FRESH_S:
        raise StoreUnavailable("confirm", path, f"the answer came after {late_s:.1f} s")
    return sent_s
