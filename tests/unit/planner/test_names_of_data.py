"""Names of RBD images, also where a guest or a disk is called as a part of addresses is."""

from __future__ import annotations

import pytest

from pvc_gitops.model.ids import Address
from pvc_gitops.planner.context import own_prefix, prefix_of
from pvc_gitops.planner.steps.disks import rbd_name


@pytest.mark.parametrize(
    ("of", "begin"),
    [
        ("vm/web1/disk/root", "vm.web1.root."),
        ("vm/disk/disk/root", "vm.disk.root."),
        ("vm/web1/disk/disk", "vm.web1.disk."),
        ("vm/disk/disk/disk", "vm.disk.disk."),
        ("volume/archive", "volume.archive."),
        ("volume/disk", "volume.disk."),
    ],
)
def test_an_images_name_begins_as_its_address_says(of, begin):
    name = rbd_name("cluster", Address(of), 1)
    assert name.rpartition(".")[0] + "." == begin
    assert own_prefix(Address(of)) == begin
    assert prefix_of(name) == own_prefix(Address("/".join(of.split("/")[:2])))
    assert rbd_name("cluster", Address(of), 2) != name
