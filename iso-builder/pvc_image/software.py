"""The software layer: our package installed over the base layer, as an overlay's upper folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pvc_image import deb, wheels
from pvc_image.errors import ImageError
from pvc_image.process import output, run

if TYPE_CHECKING:
    from pvc_image import cache
    from pvc_image.manifest import Manifest

INSTALL_TIMEOUT_S = 300
REMARK = "remark: "


def build(
    wanted: Manifest,
    *,
    checkout: Path,
    base: Path,
    digest: str,
    root: Path,
    new: Path,
    progress: cache.Progress,
) -> None:
    """Make the layer in the empty folder `new`: `new/upper` is what goes over `base`."""
    work = new / "build"
    (work / "wheel").mkdir(parents=True)
    wheel = wheels.build_ours(checkout, root, work / "wheel", progress)
    libraries = wheels.vendored(wanted.vendored, wanted.vendored_digest(), root, progress)
    package = deb.build(
        wheel,
        vendored=libraries,
        node_agent=checkout / "node-agent",
        depends=wanted.product_packages,
        source_digest=digest,
        work=work,
    )
    for folder in ("upper", "work", "merged"):
        (new / folder).mkdir()
    # In a mount name space of its own: whatever interrupts this, nothing stays mounted.
    said = output(
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--",
        sys.executable,
        "-m",
        "pvc_image.software",
        base,
        new,
        package,
        timeout_s=INSTALL_TIMEOUT_S,
        log=root / "log" / f"software-{digest}.log",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
    )
    for line in said.splitlines():
        if line.startswith(REMARK):
            progress.say(line)
    for folder in ("build", "work", "merged"):
        shutil.rmtree(new / folder)


def install(base: Path, new: Path, package: Path) -> None:
    """Install the package through an overlay, and ask the image's own Python whether all is
    there.
    """
    merged = new / "merged"
    folders = f"lowerdir={base},upperdir={new / 'upper'},workdir={new / 'work'}"
    options = f"{folders},index=off,redirect_dir=off,metacopy=off"
    run("mount", "-t", "overlay", "pvc-software", "-o", options, merged, timeout_s=30)
    inside = merged / "var/cache" / package.name
    shutil.copyfile(package, inside)
    # Debian's base is unpacked with force-unsafe-io too: a layer that was interrupted is thrown
    # away.
    run(
        "chroot",
        merged,
        "dpkg",
        "--force-unsafe-io",
        "--install",
        f"/var/cache/{package.name}",
        timeout_s=INSTALL_TIMEOUT_S,
    )
    inside.unlink()
    check = Path(__file__).with_name("requirements_check.py").read_text(encoding="utf-8")
    for line in output("chroot", merged, "python3", "-c", check, timeout_s=60).splitlines():
        print(f"{REMARK}{line}")


def main() -> int:
    """The part of `build` that runs in a mount name space of its own."""
    try:
        install(*(Path(word) for word in sys.argv[1:]))
    except ImageError as err:
        print(err.problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
