"""One-shot words: what is meant by a change that looks like something else."""

from __future__ import annotations

from typing import Final

from pvc_gitops.spec.source.parts import record, rows, text

_NAME: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_KINDS: Final = "vm|volume|network|image|group|node|pool"
_ADDRESS: Final = f"({_KINDS})/{_NAME}"
_LONGEST: Final = 220


def _addresses(description: str, example: str, *sources: str) -> dict[str, object]:
    """A list of addresses; those that take over something else are `SOURCE as ADDRESS`."""
    pattern = _ADDRESS if not sources else f"({'|'.join([_ADDRESS, *sources])})"
    return rows(
        description,
        text("One object.", example, pattern=f"^{pattern}$", longest=_LONGEST),
        unique=True,
    )


TRANSITIONS: Final = record(
    "Words that hold once. What is done may be taken out; `pvc fmt` does it.",
    {
        "moved": rows(
            "Objects that bear another name from now on and stay what they are: data, MAC, place.",
            record(
                "One object.",
                {
                    "from": text("Its address until now.", "vm/web1",
                                 pattern=f"^{_ADDRESS}$", longest=_LONGEST),
                    "to": text("Its address from now on.", "vm/www1",
                               pattern=f"^{_ADDRESS}$", longest=_LONGEST),
                },
                required=["from", "to"],
            ),
        ),
        "removed": _addresses(
            "Objects whose deletion is meant, whatever the budgets and however it looks.", "vm/web2"
        ),
        "forgotten": _addresses(
            "Objects that are no longer ours and go on as they are.", "vm/web3"
        ),
        "restored": _addresses(
            "Objects whose data must come out of the trash; `vm/NAME/disk/DISK as volume/NAME` "
            "brings a removed guest's disk back as a volume.",
            "vm/web4",
            f"vm/{_NAME}/disk/{_NAME} as volume/{_NAME}",
            f"volume/{_NAME} as volume/{_NAME}",
        ),
        "adopted": _addresses(
            "What is live and not ours becomes ours as declared: a domain by its name, "
            "`rbd/POOL/IMAGE as volume/NAME`, or `bridge/BRIDGE as network/NAME`.",
            "vm/web5",
            f"domain/[A-Za-z0-9_.+-]{{1,63}} as vm/{_NAME}",
            f"rbd/{_NAME}/[A-Za-z0-9_.+-]{{1,100}} as volume/{_NAME}",
            f"bridge/[A-Za-z0-9_.-]{{1,15}} as network/{_NAME}",
        ),
        "disrupted": _addresses(
            "Guests whose restart, replacement or move is meant, whatever the budgets.", "vm/db1"
        ),
    },
)  # fmt: skip
