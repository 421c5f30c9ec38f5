"""What one guard process leaves to the next of the same boot, and what agents read: a file under /run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pvc_guard.life import Guard, Hold, Killing, Lease
from pvc_guard.talk import Out


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What one guard process leaves to the next of the same boot."""

    boot_id: str
    incarnation: str
    lease_s: float
    acknowledged_s: float
    counter: int
    is_by_asking: bool = False
    hold: Hold | None = None
    recorded: str | None = ""

    def lease(self) -> Lease:
        """As the next process goes on with it."""
        return Lease(
            incarnation=self.incarnation,
            lease_s=self.lease_s,
            acknowledged_s=self.acknowledged_s,
            counter=self.counter,
            beat_at_s=self.acknowledged_s,
            unanswered_since_s=None,
            is_by_asking=self.is_by_asking,
            hold=self.hold,
            recorded=self.recorded,
        )


def saved(guard: Guard) -> Saved | None:
    """What to leave behind now. None where there is no lease to go on with."""
    lease = guard.lease or guard.held
    if lease is None:
        return None
    return Saved(
        boot_id=guard.boot_id,
        incarnation=lease.incarnation,
        lease_s=lease.lease_s,
        acknowledged_s=lease.acknowledged_s,
        counter=lease.counter,
        is_by_asking=lease.is_by_asking,
        hold=lease.hold,
        recorded=lease.recorded,
    )


def to_json(guard: Guard, out: Out | None) -> dict[str, object]:
    """The guard's file under /run, read by the next guard process and by this node's agent.

    `lease_until_s` is CLOCK_BOOTTIME, None without a valid lease; `saved` and `out`, what this node is
    witness of, are for the next process.
    """
    lease, keep = guard.lease, saved(guard)
    return {
        "boot_id": guard.boot_id,
        "life": type(guard.life).__name__.lower(),
        "why": guard.life.why if isinstance(guard.life, Killing) else "",
        "incarnation": None if lease is None else lease.incarnation,
        "lease_until_s": None if lease is None else lease.until_s,
        "is_slice_empty": guard.is_slice_empty,
        "is_held": guard.held is not None,
        "saved": None if keep is None else asdict(keep),
        "out": None if out is None else asdict(out),
    }


def out_of_json(value: Mapping[str, object], boot_id: str) -> Out | None:
    """What the process before was witness of, in the same boot. Raises ValueError as `saved_of_json`."""
    if value.get("boot_id") != boot_id:
        return None
    match value.get("out"):
        case None:
            return None
        case {"since_s": int() | float() as since_s, "mark": str(mark)}:
            return Out(float(since_s), mark)
        case _:
            raise ValueError("what it was witness of is not what a guard writes")


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
            "is_by_asking": bool(is_by_asking),
            "hold": hold,
            "recorded": str() | None as recorded,
        }:
            return Saved(
                boot_id=boot_id,
                incarnation=incarnation,
                lease_s=float(lease_s),
                acknowledged_s=float(acknowledged_s),
                counter=counter,
                is_by_asking=is_by_asking,
                hold=_hold_of_json(hold),
                recorded=recorded,
            )
        case _:
            raise ValueError("the saved lease is not what a guard writes")


def _hold_of_json(value: object) -> Hold | None:
    match value:
        case None:
            return None
        case {"id": str(name), "until_s": int() | float() as until_s}:
            return Hold(id=name, until_s=float(until_s))
        case _:
            raise ValueError("the saved hold is not what a guard writes")
