"""Specs for the tests of formation: the example as the loader reads it, with facts of machines."""

import functools
from pathlib import Path

import yaml

from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.spec.load import load

EXAMPLE = Path(__file__).parents[3] / "example-cluster-repo"
COMMIT = CommitId("c" * 40)
CLUSTER_ID = "11111111-2222-4333-8444-555555555555"
HV1 = NodeName("hv1")


def mac(node: int, network: int) -> str:
    return f"02:00:00:00:0{node}:0{network}"


@functools.cache
def spec(*, peers: bool = False, hypervisor: bool = False) -> ClusterSpec:
    """The example, with MACs; on demand with an upstream router, or with a fourth node without a vote."""
    return load(files(peers=peers, hypervisor=hypervisor), commit=COMMIT)


def files(
    *, peers: bool = False, hypervisor: bool = False, key: str | None = None
) -> dict[str, bytes]:
    """The same as bytes. `key`: the fourth node's `identity.key`."""
    found = {
        str(path.relative_to(EXAMPLE)): path.read_bytes()
        for path in sorted(EXAMPLE.rglob("*.yaml"))
        if not any(part.startswith(".") for part in path.relative_to(EXAMPLE).parts)
    }
    for number in (1, 2, 3, 4) if hypervisor else (1, 2, 3):
        found[f"nodes/hv{number}.yaml"] = yaml.safe_dump(_node(number)).encode()
    cluster = yaml.safe_load(found["cluster.yaml"])
    if peers:
        cluster["spec"]["routing"] = {"peers": [{"address": "10.20.0.254", "asn": 65000}]}
    found["cluster.yaml"] = yaml.safe_dump(cluster).encode()
    if key is not None:
        fourth = yaml.safe_load(found["nodes/hv4.yaml"])
        fourth["spec"]["identity"]["key"] = key
        found["nodes/hv4.yaml"] = yaml.safe_dump(fourth).encode()
    return found


def _node(number: int) -> dict[str, object]:
    networks = ("upstream", "cluster", "storage")
    macs = {network: mac(number, index) for index, network in enumerate(networks)}
    return {
        "apiVersion": "pvc/v1",
        "kind": "Node",
        "metadata": {"name": f"hv{number}"},
        "spec": {
            "role": "coordinator" if number < 4 else "hypervisor",
            "hardware": {"cpus": 4, "memory": "2GiB"},
            "addresses": {
                network: f"10.2{index}.0.{number}" for index, network in enumerate(networks)
            },
            "identity": {"match": {"macs": sorted(macs.values())}},
            "interfaces": {network: {"mac": each} for network, each in macs.items()},
            "osds": [{"file": {"path": "/var/lib/pvc/osd0", "size": "6GiB"}}],
        },
    }
