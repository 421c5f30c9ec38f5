"""Names of things on a node that several rooms must agree on."""

from __future__ import annotations

import hashlib
from typing import Final

AGENT_SOCKET: Final = "/run/pvc/agent.sock"
SEED: Final = "/var/lib/pvc/seed.json"
FOUNDED: Final = (
    "/var/lib/pvc/founded.json"  # what formation decided, once; node.toml derives from it
)
NODE_CONFIG: Final = "/etc/pvc/node.toml"
MIRROR: Final = "/var/lib/pvc/mirror.git"
PROPOSALS: Final = "/var/lib/pvc/proposals.git"
NOTES: Final = "/var/lib/pvc/notes"
BMC_PASSWORDS: Final = "/var/lib/pvc/bmc"
LEDGER: Final = "/var/lib/pvc/ledger"
# Of the system user that operators log in as (node-agent/sysusers.d).
OPERATORS_GROUP: Final = "pvc"
AUTHORIZED_KEYS: Final = "/var/lib/pvc/authorized_keys"  # sshd_config.d/20-pvc.conf names it
GUEST_SLICE: Final = "/sys/fs/cgroup/machine.slice"
CONSOLE_LOGS: Final = "/var/log/libvirt/pvc"


def bridge(vni: int) -> str:
    return f"br{vni}"


def vxlan(vni: int) -> str:
    return f"vx{vni}"


def anycast_mac(vni: int) -> str:
    """The gateway's MAC on every node: locally administered, the VNI in its last three bytes."""
    return "02:00:00:" + ":".join(f"{byte:02x}" for byte in vni.to_bytes(3, "big"))


def tap(vm: str, nic: str) -> str:
    """An interface name of at most 15 characters (IFNAMSIZ) that stays the same for a NIC."""
    return "t" + hashlib.sha256(f"{vm}/{nic}".encode()).hexdigest()[:12]


def console_log(vm: str) -> str:
    return f"{CONSOLE_LOGS}/{vm}.log"
