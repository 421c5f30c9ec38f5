"""libvirt's line. libvirtd is started only when configured: its stop once took 30 s when it was not."""

from __future__ import annotations

from typing import Final

from pvc_gitops.adapters.formation import files, systemd
from pvc_gitops.adapters.formation.context import FirstStart
from pvc_gitops.formation.render import libvirt as render

SOCKETS: Final = ("virtlogd.socket", "libvirtd.socket", "libvirtd-tls.socket")
SERVICE: Final = "libvirtd.service"
# libvirt's own store of secrets: it reads both files when it starts. A Ceph key is base64 already.
SECRETS: Final = "/etc/libvirt/secrets"


def line(start: FirstStart) -> None:
    """Libvirtd runs with this node's identity, certificates and the key of guests' disks."""
    start.journal.begin("libvirt")
    layout, uuid = start.layout, start.node_secrets.libvirt_secret_uuid
    files.make_folder(SECRETS, mode=0o700)
    changed = [
        files.write("/etc/libvirt/libvirtd.conf", render.libvirtd_conf(layout)),
        files.write("/etc/libvirt/qemu.conf", render.qemu_conf(layout)),
        files.write("/etc/default/libvirtd", render.DEFAULTS),
        files.write(f"{SECRETS}/{uuid}.xml", render.ceph_secret(uuid), mode=0o600),
        files.write(f"{SECRETS}/{uuid}.base64", start.node_secrets.ceph_pvc, mode=0o600),
    ]
    systemd.enable(*SOCKETS, SERVICE)
    systemd.reload_units()
    if any(changed) and systemd.is_active(SERVICE):
        systemd.restart(SERVICE)  # guests stay: the unit kills only its own process
    systemd.start(*SOCKETS, SERVICE)
    start.journal.end("libvirt", "libvirt ready")
