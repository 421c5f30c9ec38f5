"""A throw-away machine with Debian's own kernel, in QEMU: for hardware that containers do not have.

Its user space is an initramfs of busybox, Debian's Python and what a test brings; its disk is a small
file that survives resets. The packages are unpacked once, beside the lab's images.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pvc_gitops.lab.paths import default_root

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "iso-builder"))
from pvc_image import mirror
from pvc_image.guest import cpio_entry, load_order
from pvc_image.process import run

PACKAGES = "linux-image-amd64,busybox-static,python3-minimal,libpython3-stdlib"
SUITE = "trixie"
UNPACK_LIMIT_S = 900
DISK_BYTES = 1024 * 1024
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
while read -r name; do /bin/busybox insmod /modules/$name.ko; done < /modules/order
PYTHONPATH=/test PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -u /test/job.py
echo "MACHINE-ENDED $?"
/bin/busybox poweroff -f
"""
_LEFT_OUT = ("usr/share/", "usr/lib/modules/", "boot/", "usr/lib/x86_64-linux-gnu/gconv/", "var/")


def packages() -> Path:
    """Debian's kernel, busybox and Python, unpacked."""
    found = default_root() / "machine" / SUITE
    if not found.exists():
        new = found.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        options = ('Acquire::Languages "none"', *mirror.apt_options())
        run(
            "mmdebstrap", "--variant=extract", "--format=directory", "--mode=root",
            f"--include={PACKAGES}", *(f"--aptopt={option}" for option in options),
            SUITE, new, mirror.find_mirror(), timeout_s=UNPACK_LIMIT_S, log=new.with_suffix(".log"),
        )  # fmt: skip
        new.rename(found)
    return found


def initrd(root: Path, drivers: tuple[str, ...], files: Mapping[str, bytes]) -> bytes:
    """The machine's whole user space; `files` by their path below /test."""
    archive = bytearray()
    entries = (*_entries(root, drivers, files), ("TRAILER!!!", 0, b""))
    for number, (name, mode, content) in enumerate(entries, start=1):
        archive += cpio_entry(number, name, mode, content)
    return gzip.compress(bytes(archive), 1)


def _entries(
    root: Path, drivers: tuple[str, ...], files: Mapping[str, bytes]
) -> Iterator[tuple[str, int, bytes]]:
    yield from _user_space(root)
    # Packages that are only unpacked have no merged /usr yet.
    for name in ("bin", "lib", "lib64"):
        if not (root / name).exists():
            yield name, 0o120777, f"usr/{name}".encode()
    for folder in ("modules", "test"):
        yield folder, 0o040755, b""
    yield "init", 0o100755, INIT.encode()
    (modules,) = root.glob("usr/lib/modules/*")
    order = load_order(modules, drivers)
    for name, content in order:
        yield f"modules/{name}.ko", 0o100644, content
    yield "modules/order", 0o100644, "".join(f"{name}\n" for name, _ in order).encode()
    made: set[str] = set()
    for name, content in files.items():
        parts = Path("test", name).parts
        for depth in range(2, len(parts)):
            folder = "/".join(parts[:depth])
            if folder not in made:
                made.add(folder)
                yield folder, 0o040755, b""
        yield f"test/{name}", 0o100644, content


def _user_space(root: Path) -> Iterator[tuple[str, int, bytes]]:
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(_LEFT_OUT) or f"{name}/" in _LEFT_OUT:
            continue
        if path.is_symlink():
            yield name, 0o120777, str(path.readlink()).encode()
        elif path.is_dir():
            yield name, 0o040755, b""
        elif path.is_file():
            yield name, 0o100000 | (path.stat().st_mode & 0o777), path.read_bytes()


def play(
    folder: Path, files: Mapping[str, bytes], *, drivers: tuple[str, ...], qemu: tuple[str, ...],
    limit_s: float,
) -> str:  # fmt: skip
    """Boot, run `job.py` of `files` at every boot until it ends, and give back the console."""
    root = packages()
    (kernel,) = root.glob("boot/vmlinuz-*")
    (folder / "initrd").write_bytes(initrd(root, drivers, files))
    with (folder / "disk").open("wb") as disk:
        disk.truncate(DISK_BYTES)
    console = folder / "console"
    command = [
        "qemu-system-x86_64", "-name", "pvc-machine", "-machine", "q35,accel=tcg",
        # More than one virtual processor crashes at random under emulation before QEMU 8.1.
        "-cpu", "max", "-smp", "1", "-m", "768", "-nodefaults", "-display", "none",
        "-kernel", str(kernel), "-initrd", str(folder / "initrd"),
        "-append", "console=ttyS0 panic=-1 quiet",
        "-drive", f"if=virtio,format=raw,file={folder / 'disk'},cache=writethrough",
        "-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console",
        *qemu,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    text = console.read_text(errors="replace") if console.exists() else ""
    assert "MACHINE-ENDED 0" in text, f"{done.stderr}\n{text[-3000:]}"
    print(text[-1500:], file=sys.stderr)
    return text
