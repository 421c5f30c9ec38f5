"""Virtual machines and their placement groups.

Room for composition (templates, profiles, sets): `profile` names one, `absent: true` in a disk or
NIC drops an inherited one, and nothing of a disk or NIC but its name is required by the schema,
since the rest may be inherited. What the merged document needs is checked after the merge.
"""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.source.parts import (
    IPV4_PATTERN,
    MAC_PATTERN,
    choice,
    duration,
    flag,
    name,
    record,
    reference,
    rows,
    size,
    text,
    whole,
)
from pvc_gitops.spec.source.strategies import STRATEGIES

_DISK: Final = record(
    "One disk: either `pool` and `size`, or `volume`.",
    {
        "name": name("What it is called within the guest. Disks are told apart by it, never by "
                     "their order.", "root"),
        "pool": reference(Kind.POOL, "The pool that holds it.", "vms", changes="immutable"),
        "size": size("Its size. It can grow, not shrink.", "20GiB"),
        "image": reference(Kind.IMAGE, "The image it begins as a clone of. Without it the disk "
                           "begins empty.", "debian-13", changes="create"),
        "volume": reference(Kind.VOLUME, "The Volume to attach in place of a disk of its own.",
                            "archive", changes="reboot"),
        "bus": choice("What the guest sees.",
                      {"virtio-scsi": "a SCSI disk with discard", "virtio-blk": "a virtio disk"},
                      default="virtio-scsi", changes="reboot"),
        "boot": whole("Its turn in the boot order, 1 is first. Without any, the first disk boots.",
                      1, least=1, most=99, changes="reboot"),
        "absent": flag("Drop the disk of this name that the profile brings.", default=False),
    },
    required=["name"],
)  # fmt: skip

_NIC: Final = record(
    "One network card.",
    {
        "name": name("What it is called within the guest. Default: the network's name. Cards are "
                     "told apart by it, never by their order.", "app"),
        "network": reference(Kind.NETWORK, "The network it is on.", "app", changes="reboot"),
        "address": text("Its IPv4 address. auto: allocated once and kept.", "10.100.0.10",
                        pattern=f"^auto$|{IPV4_PATTERN}", longest=15, default="auto"),
        "mac": text("Its MAC address. auto: made from its name, once and for all.",
                    "52:54:00:12:34:56", pattern=f"^auto$|{MAC_PATTERN}", longest=17,
                    default="auto", changes="reboot", x_format="mac"),
        "model": choice("What the guest sees.",
                        {"virtio": "the fast one", "e1000e": "for systems without virtio"},
                        default="virtio", changes="reboot"),
        "absent": flag("Drop the card of this name that the profile brings.", default=False),
    },
)  # fmt: skip

_CPU: Final = record(
    "Processors.",
    {
        "vcpus": whole("How many it has.", 2, least=1, most=512, changes="reboot"),
        "max_vcpus": whole("How many it can be given while it runs.", 4, least=1, most=512,
                           changes="reboot"),
        "topology": record("How they look to the guest; the product must be max_vcpus or vcpus.",
                           {"sockets": whole("Sockets.", 1, least=1, most=64, changes="reboot"),
                            "cores": whole("Cores of a socket.", 2, least=1, most=512,
                                           changes="reboot"),
                            "threads": whole("Threads of a core.", 1, least=1, most=8,
                                             changes="reboot")},
                           required=["sockets", "cores", "threads"], changes="reboot"),
        "model": text("CPU model, as libvirt names them.", "host-model", longest=64,
                      pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", default="host-model",
                      changes="reboot"),
    },
    required=["vcpus"],
    changes="reboot",
)  # fmt: skip

_PLACEMENT: Final = record(
    "Where it may run. Where it runs now belongs to the cluster.",
    {
        "nodes": rows("Only on these; empty means any.",
                      reference(Kind.NODE, "One node.", "hv1"), most=200, unique=True),
        "strict": flag("Must `nodes` hold even if the guest then cannot run?", default=True),
        "prefer": rows(
            "Nodes that it would rather be on.",
            record("One of them.",
                   {"node": reference(Kind.NODE, "The node.", "hv1"),
                    "weight": whole("How much, 1 to 100; 10 is worth as much as a tenth of a "
                                    "node's memory.", 10, least=1, most=100, default=10)},
                   required=["node"]),
            most=200),
        "failback": flag("Move it back to a preferred node that has returned.", default=False),
        "groups": rows("Placement groups that it belongs to.",
                       reference(Kind.GROUP, "One group.", "web"), most=20, unique=True),
        "strategy": choice("What is spread evenly, where it differs from the cluster's.",
                           STRATEGIES),
    },
)  # fmt: skip

_HA: Final = record(
    "What happens when it, or its node, dies.",
    {
        "restart": flag("Start it again where it was, when it crashed.", default=True),
        "relocate": flag("Start it on another node, when its own is proven dead.", default=True),
        "tier": whole("Who goes first: tier 1 starts before tier 2, and so on to 5.", 3,
                      least=1, most=5, default=3),
        "on_power_off": choice("What follows when it powers itself off. Without it: start.",
                               {"start": "it is started again, since git wants it running",
                                "leave": "it stays off until `pvc vm start`, or a change of it"}),
        "max_restarts": whole("Restarts in place, after crashes and failed starts, before it is given "
                              "up there. A run of five minutes begins the count anew.", 3, least=0,
                              most=100, default=3),
        "max_relocations": whole("How many nodes may give it up and hand it on to another one before "
                                 "it counts as failed.", 3, least=0, most=100, default=3),
        "depends_on": rows("Guests that must be ready before it starts.",
                           reference(Kind.VM, "One guest.", "db1"), most=50, unique=True),
        "ready": record("When others may count on it: all that is said here must hold.",
                        {"tcp": whole("A port of its that must accept connections. Its node asks: "
                                      "on a managed network with a gateway.", 22, least=1,
                                      most=65535),
                         "agent": flag("Must the guest agent in it answer?", default=False),
                         "after": duration("How long it must have been running.", "20s"),
                         "timeout": duration("How long others wait for it at most.", "60s",
                                             default="60s")},
                        optional=True),
    },
)  # fmt: skip

VIRTUAL_MACHINE: Final = record(
    "A guest.",
    {
        "profile": name("The profile it takes its settings from; what is written here overrides it.",
                        "small"),
        "run_state": choice("What git wants of its power.",
                            {"running": "git starts it", "stopped": "git stops it",
                             "manual": "git does not say",
                             "disabled": "stopped, and HA, N-1 and starts ignore it"},
                            default="running"),
        "cpu": _CPU,
        "memory": size("Memory that it has.", "2GiB", changes="reboot"),
        "memory_max": size("Memory that it can be given while it runs.", "4GiB", changes="reboot"),
        "guest": choice("What runs in it: chooses clock and hints.",
                        {"linux": "Linux or BSD", "windows": "Windows", "other": "neither"},
                        default="linux", changes="reboot"),
        "firmware": choice("How it boots.", {"bios": "BIOS", "uefi": "UEFI",
                                             "uefi-secure": "UEFI with secure boot"},
                           default="bios", changes="reboot"),
        "disks": rows("Its disks.", _DISK, most=64),
        "nics": rows("Its network cards.", _NIC, most=32),
        "media": rows(
            "Images in its CD drives.",
            record("One drive.",
                   {"name": name("What the drive is called. Default: the image's name.", "install"),
                    "image": reference(Kind.IMAGE, "The image in it.", "win11-iso"),
                    "boot": whole("Its turn in the boot order.", 1, least=1, most=99,
                                  changes="reboot")},
                   required=["image"]),
            most=8),
        "console": record(
            "Its screens.",
            {"log": flag("Keep what its serial console prints, for `pvc vm log`.", default=True,
                         changes="reboot"),
             "vnc": record("A graphical console.",
                           {"listen": choice("Who can reach it.",
                                             {"local": "its node only", "cluster": "all nodes",
                                              "upstream": "everybody on upstream"},
                                             default="local", changes="reboot")},
                           optional=True, changes="reboot")},
        ),
        "userdata": name("The Userdata that cloud-init gets.", "web", changes="create"),
        "placement": _PLACEMENT,
        "migration": record(
            "How it is moved.",
            {"method": choice("The way.", {"live": "running", "shutdown": "stopped and started",
                                           "none": "never"}, default="live"),
             "max_downtime": duration("The longest pause of a live migration.", "300ms",
                                      default="300ms")},
        ),
        "ha": _HA,
        "reboot_for_changes": choice("When it may be rebooted for a change that needs it.",
                                     {"never": "only when somebody stops it",
                                      "window": "in its maintenance window", "now": "at once"},
                                     default="never"),
        "window": reference(Kind.WINDOW, "Its MaintenanceWindow. Without one, the windows of the "
                            "cluster.", "db-night"),
        "stop_timeout": duration("How long an orderly stop may take before it is forced.", "180s",
                                 default="180s"),
        "protect": flag("Refuse every plan that would delete it.", default=False),
    },
    required=["cpu", "memory"],
)  # fmt: skip

PLACEMENT_GROUP: Final = record(
    "Guests that belong apart or together.",
    {
        "policy": choice("Which of the two.", {"apart": "on different nodes",
                                               "together": "on one node"}),
        "strict": flag("Must it hold even if a guest then cannot run?", default=False),
        "max_per_node": whole("For apart: how many of them one node may hold.", 1, least=1, most=100,
                              default=1),
    },
    required=["policy"],
)  # fmt: skip
