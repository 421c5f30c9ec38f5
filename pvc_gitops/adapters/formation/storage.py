"""Ceph's line: monitor, manager, OSDs, health."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from pvc_gitops.adapters.formation import ceph, commands, files, osd, systemd
from pvc_gitops.adapters.formation.agree import RETURNING
from pvc_gitops.adapters.formation.context import FirstStart, Founding, Joining
from pvc_gitops.errors import PoolError
from pvc_gitops.formation.render import ceph as render

OWNER: Final = "ceph:ceph"
MADE: Final = "monitor-made"
WORK: Final = "/var/lib/ceph/tmp"


def line(founding: Founding) -> None:
    """From nothing to HEALTH_OK with all declared OSDs."""
    journal, name = founding.journal, founding.layout.me.name
    journal.begin("monitors")
    _configure(founding)
    _make_monitor(founding)
    systemd.enable(f"ceph-mon@{name}.service", "ceph.target", "ceph-mon.target")
    systemd.start(f"ceph-mon@{name}.service")
    returns = founding.progress.has(RETURNING)
    wanted = {name} if returns else {member.name for member in founding.layout.members}
    founding.wait("monitors", lambda: _missing_monitors(wanted))
    journal.end("monitors", f"ceph monitors {', '.join(sorted(wanted))} in quorum")
    journal.begin("osds")
    with ceph.monitors() as monitors:
        if founding.is_first:
            monitors.require_clone_v2()
        _make_manager(founding, monitors)
        osd.write_bootstrap(monitors.bootstrap_key())
    if returns:
        founding.wait("osds", lambda: osd.missing_removal(founding))
    osd.ensure_all(founding)
    journal.end("osds", f"{len(founding.layout.me.osds)} OSDs made")
    if (
        founding.layout.founding_osds and not returns
    ):  # without any Ceph waits for a hypervisor's, and so would we
        journal.begin("ceph health")
        founding.wait("ceph health", lambda: _missing_health(founding.layout.founding_osds))
        journal.end("ceph health", "ceph HEALTH_OK")


def client_line(joining: Joining) -> None:
    """A hypervisor's: guests' disks are reached, the OSDs of its document run."""
    journal = joining.journal
    journal.begin("ceph")
    _configure_client(joining)
    if joining.bootstrap_key is not None:
        osd.write_bootstrap(joining.bootstrap_key)
        joining.wait("ceph", _missing_quorum)
        osd.ensure_all(joining)
    journal.end("ceph", f"ceph configured, {len(joining.layout.me.osds)} OSDs made")


def _missing_quorum() -> str | None:
    try:
        with ceph.monitors(osd.CLIENT):
            return None
    except PoolError as err:
        return f"ceph ({err.reason})"


def _configure(founding: Founding) -> None:
    _configure_client(founding)
    admin = render.keyring("client.admin", founding.secrets.ceph_admin)
    files.write("/etc/ceph/ceph.client.admin.keyring", admin, mode=0o600)


def _configure_client(start: FirstStart) -> None:
    secrets = start.node_secrets
    files.write(ceph.CONF, render.conf(start.layout, secrets.ceph_fsid))
    pvc = render.keyring("client.pvc", secrets.ceph_pvc)
    files.write("/etc/ceph/ceph.client.pvc.keyring", pvc, mode=0o600)


def _make_monitor(founding: Founding) -> None:
    if founding.progress.has(MADE):
        return
    name, secrets = founding.layout.me.name, founding.secrets
    returns = founding.progress.has(RETURNING)
    if returns:
        founding.wait("monitors", lambda: _missing_removal(name))
    # What an interrupted attempt left is no monitor yet: it is started only after the mark.
    folder = f"/var/lib/ceph/mon/ceph-{name}"
    files.make_empty_folder(folder, mode=0o750, owner=OWNER)
    files.make_empty_folder(WORK, mode=0o750, owner=OWNER)
    keyring, monmap = f"{WORK}/monitor.keyring", f"{WORK}/monmap"
    files.write(keyring, render.monitor_keyring(secrets), mode=0o600, owner=OWNER)
    if returns:
        with ceph.monitors() as monitors:
            files.write(monmap, monitors.map(), owner=OWNER)
    else:
        _first_map(founding, monmap)
    files.give_all(WORK, OWNER)
    commands.run(
        "ceph-mon", "--mkfs", "-i", name, "--monmap", monmap, "--keyring", keyring,
        "--setuser", "ceph", "--setgroup", "ceph",
    )  # fmt: skip
    files.make_empty_folder(WORK, mode=0o750, owner=OWNER)
    founding.progress.mark(MADE)


def _missing_removal(name: str) -> str | None:
    """A monitor with an empty disk would vote like one that remembers. So the lost one leaves the map
    first, which takes a quorum of the others, and they let the new one in when it has caught up."""
    try:
        with ceph.monitors() as monitors:
            monitors.remove(name)
    except PoolError as err:
        return f"ceph to let the lost monitor go ({err.reason})"
    return None


def _first_map(founding: Founding, monmap: str) -> None:
    add = [
        word
        for member in founding.layout.members
        for word in ("--addv", member.name, render.monitor_addresses(member))
    ]
    commands.run(
        "monmaptool", "--create", "--clobber", "--fsid", founding.secrets.ceph_fsid,
        "--enable-all-features", "--set-min-mon-release", "reef", *add, monmap,
    )  # fmt: skip


def _make_manager(founding: Founding, monitors: ceph.Monitors) -> None:
    name = founding.layout.me.name
    folder = f"/var/lib/ceph/mgr/ceph-{name}"
    files.make_folder(folder, mode=0o750, owner=OWNER)
    text = render.keyring(f"mgr.{name}", monitors.manager_key(name))
    files.write(f"{folder}/keyring", text, mode=0o600, owner=OWNER)
    systemd.enable(f"ceph-mgr@{name}.service", "ceph-mgr.target")
    systemd.start(f"ceph-mgr@{name}.service")


def _missing_monitors(wanted: Set[str]) -> str | None:
    try:
        with ceph.monitors() as monitors:
            found = wanted & set(monitors.health().monitors)
    except PoolError:
        return "a quorum of ceph monitors"
    return None if found == wanted else f"ceph monitors ({len(found)}/{len(wanted)} in quorum)"


def _missing_health(osds: int) -> str | None:
    try:
        with ceph.monitors() as monitors:
            found = monitors.health()
    except PoolError as err:
        return f"ceph ({err.reason})"
    if found.osds_up < osds:
        return f"OSDs ({found.osds_up}/{osds} up)"
    if found.status != "HEALTH_OK":
        return f"ceph {found.status}: {'; '.join(found.checks)}"
    return None
