"""Secrets and operators."""

from __future__ import annotations

from typing import Any, Final

from pvc_gitops.spec.source.parts import LIST_ITEMS_MAX, name, record, rows, text

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
            "What the operator may do.", name("The name of a Role.", "web"), most=20, unique=True
        ),
    },
)
