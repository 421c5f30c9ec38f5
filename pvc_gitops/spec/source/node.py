"""The Node document."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.source.parts import (
    Schema,
    choice,
    flag,
    ip,
    ipv4,
    mac,
    record,
    reference,
    rows,
    size,
    text,
    whole,
)

_INTERFACE_PATTERN: Final = "^[a-z][a-z0-9._-]{0,14}$"  # IFNAMSIZ is 16 with the final zero


def _interface(what: str, example: str) -> Schema:
    return record(
        f"The NIC that carries the {what} network: by `mac` or by `name`, exactly one of them.",
        {
            "name": text(
                "Its name in the kernel.", example, pattern=_INTERFACE_PATTERN, longest=15
            ),
            "mac": mac("Its address, printed on the card.", "52:54:00:12:34:56"),
        },
        optional=True,
    )


def _address(what: str, example: str) -> Schema:
    return ipv4(f"Address in the {what} network.", example, changes="immutable")


def _disk_facts(what: str) -> Schema:
    # Every fact that is named must hold, and exactly one disk must match.
    return record(
        what,
        {
            "serial": text("Serial number as lsblk shows it.", "S4EWNX0M123456", longest=64),
            "wwn": text("World wide name as lsblk shows it.", "0x5000c500a1b2c3d4", longest=64),
            "path": text("Path below /dev/disk.", "/dev/disk/by-path/pci-0000:00:17.0-ata-1"),
            "model": text("Model as lsblk shows it.", "INTEL SSDSC2KB96", longest=64),
            "size": size("Size, to tell disks of one model apart.", "960GiB"),
            "index": whole(
                "Which of several alike, from 0, in order of path.", 0, least=0, most=99
            ),
        },
        optional=True,
        changes="create",
    )


NODE: Final = record(
    "One machine.",
    {
        "role": choice("What it is to the cluster.",
                       {"coordinator": "member of the quorums, may run guests",
                        "hypervisor": "runs guests only"}),
        "hardware": record(
            "What the machine is expected to have. Guests are placed by the smaller of this and "
            "what it reports; a shortfall is shown as a fault.",
            {"cpus": whole("Logical CPUs.", 16, least=1, most=4096),
             "memory": size("Memory.", "64GiB")},
            required=["cpus", "memory"],
        ),
        "addresses": record(
            "Its address in each core network.",
            {"upstream": _address("upstream", "10.20.0.1"),
             "cluster": _address("cluster", "10.21.0.1"),
             "storage": _address("storage", "10.22.0.1")},
            required=["upstream", "cluster", "storage"],
            changes="immutable",
        ),
        "identity": record(
            "How a machine is recognised as this node.",
            {
                "key": text("Fingerprint of the key that the node made at its first boot.",
                            "SHA256:uH0mLq4yQ5o3vN9Jx2rTz8cWb1dEfGhIjKlMnOpQrSt",
                            pattern="^SHA256:[A-Za-z0-9+/]{43}=?$", longest=60),
                "match": record(
                    "Facts of the machine; every one that is named must hold.",
                    {
                        "system_uuid": text("UUID that the firmware reports.",
                                            "4c4c4544-0042-4a10-8051-b4c04f4e3332", longest=64),
                        "serial": text("Serial number of the chassis.", "CZJ12345A7", longest=64),
                        "macs": rows("MAC addresses that it has, among others.",
                                     mac("One of them.", "3c:ec:ef:01:02:03"), most=32,
                                     unique=True),
                    },
                    optional=True,
                ),
            },
            optional=True,
        ),
        "install": record(
            "What the installer may do.",
            {"disk": _disk_facts("The disk that the system goes on."),
             "wipe": text("Serial of the disk that may be wiped although it is not empty, or none.",
                          "S4EWNX0M123456", longest=64, default="none", changes="create")},
            optional=True, changes="create",
        ),
        "interfaces": record(
            "Which NIC carries which core network.",
            {"upstream": _interface("upstream", "up0"), "cluster": _interface("cluster", "cl0"),
             "storage": _interface("storage", "st0")},
        ),
        "bmc": record(
            "The management controller that can switch the machine off.",
            {
                "agent": text("The fence agent, without its `fence_`.", "ipmilan",
                              pattern="^[a-z][a-z0-9_]*$", longest=40),
                "address": ip("Its address.", "10.20.1.1"),
                "username": text("Who logs in.", "admin", longest=64),
                "password": record(
                    "A reference to its password, never the password.",
                    {"secret": reference(Kind.SECRET, "The Secret that holds it.", "bmc-hv1")},
                    required=["secret"],
                ),
                "guid": text("Its GUID, where the node cannot read its own.",
                             "8d7c9e10-4f2b-11ee-be56-0242ac120002",
                             pattern="^[0-9a-fA-F-]{32,36}$", longest=36),
            },
            required=["agent", "address", "username", "password"],
        ),
        "osds": rows(
            "Disks for Ceph. Each has either `disk` or, in a lab, `file`.",
            record(
                "One OSD.",
                {"disk": _disk_facts("Facts that match exactly one disk."),
                 "file": record("A file in place of a disk; for labs.",
                                {"path": text("Where it lies on the node.", "/var/lib/pvc/osd0",
                                              pattern="^/[A-Za-z0-9._/-]+$"),
                                 "size": size("How large it is.", "6GiB")},
                                required=["path", "size"], changes="create")},
                optional=True,
            ),
            most=100,
        ),
        "sriov": rows(
            "Network cards that lend virtual functions to guests.",
            record("One card.",
                   {"interface": text("Its name in the kernel.", "ens1f0",
                                      pattern=_INTERFACE_PATTERN, longest=15),
                    "vfs": whole("How many virtual functions.", 8, least=1, most=256)},
                   required=["interface", "vfs"], changes="reboot"),
            most=16, changes="reboot",
        ),
        "guests": flag("May it run guests? false makes it a member of the quorums only.",
                       default=True),
        "state": choice("Whether it takes part.",
                        {"active": "it does", "retired": "it is to leave for good"},
                        default="active"),
    },
    required=["role", "hardware", "addresses"],
)  # fmt: skip
