"""Pools, images and volumes."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.source.parts import (
    auto_or_whole,
    choice,
    flag,
    record,
    reference,
    size,
    text,
    whole,
)

POOL: Final = record(
    "A Ceph pool.",
    {
        "copies": whole("How many OSD hosts hold each piece of data.", 3, least=1, most=9),
        "min_copies": whole("How many copies must answer for a write to succeed. Default copies - 1, "
                            "at least 1.", 2, least=1, most=9),
        "device_class": choice("Which disks.", {"any": "all", "ssd": "solid state",
                                                "nvme": "NVMe"},
                               default="any", changes="immutable"),
        "pgs": auto_or_whole("Placement groups that it begins with. auto lets Ceph choose.", 128,
                             least=1, most=32768, changes="create"),
        "protect": flag("Refuse every plan that would delete it.", default=True),
    },
    required=["copies"],
)  # fmt: skip

IMAGE: Final = record(
    "A disk image: imported once, then cloned without copying.",
    {
        "url": text("Where it is read from, by https or http.",
                    "https://cloud.debian.org/images/debian-13.qcow2",
                    pattern="^https?://[^\\u0000-\\u0020\\u007f]+$", longest=1000, changes="create"),
        "checksum": text("SHA-256 of the file as downloaded. Another checksum is another image: "
                         "give it another name.", "sha256:" + "0123456789abcdef" * 4,
                         pattern="^sha256:[0-9a-f]{64}$", longest=71, changes="immutable"),
        "format": choice("Format of the file.",
                         {"raw": "plain blocks", "qcow2": "QEMU", "vmdk": "VMware",
                          "vdi": "VirtualBox", "vpc": "Hyper-V (vhd)"}, changes="immutable"),
        "pool": reference(Kind.POOL, "The pool that keeps it.", "vms",
                          changes="immutable"),
    },
    required=["url", "checksum", "format", "pool"],
)  # fmt: skip

VOLUME: Final = record(
    "A disk with a life of its own: it outlives the guest that uses it.",
    {
        "pool": reference(Kind.POOL, "The pool that holds it.", "vms", changes="immutable"),
        "size": size("Its size. It can grow, not shrink.", "100GiB"),
        "source": record(
            "What it begins with. Exactly one of these; without it the volume begins empty.",
            {"image": reference(Kind.IMAGE, "A clone of this image.", "debian-13",
                                changes="create"),
             "volume": reference(Kind.VOLUME, "A copy of this volume.", "archive",
                                 changes="create"),
             "snapshot": text("A snapshot, as volume@snapshot.", "archive@before-upgrade",
                              pattern="^[a-z0-9-]+@[A-Za-z0-9._:-]+$", longest=130,
                              changes="create")},
            optional=True, changes="create",
        ),
        "protect": flag("Refuse every plan that would delete it.", default=False),
    },
    required=["pool", "size"],
)  # fmt: skip
