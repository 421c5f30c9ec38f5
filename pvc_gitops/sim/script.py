"""The language of scripts (DESIGN section 13): words to commands, with the place of every mistake."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.values import dataclass

SETTLE_MAX_S: Final = 3600.0
_WORD: Final = re.compile(r"\S+")
_STATES: Final = ("kill", "start", "pause", "resume", "restart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, its words checked. `line` and `column` count from 1."""

    line: int
    column: int
    words: tuple[str, ...]


class ScriptError(UsageError):
    """A script that cannot be played."""


def parse(
    text: str, *, name: str, nodes: frozenset[str], has_autonomy: bool = False
) -> tuple[Command, ...]:
    """All commands of a script, in order.

    Args:
        text: the script.
        name: what it is called in messages.
        nodes: the cluster's, since a script that names another one proves nothing.
        has_autonomy: whether there is anything that fences.

    Raises:
        ScriptError: with line, column and what was expected.
    """
    found: list[Command] = []
    for number, line in enumerate(text.splitlines(), start=1):
        code = line.partition("#")[0]
        start = 0
        for part in code.split(";"):
            match = _WORD.search(part)
            if match is not None:
                command = Command(
                    line=number, column=start + match.start() + 1, words=tuple(part.split())
                )
                problem = _problem(command.words, nodes, has_autonomy=has_autonomy)
                if problem:
                    raise ScriptError(f"{name}:{number}:{command.column}: {problem}")
                found.append(command)
            start += len(part) + 1
    return tuple(found)


def _problem(words: tuple[str, ...], nodes: frozenset[str], *, has_autonomy: bool) -> str:
    verb, args = words[0], words[1:]
    if verb in _OF_AUTONOMY and not has_autonomy:
        return f"`{verb}` is not simulated yet: there is no fencing yet"
    if verb in _LATER:
        return f"`{verb}` is not simulated yet: {_LATER[verb]}"
    if verb not in _COMMANDS:
        import difflib

        close = difflib.get_close_matches(verb, _COMMANDS, n=1)
        return f"no command {verb!r}" + (f"; did you mean {close[0]!r}?" if close else "")
    usage, check = _COMMANDS[verb]
    problem = check(args, nodes)
    return f"{problem}; write: {usage}" if problem else ""


# --- what follows each word -------------------------------------------------------------------------


def _seconds(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    return "" if len(args) == 1 and _is_number(args[0]) else "`wait` takes seconds"


def _settle(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    if not args or (len(args) == 1 and _is_number(args[0])):
        return ""
    return "`settle` takes at most a limit in seconds"


def _on_off(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    return _node_and(args, nodes, ("on", "off"))


def _store(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    return _node_and(args, nodes, ("on", "off", "stale", "ambiguous"))


def _process(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    if len(args) == 3 and args[1] == "kill" and args[2].isdigit():  # noqa: PLR2004
        return _node(args[0], nodes)
    return _node_and(args, nodes, _STATES)


def _bmc(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    match args:
        case (node, "is", other):
            return _node(node, nodes) or _node(other, nodes)
        case _:
            return _node_and(args, nodes, ("on", "off", "hang", "lie"))


def _one_node(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    return _node(args[0], nodes) if len(args) == 1 else "one node is expected"


def _place(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    return _node(args[1], nodes) if len(args) == 2 else "a guest and a node are expected"  # noqa: PLR2004


def _directory(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    return "" if len(args) == 1 else "one directory is expected"


def _switch(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    return "" if args in (("on",), ("off",)) else "on or off is expected"


def _alone(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    return "nothing follows it" if args else ""


def _git(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    if args in (("on",), ("off",), ("rewind",), ("delete",)):
        return ""
    if len(args) == 2 and args[0] == "force":  # noqa: PLR2004
        return ""
    return "the remote is switched on or off, rewound, deleted or forced"


def _vm(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    match args:
        case (_, "crash" | "reboot") | (_, "unplug", "nic" | "disk", _):
            return ""
        case (_, "fail-start", count) if count.isdigit():
            return ""
        case (_, "fail-start", count, node) if count.isdigit():
            return _node(node, nodes)
        case (_, "fail-migrate" | "fail-stop", *_):
            return f"`{args[1]}` is not simulated yet"
        case _:
            return "what happens to the guest is expected"


def _image(args: tuple[str, ...], nodes: frozenset[str]) -> str:
    del nodes
    is_good = len(args) == 2 and args[1] in ("bad", "good")  # noqa: PLR2004
    return "" if is_good else "an image and whether its download is good are expected"


def _node_and(args: tuple[str, ...], nodes: frozenset[str], states: tuple[str, ...]) -> str:
    if len(args) != 2 or args[1] not in states:  # noqa: PLR2004
        return f"a node and one of {', '.join(states)} are expected"
    return _node(args[0], nodes)


def _node(name: str, nodes: frozenset[str]) -> str:
    if name in nodes:
        return ""
    return f"the repository declares no node {name!r} (it has {', '.join(sorted(nodes))})"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+([.][0-9]+)?", text) is not None


_Check = Callable[[tuple[str, ...], frozenset[str]], str]
_COMMANDS: Final[Mapping[str, tuple[str, _Check]]] = MappingProxyType(
    {
        "wait": ("wait SECONDS", _seconds),
        "settle": ("settle [MAX]", _settle),
        "place": ("place VM NODE, before any power", _place),
        "power": ("power NODE on|off", _on_off),
        "network": ("network NODE on|off", _on_off),
        "store": ("store NODE on|off|stale|ambiguous", _store),
        "agent": ("agent NODE kill [EFFECTS]|start|pause|resume|restart", _process),
        "guard": ("guard NODE kill|start|pause|resume|restart", _process),
        "planner": ("planner NODE kill [EFFECTS]|start|pause|resume|restart", _process),
        "ha": ("ha NODE kill [EFFECTS]|start|pause|resume|restart", _process),
        "bmc": ("bmc NODE on|off|hang|lie | bmc NODE is OTHER", _bmc),
        "pause": ("pause NODE", _one_node),
        "resume": ("resume NODE", _one_node),
        "vm": (
            "vm NAME crash|reboot | vm NAME unplug nic|disk X | vm NAME fail-start N [NODE]",
            _vm,
        ),
        "image": ("image NAME bad|good", _image),
        "commit": ("commit DIR", _directory),
        "git": ("git on|off|rewind|delete | git force DIR", _git),
        "freeze": ("freeze on|off", _switch),
        "halt": ("halt on|off", _switch),
        "approve": ("approve, what waits for it", _alone),
        "retry": ("retry", _alone),
        "rollback": ("rollback, to the commit before that was carried out whole", _alone),
        "release": ("release, all that is in quarantine", _alone),
    }
)
_OF_AUTONOMY: Final = frozenset({"bmc", "ha"})
# Of DESIGN section 13, what waits for what it would act on.
_LATER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "link": "a node has all its networks or none",
        "zk": "ZooKeeper's servers live and die with their nodes",
        "libvirt": "the hypervisor always answers",
        "disk": "disks are never wiped",
        "clock": "all clocks run at the same rate",
        "ceph": "Ceph is there whenever the coordinators are",
        "shutdown": "use `power NODE off`",
        "reboot": "use `power NODE off; power NODE on`",
        "drain": "there are no operator intents yet",
        "undrain": "there are no operator intents yet",
        "hold": "there is no fencing yet",
        "maintenance": "there are no operator intents yet",
        "run": "there are no operator intents yet",
    }
)
