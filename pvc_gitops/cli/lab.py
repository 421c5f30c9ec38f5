"""`pvc lab`: a real cluster's hardware on one machine, in containers."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from pvc_gitops.lab import image, paths, preflight
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.lab import Lab
from pvc_gitops.lab.remote import RemoteMode
from pvc_gitops.lab.topology import NETWORKS

name_option = click.option(
    "--name",
    default="lab",
    envvar="PVC_LAB_NAME",
    show_default=True,
    help="Which lab of this machine.",
)
# Options of the command that runs inside belong to it.
_PASS_THROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.group(name="lab")
def lab() -> None:
    """Boot a real cluster in containers on this machine, and break it."""


@lab.command()
@name_option
@click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    default="my-cluster",
    show_default=True,
    help="The cluster's repository; made from the example if it is not there.",
)
@click.option(
    "--seeds",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with NODE.json, the seed of each node; the repository is left as it is.",
)
@click.option(
    "--debian-only", is_flag=True, help="Only hardware and Debian: no software, no seeds."
)
@click.option("--wait/--no-wait", default=True, help="Until the nodes have formed the cluster.")
def up(name: str, repo: Path, seeds: Path | None, debian_only: bool, wait: bool) -> None:
    """Build and boot the machines that the repository's Node documents describe."""
    from pvc_gitops.cli import lab_up  # brings the age and certificate libraries along

    _make_ready()
    say = _stages()
    here = Lab(name)
    repo = repo.resolve()
    layers = image.layers(here.paths.root, software=not debian_only)
    is_whole = seeds is None and not debian_only
    if is_whole:
        lab_up.prepare(here, repo, _example(), say)
    seed_for = lab_up.seeds(here, repo) if is_whole else _seeds_of_folder(seeds)
    here.up(repo, seed_for=seed_for, layers=layers, say=say)
    if is_whole and wait:
        lab_up.wait_until_formed(here, say, repo=repo)
    click.echo(f"lab {name} is up; `pvc lab status`, `pvc lab exec NODE -- CMD`, `pvc lab down`")


@lab.command(name="wait")
@name_option
@click.option("--repo", type=click.Path(path_type=Path), expose_value=False, hidden=True)
def wait_(name: str) -> None:
    """Wait until the nodes have formed the cluster; shows their stages."""
    from pvc_gitops.cli import lab_up  # as above

    lab_up.wait_until_formed(Lab(name), _stages())


def _stages() -> Callable[[str], None]:
    began_s = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"[{time.monotonic() - began_s:6.1f} s] {text}", err=True)

    return say


def _example() -> Path:
    source = image.checkout()
    if source is None:
        raise LabError(
            "the lab runs from a checkout", hint="git clone the project and run it there"
        )
    return source / "example-cluster-repo"


def _seeds_of_folder(seeds: Path | None) -> Callable[[str], bytes] | None:
    if seeds is None:
        return None

    def seed_for(node: str) -> bytes:
        path = seeds / f"{node}.json"
        if not path.exists():
            raise LabError(f"{path} is not there", hint="every node needs a seed")
        return path.read_bytes()

    return seed_for


@lab.command(name="image")
def build_image() -> None:
    """Build the nodes' image and the tiny guest, or find them built; prints where they are."""
    _make_ready()
    root = paths.default_root()
    for layer in image.layers(root):
        click.echo(f"layer {layer}")
    guest = image.guest(root)
    click.echo(f"guest {guest.path} {guest.size_bytes // 1024**2} MiB sha256:{guest.sha256}")


def _make_ready() -> None:
    lacking = preflight.missing()
    if lacking:
        raise LabError(
            "this machine cannot carry a lab: " + "; ".join(lacking),
            hint="`pvc try` needs none of it",
        )
    installed = preflight.install_host_packages()
    if installed:
        click.echo(f"installed {', '.join(installed)}")


@lab.command()
@name_option
@click.option("--wipe", is_flag=True, help="Remove the nodes' disks and the remote too.")
def down(name: str, wipe: bool) -> None:
    """Switch everything off; nothing stays on the host but the disks."""
    Lab(name).down(wipe=wipe)


@lab.command()
@name_option
@click.option("-o", "output", type=click.Choice(["pretty", "json"]), default="pretty")
def status(name: str, output: str) -> None:
    """Power, systemd's state and addresses of each node."""
    rows = Lab(name).status()
    if output == "json":
        click.echo(json.dumps([asdict(row) for row in rows], default=str, indent=1))
        return
    if not rows:
        raise LabError(f"there is no lab named {name}", hint="pvc lab up --repo DIR")
    click.echo(f"{'NODE':12} {'POWER':6} {'SYSTEM':10} {'UPSTREAM':16} {'BMC':20} AGENT")
    for row in rows:
        agent = "yes" if row.agent_socket is not None else "no"
        click.echo(
            f"{row.name:12} {row.power:6} {row.system:10} {row.address:16} {row.bmc:20} {agent}"
        )


@lab.command(context_settings=_PASS_THROUGH)
@name_option
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec(name: str, node: str, command: tuple[str, ...]) -> None:  # noqa: A001  the verb's name
    """Run a command in NODE, or in `outside`, the client outside of the cluster; exits with its
    status.
    """
    words = command[1:] if command[0] == "--" else command
    sys.exit(Lab(name).call(node, words))


@lab.command()
@name_option
@click.argument("node")
@click.argument("unit", required=False)
@click.option("-f", "follow", is_flag=True, help="Go on as lines come.")
@click.option("-n", "lines", type=int, help="Only the last lines.")
def log(name: str, node: str, unit: str | None, follow: bool, lines: int | None) -> None:
    """Show NODE's journal; of a node that is off, what is on its disk."""
    sys.exit(Lab(name).log(node, unit=unit, follow=follow, lines=lines))


@lab.command()
@name_option
def facts(name: str) -> None:
    """What belongs into the Node documents, as JSON: MACs, BMC, OSD file. Shows the BMCs'
    password.
    """
    click.echo(json.dumps([asdict(fact) for fact in Lab(name).facts()], indent=1))


@lab.command()
def missing() -> None:
    """Say what this machine lacks for a lab; exits 1 if anything."""
    lacking = preflight.missing()
    for line in lacking:
        click.echo(line)
    for package in preflight.missing_packages():
        click.echo(f"package {package} (installed by `pvc lab up`)")
    sys.exit(1 if lacking else 0)


@lab.group()
def fault() -> None:
    """Break hardware, and mend it."""


@fault.command()
@name_option
@click.argument("node")
@click.argument("to", type=click.Choice(["off", "on", "cycle"]))
def power(name: str, node: str, to: str) -> None:
    """Cut NODE's power, or give it back."""
    Lab(name).power(node, to)


@fault.command()
@name_option
@click.argument("node")
@click.argument("network", type=click.Choice([*NETWORKS, "all"]))
@click.argument("to", type=click.Choice(["off", "on"]))
def link(name: str, node: str, network: str, to: str) -> None:
    """Pull or plug NODE's cable."""
    Lab(name).link(node, tuple(NETWORKS) if network == "all" else (network,), on=to == "on")


@fault.command()
@name_option
@click.argument("node")
@click.argument("to", type=click.Choice(["off", "on"]))
def bmc(name: str, node: str, to: str) -> None:
    """Kill or start NODE's BMC; the node goes on."""
    Lab(name).bmc(node, on=to == "on")


@fault.command()
@name_option
@click.argument("mode", type=click.Choice([mode.value for mode in RemoteMode]))
def git(name: str, mode: str) -> None:
    """Make the remote unreachable for the nodes, silent, or well."""
    Lab(name).git(RemoteMode(mode))
