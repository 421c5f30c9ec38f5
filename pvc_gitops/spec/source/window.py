"""The MaintenanceWindow document."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.windows import RULE_PATTERN, ZONE_PATTERN
from pvc_gitops.spec.source.parts import record, rows, text

_RULE_CHARACTERS_MAX: Final = 60


def _rule(example: str) -> dict[str, object]:
    return text("Days and hours of the wall clock: `Sun 02:00-04:00`, `Mon-Fri 22:00-04:00`, `daily`, "
                "`2026-12-20..2027-01-03`. Without hours whole days; hours that end before they begin "
                "end on the next day.", example, pattern=RULE_PATTERN,
                longest=_RULE_CHARACTERS_MAX)  # fmt: skip


MAINTENANCE_WINDOW: Final = record(
    "When something disruptive may begin. What has begun is finished.",
    {
        "allow": rows("When it is open.", _rule("Sun 02:00-04:00"), most=50, least=1, unique=True,
                      required=True),
        "deny": rows("When it is closed all the same: wins over `allow`.",
                     _rule("2026-12-20..2027-01-03"), most=50, unique=True),
        "timezone": text("The time zone of its clock, by its name in the tz database.",
                         "Europe/Berlin", pattern=ZONE_PATTERN, longest=60, default="UTC"),
    },
    required=["allow"],
)  # fmt: skip
