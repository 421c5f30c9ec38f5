"""Texts of new documents and of a whole new repository: commented, and valid as they are.

Pure: names and flags in, texts out. What is written here is what people learn the format from, so
it holds what most need to say, and comments where a choice is not obvious.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence

from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.schema_files import modeline, schema_files, schema_name

NODES_MAX = 9  # of a new repository; more are added with `pvc new node`


def head(kind: Kind, name: str, *, description: str = "") -> str:
    """The envelope up to `spec:`."""
    rows = [
        modeline(kind),
        "apiVersion: pvc/v1",
        f"kind: {DOCUMENT_KINDS[kind][0]}",
        "metadata:",
        f"  name: {quoted(name)}",
    ]
    if description:
        rows.append(f"  description: {json.dumps(description, ensure_ascii=False)}")
    return "\n".join(rows) + "\n"


def quoted(text: str) -> str:
    """A word as YAML writes it: in quotes where some reader takes it for something else."""
    from pvc_gitops.spec.scalars import resolve

    is_mac_like = ":" in text
    return f'"{text}"' if is_mac_like or not isinstance(resolve(text), str) else text


def vm(
    name: str,
    *,
    vcpus: int,
    memory: str,
    pool: str,
    size: str,
    image: str | None,
    networks: Sequence[str],
) -> str:
    """A guest with one disk."""
    disk = f"name: root, pool: {quoted(pool)}, size: {size}"
    if image is not None:
        disk += f", image: {quoted(image)}"
    text = head(Kind.VM, name)
    text += f"spec:\n  cpu: {{vcpus: {vcpus}}}\n  memory: {memory}\n  disks:\n    - {{{disk}}}\n"
    if networks:
        text += (
            "  # Addresses are allocated once and kept; add `address: …` to choose one.\n  nics:\n"
        )
        text += "".join(f"    - {{network: {quoted(network)}}}\n" for network in networks)
    text += (
        "  # What needs a reboot waits until somebody restarts it; now: at once; window: see windows/.\n"
        "  reboot_for_changes: never\n"
    )
    return text


def network(name: str, *, vni: int, subnet: str) -> str:
    """A managed network; the gateway is the first address, DHCP the upper half."""
    net = ipaddress.IPv4Network(subnet)
    start = net.network_address + net.num_addresses // 2
    return (
        head(Kind.NETWORK, name)
        + "spec:\n  type: managed  # VXLAN between the nodes; every node is its gateway\n"
        + f"  vni: {vni}\n  ipv4:\n    subnet: {net}\n    gateway: {net.network_address + 1}\n"
        + "    # Where addresses of guests that declare none are taken from.\n"
        + f"    dhcp: {{start: {start}, end: {net.broadcast_address - 1}}}\n"
    )


def pool(name: str, *, copies: int) -> str:
    """A pool."""
    return (
        head(Kind.POOL, name)
        + f"spec:\n  copies: {copies}  # of each piece of data, on as many nodes\n"
        + "  protect: true  # no plan may delete it\n"
    )


def image(name: str, *, url: str, checksum: str, form: str, pool: str) -> str:
    """An image."""
    return (
        head(Kind.IMAGE, name)
        + f"spec:\n  url: {json.dumps(url)}\n"
        + "  # Of the file as downloaded. Another checksum is another image: give it another name.\n"
        + f'  checksum: "{checksum}"\n  format: {form}\n  pool: {quoted(pool)}\n'
    )


def volume(name: str, *, pool: str, size: str) -> str:
    """A volume."""
    return (
        head(Kind.VOLUME, name)
        + f"spec:\n  pool: {quoted(pool)}\n  size: {size}  # it can grow, not shrink\n"
        + "  protect: false\n"
    )


def group(name: str, *, policy: str) -> str:
    """A placement group."""
    return (
        head(Kind.GROUP, name)
        + f"spec:\n  policy: {policy}\n"
        + "  # true: a guest rather stays down than breaks it. Guests join with placement.groups.\n"
        + "  strict: false\n"
    )


def window(name: str, *, allow: Sequence[str], timezone: str) -> str:
    """A maintenance window."""
    rules = ", ".join(f'"{rule}"' for rule in allow)
    return (
        head(Kind.WINDOW, name)
        + "spec:\n  # Or Mon-Fri 22:00-04:00, daily, 2026-12-24, 2026-12-20..2027-01-03.\n"
        + f"  allow: [{rules}]\n  deny: []  # wins over allow\n"
        + f"  timezone: {timezone}  # of the clock that the hours are read from\n"
    )


def node(name: str, *, role: str, cpus: int, memory: str, addresses: Mapping[str, str]) -> str:
    """A machine whose hardware nobody has seen yet."""
    told = ", ".join(f"{key}: {address}" for key, address in addresses.items())
    return (
        head(Kind.NODE, name)
        + f"spec:\n  role: {role}  # coordinators form the quorums: 1, 3 or 5 of them\n"
        + "  # What the machine is expected to have, at least. A shortfall is shown as a fault.\n"
        + f"  hardware: {{cpus: {cpus}, memory: {memory}}}\n"
        + f"  addresses: {{{told}}}\n"
        + "  # From the sticker or the firmware's screen; every fact that is named must hold.\n"
        + '  # identity: {match: {serial: "CZJ12345A7"}}\n'
        + "  # Which NIC carries which core network: {name: …} or {mac: …}.\n"
        + "  interfaces:\n    upstream: {name: up0}\n    cluster: {name: cl0}\n"
        + "    storage: {name: st0}\n"
        + "  # Disks for Ceph, by what lsblk -o NAME,SERIAL,WWN shows.\n"
        + '  osds:\n    - disk: {serial: "REPLACE-ME"}\n'
        + "  # What can switch it off: without it, recovery waits for the watchdog.\n"
        + "  # bmc: {agent: ipmilan, address: 10.20.1.1, username: admin, "
        + f"password: {{secret: bmc-{name}}}}}\n"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCluster:
    """What `pvc init` was told."""

    name: str
    domain: str
    nodes: int
    upstream: ipaddress.IPv4Network
    cluster: ipaddress.IPv4Network
    storage: ipaddress.IPv4Network


def repository(new: NewCluster) -> dict[str, str]:
    """Every file of a new repository, path to text."""
    files = {
        "cluster.yaml": _cluster(new),
        "pools/vms.yaml": pool("vms", copies=min(3, new.nodes)),
        "groups/apart.yaml": group("apart", policy="apart"),
        "tests/always.yaml": plan_test("always"),
        "README.md": _readme(new),
        ".gitignore": _GITIGNORE,
        ".vscode/settings.json": vscode_settings(),
        ".vscode/extensions.json": json.dumps({"recommendations": ["redhat.vscode-yaml"]}, indent=2)
        + "\n",
    }
    for number in range(1, new.nodes + 1):
        files[f"nodes/hv{number}.yaml"] = node(
            f"hv{number}",
            role=_role(number, new.nodes),
            cpus=8,
            memory="32GiB",
            addresses={
                "upstream": str(new.upstream[number]),
                "cluster": str(new.cluster[number]),
                "storage": str(new.storage[number]),
            },
        )
    files |= {f".pvc/schema/{name}": text for name, text in schema_files().items()}
    return files


def plan_test(name: str) -> str:
    """What every plan must keep to, to begin with."""
    return (
        head(Kind.TEST, name)
        + "spec:\n"
        + "  rules:  # held against a plan by `pvc test --base origin/main`\n"
        + "    - name: nothing is destroyed\n"
        + "      expect: {never: [delete, replace]}\n"
        + "    - name: the loss of any node leaves every guest a place\n"
        + "      expect: {n1: holds}\n"
    )


def _role(number: int, nodes: int) -> str:
    # Three keep a majority when one dies; five when two do. More only make every decision slower.
    coordinators = 5 if nodes >= 5 else 3 if nodes >= 3 else 1  # noqa: PLR2004
    return "coordinator" if number <= coordinators else "hypervisor"


def vscode_settings() -> str:
    """Schemas by folder, for editors that do not read the modeline."""
    schemas = {
        f".pvc/schema/{schema_name(kind)}": f"{folder}/*.yaml" if folder else f"{kind}.yaml"
        for kind, (_, folder) in DOCUMENT_KINDS.items()
    }
    return json.dumps({"yaml.schemas": schemas, "yaml.format.enable": False}, indent=2) + "\n"


def _cluster(new: NewCluster) -> str:
    tolerated = 1 if new.nodes > 1 else 0
    return (
        head(Kind.CLUSTER, new.name)
        + f"""spec:
  domain: {quoted(new.domain)}
  # The three core networks. Every node has an address in each (nodes/*.yaml).
  networks:
    # People, git, the world. The gateway is your router.
    upstream: {{subnet: {new.upstream}, gateway: {new.upstream[-2]}, mtu: 1500}}
    # Heartbeats, migration, guest networks. 9000 is better where your switches carry it.
    cluster: {{subnet: {new.cluster}, mtu: 1600}}
    # Ceph.
    storage: {{subnet: {new.storage}, mtu: 1500}}
  # Where the nodes pull this repository from.
  # source:
  #   url: ssh://git@git.example.com/infra/{new.name}.git
  #   branch: main
  apply:
    mode: auto  # manual: a plan waits for `pvc approve`
    # How much one commit may destroy; what is over it is BLOCKED until you say so.
    max_destroy: {{vms: 3, volumes: 3, networks: 1, nodes: 1, osds: 1, pools: 0}}
  ha:
    admission: enforce  # refuse new guests that would not survive the loss of a node
    tolerate_nodes: {tolerated}
  trash: {{keep: 7d}}  # how long a removed disk can be brought back
"""
    )


_GITIGNORE = """# The seed holds the cluster's private key. It never belongs into git.
*.seed
seed/
.pvc/local/
"""


def _readme(new: NewCluster) -> str:
    return f"""# {new.name}

This repository is the cluster: its nodes pull it and make themselves match it. Change a file, look
at `pvc plan`, commit, push, `pvc apply`.

It looks like Kubernetes and is not: `kubectl apply` does not work on it.

## Before the first start

1. `nodes/*.yaml`: each machine's serial, its NICs and its disks (search for REPLACE-ME).
2. `cluster.yaml`: the subnets, the gateway, and `source.url`.
3. `pvc validate`, then push.

## Every day

| you want to | do |
| --- | --- |
| add a network | `pvc new network app` |
| add an image | `pvc new image debian-13 --url … --checksum sha256:…` |
| add a guest | `pvc new vm web1 --network app --image debian-13` |
| see what a change does | `pvc plan` |
| check everything | `pvc validate` |
| tidy up, refresh `.pvc/schema` | `pvc fmt --schemas` |
| undo | `git revert`, push |

Editors with the YAML language server complete and check as you type.
"""
