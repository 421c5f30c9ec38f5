"""`Client`: questions in, values of the model out. An agent's refusal becomes a UsageError."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, Protocol, TypeVar

from pvc_gitops.errors import AgentLost, UsageError
from pvc_gitops.model.codec import decode
from pvc_gitops.model.control import Quarantined
from pvc_gitops.model.export import Export
from pvc_gitops.model.ids import Address, CommitId, PlanId
from pvc_gitops.model.intents import Intent, IntentId, IntentKind
from pvc_gitops.model.inventory import Inventory
from pvc_gitops.model.ledger import Entry
from pvc_gitops.model.plan import Plan
from pvc_gitops.model.preview import Answer, Preview
from pvc_gitops.model.readiness import FenceReadiness
from pvc_gitops.model.records import SourceSeen, StepResult, Target
from pvc_gitops.model.source import SourceOutcome, SourceState
from pvc_gitops.world.protocol import (
    LINE_BYTES_MAX,
    AppliedFacts,
    Hello,
    Question,
    Rollback,
    Status,
    question_line,
)

T = TypeVar("T")
# Refusals that scripts tell apart (DESIGN section 5).
EXIT_BY_CODE: Final = {"effect-differs": 4, "stopped": 5}
NOT_READY: Final = "not-ready"  # the agent has no store: another node may have one
# What changes something is never asked twice: the first question may have been carried out.
CHANGING: Final = frozenset(
    {"intent", "end-intent", "rollback", "release", "source-submit", "source-accept"}
)
# A node that lost its power is fenced, and its agent's successor elected, in less.
LOST_S: Final = 90.0
PAUSE_S: Final = 0.5


class Channel(Protocol):
    """Two pipes to an agent, and what to say when they end."""

    to: BinaryIO
    back: BinaryIO
    name: str

    def close(self) -> None: ...

    def hang_up(self) -> None:
        """End it from another thread: whoever reads is told the end."""
        ...

    def last_words(self) -> str:
        """Why it ended, if the other side said anything; "" otherwise."""
        ...


class Client:
    """A connection, which `reopen` replaces where it ends. Questions are asked one after another."""

    def __init__(self, channel: Channel, reopen: Callable[[], Channel] | None = None) -> None:
        self._channel = channel
        self._reopen = reopen
        self._number = 0

    def close(self) -> None:
        self._channel.close()

    def hello(self) -> Hello:
        return self._decode(Hello, self._ask("hello"))

    def inventory(self) -> Inventory:
        return self._decode(Inventory, self._ask("inventory"))

    def status(self) -> Status:
        return self._decode(Status, self._ask("status"))

    def target(self) -> Target | None:
        value = self._ask("target")
        return None if value is None else self._decode(Target, value)

    def plan(self, plan: PlanId) -> Plan:
        return self._decode(Plan, self._ask("plan", id=plan))

    def results(self, plan: PlanId) -> Mapping[str, StepResult]:
        found = self._ask("results", id=plan)
        return {step: self._decode(StepResult, value) for step, value in sorted(found.items())}

    def applied(self, address: Address) -> AppliedFacts:
        return self._decode(AppliedFacts, self._ask("applied", address=address))

    def history(
        self,
        *,
        limit: int,
        since_s: int | None = None,
        until_s: int | None = None,
        address: Address | None = None,
    ) -> tuple[Entry, ...]:
        """The ledger's entries, the oldest first; the newest `limit` of those that fit."""
        asked = {"limit": limit, "since_s": since_s, "until_s": until_s, "address": address}
        found = self._ask("history", **{k: v for k, v in asked.items() if v is not None})
        return tuple(self._decode(Entry, value) for value in reversed(found))

    def export(self, plan: str | None) -> Export:
        """What the planner reads now, or what that plan was computed from."""
        asked = {} if plan is None else {"plan": plan}
        return self._decode(Export, self._ask("export", **asked))

    def preview(self, files: Mapping[str, str]) -> Answer:
        """What these files, path to base64, would do: by the cluster's own planner."""
        return self._decode(Answer, self._ask("preview", files=files))

    def previews(self) -> tuple[Preview, ...]:
        """Of all proposals, without texts, by ref."""
        return tuple(self._decode(Preview, value) for value in self._ask("previews"))

    def preview_of(self, ref: str) -> Preview:
        """Of one, whole."""
        return self._decode(Preview, self._ask("previews", ref=ref))

    def intents(self) -> tuple[Intent, ...]:
        """Those in force, the oldest first."""
        return tuple(self._decode(Intent, value) for value in self._ask("intents"))

    def wish(
        self,
        kind: IntentKind,
        subject: str,
        *,
        reason: str = "",
        for_s: int | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Intent:
        """Make an intent."""
        asked = {"reason": reason, "for_s": for_s, "data": dict(data or {})}
        return self._decode(Intent, self._ask("intent", kind=kind.value, subject=subject, **asked))

    def end_intent(self, name: IntentId, *, reason: str = "", stays: bool = False) -> Intent:
        """`stays`: of a drain; whom it moved away does not come back."""
        return self._decode(Intent, self._ask("end-intent", id=name, reason=reason, stays=stays))

    def rollback(self, commit: str, *, reason: str = "", effect: str | None = None) -> Rollback:
        """What going back would do; with the effect of that answer, do it. "" is the commit before."""
        asked = {"commit": commit, "reason": reason, "effect": effect}
        return self._decode(Rollback, self._ask("rollback", **asked))

    def release(self, commit: str, *, reason: str) -> Quarantined:
        return self._decode(Quarantined, self._ask("release", commit=commit, reason=reason))

    def source(self) -> SourceState:
        return self._decode(SourceState, self._ask("source"))

    def submit(self, head: CommitId, base: CommitId, pack: bytes) -> SourceOutcome:
        """Hand commits over; answered when they are in force or refused."""
        text = base64.b64encode(pack).decode()
        return self._decode(
            SourceOutcome, self._ask("source-submit", head=head, base=base, pack=text)
        )

    def fence_check(self, node: str | None) -> tuple[FenceReadiness, ...]:
        """How a fence would find all nodes; or one, whose BMC is tried first."""
        asked = {} if node is None else {"node": node}
        found = self._ask("fence-check", **asked)
        return tuple(self._decode(FenceReadiness, value) for value in found)

    def accept(self, commit: str, reason: str) -> SourceOutcome:
        """Adopt the branch's tip although it is refused."""
        return self._decode(SourceOutcome, self._ask("source-accept", commit=commit, reason=reason))

    def look_at_git(self) -> SourceSeen:
        """Fetch now; answered after the fetch."""
        return self._decode(SourceSeen, self._ask("look-at-git")["seen"])

    def follow(self, commit: CommitId, timeout_s: float) -> Iterator[Mapping[str, Any]]:
        """Events as they come; the last item is `{"outcome": applied|failed|timeout, "plan": …}`.

        Where the node that is asked falls away, the next one that answers tells all again, after an
        event `{"lost": why, "now": who}`. Raises AgentLost when nobody has told anything for LOST_S.
        """
        end_s = time.monotonic() + timeout_s
        left_s, lost_s = timeout_s, 0.0
        while True:
            try:
                for said in self._followed(commit, left_s):
                    yield said
                    lost_s = 0.0
                    if "outcome" in said:
                        return
            except AgentLost as lost:
                now_s = time.monotonic()
                lost_s = lost_s or now_s
                if now_s > lost_s + LOST_S:
                    raise
                self._replace(lost, until_s=lost_s + LOST_S)
                yield {"lost": lost.message, "now": self._channel.name}
                left_s = max(0.0, end_s - time.monotonic())

    def _followed(self, commit: CommitId, timeout_s: float) -> Iterator[Mapping[str, Any]]:
        number = self._send("follow", {"commit": commit, "timeout_s": timeout_s})
        while True:
            answer = self._receive(number)
            if "event" not in answer:
                yield answer["value"]
                return
            yield answer["event"]

    def _ask(self, op: str, **args: object) -> Any:  # noqa: ANN401  JSON
        try:
            return self._receive(self._send(op, args))["value"]
        except AgentLost as lost:
            if op in CHANGING:
                raise
            self._replace(lost, until_s=0.0)
        return self._receive(self._send(op, args))["value"]

    def _replace(self, lost: AgentLost, *, until_s: float) -> None:
        """Connect anew, to whoever answers; once at least. Raises AgentLost where nobody does."""
        if self._reopen is None:
            raise lost
        self._channel.close()
        while True:
            time.sleep(PAUSE_S)  # whoever has just fallen away may still take connections
            try:
                self._channel = self._reopen()
            except UsageError as error:
                if time.monotonic() > until_s:
                    raise AgentLost(f"{lost.message}; {error.message}", hint=error.hint) from lost
            else:
                return

    def _send(self, op: str, args: Mapping[str, object]) -> int:
        self._number += 1
        try:
            self._channel.to.write(question_line(Question(id=self._number, op=op, args=args)))
            self._channel.to.flush()
        except OSError as err:
            raise self._ended() from err
        return self._number

    def _receive(self, number: int) -> dict[str, Any]:
        try:
            line = self._channel.back.readline(LINE_BYTES_MAX)
        except OSError as err:
            raise self._ended() from err
        if not line.endswith(b"\n"):
            raise self._ended()
        try:
            answer = json.loads(line)
        except ValueError as err:
            raise UsageError(
                f"{self._channel.name} answered what no agent says: {line[:80]!r}",
                hint="is this a node of the cluster? Does its login shell print something?",
            ) from err
        if "error" in answer:
            error = answer["error"]
            if error.get("code") == NOT_READY:
                raise AgentLost(error["message"], hint=error.get("hint", ""))
            code = EXIT_BY_CODE.get(error.get("code"), 1)
            raise UsageError(error["message"], hint=error.get("hint", ""), exit_code=code)
        assert answer["id"] == number, answer["id"]
        return dict(answer)

    def _decode(self, cls: type[T], value: object) -> T:
        try:
            return decode(cls, value)
        except (ValueError, TypeError) as err:
            raise UsageError(
                f"{self._channel.name} speaks another release than this pvc: {err}",
                hint="pvc --version here and on the node",
            ) from err

    def _ended(self) -> AgentLost:
        why = self._channel.last_words()
        return AgentLost(
            f"the connection to {self._channel.name} ended{': ' + why if why else ''}",
            hint="is pvc-node-agent running there? systemctl status pvc-node-agent",
        )
