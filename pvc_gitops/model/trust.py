"""Whose signature on a commit counts, and what looking at one found (DESIGN D12).

    trust/allowed_signers     ssh keys of operators, as in `ann valid-before="20270101" ssh-ed25519 …`
    trust/gpg/ann.asc         the OpenPGP key of one operator
    trust/forge_keys          ssh keys of forges
    trust/forge_keys.asc      OpenPGP keys of forges

The keys of an Operator document sign, too. A forge signs what its merge button made, and nobody's words.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pvc_gitops.model.values import dataclass

FORGE: Final = "the forge"  # no operator can have this name
# Who commits without keys: whoever plays the simulator, as root of a node would. Nor can an operator have
# this name: `spec.checks.people` reserves it.
PLAYER: Final = "root"


class KeyKind(StrEnum):
    """Which program knows it."""

    SSH = "ssh"
    GPG = "gpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerKey:
    """A key and whose it is: an operator's name, or FORGE.

    `text` is `TYPE BODY` of an ssh key, or an armoured OpenPGP block. Instants are seconds since 1970;
    an OpenPGP key holds its own.
    """

    holder: str
    kind: KeyKind
    text: str
    valid_after_s: int | None = None
    valid_before_s: int | None = None

    def is_valid(self, now_s: int) -> bool:
        """By what the trust file says."""
        begins = self.valid_after_s is None or now_s >= self.valid_after_s
        return begins and (self.valid_before_s is None or now_s < self.valid_before_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What stands in trust/, in the order of the files."""

    keys: tuple[SignerKey, ...] = ()


NO_TRUST: Final = Trust()


class Verdict(StrEnum):
    """What a commit's signature is."""

    GOOD = "good"  # made over this very commit by a known key that is valid now
    NONE = "none"  # there is none
    UNKNOWN = "unknown"  # by a key that nobody here has
    EXPIRED = "expired"  # by a known key, whose time has not come or is over
    BAD = "bad"  # it does not fit the commit, or is no signature at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What looking at a commit's signature found. `words` tell the key or the fault, for people."""

    verdict: Verdict
    holder: str | None  # of a known key: an operator's name, FORGE or PLAYER
    words: str  # "key SHA256:9k…", "no signature"


UNSIGNED: Final = Signature(verdict=Verdict.NONE, holder=None, words="no signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouch:
    """`Pvc-Vouch: A..B` in a commit's message: its signer answers for what B holds and A does not."""

    base: str
    head: str
