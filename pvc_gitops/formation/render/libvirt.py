"""libvirt and QEMU: identity, TLS between nodes, migration over the cluster network."""

from __future__ import annotations

from typing import Final

from pvc_gitops.formation.layout import Layout

# Debian's unit passes --timeout 120: libvirtd would leave and lose its event loop with us connected.
DEFAULTS: Final = 'LIBVIRTD_ARGS=""\n'


def libvirtd_conf(layout: Layout) -> str:
    """libvirtd.conf: only nodes of this cluster are let in, by their certificates.

    Every name: the cluster's authority signs for nodes of accepted commits and for nothing else, and
    libvirtd would have to be restarted for each node that joins later."""
    return f"""host_uuid = "{layout.host_uuid}"
auth_tls = "none"
tls_allowed_dn_list = ["CN=*"]
keepalive_interval = 2
keepalive_count = 3
admin_keepalive_interval = 2
admin_keepalive_count = 3
log_filters = "4:util.file"
"""


def qemu_conf(layout: Layout) -> str:
    """qemu.conf. No name spaces, and root: the node is the boundary, and RBD disks need no file."""
    address = layout.me.addresses["cluster"]
    return f"""user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
default_tls_x509_cert_dir = "/etc/pki/qemu"
migrate_tls_x509_verify = 1
migration_address = "{address}"
migration_host = "{address}"
keepalive_interval = 2
keepalive_count = 3
"""


def ceph_secret(uuid: str) -> str:
    """The XML under which libvirt keeps the key of client.pvc."""
    return (
        f"<secret ephemeral='no' private='yes'><uuid>{uuid}</uuid>"
        "<usage type='ceph'><name>client.pvc</name></usage></secret>\n"
    )
