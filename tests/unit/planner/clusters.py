"""Small clusters by hand, in the canonical form that the loader leaves documents in."""

from __future__ import annotations

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.fields import Disposition, Field, Fields, Owner
from pvc_gitops.model.ids import address
from pvc_gitops.model.spec import ClusterSpec

_DISPOSITIONS = {
    Kind.VM: {
        ("memory",): Disposition.REBOOT,
        ("cpu",): Disposition.REBOOT,
        ("firmware",): Disposition.REBOOT,
        ("disks", "*", "size"): Disposition.LIVE,
        ("disks", "*", "image"): Disposition.CREATE,
        ("disks", "*", "pool"): Disposition.REPLACE,
    },
    Kind.NETWORK: {("vni",): Disposition.REPLACE, ("type",): Disposition.REPLACE},
    Kind.VOLUME: {("pool",): Disposition.REPLACE},
    Kind.POOL: {("device_class",): Disposition.IMMUTABLE},
    Kind.IMAGE: {("checksum",): Disposition.REPLACE},
}
FIELDS = Fields(
    by_kind={
        kind: {
            path: Field(path=path, owner=Owner.GIT, disposition=disposition)
            for path, disposition in fields.items()
        }
        for kind, fields in _DISPOSITIONS.items()
    }
)
_FILES = {
    Kind.NODE: "nodes",
    Kind.POOL: "pools",
    Kind.IMAGE: "images",
    Kind.VOLUME: "volumes",
    Kind.NETWORK: "networks",
    Kind.VM: "vms",
    Kind.GROUP: "groups",
    Kind.WINDOW: "windows",
}


def document(kind, name, spec, tags=()):
    file = "cluster.yaml" if kind is Kind.CLUSTER else f"{_FILES[kind]}/{name}.yaml"
    return Document(
        kind=kind, name=name, address=address(kind, name), spec=spec, file=file, tags=tuple(tags)
    )


def cluster(*, admission="enforce", max_destroy=None, **scheduling):
    return document(
        Kind.CLUSTER,
        "lab",
        {
            "domain": "lab.example",
            "networks": {
                "upstream": {"subnet": "10.20.0.0/24", "gateway": "10.20.0.254", "mtu": 1500},
                "cluster": {"subnet": "10.21.0.0/24", "mtu": 1500},
                "storage": {"subnet": "10.22.0.0/24", "mtu": 1500},
            },
            "routing": {"asn": 65500},
            "source": {"branch": "main", "path": ".", "poll": "15s"},
            "apply": {
                "mode": "auto",
                "windows": [],
                "max_destroy": {
                    "vms": 3, "volumes": 3, "networks": 1, "nodes": 1, "osds": 1, "pools": 0,
                } | (max_destroy or {}),
                "max_disrupt": {"reboots": 5, "replaces": 0, "migrations": 50},
            },
            "ha": {
                "lease": "6s", "fence_delay": "2s", "cold_start": "120s", "admission": admission,
                "tolerate_nodes": 1, "fences_at_once": 1,
            },
            "scheduling": {"strategy": "mem", "reserve_memory": "auto", "vcpu_ratio": 4}
            | scheduling,
            "trash": {"keep": "7d"},
            "formation": "new",
        },
    )  # fmt: skip


def node(name, memory="2GiB", **more):
    number = int("".join(c for c in name if c.isdigit()))
    return document(
        Kind.NODE,
        name,
        {
            "role": "coordinator",
            "hardware": {"cpus": 4, "memory": memory},
            "addresses": {"upstream": f"10.20.0.{number}"},
            "interfaces": {},
            "osds": [{"file": {"path": "/var/lib/pvc/osd0", "size": "6GiB"}}],
            "sriov": [],
            "guests": True,
            "state": "active",
        }
        | more,
    )


def pool(name="vms", **more):
    spec = {"copies": 3, "min_copies": 2, "device_class": "any", "pgs": "auto", "protect": True}
    return document(Kind.POOL, name, spec | more)


def image(name="tiny", checksum="sha256:" + "a" * 64, **more):
    spec = {
        "url": "http://10.20.0.254/tiny.raw",
        "checksum": checksum,
        "format": "raw",
        "pool": "vms",
    }
    return document(Kind.IMAGE, name, spec | more)


def volume(name="archive", size="1GiB", **more):
    return document(Kind.VOLUME, name, {"pool": "vms", "size": size, "protect": False} | more)


def network(name="app", vni=1000, **more):
    third = vni % 250
    spec = {
        "type": "managed",
        "vni": vni,
        "mtu": "auto",
        "ipv4": {
            "subnet": f"10.{third}.0.0/24",
            "gateway": f"10.{third}.0.1",
            "dhcp": {"start": f"10.{third}.0.100", "end": f"10.{third}.0.199"},
        },
    }
    return document(Kind.NETWORK, name, spec | more)


def group(name="web", **more):
    spec = {"policy": "apart", "strict": True, "max_per_node": 1}
    return document(Kind.GROUP, name, spec | more)


HA = {
    "restart": True, "relocate": True, "tier": 3,
    "max_restarts": 3, "max_relocations": 3, "depends_on": [],
}  # fmt: skip


def vm(name, memory="96MiB", *, groups=(), nodes=(), disks=None, nics=None, tags=(), **more):
    spec = {
        "run_state": "running",
        "cpu": {"vcpus": 1, "model": "host-model"},
        "memory": memory,
        "firmware": "bios",
        "disks": {"root": {"pool": "vms", "size": "64MiB", "image": "tiny", "bus": "virtio-scsi"}}
        if disks is None
        else disks,
        "nics": {"app": {"network": "app", "mac": "auto", "model": "virtio"}}
        if nics is None
        else nics,
        "console": {"log": True},
        "placement": {"nodes": list(nodes), "strict": True, "prefer": [], "groups": list(groups)},
        "migration": {"method": "live", "max_downtime": "300ms"},
        "reboot_for_changes": "never",
        "stop_timeout": "180s",
        "protect": False,
    }
    more["ha"] = HA | more.get("ha", {})
    return document(Kind.VM, name, spec | more, tags)


def spec_of(*documents, commit=None):
    return ClusterSpec(
        commit=commit,
        documents={doc.address: doc for doc in sorted(documents, key=lambda d: d.address)},
        fields=FIELDS,
    )


BASE = (cluster(), node("hv1"), node("hv2"), node("hv3"), pool(), image(), network())


def example(*, commit="1" * 40):
    """Three nodes, a pool, an image, two networks, six guests, a group."""
    db_nics = {"db": {"network": "db", "mac": "auto", "model": "virtio"}}
    guests = [
        vm("web1", groups=["web"]),
        vm("web2", groups=["web"]),
        vm("web3", groups=["web"]),
        vm("db1", nics=db_nics),
        vm("db2", nics=db_nics),
        vm("mail"),
    ]
    return spec_of(*BASE, network("db", 1001), group(), *guests, commit=commit)
