"""Fixtures of the tests against real daemons on this host. They need Debian packages, no lab."""

import os
from pathlib import Path

import pytest
from guard_process import Slice
from zk_ensemble import PASSWORD, Ensemble, jars


@pytest.fixture(scope="session")
def _ensemble(tmp_path_factory):
    if jars() is None:
        pytest.skip("no ZooKeeper here: apt-get install libzookeeper-java default-jre-headless")
    ensemble = Ensemble(root=tmp_path_factory.mktemp("zookeeper"))
    try:
        ensemble.form()
        _skeleton(ensemble)
        yield ensemble
    finally:
        ensemble.end()


@pytest.fixture
def ensemble(_ensemble):
    """A healthy ensemble of three, healed again afterwards."""
    yield _ensemble
    _ensemble.heal()


@pytest.fixture
def machine_slice(tmp_path):
    for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (root / "cgroup.procs").exists() and (root / "cgroup.controllers").exists():
            slice_ = Slice(root / f"pvc-test-{os.getpid()}-{tmp_path.name}.slice")
            yield slice_
            slice_.end()
            return
    pytest.skip("no cgroup version 2 here")


def _skeleton(ensemble):
    # What formation makes, before anybody else connects.
    from kazoo.client import KazooClient
    from kazoo.security import make_acl

    from pvc_gitops.model import paths

    client = KazooClient(
        hosts=ensemble.servers[0].address,
        sasl_options={"mechanism": "DIGEST-MD5", "username": "pvc", "password": PASSWORD},
        default_acl=[make_acl("sasl", "pvc", all=True)],
    )
    client.start(timeout=20)
    for path in paths.SKELETON:
        client.create(path, b"{}")
    client.stop()
    client.close()
