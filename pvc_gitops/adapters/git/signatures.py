"""Is a commit's signature good, and whose is it? ssh-keygen and gpgv say so, each in a child of its own
with a time limit; nothing of the host's configuration, agents or keyrings is read.

Which key an ssh signature is of stands in it; it counts only if that very key is one of those given.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pvc_gitops.errors import RepoError
from pvc_gitops.model.trust import UNSIGNED, KeyKind, Signature, SignerKey, Verdict
from pvc_gitops.model.values import dataclass

CHECK_S: Final = 10.0  # a check takes 5 ms
COMMIT_BYTES_MAX: Final = 1024 * 1024  # of a commit object: its message is for people
KNOWN_MAX: Final = 10_000
_HEADER: Final = b"gpgsig"
_SSH: Final = b"-----BEGIN SSH SIGNATURE-----"
_PGP: Final = b"-----BEGIN PGP SIGNATURE-----"
_BAD_WORDS: Final = frozenset({"BADSIG", "ERRSIG", "REVKEYSIG", "EXPSIG", "NODATA", "FAILURE"})


class Signatures:
    """Checks, and remembers what ssh-keygen said: neither a commit nor a key ever changes."""

    def __init__(self) -> None:
        self._fits: dict[tuple[str, str], bool] = {}

    def check(self, commit: str, raw: bytes, keys: Sequence[SignerKey], now_s: int) -> Signature:
        """What a commit object's signature is. Raises RepoError where a program is missing or hangs."""
        if len(raw) > COMMIT_BYTES_MAX:
            return _bad(f"its object has {len(raw)} bytes, {COMMIT_BYTES_MAX} is the most")
        split = split_signature(raw)
        if split is None:
            return _bad("it has several signatures")
        payload, signature = split
        if not signature:
            return UNSIGNED
        if signature.startswith(_SSH):
            return self._ssh(commit, payload, signature, keys, now_s)
        if signature.startswith(_PGP):
            return _gpg(commit, payload, signature, [k for k in keys if k.kind is KeyKind.GPG])
        return _bad("its signature is neither of ssh nor of OpenPGP")

    def _ssh(
        self, commit: str, payload: bytes, signature: bytes, keys: Sequence[SignerKey], now_s: int
    ) -> Signature:
        made_by = _ssh_key(signature)
        if made_by is None:
            return _bad("its signature cannot be read")
        words = f"key {made_by.fingerprint}"
        key = next((k for k in keys if k.kind is KeyKind.SSH and k.text == made_by.text), None)
        if key is None:
            return Signature(verdict=Verdict.UNKNOWN, holder=None, words=words)
        known = (commit, key.text)
        if known not in self._fits:
            if len(self._fits) >= KNOWN_MAX:
                self._fits.clear()
            self._fits[known] = _ssh_fits(commit, payload, signature, key)
        if not self._fits[known]:
            return Signature(
                verdict=Verdict.BAD, holder=key.holder, words=f"{words} did not sign what it holds"
            )
        if not key.is_valid(now_s):
            return Signature(verdict=Verdict.EXPIRED, holder=key.holder, words=words)
        return Signature(verdict=Verdict.GOOD, holder=key.holder, words=words)


def split_signature(raw: bytes) -> tuple[bytes, bytes] | None:
    """A commit object without its signature, and the signature, b"" if it has none.

    None where it has several: what one signs holds the other, and programs differ in which they show.
    """
    head, blank, message = raw.partition(b"\n\n")
    kept: list[bytes] = []
    signature: list[bytes] = []
    count, is_inside = 0, False
    for line in head.split(b"\n"):
        if line.startswith(_HEADER):
            count += 1
            is_inside = True
            signature.append(line.partition(b" ")[2])
        elif is_inside and line.startswith(b" "):
            signature.append(line[1:])
        else:
            is_inside = False
            kept.append(line)
    if count > 1:
        return None
    return b"\n".join(kept) + blank + message, b"\n".join(signature) + b"\n" if signature else b""


# --- ssh -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _MadeBy:
    """`text` as in SignerKey."""

    text: str
    fingerprint: str


def _ssh_key(signature: bytes) -> _MadeBy | None:
    """Which key made it, by OpenSSH's PROTOCOL.sshsig: magic, version, key, namespace, …"""
    blob = _armoured(signature)
    if blob is None or not blob.startswith(b"SSHSIG"):
        return None
    key = _string(blob, len(b"SSHSIG") + 4)
    kind = None if key is None else _string(key, 0)
    if key is None or kind is None or not kind.isascii():
        return None
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return _MadeBy(
        text=f"{kind.decode()} {base64.b64encode(key).decode()}", fingerprint=f"SHA256:{digest}"
    )


def _string(data: bytes, at: int) -> bytes | None:
    length = int.from_bytes(data[at : at + 4], "big")
    found = data[at + 4 : at + 4 + length]
    return found if len(data) >= at + 4 and len(found) == length else None


def _ssh_fits(commit: str, payload: bytes, signature: bytes, key: SignerKey) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        allowed, given = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text(f'signer namespaces="git" {key.text}\n', encoding="ascii")
        given.write_bytes(signature)
        argv = ("ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "signer", "-n", "git")
        done = _run(commit, (*argv, "-s", str(given)), payload, folder)
        return done.returncode == 0


# --- OpenPGP ---------------------------------------------------------------------------------------


def _gpg(commit: str, payload: bytes, signature: bytes, keys: Sequence[SignerKey]) -> Signature:
    unknown = Signature(verdict=Verdict.UNKNOWN, holder=None, words="an OpenPGP key")
    with tempfile.TemporaryDirectory() as folder:
        given, ring = Path(folder, "signature"), Path(folder, "ring")
        given.write_bytes(signature)
        for key in keys:
            binary = _armoured(key.text.encode())
            if binary is None:
                continue
            ring.write_bytes(binary)
            argv = ("gpgv", "--homedir", folder, "--status-fd", "1", "--keyring", str(ring))
            done = _run(commit, (*argv, str(given), "-"), payload, folder)
            found = _gpg_verdict(done.stdout.decode(errors="replace"), key.holder)
            if found.verdict is not Verdict.UNKNOWN:
                return found
            unknown = found
    return unknown


def _gpg_verdict(status: str, holder: str) -> Signature:
    lines = [line.split()[1:] for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    words = {line[0]: line[1:] for line in lines if line}
    count = sum(1 for line in lines if line[:1] == ["NEWSIG"])
    by = (words.get("VALIDSIG") or words.get("ERRSIG") or words.get("NO_PUBKEY") or ["?"])[0]
    shown = f"OpenPGP key {by[-16:]}"
    if "NO_PUBKEY" in words:
        return Signature(verdict=Verdict.UNKNOWN, holder=None, words=shown)
    if "EXPKEYSIG" in words:
        return Signature(verdict=Verdict.EXPIRED, holder=holder, words=shown)
    if count == 1 and "GOODSIG" in words and "VALIDSIG" in words and not _BAD_WORDS & words.keys():
        return Signature(verdict=Verdict.GOOD, holder=holder, words=shown)
    return Signature(
        verdict=Verdict.BAD, holder=holder, words=f"{shown} did not sign what it holds"
    )


# --- both ------------------------------------------------------------------------------------------


def _armoured(text: bytes) -> bytes | None:
    """The bytes inside of an armoured block: base64 between its headers and its checksum."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or not lines[-1].startswith(b"-----END "):  # noqa: PLR2004
        return None
    body = lines[1:-1]
    if b"" in body:  # OpenPGP has headers before an empty line
        body = body[body.index(b"") + 1 :]
    body = [line for line in body if not line.startswith(b"=")]
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except binascii.Error:
        return None


def _run(
    commit: str, argv: Sequence[str], stdin: bytes, folder: str
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, timeout=CHECK_S, check=False, cwd=folder,
            env={"PATH": os.environ.get("PATH", ""), "HOME": folder, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as err:
        raise RepoError(
            "check", commit, f"its signature cannot be checked here: {err}", retryable=True
        ) from err


def _bad(words: str) -> Signature:
    return Signature(verdict=Verdict.BAD, holder=None, words=words)
