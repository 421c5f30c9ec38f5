"""What sshd has of this node alone; the rest is the package's (node-agent/sshd_config.d)."""

from __future__ import annotations

from typing import Final

from pvc_gitops.formation.layout import Layout

PATH: Final = "/etc/ssh/sshd_config.d/10-pvc-node.conf"
UNIT: Final = "ssh.service"
HOST_KEY: Final = "/var/lib/pvc/ssh/ssh_host_ed25519_key"  # outside of the image's slots


def conf(layout: Layout) -> str:
    """The upstream address only: guests and the other core networks have no door here."""
    return f"""# Written by formation.
ListenAddress {layout.me.addresses["upstream"]}
HostKey {HOST_KEY}
"""
