"""What one guard process leaves to the next of the same boot, and what agents read: a file under /run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pvc_guard.life import Guard, Killing


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What one guard process leaves to the next of the same boot."""

    boot_id: str
    incarnation: str
    lease_s: float
    acknowledged_s: float
    counter: int


def saved(guard: Guard) -> Saved | None:
    """What to leave behind now. None where there is no lease to go on with."""
    lease = guard.lease
    if lease is None:
        return None
    return Saved(
        boot_id=guard.boot_id,
        incarnation=lease.incarnation,
        lease_s=lease.lease_s,
        acknowledged_s=lease.acknowledged_s,
        counter=lease.counter,
    )


def to_json(guard: Guard) -> dict[str, object]:
    """The guard's file under /run, read by the next guard process and by this node's agent.

    `lease_until_s` is CLOCK_BOOTTIME, None without a valid lease; `saved` is for the next process.
    """
    lease, keep = guard.lease, saved(guard)
    return {
        "boot_id": guard.boot_id,
        "life": type(guard.life).__name__.lower(),
        "why": guard.life.why if isinstance(guard.life, Killing) else "",
        "incarnation": None if lease is None else lease.incarnation,
        "lease_until_s": None if lease is None else lease.until_s,
        "is_slice_empty": guard.is_slice_empty,
        "saved": None
        if keep is None
        else {
            "boot_id": keep.boot_id,
            "incarnation": keep.incarnation,
            "lease_s": keep.lease_s,
            "acknowledged_s": keep.acknowledged_s,
            "counter": keep.counter,
        },
    }


def saved_of_json(value: Mapping[str, object]) -> Saved | None:
    """What the process before left. Raises ValueError where it cannot be read whole."""
    keep = value.get("saved")
    if keep is None:
        return None
    match keep:
        case {
            "boot_id": str(boot_id),
            "incarnation": str(incarnation),
            "lease_s": int() | float() as lease_s,
            "acknowledged_s": int() | float() as acknowledged_s,
            "counter": int(counter),
        }:
            return Saved(
                boot_id=boot_id,
                incarnation=incarnation,
                lease_s=float(lease_s),
                acknowledged_s=float(acknowledged_s),
                counter=counter,
            )
        case _:
            raise ValueError("the saved lease is not what a guard writes")
