"""What a guest's document says of its recovery: `spec.ha`."""

from __future__ import annotations

from pvc_gitops.model import defaults
from pvc_gitops.model.defaults import completed
from pvc_gitops.model.document import Spec
from pvc_gitops.model.ids import VmName
from pvc_gitops.model.units import duration_s
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """When others may count on a guest: all of it must hold."""

    tcp: int | None  # a port that accepts connections
    agent: bool  # the guest agent answers
    after_s: float  # it has run so long
    timeout_s: float  # how long others wait for it

    @classmethod
    def from_spec(cls, spec: Spec) -> Readiness:
        spec = completed(spec, defaults.READINESS)
        return cls(
            tcp=spec.get("tcp"),
            agent=spec["agent"],
            after_s=duration_s(spec["after"]) if "after" in spec else 0.0,
            timeout_s=duration_s(spec["timeout"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ha:
    """What happens to a guest when it or its node dies."""

    restart: bool
    relocate: bool
    tier: int  # 1 to 5, 1 starts first
    stays_off: bool  # when it has powered itself off
    restarts_max: int
    relocations_max: int
    depends_on: tuple[VmName, ...]
    ready: Readiness | None  # None: as soon as it runs

    @classmethod
    def from_spec(cls, spec: Spec) -> Ha:
        spec = completed(spec, defaults.HA)
        ready = spec.get("ready")
        return cls(
            restart=spec["restart"],
            relocate=spec["relocate"],
            tier=spec["tier"],
            stays_off=spec.get("on_power_off") == "leave",
            restarts_max=spec["max_restarts"],
            relocations_max=spec["max_relocations"],
            depends_on=tuple(VmName(name) for name in spec["depends_on"]),
            ready=None if ready is None else Readiness.from_spec(ready),
        )
