"""Which proof of its node's death is good enough for a guest (DESIGN D10). Pure.

That lease and watchdog have run out says that nobody kept the node alive. A watchdog of the kernel's
own dies with a frozen kernel, which may thaw: then only the blocklist stands between two lives of a
guest, and one without a disk in Ceph, or with a piece of the host, does not meet it.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.ha import ProofKind
from pvc_gitops.model.values import dataclass

SOFTWARE_WATCHDOG: Final = "Software Watchdog"  # softdog's identity, drivers/watchdog/softdog.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What of a guest the blocklist does not reach."""

    has_disk: bool  # all disks are in Ceph: there are no others
    host_devices: tuple[str, ...]  # cards that are a piece of the host


def lacks(proof: ProofKind, watchdog: str | None, guest: Exposure) -> str:
    """Why a guest must not start elsewhere on this proof; "" where it may.

    Args:
        proof: by what its node is known to be dead.
        watchdog: the identity of that node's watchdog, as its incarnation recorded it.
        guest: what it has.
    """
    if proof is not ProofKind.WATCHDOG or watchdog != SOFTWARE_WATCHDOG:
        return ""
    if guest.has_disk and not guest.host_devices:
        return ""
    what = (
        f"has {', '.join(guest.host_devices)} of its host" if guest.host_devices else "has no disk"
    )
    return (
        f"{what}, and only a software watchdog speaks for its node's death: it starts when the BMC "
        "says so, or the node is back"
    )
