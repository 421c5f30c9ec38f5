"""OSDs. Their uuid derives from cluster, node and place in the document, their key is written down before
the monitors hear of it: so a second run finds its own, whatever the first one had done.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.formation import ceph, commands, files, machine, systemd
from pvc_gitops.adapters.formation.context import FirstStart, Founding
from pvc_gitops.errors import PoolError, UsageError
from pvc_gitops.formation.disks import device, osd_number
from pvc_gitops.formation.render import ceph as render
from pvc_gitops.formation.secrets import CEPH_KEY_BYTES, ceph_key
from pvc_gitops.model.spec import Osd

OWNER: Final = "ceph:ceph"
MIB: Final = 1024 * 1024
PREPARE_LIMIT_S: Final = 300.0  # ceph-volume on a slow disk
CLIENT: Final = "client.bootstrap-osd"
BOOTSTRAP: Final = "/var/lib/ceph/bootstrap-osd/ceph.keyring"  # ceph.conf names it, too


def write_bootstrap(key: str) -> None:
    """The key with which OSDs are made, where Ceph's own programs look for it."""
    text = render.keyring(CLIENT, key)
    files.make_folder(str(Path(BOOTSTRAP).parent), mode=0o750, owner=OWNER)
    files.write(BOOTSTRAP, text, mode=0o600, owner=OWNER)


def ensure_all(start: FirstStart) -> None:
    """Every OSD of this node's document is made and started. The bootstrap key is there."""
    if not start.layout.me.osds:
        return
    with ceph.monitors(CLIENT) as monitors:
        for index, osd in enumerate(start.layout.me.osds):
            uuid = start.layout.osd_uuid(index)
            if osd.file_path is not None:
                _ensure_file(start, monitors, index, osd, uuid)
            else:
                _ensure_disk(osd, uuid)


def missing_removal(founding: Founding) -> str | None:
    """OSDs of this node whose disks were lost leave the maps: their uuids are those of the new ones."""
    try:
        with ceph.monitors() as monitors:
            for index, osd in enumerate(founding.layout.me.osds):
                uuid = founding.layout.osd_uuid(index)
                if _is_lost(index, osd, uuid) and not monitors.forget_osd(uuid):
                    return "ceph to notice that the lost OSD is down"
    except PoolError as err:
        return f"ceph to let the lost OSD go ({err.reason})"
    return None


def _is_lost(index: int, osd: Osd, uuid: str) -> bool:
    """Is its disk here, and nothing of it on that? Raises UsageError where the disk is not here: its data
    may still be on it."""
    if osd.file_path is not None:
        return not Path(_key_file(index)).exists()
    assert osd.disk is not None
    _device(dict(osd.disk))
    return _number_of(uuid) is None


# --- a plain file: labs ---------------------------------------------------------------------------


def _ensure_file(
    start: FirstStart, monitors: ceph.Monitors, index: int, osd: Osd, uuid: str
) -> None:
    key = _own_key(index)
    number = monitors.new_osd(uuid, key)
    made = f"osd-{index}-made"
    if not start.progress.has(made):
        _make_file(osd, number, uuid, key)
        start.progress.mark(made)
    systemd.enable(f"ceph-osd@{number}.service", "ceph-osd.target")
    systemd.start(f"ceph-osd@{number}.service")


def _own_key(index: int) -> str:
    path = _key_file(index)
    known = files.read(path)
    if known is not None:
        return known.decode().strip()
    key = ceph_key(os.urandom(CEPH_KEY_BYTES), int(time.time()))
    files.write(path, f"{key}\n", mode=0o600)
    return key


def _key_file(index: int) -> str:
    return f"/var/lib/pvc/formation/osd-{index}.key"


def _make_file(osd: Osd, number: int, uuid: str, key: str) -> None:
    assert osd.file_path is not None
    assert osd.file_size_mib is not None
    folder = f"/var/lib/ceph/osd/ceph-{number}"
    files.make_empty_folder(folder, mode=0o750, owner=OWNER)
    block = Path(osd.file_path)
    block.parent.mkdir(parents=True, exist_ok=True)
    # Sparse: it takes what is written. Made anew: a half-made store would be taken for a whole one.
    block.unlink(missing_ok=True)
    block.touch(mode=0o600)
    os.truncate(block, osd.file_size_mib * MIB)
    files.give_all(str(block), OWNER)
    (Path(folder) / "block").symlink_to(block)
    keyring = render.keyring(f"osd.{number}", key)
    files.write(f"{folder}/keyring", keyring, mode=0o600, owner=OWNER)
    commands.run(
        "ceph-osd", "--mkfs", "-i", str(number), "--osd-uuid", uuid,
        "--setuser", "ceph", "--setgroup", "ceph",
    )  # fmt: skip


# --- a disk: ceph-volume on a logical volume ------------------------------------------------------


def _ensure_disk(osd: Osd, uuid: str) -> None:
    """ceph-volume finds its own by the uuid in the tags, and refuses a disk that is not empty."""
    assert osd.disk is not None
    if not machine.has_device_mapper():
        raise UsageError(
            "this machine has no device mapper, so an OSD cannot be made on a disk",
            hint="in a lab declare osds: [{file: {path: /var/lib/pvc/osd0, size: 6GiB}}]",
        )
    number = _number_of(uuid)
    if number is None:
        commands.run(
            "ceph-volume", "lvm", "prepare", "--bluestore", "--data", _device(dict(osd.disk)),
            "--osd-fsid", uuid, limit_s=PREPARE_LIMIT_S,
        )  # fmt: skip
        number = _number_of(uuid)
    commands.run(
        "ceph-volume", "lvm", "activate", "--bluestore", str(number), uuid, limit_s=PREPARE_LIMIT_S
    )


def _number_of(uuid: str) -> int | None:
    listed = commands.run("ceph-volume", "lvm", "list", "--format", "json")
    return osd_number(json.loads(listed or "{}"), uuid)


def _device(wanted: dict[str, str]) -> str:
    shown = commands.run("lsblk", "--json", "--nodeps", "--output", "PATH,SERIAL,WWN,MODEL,TYPE")
    return device(json.loads(shown)["blockdevices"], wanted)
