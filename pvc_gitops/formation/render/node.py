"""/etc/pvc/node.toml: what every process of the node reads. Its contract is pvc_node_agent/config.py."""

from __future__ import annotations

import json
from typing import Final

from pvc_gitops.formation.layout import Layout
from pvc_gitops.formation.render.sshd import UNIT as SSHD
from pvc_gitops.formation.render.zookeeper import CLIENT_PORT, USER
from pvc_gitops.formation.seed import Seed
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import NodeRole

PASSWORD: Final = "/etc/pvc/zookeeper.password"  # noqa: S105  a path
CREDENTIAL: Final = "/etc/pvc/source.credential"
GUARDS_KEY: Final = "/etc/pvc/guards.key"  # base64, one line
CEPH_CONF: Final = "/etc/ceph/ceph.conf"
HEARTBEAT_S: Final = 1.0  # h of DESIGN section 8


def toml(layout: Layout, seed: Seed, secret_uuid: str) -> str:
    """The file of one node. `secret_uuid`: under which libvirt knows the key of guests' disks."""
    me, cluster = layout.me, layout.cluster
    credential = f"credential_file = {_text(CREDENTIAL)}\n" if seed.credential is not None else ""
    return f"""# Written by formation, once. Later commits do not change it.

[node]
name = {_text(me.name)}
role = {_text(me.role.value)}

[cluster]
id = {_text(layout.cluster_id)}
name = {_text(cluster.name)}

[zookeeper]
servers = [{", ".join(_text(server) for server in _servers(layout, me.name))}]
user = {_text(USER)}
password_file = {_text(PASSWORD)}

[lease]
seconds = {cluster.lease_s}
heartbeat = {HEARTBEAT_S}

[addresses]
upstream = {_text(me.addresses["upstream"])}
cluster = {_text(me.addresses["cluster"])}
storage = {_text(me.addresses["storage"])}

[source]
url = {_text(seed.url)}
branch = {_text(seed.branch)}
path = {_text(seed.path)}
{credential}
[ceph]
client = "pvc"
conf = {_text(CEPH_CONF)}
secret_uuid = {_text(secret_uuid)}
"""


def _servers(layout: Layout, me: NodeName) -> list[str]:
    # The node's own server first: the guard's first connection goes there.
    mine_first = sorted(layout.members, key=lambda member: (member.name != me, member.id))
    return [f"{member.cluster}:{CLIENT_PORT}" for member in mine_first]


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which no value here holds.
    return json.dumps(value, ensure_ascii=False)


def daemons(role: NodeRole) -> tuple[str, ...]:
    """What runs on a founded node."""
    units = ("pvc-guard.service", "pvc-node-agent.service", SSHD)
    last = ("pvc-guests.service", "pvc-leave.service")  # first at shutdown
    if role is NodeRole.HYPERVISOR:
        return (*units, *last)
    return (*units, "pvc-planner.service", "pvc-ha.service", "pvc-peers.service", *last)
