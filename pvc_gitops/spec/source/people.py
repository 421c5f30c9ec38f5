"""Secrets, operators and their roles."""

from __future__ import annotations

from typing import Any, Final

from pvc_gitops.model.people import VERBS
from pvc_gitops.spec.source.parts import (
    LIST_ITEMS_MAX,
    TAG_PATTERN,
    Schema,
    choice,
    flag,
    name,
    record,
    rows,
    size,
    text,
    whole,
)

_ENCRYPTED: Final = "^ENC\\[AES256_GCM,[A-Za-z0-9+/=,:_-]+\\]$"  # what sops writes for a value

SECRET: Final = record(
    "Values that only the cluster can read.",
    {
        "data": {
            "description": "Key to value, each encrypted by sops. Changes live.",
            "type": "object",
            "propertyNames": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"},
            "additionalProperties": text(
                "An encrypted value.",
                "ENC[AES256_GCM,data:Xk2V,iv:9s0a,tag:Qm3d,type:str]",
                pattern=_ENCRYPTED,
                longest=65536,
            ),
            "minProperties": 1,
            "maxProperties": LIST_ITEMS_MAX,
            "examples": [{"password": "ENC[AES256_GCM,data:Xk2V,iv:9s0a,tag:Qm3d,type:str]"}],
            "x-owner": "git",
            "x-disposition": "live",
        },
    },
    required=["data"],
)

# Written by sops; its insides are its own and checked when the values are decrypted.
SECRET_TOP: Final[dict[str, Any]] = {
    "sops": {
        "description": "Who can decrypt it; written by sops. Changes live.",
        "type": "object",
        "minProperties": 1,
        "examples": [{"version": "3.9.0"}],
        "x-owner": "git",
        "x-disposition": "live",
    }
}

OPERATOR: Final = record(
    "A person, or a program that acts for one.",
    {
        "keys": rows(
            "ssh public keys: the operator logs in with them and signs commits with them.",
            text(
                "One key, as in authorized_keys without options.",
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk9c3r2vV5m0w7pQy1sT4uX6zB8dF0gJ2lN4oR6tV8x",
                pattern="^(ssh-ed25519|sk-ssh-ed25519@openssh\\.com|ecdsa-sha2-nistp(256|384|521)"
                "|sk-ecdsa-sha2-nistp256@openssh\\.com|ssh-rsa) [A-Za-z0-9+/]+={0,3}"
                "( [^\\u0000-\\u001f\\u007f]*)?$",
                longest=4000,
            ),
            most=20,
            unique=True,
        ),
        "roles": rows(
            "What the operator may do. admin may do everything and needs no document; while nobody has "
            "it, everybody may.",
            name("The name of a Role, or admin.", "web"),
            most=20,
            unique=True,
        ),
    },
)

_GLOB: Final = "^[a-z0-9*?][a-z0-9*?._/-]*$"


def _addresses(example: str) -> Schema:
    return rows(
        "Addresses, * for any text. Files too: userdata/web*.",
        text("One address or glob.", example, pattern=_GLOB),
        most=100,
        unique=True,
    )


def _tags() -> Schema:
    return rows(
        "Only objects that have one of these tags.",
        text("One tag.", "web", pattern=TAG_PATTERN, longest=63),
        most=50,
        unique=True,
    )


def _names(what: str, example: str, *, every: bool = False) -> Schema:
    glob = text("One name or glob.", example, pattern=_GLOB, longest=63)
    schema = rows(f"{what} that its guests may refer to, besides those that it may change.",
                  glob, most=100, unique=True)  # fmt: skip
    return schema | {"default": ["*"]} if every else schema


ROLE: Final = record(
    "What operators who have it may do. Judged by the role in the commit before.",
    {
        "commit": rows(
            "What its operators' commits may change, by the objects that become different, whichever "
            "file makes them so.",
            record(
                "One right.",
                {
                    "may": rows(
                        "What may be done.",
                        choice(
                            "One act.",
                            {
                                "create": "objects that were not there",
                                "change": "objects that stay",
                                "delete": "objects that go",
                            },
                        ),
                        least=1,
                        most=3,
                        unique=True,
                        required=True,
                    ),
                    "addresses": _addresses("vm/web*"),
                    "tags": _tags(),
                },
                required=["may"],
            ),
            most=50,
        ),
        "use": record(
            "What guests may be given that belongs to others.",
            {
                "networks": _names("Networks", "app"),
                "pools": _names("Pools", "vms"),
                "volumes": _names("Volumes", "archive"),
                "profiles": _names("Profiles", "web"),
                "templates": _names("Templates", "small"),
                "scripts": _names("Scripts, which run on the nodes,", "debootstrap"),
                "userdata": _names("Userdata", "web"),
                "secrets": _names("Secrets", "web-token"),
                "images": _names("Images", "debian-13", every=True),
                "groups": _names("Placement groups", "web", every=True),
                "windows": _names("Maintenance windows", "db-night", every=True),
            },
        ),
        "limits": record(
            "What its guests may claim for themselves.",
            {
                "ha_tier": whole("The first tier that they may have; 1 starts before all.", 3,
                                 least=1, most=5, default=3),
                "nodes": flag("Whether they may name nodes to run on.", default=False),
                "protect": flag("Whether their protection may be switched.", default=False),
            },
        ),
        "quota": record(
            "The sums of all guests that it may change. What is not written has no limit.",
            {
                "vms": whole("Guests.", 30, least=0, most=100000),
                "vcpus": whole("Virtual CPUs.", 60, least=0, most=1000000),
                "memory": size("Memory.", "128GiB"),
                "disk": size("Disks.", "2TiB"),
            },
        ),
        "operate": record(
            "What its operators may do for the moment, besides reading.",
            {
                "select": record(
                    "On which objects. What is written must hold; nothing written is no object.",
                    {"addresses": _addresses("vm/web*"), "tags": _tags()},
                ),
                "verbs": rows("Which acts.", choice("One act.", VERBS), most=len(VERBS), unique=True),
            },
        ),
    },
)  # fmt: skip
