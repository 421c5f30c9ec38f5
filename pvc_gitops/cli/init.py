"""`pvc init`: a new cluster's repository: complete, commented, valid, with its schemas."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import click

from pvc_gitops.errors import UsageError

NODES_MAX = 9  # typical clusters end there; more are added with `pvc new node`
PREFIX_MAX = 28  # the smallest subnet that holds nine nodes, a gateway and some air


@click.command()
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--domain", help="DNS domain. Default: NAME.example.")
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, NODES_MAX))
@click.option(
    "--upstream", default="10.20.0.0/24", show_default=True, help="Core network: people, git."
)
@click.option(
    "--cluster", default="10.21.0.0/24", show_default=True, help="Core network: heartbeats."
)
@click.option("--storage", default="10.22.0.0/24", show_default=True, help="Core network: Ceph.")
@click.option("--no-secrets", is_flag=True, help="Leave secrets/founding.yaml out.")
def init(
    *,
    name: str,
    folder: Path | None,
    domain: str | None,
    nodes: int,
    upstream: str,
    cluster: str,
    storage: str,
    no_secrets: bool,
) -> None:
    """Write the repository of a new cluster NAME into FOLDER (default: ./NAME).

    Makes the founding secrets too, once; --no-secrets leaves them out, for a repository that is only
    looked at, planned and simulated.
    """
    from pvc_gitops.spec.load import problems
    from pvc_gitops.spec.report import pretty
    from pvc_gitops.spec.scaffold import NewCluster, repository

    target = Path(name) if folder is None else folder
    if target.exists() and (not target.is_dir() or any(_but_git(target))):
        raise UsageError(f"{target} is not empty", hint="name another folder: pvc init NAME FOLDER")
    files = repository(
        NewCluster(
            name=name,
            domain=domain or f"{name}.example",
            nodes=nodes,
            upstream=_subnet("--upstream", upstream),
            cluster=_subnet("--cluster", cluster),
            storage=_subnet("--storage", storage),
        )
    )
    found = problems({path: text.encode() for path, text in files.items()})
    if found:
        raise UsageError(
            "nothing was written; the repository would not be valid:\n"
            + "\n".join(pretty(problem) for problem in found)
        )
    for path, text in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
    click.echo(f"wrote {len(files)} files to {target}/ · valid")
    if no_secrets:
        click.echo(
            "without founding secrets: it validates, plans and simulates, but founds no cluster"
        )
    else:
        _make_secrets(target, name)
    click.echo(f"next: cd {target}, search for REPLACE-ME, pvc validate, git init, git push")


def _but_git(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != ".git"]


def _subnet(option: str, text: str) -> ipaddress.IPv4Network:
    try:
        net = ipaddress.IPv4Network(text)
    except ValueError as err:
        raise UsageError(f"{option} {err}", hint="for example 10.20.0.0/24") from err
    if net.prefixlen > PREFIX_MAX:
        raise UsageError(
            f"{option} {net} is too small for a cluster", hint=f"a /{PREFIX_MAX} or larger"
        )
    return net


def _make_secrets(target: Path, name: str) -> None:
    from pvc_gitops.cli.founding import write_founding

    key_file = target.resolve().parent / f"{name}-cluster.key"
    try:
        # Outside of the repository, for nobody else's eyes: with it one reads every secret in git.
        handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as err:
        raise UsageError(
            f"{key_file} exists: it holds another cluster's key", hint="move it to a safe place"
        ) from err
    with os.fdopen(handle, "w", encoding="ascii") as file:
        founding = write_founding(target)
        file.write(founding.cluster_key + "\n")
    click.echo(f"wrote {founding.path.relative_to(target)}, encrypted")
    click.echo(f"wrote {key_file}: the installer puts it on coordinators; never commit it")
    click.echo("Write this recovery key down, on paper; it is not shown again:")
    click.echo(f"\n   {founding.recovery_key}\n")
