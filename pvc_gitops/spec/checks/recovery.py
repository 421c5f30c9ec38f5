"""What guests say of their recovery: what could never be kept is refused."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.units import duration_s
from pvc_gitops.spec.checks.repository import Repository
from pvc_gitops.spec.findings import Finding


def recovery_findings(repository: Repository) -> Iterator[Finding]:
    """Readiness that nobody could ever see."""
    reachable = {
        network.name
        for network in repository.of_kind(Kind.NETWORK)
        if network.spec["type"] == "managed" and "gateway" in network.spec.get("ipv4", {})
    }
    for guest in repository.of_kind(Kind.VM):
        ha = guest.spec["ha"]
        if "ready" in ha:
            yield from _ready(guest, ha["ready"], reachable)


def _ready(guest: Document, ready: dict[str, object], reachable: set[str]) -> Iterator[Finding]:
    if not (ready.get("tcp") or ready.get("agent") or ready.get("after")):
        yield Finding(
            document=guest,
            path=("ha", "ready"),
            code="nothing-to-wait-for",
            message="says nothing that could come true",
            hint="tcp: 22, agent: true or after: 20s; without `ready` it is ready when it runs",
        )
    nics = guest.spec["nics"].values()
    if ready.get("tcp") and not any(nic.get("network") in reachable for nic in nics):
        yield Finding(
            document=guest,
            path=("ha", "ready", "tcp"),
            code="port-out-of-reach",
            message="no node can ask this port: the guest is on no managed network with a gateway",
            hint="agent: true asks the guest agent instead",
        )
    after = ready.get("after")
    if after is not None and duration_s(str(after)) >= duration_s(str(ready["timeout"])):
        yield Finding(
            document=guest,
            path=("ha", "ready", "after"),
            code="later-than-its-time-out",
            message=f"others wait {ready['timeout']} at most, and go on before",
            hint="raise timeout above it",
        )
