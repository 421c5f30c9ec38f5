"""The node's name, addresses and kernel settings; its local files are kept for later boots."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from pvc_gitops.adapters.formation import commands, files, machine
from pvc_gitops.errors import WorldError
from pvc_gitops.formation.identity import MachineFacts, interface_name
from pvc_gitops.formation.layout import NETWORKS, Layout
from pvc_gitops.formation.render import host as render
from pvc_gitops.formation.render import sshd

SYSCTL: Final = "/etc/sysctl.d/80-pvc.conf"
ADDRESS_LIMIT_S: Final = 15.0  # networkd needs milliseconds; a card that appears late, seconds
LOOK_S: Final = 0.1


def local_files(layout: Layout) -> dict[str, str]:
    """Path to text: what a new slot of the image lacks, and every boot makes sure of."""
    networks = {
        f"/etc/systemd/network/10-pvc-{network}.network": render.network(layout, network)
        for network in NETWORKS
    }
    return {
        "/etc/hostname": f"{layout.me.name}\n",
        "/etc/hosts": render.hosts(layout.nodes, layout.cluster.domain),
        SYSCTL: render.SYSCTL,
        sshd.PATH: sshd.conf(layout),
        **networks,
    }


def check_interfaces(layout: Layout, facts: MachineFacts) -> None:
    """Each network's card is there. Raises UsageError before anything is written."""
    for network in NETWORKS:
        interface_name(layout.me, network, facts)


def ensure(texts: Mapping[str, str], name: str) -> None:
    """Write what differs and put it in force."""
    changed = [path for path, text in texts.items() if files.write(path, text)]
    machine.set_hostname(name)
    # A run may have been killed between writing a file and putting it in force.
    if SYSCTL in changed or not machine.is_forwarding():
        commands.run("sysctl", "--quiet", "--load", SYSCTL)
    if any(path.endswith(".network") for path in changed):
        commands.run("networkctl", "reload")


def verify_addresses(layout: Layout, facts: MachineFacts) -> None:
    """All three addresses are up. Raises WorldError."""
    end = time.monotonic() + ADDRESS_LIMIT_S
    wanted = [
        (interface_name(layout.me, network, facts), layout.me.addresses[network])
        for network in NETWORKS
    ]
    if not all(machine.has_address(*each) for each in wanted):
        commands.run("networkctl", "reload")  # as above
    for interface, address in wanted:
        while not machine.has_address(interface, address):
            if time.monotonic() > end:
                raise WorldError(
                    "configure",
                    interface,
                    f"{address} did not come up: networkctl status",
                    retryable=True,
                )
            time.sleep(LOOK_S)
