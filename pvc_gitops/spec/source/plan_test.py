"""The PlanTest document: what its authors expect of every plan. Only `pvc test` reads it."""

from __future__ import annotations

from typing import Final

from pvc_gitops.spec.source.parts import (
    NAME_PATTERN,
    TAG_PATTERN,
    choice,
    duration,
    record,
    rows,
    text,
)

_ADDRESS: Final = "^[a-z]+/[A-Za-z0-9*?._/-]+$"
_KINDS: Final = (
    "^(cluster|node|pool|image|volume|network|vm|group|window|forge|secret|operator|role)$"
)
_NEVER: Final = "^(create|update|delete|replace|restore|move|adopt|restart|migrate|leave)$"
_DISPOSITIONS: Final = "^(live|migrate|reboot|replace|create)$"

_SELECT: Final = record(
    "What the rule is about; all that is said must hold. Left out: everything. An object counts by what "
    "it is before the change, and by what it is after it.",
    {
        "addresses": rows("Addresses, `*` for any part.",
                          text("An address.", "vm/web*", pattern=_ADDRESS), most=50, unique=True),
        "kinds": rows("Kinds, by the word that stands in addresses.",
                      text("A kind.", "vm", pattern=_KINDS), most=20, unique=True),
        "tags": rows("Tags, of which it has at least one.",
                     text("A tag.", "db", pattern=TAG_PATTERN, longest=63), most=50, unique=True),
        "groups": rows("Placement groups, of which the guest is in at least one.",
                       text("A group.", "web", pattern=NAME_PATTERN, longest=63), most=50,
                       unique=True),
        "except": rows("Addresses that are not meant.",
                       text("An address.", "vm/web9", pattern=_ADDRESS), most=50, unique=True),
    },
)  # fmt: skip
_EXPECT: Final = record(
    "What must hold for the selected objects. At least one word.",
    {
        "touches": choice(
            "What the plan changes.",
            {"nothing": "none of them", "only": "nothing but them", "all": "each of them"},
        ),
        "never": rows(
            "What happens to none of them. restart: it is down for a moment, now or in its window; "
            "migrate: it moves while it runs; leave: it is not where it was, or gone.",
            text("A word.", "restart", pattern=_NEVER), most=20, unique=True),
        "dispositions": rows("All that a changed field of theirs may cost.",
                             text("A disposition.", "live", pattern=_DISPOSITIONS), most=10,
                             unique=True),
        "max_downtime": duration("The longest that any of them is down.", "30s"),
        "blocked": choice("What the planner refuses.",
                          {"none": "nothing of theirs", "all": "something of each of them"}),
        "n1": choice("After the change, what the loss of any node would mean, for the whole cluster.",
                     {"holds": "every guest that must survive has a place"}),
    },
    optional=True,
)  # fmt: skip

PLAN_TEST: Final = record(
    "What every plan must keep to.",
    {
        "rules": rows(
            "The rules. A rule that selects nothing fails: it could not fail otherwise.",
            record(
                "One rule.",
                {
                    "name": text("What it says, for people.", "no database restarts", longest=120),
                    "select": _SELECT,
                    "expect": _EXPECT,
                },
                required=["name", "expect"],
            ),
            most=200,
            least=1,
            required=True,
        ),
    },
    required=["rules"],
)  # fmt: skip
