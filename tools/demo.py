"""What ./demo plays: a cluster from nothing to running guests, then a change, on the real stack.

It only calls commands that a person would type, and shows what they print. Where containers cannot
run it plays the same story in the simulated world and says so.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
PVC = HOME / ".venv" / "bin" / "pvc"
CLONE = HOME / "lab" / "my-cluster"
IDENTITY = ("-c", "user.name=ann", "-c", "user.email=ann@lab.example")
STAGES = 6
GUESTS_TIMEOUT_S = 240  # six emulated guests on two cores
PING_TIMEOUT_S = 30
WELL_TIMEOUT_S = 60  # of nodes that have formed a cluster a moment ago


class DemoError(Exception):
    """A stage did not come to its end."""


def run(
    *argv: str | Path, timeout_s: float = 900, quiet: bool = False, ok: tuple[int, ...] = (0,)
) -> str:
    """Run a command; its output, which is also shown line by line as it comes, unless quiet."""
    words = [str(word) for word in argv]
    if not quiet:
        print(f"  $ {shown(words)}", flush=True)
    process = subprocess.Popen(
        words,
        cwd=HOME,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    limit = threading.Timer(timeout_s, process.kill)
    limit.start()
    said = []
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if not quiet:
                print(f"    {line.rstrip()}".rstrip(), flush=True)
    is_late = not limit.is_alive()
    limit.cancel()
    if process.returncode not in ok:
        how = f"took more than {timeout_s:.0f} s" if is_late else f"ended with {process.returncode}"
        raise DemoError(
            f"`{shown(words)}` {how}" + ("" if not quiet else f": {''.join(said)[-2000:]}")
        )
    return "".join(said)


def shown(words: Sequence[str]) -> str:
    """As a person would type it."""
    text = (
        shlex.join(words).replace(str(PVC), "pvc").replace(str(CLONE), str(CLONE.relative_to(HOME)))
    )
    return text.replace(" ".join(IDENTITY) + " ", "")


def pvc(*argv: str | Path, **options: object) -> str:
    return run(PVC, *argv, **options)  # type: ignore[arg-type]  the options are run's own


def in_clone(*argv: str | Path, **options: object) -> str:
    return pvc(argv[0], "--repo", CLONE, *argv[1:], **options)


@contextmanager
def stage(number: int, name: str, what: str) -> Iterator[None]:
    print(f"[{number}/{STAGES}] {name:10} {what}", flush=True)
    began = time.monotonic()
    yield
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"[{number}/{STAGES}] {name:10} {'done':58} {minutes}:{seconds:02d}", flush=True)


def status() -> dict[str, object]:
    answer: dict[str, object] = json.loads(in_clone("status", "-o", "json", quiet=True))
    return answer


def git(*argv: str) -> str:
    return run("git", "-C", CLONE, *IDENTITY, *argv)


def wait_for_guests(names: set[str]) -> None:
    end = time.monotonic() + GUESTS_TIMEOUT_S
    while True:
        guests = status()["guests"]
        assert isinstance(guests, dict)
        running = {name for name, guest in guests.items() if guest["state"] == "running"}
        if running == names == set(guests):
            return
        if time.monotonic() > end:
            raise DemoError(
                f"running: {sorted(running)}; wanted: {sorted(names)}; see `pvc status`"
            )
        time.sleep(1)


def owner(guest: str) -> str:
    guests = status()["guests"]
    assert isinstance(guests, dict)
    return str(guests[guest]["owner"])


def marker(guest: str) -> str:
    """The line that the guest prints on its console when it is up; waits for it."""
    path = f"/var/log/libvirt/pvc/{guest}.log"
    end = time.monotonic() + GUESTS_TIMEOUT_S
    while True:
        text = on(owner(guest), "cat", path, quiet=True, ok=(0, 1))
        found = re.findall(rf"PVC-GUEST-READY hostname={re.escape(guest)}\b.*", text)
        if found:
            return str(found[-1]).strip()
        if time.monotonic() > end:
            raise DemoError(
                f"{guest} printed no marker on its console; pvc lab exec {owner(guest)} -- cat {path}"
            )
        time.sleep(1)


def ping_across() -> str:
    """One guest asked over HTTP, from its own node, to ping another on another node."""
    source = "web1"
    target = next(name for name in ("web2", "web3", "app1") if owner(name) != owner(source))
    where = {name: re.search(r"address=(\S+)", marker(name)) for name in (source, target)}
    addresses = {name: match.group(1) for name, match in where.items() if match}
    end = time.monotonic() + PING_TIMEOUT_S
    while True:
        url = f"http://{addresses[source]}/ping/{addresses[target]}"
        answer = on(owner(source), "curl", "-s", "-m", "5", url, quiet=True, ok=tuple(range(256)))
        if '"ok":true' in answer.replace(" ", ""):
            route = f"{source} on {owner(source)} pings {target} on {owner(target)}"
            return f"{route} ({addresses[target]}): {answer.strip()}"
        if time.monotonic() > end:
            raise DemoError(f"{source} cannot ping {target}: {answer!r}")
        time.sleep(1)


def change(folder: Path) -> None:
    """One guest more, one with more memory that says `reboot_for_changes: now`, one removed."""
    vms = folder / "vms"
    app1 = (vms / "app1.yaml").read_text(encoding="utf-8")
    (vms / "web4.yaml").write_text(app1.replace("app1", "web4"), encoding="utf-8")
    db1 = (vms / "db1.yaml").read_text(encoding="utf-8")
    kept = re.sub(r"(?m)^  (memory|reboot_for_changes): .*\n", "", db1)
    more = kept.replace("spec:\n", "spec:\n  memory: 128MiB\n  reboot_for_changes: now\n", 1)
    if kept in (db1, more):
        raise DemoError("vms/db1.yaml has no memory line to change")
    (vms / "db1.yaml").write_text(more, encoding="utf-8")
    (vms / "app2.yaml").unlink()


def on(node: str, *argv: str, ok: tuple[int, ...] = (0,), quiet: bool = False) -> str:
    return pvc("lab", "exec", node, "--", *argv, ok=ok, quiet=quiet)


def nodes_are_well() -> None:
    """Three nodes online, ZooKeeper's quorum whole, Ceph healthy: as the cluster and as Ceph say it."""
    end = time.monotonic() + WELL_TIMEOUT_S
    while True:
        now: dict[str, Any] = status()
        nodes = {name: facts["state"] for name, facts in now["nodes"].items()}
        quorum = f"{now['quorum']} of {now['quorum_of']}"
        health = on("hv1", "ceph", "health", quiet=True).strip()
        line = f"{len(nodes)} nodes {', '.join(sorted(set(nodes.values())))} · ZooKeeper quorum {quorum}"
        line += f" · Ceph {health}"
        if line == "3 nodes online · ZooKeeper quorum 3 of 3 · Ceph HEALTH_OK":
            print(f"    {line}")
            return
        if time.monotonic() > end:
            raise DemoError(f"{line}; see `pvc status`")
        time.sleep(1)


def libvirt_and_frr_agree() -> None:
    """What runs where, asked below pvc: libvirt's domains, FRRouting's networks."""
    guests: dict[str, Any] = status()["guests"]  # type: ignore[assignment]  JSON
    for node in ("hv1", "hv2", "hv3"):
        domains = set(on(node, "virsh", "-q", "list", "--name", quiet=node != "hv1").split())
        owned = {name for name, guest in guests.items() if guest["owner"] == node}
        if domains != owned:
            raise DemoError(f"virsh on {node}: {sorted(domains)}; pvc status: {sorted(owned)}")
    vnis = re.findall(r"(?m)^(\d+)\s+L2 ", on("hv1", "vtysh", "-c", "show evpn vni"))
    declared = re.findall(
        r"(?m)^  vni: (\d+)",
        "".join(path.read_text(encoding="utf-8") for path in (CLONE / "networks").glob("*.yaml")),
    )
    if sorted(vnis) != sorted(declared):
        raise DemoError(f"FRRouting has VNIs {sorted(vnis)}; the repository {sorted(declared)}")


def a_change() -> None:
    change(CLONE)
    in_clone("validate")
    in_clone("plan", ok=(2,))
    git("add", "--all")
    git("commit", "--quiet", "-m", "web4: new; db1: more memory; app2: removed")
    git("push", "--quiet")
    in_clone("apply", "--yes")


def real() -> None:
    with stage(2, "image", "Debian 13 root file system and the tiny guest (built once, kept)"):
        pvc("lab", "image", timeout_s=3600)
    with stage(3, "nodes", "hv1 hv2 hv3: containers, three switches, a BMC each, a git remote"):
        pvc("lab", "up", "--repo", CLONE, "--no-wait")
    with stage(4, "cluster", "the nodes form it by themselves: ZooKeeper, Ceph, libvirt, EVPN"):
        pvc("lab", "wait", "--repo", CLONE)
        nodes_are_well()
    with stage(5, "guests", "web1 web2 web3 db1 app1 app2 from the repository"):
        in_clone("apply", "--yes")
        names = {path.stem for path in (CLONE / "vms").glob("*.yaml")}
        wait_for_guests(names)
        print("    every guest runs; emulated ones boot for a minute or two before they say so:")
        for name in sorted(names):
            print(f"    {owner(name)}  {marker(name)}", flush=True)
        if len({owner(name) for name in names}) == 1:
            raise DemoError("all guests run on one node")
        libvirt_and_frr_agree()
        print(f"    {ping_across()}")
    with stage(6, "a change", "+ vm/web4, ~ vm/db1 more memory, - vm/app2"):
        a_change()
        wait_for_guests({"web1", "web2", "web3", "web4", "db1", "app1"})
        in_clone("plan")
        in_clone("status")


def simulated(missing: str) -> None:
    """The same commits and the same controllers, on a clock of its own."""
    print(f"A real cluster cannot run here: {missing}.")
    print("The same story in the simulated world (pvc simulate; pvc try has a prompt):")
    with tempfile.TemporaryDirectory(prefix="pvc-demo-") as folder:
        base, changed = Path(folder) / "base", Path(folder) / "changed"
        shutil.copytree(HOME / "example-cluster-repo", base)
        shutil.copytree(base, changed)
        change(changed)
        script = Path(folder) / "script"
        on = "; ".join(f"power {path.stem} on" for path in sorted((base / "nodes").glob("*.yaml")))
        script.write_text(f"{on}\nsettle\ncommit {changed}\nsettle\n", encoding="utf-8")
        pvc("plan", "--repo", base, "--empty", ok=(2,))
        pvc("simulate", "--repo", base, script)


def main() -> int:
    began = time.monotonic()
    missing = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if missing:
            simulated(missing)
        else:
            real()
    except DemoError as error:
        print(f"error: {error}")
        print("       what was built stays up to look at: pvc lab status; undo: ./demo --down")
        return 1
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"Ready in {minutes}:{seconds:02d}.")
    if not missing:
        print(
            "Your turn (the lab stays up, guests are tiny and emulated):\n"
            "  . ./env; cd lab/my-cluster; $EDITOR vms/web1.yaml; pvc plan\n"
            "  git commit -am 'my first change' && pvc apply --push\n"
            "  pvc lab fault power hv2 off; pvc status     its guests run elsewhere in half a minute\n"
            "  pvc lab fault power hv2 on\n"
            "Undo everything: ./demo --down"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
