"""Records that were applied before a field existed are read as if the document left it to its default."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_gitops.cli.simulate import files_of
from pvc_gitops.model import defaults
from pvc_gitops.model.recovery import Ha
from pvc_gitops.model.spec import Cluster
from pvc_gitops.spec.load import load

BASE = Path(__file__).parents[2] / "golden" / "sim" / "base"
CLUSTER = b"""apiVersion: pvc/v1
kind: Cluster
metadata: {name: lab}
spec:
  domain: lab.example
  networks:
    upstream: {subnet: 10.20.0.0/24}
    cluster: {subnet: 10.21.0.0/24}
    storage: {subnet: 10.22.0.0/24}
"""
GUEST = b"""apiVersion: pvc/v1
kind: VirtualMachine
metadata: {name: app1}
spec: {cpu: {vcpus: 1}, memory: 256MiB, ha: {ready: {after: 1s}}}
"""


@pytest.fixture(scope="module")
def documents():
    """As the loader completes them, of files that leave out all that can be left out."""
    files = dict(files_of(BASE)) | {"cluster.yaml": CLUSTER, "vms/app1.yaml": GUEST}
    spec = load(files, commit=None)
    return {address: doc.spec for address, doc in spec.documents.items()}


def parts(value, of):
    """Of a value, what a defaults' mapping speaks of."""
    return {k: parts(value[k], d) if isinstance(d, dict) else value[k] for k, d in of.items()}


def plain(value):
    return {k: plain(v) for k, v in value.items()} if hasattr(value, "items") else value


def test_defaults_are_those_of_the_loader(documents):
    cluster, ha = documents["cluster/lab"], documents["vm/app1"]["ha"]
    for found, wanted in (
        (cluster, defaults.CLUSTER),
        (ha, defaults.HA),
        (ha["ready"], defaults.READINESS),
    ):
        assert parts(plain(found), wanted) == wanted


def test_a_record_that_lacks_a_field_is_read_with_its_default(documents):
    spec = documents["cluster/lab"]
    bare = {"domain": spec["domain"], "networks": spec["networks"]}
    assert Cluster.from_spec("lab", bare) == Cluster.from_spec("lab", spec)
    some = {**bare, "ha": {"lease": "12s"}, "apply": {"max_destroy": {"vms": 9}}}
    cluster = Cluster.from_spec("lab", some)
    assert (cluster.lease_s, cluster.fences_at_once) == (12.0, 1)
    assert (cluster.max_destroy.vms, cluster.max_destroy.pools) == (9, 0)


def test_a_guest_that_lacks_fields_of_recovery_is_read_with_their_defaults(documents):
    spec = documents["vm/app1"]["ha"]
    assert Ha.from_spec({"ready": {"after": "1s"}}) == Ha.from_spec(spec)
    assert Ha.from_spec({"tier": 1, "max_restarts": 0}).restarts_max == 0
