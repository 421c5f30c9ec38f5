"""age identities (X25519)."""

from __future__ import annotations

import pyrage

from pvc_gitops.errors import UsageError
from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeKey:
    """A new pair: `secret` opens what was encrypted to `public`."""

    secret: str
    public: str


def generate() -> AgeKey:
    """Draw a pair."""
    identity = pyrage.x25519.Identity.generate()
    return AgeKey(secret=str(identity), public=str(identity.to_public()))


def public_of(secret: str) -> str:
    """The public half. Raises UsageError on what is no age key."""
    return str(_identity(secret).to_public())


def encrypt(data: bytes, public: str) -> str:
    """To one recipient, armoured."""
    recipient = pyrage.x25519.Recipient.from_str(public)
    return bytes(pyrage.encrypt(data, [recipient], armored=True)).decode()


def decrypt(armoured: str, secret: str) -> bytes:
    """Raises UsageError if the key does not fit."""
    try:
        return bytes(pyrage.decrypt(armoured.encode(), [_identity(secret)]))
    except pyrage.DecryptError as err:
        raise UsageError(
            f"the age key does not open this: {err}",
            hint="use the cluster's key or the recovery key",
        ) from err


def _identity(secret: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(secret.strip())
    except pyrage.IdentityError as err:
        raise UsageError(
            f"not an age key: {err}", hint="an age key begins with AGE-SECRET-KEY-1"
        ) from err
