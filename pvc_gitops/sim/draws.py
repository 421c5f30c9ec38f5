"""What goes wrong, by chance: faults alone, faults of which one hides what the other does, faults aimed
at a moment.

Each seed has a taste of its own: which kinds of faults it knows, how often it takes each, and how close
they follow each other. All kinds at once would drown what only a few of them do together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.values import dataclass

FAULTS_MIN: Final = 2
FAULTS_MAX: Final = 8
GAPS_MAX_S: Final = (3.0, 12.0, 30.0)  # of a seed that hurries, and of one that does not
AT_ONCE: Final = 0.25  # so many follow the one before without a gap
TASTES: Final = (0, 0, 1, 1, 2, 4)  # how often a seed takes a kind
PATIENCE_S: Final = 45.0  # for a moment that may not come
# Far from what proofs allow for (1 %), and with watchdogs of 20 s a guest still starts after they have
# bitten: (9 + 8 + 20) / 2 s, and 3 s for the start.
MAD_RATE: Final = "2.0"
COMMITS: Final = ("smaller", "more", "fewer", "broken")  # what `commit` makes of the repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Until somebody's journal tells one of these, at most so long."""

    kinds: tuple[str, ...]
    most_s: float = PATIENCE_S


# A group of lines of a script. In braces: whoever leads a role when the group first names it, or the node
# that a guest is on.
Group = tuple[str | Moment, ...]

_FENCE: Final = (
    *("node_revoked", "fence_requested", "fence_trouble", "power", "death_proven"),
    *("vm_state", "guest_started", "fence_ended"),
)
_SELF: Final = ("self_fenced", "incarnation", "reset", "booted")
_MOVE: Final = ("guest_ordered", "guest_leaves", "migration", "guest_handed_over", "vm_state")
_PLAN: Final = ("accepted", "plan_published", "step_running", "step_done")


def drawn(
    chance: random.Random,
    nodes: Sequence[NodeName],
    coordinators: Sequence[NodeName],
    guests: Sequence[str],
) -> tuple[Group, ...]:
    """All faults of one seed, with the gaps between them."""
    draw = Draw(chance=chance, nodes=nodes, coordinators=coordinators, guests=guests)
    kinds = tuple(_KINDS)
    tastes = [max(chance.choice(TASTES), 1 if kind in _ALWAYS else 0) for kind in kinds]
    gap_max_s = chance.choice(GAPS_MAX_S)
    # Nothing happens on the full second only.
    groups: list[Group] = [(f"wait {chance.random():.3f}",)]
    for _ in range(chance.randint(FAULTS_MIN, FAULTS_MAX)):
        (kind,) = chance.choices(kinds, tastes)
        groups.append(_KINDS[kind](draw))
        if chance.random() >= AT_ONCE:
            groups.append((f"wait {chance.uniform(0, gap_max_s):.1f}",))
    return tuple(groups)


def processes(*, is_coordinator: bool) -> tuple[str, ...]:
    """What of ours runs on a node."""
    return ("guard", "agent", "planner", "ha") if is_coordinator else ("guard", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One after the other, from one chance."""

    chance: random.Random
    nodes: Sequence[NodeName]
    coordinators: Sequence[NodeName]
    guests: Sequence[str]

    # --- parts ---

    def node(self) -> NodeName:
        return self.chance.choice(self.nodes)

    def head(self) -> NodeName:
        return self.chance.choice(self.coordinators)

    def guest(self) -> str:
        return self.chance.choice(self.guests)

    def other(self, node: NodeName) -> NodeName:
        return self.chance.choice([each for each in self.nodes if each != node])

    def still_s(self) -> str:
        """For how long something stands still: often just longer than a session, as others take over."""
        chance = self.chance
        return f"{chance.choice((chance.uniform(3.5, 9), chance.uniform(1, 60))):.1f}"

    def gap(self, least_s: float = 1.0, most_s: float = 25.0) -> str:
        return f"wait {self.chance.uniform(least_s, most_s):.1f}"

    def moment(self, kinds: Sequence[str]) -> Moment:
        return Moment(kinds=(self.chance.choice(kinds),))

    # --- alone ---

    def power(self) -> Group:
        return (f"power {self.node()} {self.chance.choice(('off', 'off', 'off', 'on'))}",)

    def network(self) -> Group:
        return (f"network {self.node()} {self.chance.choice(('off', 'off', 'on'))}",)

    def link(self) -> Group:
        node, net = self.node(), self.chance.choice(("cluster", "storage", "upstream"))
        to = self.chance.choice((net, self.other(node)))
        return (f"link {node} {to} {self.chance.choice(('off', 'off', 'on'))}",)

    def store(self) -> Group:
        act = self.chance.choice(("off", "on", "stale", "ambiguous"))
        return (f"store {self.node()} {act}",)

    def server(self) -> Group:
        return (f"zk {self.head()} {self.chance.choice(('kill', 'start', 'slow', 'ok'))}",)

    def bmc(self) -> Group:
        node = self.node()
        mood = self.chance.choice(("off", "on", "hang", "lie", f"is {self.other(node)}"))
        return (f"bmc {node} {mood}",)

    def host(self) -> Group:
        return (f"{self.chance.choice(('pause', 'pause', 'resume', 'reboot'))} {self.node()}",)

    def process(self) -> Group:
        node = self.node()
        which = self.chance.choice(processes(is_coordinator=node in self.coordinators))
        act = self.chance.choice(("kill", "pause", "restart", "start", "resume"))
        return (f"{which} {node} {act}",)

    def fuse(self) -> Group:
        which, node = self._at_work()
        return (f"{which} {node} kill {self.chance.randint(0, 12)}",)

    def stall(self) -> Group:
        which, node = self._at_work()
        return (f"{which} {node} stall {self.still_s()} {self.chance.randint(0, 6)}",)

    def _at_work(self) -> tuple[str, str]:
        return self.chance.choice(
            (
                *(("agent", self.node()), ("planner", self.head()), ("ha", self.head())),
                *(("planner", "{planner}"), ("ha", "{ha}")),
            )
        )

    def clock(self) -> Group:
        return (f"clock {self.node()} rate {self.chance.choice(('0.99', '1.01', '1.005'))}",)

    def libvirt(self) -> Group:
        return (f"libvirt {self.node()} {self.chance.choice(('hang', 'ok'))}",)

    def ceph(self) -> Group:
        return (f"ceph {self.chance.choice(('off', 'on', 'slow 3'))}",)

    def vm(self) -> Group:
        act = self.chance.choice(
            (
                *("crash", "reboot", "power-off", "fail-stop 1", "fail-migrate 1"),
                *(f"fail-start {self.chance.randint(1, 2)}", f"open {self.node()}"),
            )
        )
        return (f"vm {self.guest()} {act}",)

    def wish(self) -> Group:
        node, guest = self.node(), self.guest()
        how = self.chance.choice(("migrate", "relocate"))
        return (
            self.chance.choice(
                (
                    *(f"run {guest} {how} {node}", f"run {guest} {how} {node}"),
                    *(f"drain {node}", f"undrain {node}"),
                )
            ),
        )

    def git(self) -> Group:
        change = f"commit {self.chance.choice(COMMITS)}"
        return (self.chance.choice((change, change, "git off", "git on")),)

    # --- together: each takes away what would hide the other's harm ---

    def away(self) -> Group:
        """Nothing ends its guests, nothing proves anything, and then it is back."""
        node = self.node()
        mood = self.chance.choice(("off", "off", "hang", "lie"))
        off, on = self.chance.choice(
            (
                (f"network {node} off", f"network {node} on"),
                (f"link {node} cluster off", f"link {node} cluster on"),
                (f"guard {node} pause", f"guard {node} resume"),
                (f"pause {node}", f"resume {node}"),
            )
        )
        return (f"bmc {node} {mood}", off, self.gap(1, 40), on)

    def late_start(self) -> Group:
        """The agent has checked, and its node is given up before it acts."""
        node, guest = self.node(), self.guest()
        stall = f"agent {node} stall {self.still_s()} {self.chance.randint(0, 3)}"
        return (f"vm {guest} crash", stall, f"store {node} off", self.gap(), f"store {node} on")

    def late_leaders(self) -> Group:
        """Leaders that stand still amid a fence or a plan, and wake up as someone who was."""
        stalls = tuple(
            f"ha {each} stall {self.still_s()} {self.chance.randint(0, 4)}"
            for each in self.coordinators
        )
        return (*stalls, self._cause(self.node()))

    def late_plan(self) -> Group:
        stalls = tuple(
            f"planner {each} stall {self.still_s()} {self.chance.randint(0, 4)}"
            for each in self.coordinators
        )
        return (f"commit {self.chance.choice(COMMITS)}", *stalls)

    def hand(self) -> Group:
        """Somebody looks into the disks of a guest that is between two starts."""
        node, guest = self.node(), self.guest()
        down, up = self.chance.choice(
            (
                ((f"vm {guest} fail-start 2", f"vm {guest} power-off"), ()),
                ((f"run {guest} stop",), (f"run {guest} start",)),
            )
        )
        return (*down, "wait 4", f"vm {guest} open {node}", *up, self.gap())

    def mad_clocks(self) -> Group:
        """The others' clocks run away: they give it up while it still holds its lease."""
        node = self.node()
        return (
            *(f"clock {each} rate {MAD_RATE}" for each in self.nodes if each != node),
            *(f"bmc {node} off", f"agent {node} pause", f"network {node} off"),
            *(self.gap(3.6, 4.9), f"network {node} on"),
        )

    def deaf_owner(self) -> Group:
        """Who should let go of its guests does not listen."""
        node = self.node()
        order = self.chance.choice((f"drain {node}", f"run {self.guest()} migrate {node}"))
        return (f"agent {node} pause", order, self.gap(), f"agent {node} resume")

    def split(self) -> Group:
        """Two halves that hear nothing of each other, in one direction or both, for a while."""
        some = self.chance.sample(self.nodes, self.chance.randint(1, len(self.nodes) // 2))
        rest = [each for each in self.nodes if each not in some]
        ways = [(a, b) for a in some for b in rest]
        if self.chance.random() < 0.5:  # noqa: PLR2004  as often as not
            ways += [(b, a) for a, b in ways]
        off = tuple(f"link {a} {b} off" for a, b in ways)
        return (*off, self.gap(1, 40), *(f"link {a} {b} on" for a, b in ways))

    # --- aimed ---

    def amid_fence(self) -> Group:
        """A node is lost, and something else happens while that is dealt with."""
        node = self.node()
        mood = self.chance.choice(("on", "on", "off", "lie", "hang"))
        lost, moment = self._cause(node), self.moment((*_FENCE, *_SELF))
        return (f"bmc {node} {mood}", lost, moment, *self._short(), *self._blow(node))

    def amid_move(self) -> Group:
        """A guest is on its way, and one of those concerned is lost."""
        node, guest = self.node(), self.guest()
        order = self.chance.choice((f"drain {{{guest}}}", f"run {guest} migrate {node}"))
        victim = self.chance.choice((f"{{{guest}}}", node))
        lost = self._cause(victim)
        return (order, self.moment(_MOVE), *self._short(), lost, *self._blow(victim))

    def amid_plan(self) -> Group:
        """A change is being carried out, and one of those concerned is lost."""
        order = f"commit {self.chance.choice(COMMITS)}"
        victim = self.chance.choice(("{planner}", self.node()))
        return (order, self.moment(_PLAN), *self._short(), self._cause(victim))

    def amid_election(self) -> Group:
        """Who leads is lost, and so is the next one at once."""
        role = self.chance.choice(("ha", "planner"))
        lost = self.chance.choice(
            (
                *(f"{role} {{{role}}} kill", f"{role} {{{role}}} pause", f"zk {{{role}}} kill"),
                *(f"power {{{role}}} off", f"store {{{role}}} off"),
            )
        )
        return (lost, self.moment(("leader",)), *self._short(), self._cause(self.node()))

    def _cause(self, node: str) -> str:
        return self.chance.choice(
            (
                *(f"power {node} off", f"power {node} off", f"network {node} off"),
                *(f"link {node} cluster off", f"pause {node}", f"store {node} off"),
                *(f"guard {node} pause", f"guard {node} kill"),
            )
        )

    def _short(self) -> tuple[str, ...]:
        return self.chance.choice(((), (f"wait {self.chance.uniform(0, 4):.2f}",)))

    def _blow(self, node: str) -> Group:
        """It comes back too early; or who deals with it is lost, or stands still until others do."""
        chance, still_s = self.chance, self.still_s()
        back = (
            *(f"network {node} on", f"store {node} on", f"link {node} cluster on"),
            *(f"resume {node}", f"guard {node} resume", f"power {node} on"),
        )
        return chance.choice(
            (
                back,
                back,
                (f"ha {{ha}} stall {still_s} {chance.randint(0, 3)}",),
                ("ha {ha} pause", f"wait {still_s}", "ha {ha} resume"),
                ("pause {ha}", f"wait {still_s}", "resume {ha}"),
                ("network {ha} off", f"wait {still_s}", "network {ha} on"),
                (f"ha {{ha}} kill {chance.randint(0, 3)}",),
                (self._cause(self.node()),),
                (f"bmc {node} {chance.choice(('off', 'on', 'lie'))}",),
                ("ceph off", f"wait {still_s}", "ceph on"),
                (f"zk {self.head()} kill", f"wait {still_s}", *back),
            )
        )


_KINDS: Final[Mapping[str, Callable[[Draw], Group]]] = {
    each.__name__: each
    for each in (
        *(Draw.power, Draw.network, Draw.link, Draw.store, Draw.server, Draw.bmc, Draw.host),
        *(Draw.process, Draw.fuse, Draw.stall, Draw.clock, Draw.libvirt, Draw.ceph, Draw.vm),
        *(Draw.wish, Draw.git),
        *(Draw.away, Draw.late_start, Draw.late_leaders, Draw.late_plan, Draw.hand),
        *(Draw.mad_clocks, Draw.deaf_owner, Draw.split),
        *(Draw.amid_fence, Draw.amid_move, Draw.amid_plan, Draw.amid_election),
    )
}
# What is worth most a second is never left out whole.
_ALWAYS: Final = frozenset({"away", "amid_fence", "amid_move"})
