"""`pvc new`: one valid, commented document; what is not said is chosen so that it fits the rest."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvc_gitops.errors import UsageError
from pvc_gitops.model.document import DOCUMENT_KINDS, Kind

if TYPE_CHECKING:  # spec brings the YAML library along, and `pvc new --help` needs none
    from pvc_gitops.model.document import Document
    from pvc_gitops.spec.load import Loaded

FIRST_VNI = 1000  # below are those that switches of the house tend to use
FIRST_SUBNET = ipaddress.IPv4Network("10.100.0.0/24")
FORMATS = {".qcow2": "qcow2", ".vmdk": "vmdk", ".vdi": "vdi", ".vhd": "vpc"}

_repo_option = click.option(
    "--repo", default=".", type=click.Path(path_type=Path), help="The repository's folder."
)


@click.group()
def new() -> None:
    """Write one document, valid and commented."""


@new.command()
@click.argument("name")
@click.option("--vcpus", default=1, show_default=True)
@click.option("--memory", default="1GiB", show_default=True)
@click.option("--size", default="10GiB", show_default=True, help="Of the root disk.")
@click.option("--pool", help="Default: the only pool.")
@click.option("--image", help="What the root disk begins as. Default: empty.")
@click.option("--network", "networks", multiple=True, help="Once for each NIC.")
@_repo_option
def vm(
    *,
    name: str,
    vcpus: int,
    memory: str,
    size: str,
    pool: str | None,
    image: str | None,
    networks: tuple[str, ...],
    repo: Path,
) -> None:
    """A guest."""
    from pvc_gitops.spec import scaffold

    _write(
        repo,
        Kind.VM,
        name,
        lambda known: scaffold.vm(
            name,
            vcpus=vcpus,
            memory=memory,
            pool=pool or _only_pool(known),
            size=size,
            image=image,
            networks=networks,
        ),
    )


@new.command()
@click.argument("name")
@click.option("--vni", type=int, help="Default: the next free one.")
@click.option("--subnet", help="Default: the next free 10.x.0.0/24.")
@_repo_option
def network(name: str, vni: int | None, subnet: str | None, repo: Path) -> None:
    """A managed network."""
    from pvc_gitops.spec import scaffold

    _write(
        repo,
        Kind.NETWORK,
        name,
        lambda known: scaffold.network(
            name, vni=vni or _free_vni(known), subnet=_subnet(subnet) or _free_subnet(known)
        ),
    )


@new.command()
@click.argument("name")
@click.option("--copies", default=3, show_default=True)
@_repo_option
def pool(name: str, copies: int, repo: Path) -> None:
    """A pool."""
    from pvc_gitops.spec import scaffold

    _write(repo, Kind.POOL, name, lambda _: scaffold.pool(name, copies=copies))


@new.command()
@click.argument("name")
@click.option("--url", required=True)
@click.option("--checksum", required=True, help="sha256:… of the file.")
@click.option("--format", "form", help="Default: by the URL's ending, else raw.")
@click.option("--pool", "in_pool", help="Default: the only pool.")
@_repo_option
def image(
    *, name: str, url: str, checksum: str, form: str | None, in_pool: str | None, repo: Path
) -> None:
    """A disk image."""
    from pvc_gitops.spec import scaffold

    _write(
        repo,
        Kind.IMAGE,
        name,
        lambda known: scaffold.image(
            name,
            url=url,
            checksum=checksum,
            form=form or FORMATS.get(Path(url).suffix, "raw"),
            pool=in_pool or _only_pool(known),
        ),
    )


@new.command()
@click.argument("name")
@click.option("--size", default="10GiB", show_default=True)
@click.option("--pool", "in_pool", help="Default: the only pool.")
@_repo_option
def volume(name: str, size: str, in_pool: str | None, repo: Path) -> None:
    """A disk with a life of its own."""
    from pvc_gitops.spec import scaffold

    _write(
        repo,
        Kind.VOLUME,
        name,
        lambda known: scaffold.volume(name, pool=in_pool or _only_pool(known), size=size),
    )


@new.command()
@click.argument("name")
@click.option(
    "--policy", type=click.Choice(["apart", "together"]), default="apart", show_default=True
)
@_repo_option
def group(name: str, policy: str, repo: Path) -> None:
    """A placement group."""
    from pvc_gitops.spec import scaffold

    _write(repo, Kind.GROUP, name, lambda _: scaffold.group(name, policy=policy))


@new.command()
@click.argument("name")
@click.option(
    "--allow",
    multiple=True,
    default=["Sun 02:00-04:00"],
    show_default=True,
    help="Days and hours in which it is open; can be given again.",
)
@click.option("--timezone", default="UTC", show_default=True, help="For example Europe/Berlin.")
@_repo_option
def window(name: str, allow: tuple[str, ...], timezone: str, repo: Path) -> None:
    """When what disturbs guests may begin."""
    from pvc_gitops.spec import scaffold

    _write(
        repo,
        Kind.WINDOW,
        name,
        lambda _: scaffold.window(name, allow=allow, timezone=timezone),
    )


@new.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["coordinator", "hypervisor"]),
    default="hypervisor",
    show_default=True,
)
@click.option("--cpus", default=8, show_default=True)
@click.option("--memory", default="32GiB", show_default=True)
@_repo_option
def node(name: str, role: str, cpus: int, memory: str, repo: Path) -> None:
    """A machine, with the next free addresses."""
    from pvc_gitops.spec import scaffold

    _write(
        repo,
        Kind.NODE,
        name,
        lambda known: scaffold.node(
            name, role=role, cpus=cpus, memory=memory, addresses=_free_addresses(known)
        ),
    )


def _write(repo: Path, kind: Kind, name: str, make: Callable[[Loaded], str]) -> None:
    """Write the document, unless it exists or would have problems of its own."""
    from pvc_gitops.cli.problems import read_files
    from pvc_gitops.spec.load import examine
    from pvc_gitops.spec.report import pretty

    path = f"{DOCUMENT_KINDS[kind][1]}/{name}.yaml"
    _, files, refused = read_files(repo, None)
    if "cluster.yaml" not in files:
        raise UsageError(
            f"{repo} is no cluster's repository: it has no cluster.yaml",
            hint="--repo DIR names it; pvc init makes a new one",
        )
    if path in files:
        raise UsageError(f"{path} exists already", hint="edit it, or choose another name")
    known = examine(files)
    text = make(known)
    after = examine({**files, path: text.encode()})
    own = [problem for problem in after.problems if problem.file == path]
    if own:
        raise UsageError(
            f"{path} was not written; it would not be valid:\n"
            + "\n".join(pretty(problem) for problem in own)
        )
    target = repo / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
    others = len({*refused, *after.problems})
    state = "valid" if not others else f"{others} problems elsewhere, see pvc validate"
    click.echo(f"wrote {path} · {state} · pvc plan shows what it does")


def _only_pool(known: Loaded) -> str:
    names = [document.name for document in _of_kind(known, Kind.POOL)]
    if len(names) != 1:
        raise UsageError(
            f"which pool? There are {', '.join(names)}" if names else "there is no pool yet",
            hint="--pool NAME" if names else "pvc new pool vms",
        )
    return names[0]


def _of_kind(known: Loaded, kind: Kind) -> Iterable[Document]:
    return [document for document in known.documents.values() if document.kind is kind]


def _free_vni(known: Loaded) -> int:
    taken = [int(document.spec.get("vni", 0)) for document in _of_kind(known, Kind.NETWORK)]
    return max([FIRST_VNI - 1, *taken]) + 1


def _subnet(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError as err:
        raise UsageError(
            f"{text} is not an IPv4 subnet: {err}", hint="for example 10.100.0.0/24"
        ) from err


def _free_subnet(known: Loaded) -> str:
    taken = [
        ipaddress.ip_network(document.spec["ipv4"]["subnet"])
        for document in _of_kind(known, Kind.NETWORK)
        if "ipv4" in document.spec
    ]
    for number in range(FIRST_SUBNET.network_address.packed[1], 256):
        candidate = ipaddress.IPv4Network(f"10.{number}.0.0/24")
        if not any(net.version == 4 and candidate.overlaps(net) for net in taken):  # noqa: PLR2004
            return str(candidate)
    raise UsageError("no 10.x.0.0/24 is free", hint="--subnet SUBNET")


def _free_addresses(known: Loaded) -> dict[str, str]:
    """The first address of each core network that neither a node nor the gateway has."""
    clusters = list(_of_kind(known, Kind.CLUSTER))
    if not clusters:
        raise UsageError(
            "cluster.yaml has problems, so no address can be chosen", hint="pvc validate"
        )
    result: dict[str, str] = {}
    for key, net in clusters[0].spec["networks"].items():
        taken = {document.spec["addresses"][key] for document in _of_kind(known, Kind.NODE)}
        taken.add(net.get("gateway", ""))
        hosts = ipaddress.IPv4Network(net["subnet"]).hosts()
        free = next((str(host) for host in hosts if str(host) not in taken), None)
        if free is None:
            raise UsageError(f"the {key} network {net['subnet']} is full")
        result[key] = free
    return result
