"""Random repositories, valid by construction, over few names: so that two of them share objects, and
the second is a next commit that creates, changes and deletes."""

from __future__ import annotations

import json

from hypothesis import assume
from hypothesis import strategies as st

from pvc_gitops.errors import SpecError
from pvc_gitops.spec.load import load

NODES = ("hv1", "hv2", "hv3")
NETWORKS = {"app": 1000, "db": 1001, "lab": 1002}
VOLUMES = ("archive", "scratch")
GUESTS = ("db1", "mail", "web1", "web2", "web3")
IMAGES = {"tiny": "a", "other": "b"}


def _file(kind, name, spec, folder):
    body = {"apiVersion": "pvc/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    path = f"{folder}/{name}.yaml" if folder else "cluster.yaml"
    return path, json.dumps(body).encode()  # JSON is YAML


def _node(number):
    spec = {
        "role": "coordinator",
        "hardware": {"cpus": 4, "memory": "2GiB"},
        "addresses": {
            net: f"10.{second}.0.{number}"
            for net, second in (("upstream", 20), ("cluster", 21), ("storage", 22))
        },
        "osds": [{"file": {"path": "/var/lib/pvc/osd0", "size": "6GiB"}}],
    }
    return _file("Node", f"hv{number}", spec, "nodes")


def _network(name, wide):
    third = NETWORKS[name] - 900
    spec = {
        "type": "managed",
        "vni": NETWORKS[name],
        "ipv4": {
            "subnet": f"10.{third}.0.0/24",
            "gateway": f"10.{third}.0.1",
            "dhcp": {"start": f"10.{third}.0.100", "end": f"10.{third}.0.{199 if wide else 110}"},
        },
    }
    return _file("Network", name, spec, "networks")


def _image(name):
    spec = {
        "url": f"http://10.20.0.254/{name}.img",
        "checksum": "sha256:" + IMAGES[name] * 64,
        "format": "raw",
        "pool": "vms",
    }
    return _file("Image", name, spec, "images")


@st.composite
def guest_specs(draw, networks, images, volumes):
    disks = [{"name": "root", "pool": "vms", "size": draw(st.sampled_from(["64MiB", "128MiB"]))}]
    if draw(st.booleans()):
        disks[0]["image"] = draw(st.sampled_from(images))
    if draw(st.booleans()):
        disks.append({"name": "data", "pool": "vms", "size": "64MiB"})
    if volumes:
        disks.append({"name": "shared", "volume": volumes.pop()})
    placement = {}
    if draw(st.booleans()):
        placement["groups"] = ["web"]
    if draw(st.integers(0, 4)) == 0:
        placement |= {"nodes": draw(st.lists(st.sampled_from(NODES), min_size=1, unique=True))}
        placement["strict"] = draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        node, weight = draw(st.sampled_from(NODES)), draw(st.integers(1, 100))
        placement["prefer"] = [{"node": node, "weight": weight}]
    return {
        "cpu": {"vcpus": draw(st.integers(1, 3))},
        "memory": draw(st.sampled_from(["96MiB", "128MiB", "512MiB", "1GiB"])),
        "run_state": draw(st.sampled_from(["running", "running", "stopped", "manual", "disabled"])),
        "disks": disks,
        "nics": [
            {"network": net}
            for net in draw(st.lists(st.sampled_from(networks), max_size=2, unique=True))
        ],
        "placement": placement,
        "reboot_for_changes": draw(st.sampled_from(["never", "now"])),
        "protect": draw(st.integers(0, 5)) == 0,
    }


@st.composite
def repositories(draw):
    """Path -> bytes of a whole repository."""
    cluster = {
        "domain": "lab.example",
        "networks": {
            "upstream": {"subnet": "10.20.0.0/24"},
            "cluster": {"subnet": "10.21.0.0/24"},
            "storage": {"subnet": "10.22.0.0/24"},
        },
        "apply": {"max_destroy": {"vms": draw(st.integers(0, 5))}},
        "ha": {"admission": draw(st.sampled_from(["enforce", "warn", "none"]))},
    }
    networks = draw(st.lists(st.sampled_from(sorted(NETWORKS)), min_size=1, unique=True))
    images = draw(st.lists(st.sampled_from(sorted(IMAGES)), min_size=1, unique=True))
    volumes = draw(st.lists(st.sampled_from(VOLUMES), unique=True))
    guests = draw(st.lists(st.sampled_from(GUESTS), unique=True))
    group = {"policy": draw(st.sampled_from(["apart", "apart", "together"]))}
    group["strict"] = draw(st.booleans())
    if group["policy"] == "apart":
        group["max_per_node"] = draw(st.integers(2, 3))
    unattached = list(volumes)
    files = [
        _file("Cluster", "lab", cluster, ""),
        *(_node(number) for number in (1, 2, 3)),
        _file("Pool", "vms", {"copies": 3}, "pools"),
        _file("PlacementGroup", "web", group, "groups"),
        *(_network(name, draw(st.booleans())) for name in networks),
        *(_image(name) for name in images),
        *(_file("Volume", name, {"pool": "vms", "size": "1GiB"}, "volumes") for name in volumes),
    ]
    for name in guests:
        spec = draw(guest_specs(networks, images, unattached))
        files.append(_file("VirtualMachine", name, spec, "vms"))
    found = dict(files)
    assume(not _contradicts_itself(found))
    return found


def _contradicts_itself(files):
    """Rules of placement that no cluster of these nodes can keep; any other problem is one of ours."""
    try:
        load(files, commit=None)
    except SpecError as error:
        codes = {problem.code for problem in error.problems}
        assert codes <= {"group-too-large", "contradicting-groups", "contradicting-nodes"}, codes
        return True
    return False
