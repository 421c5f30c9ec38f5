"""Lines of a running apply, from the events of the agent's `follow`. Pure but for its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

STEP_WIDTH: Final = 44
# What waits or cannot begin is everything else of the plan that was shown above.
TOLD: Final = frozenset({"running", "done", "failed"})
PROGRESS_EVERY: Final = 0.25  # an import says a quarter, a half, three quarters


class Progress:
    """One line when a step begins to run, makes a quarter of its way, and ends."""

    def __init__(self, *, began_s: float) -> None:
        self._began_s = began_s
        self._told: dict[str, tuple[str, int]] = {}
        self.failed = 0

    def line(self, event: Mapping[str, Any], *, now_s: float) -> str:
        """The line for this event, "" if it tells nothing new."""
        if "lost" in event:
            return f"  {self._time(now_s)}  {event['lost']}; {event['now']} goes on telling"
        step, status = str(event["step"]), str(event["status"])
        quarters = int((event.get("progress") or 0.0) / PROGRESS_EVERY)
        if status not in TOLD or self._told.get(step) == (status, quarters):
            return ""
        is_news = status != "running" or step not in self._told or quarters
        self._told[step] = (status, quarters)
        if status == "failed":
            self.failed += 1
        return self._text(step, status, quarters, event, now_s) if is_news else ""

    def _text(
        self, step: str, status: str, quarters: int, event: Mapping[str, Any], now_s: float
    ) -> str:
        words = status
        if status == "running" and quarters:
            words += f" {quarters * 25} %"
        text = f"  {self._time(now_s)}  {step:{STEP_WIDTH}} {event.get('node', ''):8} {words}"
        if status == "failed":
            text += f"\n        {event.get('error', '')}"
        return text.rstrip()

    def _time(self, now_s: float) -> str:
        minutes, seconds = divmod(int(now_s - self._began_s), 60)
        return f"{minutes}:{seconds:02d}"
