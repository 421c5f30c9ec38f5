"""What sshd has of this node alone; the rest is the package's (node-agent/sshd_config.d)."""

from __future__ import annotations

from typing import Final

from pvc_gitops.formation.layout import Layout
from pvc_gitops.world.names import HOST_KEY

PATH: Final = "/etc/ssh/sshd_config.d/10-pvc-node.conf"
UNIT: Final = "ssh.service"


def conf(layout: Layout) -> str:
    """The upstream address only: guests and the other core networks have no door here."""
    return f"""# Written by formation.
ListenAddress {layout.me.addresses["upstream"]}
HostKey {HOST_KEY}
"""
