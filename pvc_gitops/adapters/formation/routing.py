"""FRR's line: the configuration is whole, read by vtysh first, and then put in force."""

from __future__ import annotations

import json
from typing import Final

from pvc_gitops.adapters.formation import commands, files, systemd
from pvc_gitops.adapters.formation.context import FirstStart
from pvc_gitops.errors import WorldError
from pvc_gitops.formation.render import frr as render

OWNER: Final = "frr:frr"
CONF: Final = "/etc/frr/frr.conf"
UNIT: Final = "frr.service"


def line(start: FirstStart) -> None:
    """FRR runs and has a session to every other route reflector."""
    start.journal.begin("frr")
    files.make_folder("/etc/frr", mode=0o750, owner=OWNER)
    new = f"{CONF}.checked"
    files.write(new, render.conf(start.layout), mode=0o640, owner=OWNER)
    commands.run("vtysh", "--dryrun", "--inputfile", new)
    changed = [
        files.write("/etc/frr/daemons", render.DAEMONS, mode=0o640, owner=OWNER),
        files.write(CONF, render.conf(start.layout), mode=0o640, owner=OWNER),
    ]
    systemd.enable(UNIT)
    if any(changed) or not systemd.is_active(UNIT):
        systemd.restart(UNIT)
    others = sum(member.name != start.layout.me.name for member in start.layout.members)
    start.wait("frr", lambda: _missing_sessions(others))
    start.journal.end("frr", f"frr with {others} EVPN sessions")


def _missing_sessions(wanted: int) -> str | None:
    try:
        shown = commands.run("vtysh", "-c", "show bgp l2vpn evpn summary json")
    except WorldError:
        return "frr to answer"
    found = render.established(json.loads(shown or "{}"))
    return None if found >= wanted else f"EVPN sessions ({found}/{wanted})"
