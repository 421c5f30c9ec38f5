"""The language of scripts (DESIGN section 13): words to commands, with the place of every mistake.

What may be written is one table of forms, from which mistakes are found and help is made alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.errors import UsageError
from pvc_gitops.model.values import dataclass
from pvc_gitops.sim.migration import PHASES

SETTLE_MAX_S: Final = 3600.0
RATE_MIN: Final = 0.5  # of a clock; crystals are off by 0.01 %, and 1 % is already a broken one
RATE_MAX: Final = 2.0
EXIT_CODE: Final = 2  # of a script that cannot be played: 1 says that a rule was broken
_WORD: Final = re.compile(r"\S+")

_LIFE: Final = "kill|start|pause|resume|restart"
_FORMS: Final = (
    ("wait SECONDS", "let time pass"),
    ("settle [MAX]", f"let time pass until nothing is pending, {SETTLE_MAX_S:.0f} s at most"),
    ("place VM NODE", "before any power: where a guest was, as if the cluster had been shut down"),
    ("power NODE on|off", "mains; off kills agent and guests at once, its BMC goes on"),
    ("bmc NODE on|off|hang|lie", "it answers, is dead, never returns, says off although on"),
    ("bmc NODE is OTHER", "the repository gave the address of another node's BMC"),
    ("watchdog NODE SECONDS|none", "what its hardware has, from its next boot"),
    ("network NODE on|off", "all networks of the node; guests go on inside"),
    ("link NODE cluster|storage|upstream on|off", "one of them"),
    ("link FROM TO on|off", "what one node sends to another; the other direction stays"),
    ("store NODE on|off|stale", "ZooKeeper is in reach, out of it, or shows old data, there only"),
    ("store NODE ambiguous", "its next write is committed, and the answer is lost"),
    ("zk COORDINATOR kill|start|wipe", "the ZooKeeper server there; wiped, it has no vote"),
    ("zk COORDINATOR slow|ok", "it answers after a second and a half, or at once again"),
    (f"agent NODE {_LIFE}", "the agent process"),
    (f"guard NODE {_LIFE}", "the guard process"),
    (f"planner COORDINATOR {_LIFE}", "the planner process"),
    (f"ha COORDINATOR {_LIFE}", "the process that fences and recovers"),
    ("agent NODE kill EFFECTS", "die after so many more effects on the world"),
    ("planner COORDINATOR kill EFFECTS", ""),
    ("ha COORDINATOR kill EFFECTS", ""),
    ("agent NODE stall SECONDS [EFFECTS]", "stand still before an effect, checks behind it"),
    ("planner COORDINATOR stall SECONDS [EFFECTS]", ""),
    ("ha COORDINATOR stall SECONDS [EFFECTS]", ""),
    ("pause NODE", "the whole host freezes, its guests with it"),
    ("resume NODE", "and goes on"),
    ("libvirt NODE hang|ok", "libvirt never answers, or does again"),
    ("disk NODE wipe", "all that the node kept on its own disk is gone"),
    ("clock NODE rate RATE", "its clock runs so much faster than it should"),
    ("ceph off|on", "no monitor and no OSD answers, or all do again"),
    ("ceph slow SECONDS", "whatever asks Ceph takes so much longer"),
    ("vm VM crash", "its process ends"),
    ("vm VM reboot", "from inside"),
    ("vm VM power-off", "from inside, in order"),
    ("vm VM ready SECONDS|none", "so long after its start it answers, or not at all"),
    ("vm VM fail-start N [NODE]", "its next N starts fail"),
    ("vm VM fail-migrate N [PHASE]", f"its next N migrations fail, in {', '.join(PHASES)}"),
    ("vm VM fail-stop N", "it does not listen to the next N wishes that it powers off"),
    ("vm VM unplug nic|disk DEVICE", "by hand, past the cluster"),
    ("vm VM open NODE", "somebody opens its disks there by hand"),
    ("vm VM close", "and lets go of them"),
    ("shutdown NODE", "in order: its guests end, it says so, and switches itself off"),
    ("reboot NODE", "the same, and it comes back"),
    ("drain NODE", "its guests leave, none comes"),
    ("undrain NODE", "what left comes back"),
    ("hold on|off", "nobody is fenced, nobody fences itself"),
    ("maintenance on|off", "of the whole cluster: alarms are paused"),
    ("run VM start|stop", "an operator holds it so, whatever git says"),
    ("run VM migrate NODE", "an operator moves it, running"),
    ("run VM relocate NODE", "an operator moves it, by stopping and starting it"),
    ("commit DIR", "the remote repository becomes what is in DIR, beside the script"),
    ("git on|off", "the remote answers, or does not"),
    ("git rewind|delete", "its branch goes back by one commit, or is gone"),
    ("git force DIR", "like commit, and nothing of what was before is in its history"),
    ("image IMAGE bad|good", "its download has another checksum than declared"),
    ("freeze on|off", "no plan becomes the target"),
    ("halt on|off", "no step begins"),
    ("approve", "the plan that waits for it"),
    ("retry", "what is not tried any more by itself"),
    ("rollback", "to the commit before that was carried out whole"),
    ("release", "all that is in quarantine"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, its words checked. `line` and `column` count from 1."""

    line: int
    column: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a script may name: it proves nothing about a node that is not there."""

    nodes: frozenset[str]
    coordinators: frozenset[str]


class ScriptError(UsageError):
    """A script that cannot be played. The message begins with its name, line and column."""

    def __init__(self, place: str, problem: str, hint: str = "") -> None:
        super().__init__(f"{place}: {problem}", hint=hint, exit_code=EXIT_CODE)


def parse(text: str, *, name: str, names: Names) -> tuple[Command, ...]:
    """All commands of a script, in order.

    Args:
        text: the script.
        name: what it is called in messages.
        names: the cluster's nodes.

    Raises:
        ScriptError: at the first mistake; its hint says what may be written.
    """
    found: list[Command] = []
    for number, line in enumerate(text.splitlines(), start=1):
        code, start = line.partition("#")[0], 0
        for part in code.split(";"):
            spans = [(start + m.start() + 1, m.group()) for m in _WORD.finditer(part)]
            if spans:
                words = tuple(word for _, word in spans)
                _check(words, [column for column, _ in spans], f"{name}:{number}", names)
                found.append(Command(line=number, column=spans[0][0], words=words))
            start += len(part) + 1
    return tuple(found)


def manual() -> str:
    """Every form with its meaning, a line each, as `pvc simulate --help` shows it."""
    shown = [(form.replace("COORDINATOR", "NODE"), meaning) for form, meaning in _FORMS if meaning]
    width = max(len(form) for form, _ in shown)
    return "\n".join(f"{form:{width}}  {meaning}" for form, meaning in shown)


# --- what is wrong ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mistake:
    """`at`: which word; as many as there are where one is missing."""

    at: int
    text: str


def _check(words: tuple[str, ...], columns: list[int], place: str, names: Names) -> None:
    forms = _BY_VERB.get(words[0])
    if forms is None:
        text = f"no command {words[0]!r}{_meant(words[0], _BY_VERB)}"
        raise ScriptError(f"{place}:{columns[0]}", text, "pvc simulate --help lists them")
    mistakes = [_mistake(form.split(), words, names) for form in forms]
    if any(each is None for each in mistakes):
        return
    # The form that was meant is the one that agrees with the most words.
    at = max(each.at for each in mistakes if each is not None)
    texts = {each.text: None for each in mistakes if each is not None and each.at == at}
    text = " or ".join(texts)
    if at >= len(words) and len(texts) > 1:
        text = f"`{' '.join(words)}` is not whole"
    column = columns[at] if at < len(columns) else columns[0]
    shown = " | ".join(form.replace("COORDINATOR", "NODE") for form in forms)
    raise ScriptError(f"{place}:{column}", text, f"write: {shown}")


def _mistake(form: list[str], words: tuple[str, ...], names: Names) -> _Mistake | None:
    for at, expected in enumerate(form):
        if at >= len(words):
            if expected.startswith("["):
                return None
            return _Mistake(at=at, text=f"{_called(expected)} is missing")
        problem = _problem(expected.strip("[]"), words[at], names)
        if problem:
            return _Mistake(at=at, text=problem)
    if len(words) > len(form):
        return _Mistake(at=len(form), text=f"{words[len(form)]!r} is too much")
    return None


def _problem(expected: str, word: str, names: Names) -> str:  # noqa: PLR0911  one kind a line
    match expected:
        case "NODE" | "OTHER" | "FROM" | "TO":
            return _unknown(word, names.nodes, "node")
        case "COORDINATOR":
            return _unknown(word, names.nodes, "node") or _no_coordinator(word, names)
        case "SECONDS" | "MAX":
            return "" if _is_number(word) else f"{word!r} is no number of seconds"
        case "SECONDS|none":
            is_good = word == "none" or _is_number(word)
            return "" if is_good else f"{word!r} is no number of seconds, and not none"
        case "RATE":
            is_good = _is_number(word) and RATE_MIN <= float(word) <= RATE_MAX
            return "" if is_good else f"{word!r} is no rate from {RATE_MIN:g} to {RATE_MAX:g}"
        case "N" | "EFFECTS":
            return "" if word.isdecimal() else f"{word!r} is no count"
        case "PHASE":
            return "" if word in PHASES else f"{word!r} is none of {', '.join(PHASES)}"
        case _ if expected.isupper():
            return ""  # a name that the cluster knows, or not: it may come with a commit
        case _:
            return _other_word(word, expected.split("|"))


def _unknown(word: str, known: Iterable[str], what: str) -> str:
    if word in known:
        return ""
    has = ", ".join(sorted(known))
    return f"the repository declares no {what} {word!r}{_meant(word, known)} (it has {has})"


def _no_coordinator(word: str, names: Names) -> str:
    if word in names.coordinators:
        return ""
    return f"{word} is no coordinator: nothing of that kind runs there"


def _other_word(word: str, words: list[str]) -> str:
    if word in words:
        return ""
    wanted = words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    return f"{word!r} is not {wanted}{_meant(word, words)}"


def _meant(word: str, words: Iterable[str]) -> str:
    import difflib  # only for a mistake

    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _called(expected: str) -> str:
    is_name = expected.isupper() or expected == "SECONDS|none"
    shown = expected.replace("COORDINATOR", "NODE")
    return shown if is_name else f"one of {', '.join(expected.split('|'))}"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+([.][0-9]+)?", text) is not None


def _by_verb() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for form, _ in _FORMS:
        verb = form.split()[0]
        found[verb] = (*found.get(verb, ()), form)
    return MappingProxyType(found)


_BY_VERB: Final = _by_verb()
