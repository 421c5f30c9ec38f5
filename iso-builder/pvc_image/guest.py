"""The tiny test guest: one bootable raw disk image made from Debian's cloud kernel and busybox.

No mount, loop device or chroot: the partition table is written here, the FAT file system by
mtools, the boot loader by syslinux, all on a plain file. The image boots from virtio-scsi and
virtio-blk under SeaBIOS.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from pvc_image import mirror
from pvc_image.errors import ImageError
from pvc_image.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_BYTES = 24 * 1024 * 1024  # kernel 12 MB, initramfs 2 MB, room for a kernel that grows
PARTITION_OFFSET_BYTES = 1024 * 1024
SECTOR_BYTES = 512
FAT_SERIAL = "50564347"  # "PVCG": a drawn one would make every build differ
SCRIPTS = ("init", "lease", "serve", "count")
# In load order of what is wanted; what they need comes before them by itself.
DRIVERS = ("virtio_net", "virtio_blk", "virtio_scsi", "sd_mod", "button", "evdev")
MBR_FILES = ("/usr/lib/SYSLINUX/mbr.bin", "/usr/lib/syslinux/mbr/mbr.bin")
SYSLINUX_CFG = """DEFAULT guest
PROMPT 0
TIMEOUT 0
LABEL guest
 LINUX /vmlinuz
 INITRD /initrd
 APPEND console=ttyS0 quiet loglevel=3 panic=1 tsc=unstable random.trust_cpu=on mitigations=off nomodeset
"""


def build(suite: str, scripts: Path, new: Path, log: Path) -> None:
    """Make `guest.raw` and `guest.raw.sha256` in the empty folder `new`."""
    packages = new / "packages"
    _extract_packages(suite, packages, log)
    files = new / "files"
    files.mkdir()
    kernel = _only_one(packages.glob("boot/vmlinuz-*"), "kernel")
    (files / "vmlinuz").write_bytes(kernel.read_bytes())
    (files / "initrd").write_bytes(gzip.compress(initramfs(packages, scripts), 9, mtime=0))
    (files / "syslinux.cfg").write_text(SYSLINUX_CFG, encoding="ascii")
    image = new / "guest.raw"
    _write_disk(image, files)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    (new / "guest.raw.sha256").write_text(f"{digest}\n", encoding="ascii")
    run("rm", "-rf", packages, files, timeout_s=60)


def source_digest(suite: str, scripts: Path, builder: Path) -> str:
    """Names the guest image by what it is made from."""
    made_from = hashlib.sha256(suite.encode())
    for path in (builder, *(scripts / name for name in SCRIPTS)):
        made_from.update(path.read_bytes())
    return made_from.hexdigest()[:16]


def _extract_packages(suite: str, target: Path, log: Path) -> None:
    options = ('Acquire::Languages "none"', *mirror.apt_options())
    run(
        "mmdebstrap",
        "--variant=extract",
        "--format=directory",
        "--mode=root",
        "--include=linux-image-cloud-amd64,busybox-static",
        *(f"--aptopt={option}" for option in options),
        suite,
        target,
        mirror.find_mirror(),
        timeout_s=600,
        log=log,
    )


def initramfs(packages: Path, scripts: Path) -> bytes:
    """The whole user space of the guest as one cpio archive (newc), the same bytes for the same
    files.
    """
    archive = bytearray()
    entries = sorted(_entries(packages, scripts))
    for number, (name, mode, content) in enumerate((*entries, ("TRAILER!!!", 0, b"")), start=1):
        archive += cpio_entry(number, name, mode, content)
    return bytes(archive)


def _entries(packages: Path, scripts: Path) -> Iterator[tuple[str, int, bytes]]:
    for folder in ("bin", "dev", "etc", "modules", "proc", "run", "sys", "tmp"):
        yield folder, 0o040755, b""
    yield "bin/busybox", 0o100755, (packages / "usr/bin/busybox").read_bytes()
    for name in SCRIPTS:
        target = "init" if name == "init" else f"bin/{name}"
        yield target, 0o100755, (scripts / name).read_bytes()
    yield "etc/image-bytes", 0o100644, f"{IMAGE_BYTES}\n".encode()
    modules = _only_one(packages.glob("usr/lib/modules/*"), "kernel's modules")
    order: list[str] = []
    for name, content in load_order(modules, DRIVERS):
        order.append(name)
        yield f"modules/{name}.ko", 0o100644, content
    yield "modules/order", 0o100644, "".join(f"{name}\n" for name in order).encode()


def load_order(modules: Path, wanted: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Modules with all that they depend on, each after what it needs; without what is built in."""
    files = {
        path.name.split(".")[0].replace("-", "_"): path for path in modules.glob("kernel/**/*.ko*")
    }
    built_in = {
        line.rpartition("/")[2].split(".")[0].replace("-", "_")
        for line in (modules / "modules.builtin").read_text(encoding="ascii").splitlines()
    }
    found: dict[str, bytes] = {}

    def visit(name: str) -> None:
        if name in found or name in built_in:
            return
        if name not in files:
            raise ImageError(
                f"Debian's cloud kernel has no module {name}", "adjust DRIVERS in guest.py"
            )
        raw = files[name].read_bytes()
        content = lzma.decompress(raw) if files[name].suffix == ".xz" else raw
        for needed in dependencies(content):
            visit(needed)
        found[name] = content

    for name in wanted:
        visit(name)
    return list(found.items())


def dependencies(module: bytes) -> list[str]:
    """What a kernel module names in `depends=` of its .modinfo section."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    names = match.group(1).decode("ascii") if match else ""
    return [name.replace("-", "_") for name in names.split(",") if name]


def cpio_entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    """One file in the kernel's initramfs format
    (Documentation/driver-api/early-userspace/buffer-format.rst).
    """
    name_bytes = name.encode("ascii") + b"\0"
    numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name_bytes), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name_bytes
    head += b"\0" * (-len(head) % 4)
    return head + content + b"\0" * (-len(content) % 4)


def _write_disk(image: Path, files: Path) -> None:
    with image.open("wb") as handle:
        handle.truncate(IMAGE_BYTES)
    partition = f"{image}@@{PARTITION_OFFSET_BYTES}"
    sectors = (IMAGE_BYTES - PARTITION_OFFSET_BYTES) // SECTOR_BYTES
    env = dict(os.environ, MTOOLS_SKIP_CHECK="1", SOURCE_DATE_EPOCH="0", TZ="UTC")
    run(
        "mformat",
        "-i",
        partition,
        "-T",
        str(sectors),
        "-h",
        "16",
        "-s",
        "63",
        "-H",
        str(PARTITION_OFFSET_BYTES // SECTOR_BYTES),
        "-N",
        FAT_SERIAL,
        "-c",
        "8",
        "::",
        timeout_s=60,
        env=env,
    )
    for path in sorted(files.iterdir()):
        os.utime(path, (0, 0))
        run("mcopy", "-m", "-i", partition, path, f"::{path.name}", timeout_s=60, env=env)
    run(
        "syslinux",
        "--install",
        "--offset",
        str(PARTITION_OFFSET_BYTES),
        image,
        timeout_s=60,
        env=env,
    )
    with image.open("r+b") as handle:
        handle.write(_boot_code())
        handle.seek(440)
        handle.write(partition_table(PARTITION_OFFSET_BYTES // SECTOR_BYTES, sectors))


def partition_table(first_sector: int, sectors: int) -> bytes:
    """The last 72 bytes of a master boot record: disk id, one active FAT partition, the mark."""
    # 0xFE 0xFF 0xFF: cylinder, head and sector say "beyond what they can say"; the boot code uses
    # the sector number.
    entry = struct.pack(
        "<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x0E, b"\xfe\xff\xff", first_sector, sectors
    )
    return struct.pack("<IH", int(FAT_SERIAL, 16), 0) + entry + b"\0" * 48 + b"\x55\xaa"


def _boot_code() -> bytes:
    for name in MBR_FILES:
        if Path(name).exists():
            return Path(name).read_bytes()[:440]
    raise ImageError("the boot loader's mbr.bin is not there", "apt-get install syslinux-common")


def _only_one(found: Iterator[Path], what: str) -> Path:
    paths = sorted(found)
    if len(paths) != 1:
        raise ImageError(
            f"{len(paths)} candidates for the guest's {what}", "look into the packages' content"
        )
    return paths[0]
