"""The Cluster document."""

from __future__ import annotations

from typing import Final

from pvc_gitops.model.document import Kind
from pvc_gitops.model.spec import DRIFT
from pvc_gitops.spec.source.parts import (
    DOMAIN_PATTERN,
    choice,
    duration,
    ip,
    ipv4,
    ipv4_subnet,
    number,
    record,
    reference,
    rows,
    text,
    whole,
)
from pvc_gitops.spec.source.strategies import STRATEGIES


def _core_network(what: str, example: str) -> dict[str, object]:
    return record(
        what,
        {
            "subnet": ipv4_subnet("The subnet; every node has an address in it.", example,
                                  changes="immutable"),
            "gateway": ipv4("The router to everything else.", example.replace("0/24", "254")),
            "mtu": whole("Largest packet in bytes. Switches must carry it.", 1500,
                         least=1280, most=9216, default=1500),
        },
        required=["subnet"],
    )  # fmt: skip


_SOURCE: Final = record(
    "Where the nodes pull this repository from.",
    {
        "url": text("URL of the repository, by ssh or https.",
                    "ssh://git@git.example.com/infra/lab.git", longest=500),
        "branch": text("The branch that the cluster follows.", "main",
                       pattern="^[A-Za-z0-9][A-Za-z0-9._/-]*$", default="main"),
        "path": text("The folder of the repository that holds cluster.yaml.", ".",
                     pattern="^([.]|[A-Za-z0-9][A-Za-z0-9._/-]*)$", default="."),
        "credentials": record(
            "What the nodes log in with.",
            {"secret": reference(Kind.SECRET, "The Secret that holds the key.", "git-read")},
            required=["secret"],
        ),
        "host_keys": rows("The server's ssh host keys, as in known_hosts.",
                          text("One line.", "git.example.com ssh-ed25519 AAAAC3Nza",
                               longest=2000), most=20),
        "mirrors": rows("Further URLs of the same repository, tried in order.",
                        text("One URL.", "https://mirror.example.com/lab.git", longest=500),
                        most=10),
        "poll": duration("How often the nodes look for new commits.", "15s", default="15s"),
        "signers": choice("Whose signatures are needed.",
                          {"none": "nobody's", "tip": "on the newest commit",
                           "every": "on every commit"}, default="none"),
    },
)  # fmt: skip


def _budget(what: str, default: int) -> dict[str, object]:
    return whole(f"How many {what} one commit may cause.", default, least=0, most=10000,
                 default=default)  # fmt: skip


def _policy(kind: str, what: str) -> dict[str, object]:
    meanings = {"heal": "made as applied again", "report": "shown"}
    return choice(what, meanings, default=DRIFT[kind])


_APPLY: Final = record(
    "How changes come into force.",
    {
        "mode": choice("What happens after a commit is accepted.",
                       {"auto": "its plan is applied",
                        "manual": "its plan waits for `pvc approve`"}, default="auto"),
        "windows": rows("Maintenance windows outside of which nothing disruptive begins.",
                        reference(Kind.WINDOW, "One MaintenanceWindow.", "db-night"), most=20,
                        unique=True),
        "max_destroy": record(
            "How many deletions one commit, or one day, may cause; more is BLOCKED.",
            {
                "vms": _budget("deletions of guests", 3),
                "volumes": _budget("deletions of volumes", 3),
                "networks": _budget("deletions of networks", 1),
                "nodes": _budget("removals of nodes", 1),
                "osds": _budget("removals of OSDs", 1),
                "pools": _budget("deletions of pools", 0),
            },
        ),
        "max_disrupt": record(
            "How many disturbances of guests one commit, or one day, may cause; more is BLOCKED.",
            {
                "reboots": _budget("reboots", 5),
                "replaces": _budget("replacements", 0),
                "migrations": _budget("migrations", 50),
            },
        ),
    },
)  # fmt: skip

# Keys are kinds that can be healed. What a machine has, and disks that somebody grew, are only reported.
_DRIFT: Final = record(
    "What happens where live differs from what was applied, and nobody's wish explains it. heal: it is "
    "made as applied again; report: it is shown.",
    {
        "vm": _policy("vm", "A guest's devices and size."),
        "network": _policy("network", "Bridges and addresses of a guest network on a node."),
        "pool": _policy("pool", "Copies of a pool. Putting them back moves data."),
        "image": _policy("image", "An imported image that is gone."),
    },
)  # fmt: skip

_HA: Final = record(
    "What the cluster does by itself when a node dies.",
    {
        "lease": duration("How long a node's guests may run after its last acknowledged heartbeat.",
                          "6s", default="6s"),
        "fence_delay": duration("How long to wait before a silent node is fenced.", "2s",
                                default="2s"),
        "cold_start": duration("How long to wait for absent nodes after the whole cluster was off.",
                               "120s", default="120s"),
        "fences_at_once": whole("How many nodes may be fenced at a time.", 1, least=1, most=10,
                                default=1),
        "on_shutdown": choice("What an orderly shutdown of a node does to its guests.",
                              {"migrate": "moves them away", "stop": "stops them with it"},
                              default="migrate"),
        "admission": choice("What a new demand meets that would break N-1.",
                            {"enforce": "it is BLOCKED", "warn": "a warning", "none": "nothing"},
                            default="enforce"),
        "tolerate_nodes": whole("How many nodes may die with every guest still placed.", 1,
                                least=0, most=3, default=1),
    },
)  # fmt: skip

CLUSTER: Final = record(
    "The whole cluster.",
    {
        "domain": text("The DNS domain of nodes and guests.", "lab.example",
                       pattern=DOMAIN_PATTERN, longest=253),
        "networks": record(
            "The three core networks that connect the nodes.",
            {
                "upstream": _core_network("Towards people, git and the world.", "10.20.0.0/24"),
                "cluster": _core_network("Heartbeats, migration and guest networks between nodes.",
                                         "10.21.0.0/24"),
                "storage": _core_network("Ceph.", "10.22.0.0/24"),
            },
            required=["upstream", "cluster", "storage"],
        ),
        "routing": record(
            "BGP.",
            {
                "asn": whole("The cluster's autonomous system number.", 65500, least=1,
                             most=4294967294, default=65500),
                "peers": rows(
                    "Routers that learn the guests' networks.",
                    record("One router.",
                           {"address": ip("Its address.", "10.20.0.254"),
                            "asn": whole("Its autonomous system number.", 65000, least=1,
                                         most=4294967294)},
                           required=["address", "asn"]),
                    most=20),
            },
        ),
        "time": record("Clocks.",
                       {"servers": rows("NTP servers.",
                                        text("Address or name.", "10.20.0.254",
                                             pattern="^[A-Za-z0-9:.-]+$"), most=10)}),
        "source": _SOURCE,
        "apply": _APPLY,
        "drift": _DRIFT,
        "ha": _HA,
        "scheduling": record(
            "Where guests are placed.",
            {
                "strategy": choice("What is spread evenly.", STRATEGIES, default="mem"),
                "reserve_memory": text(
                    "Memory of every node that guests never get. auto counts what its services need.",
                    "4GiB", pattern="^(auto|[1-9][0-9]{0,8}(MiB|GiB|TiB))$", longest=12,
                    default="auto", x_format="size"),
                "vcpu_ratio": number("Virtual CPUs for each real one.", 4, least=0.1, most=100,
                                     default=4),
            },
        ),
        "trash": record("Removed disks.",
                        {"keep": duration("How long a removed disk can be brought back.", "7d",
                                          default="7d")}),
        "formation": choice("What a founding does about guests that have data.",
                            {"new": "makes blank disks", "restore": "waits for their restore"},
                            changes="create", default="new"),
    },
    required=["domain", "networks"],
)  # fmt: skip
