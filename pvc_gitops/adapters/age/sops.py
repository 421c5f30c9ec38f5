"""Secret documents in the format of SOPS 3, for age recipients: `sops` and we read each other's.

The format, from SOPS 3.11 (aes/cipher.go, sops.go) and tried with its binary:

- A data key of 32 bytes, encrypted to each age recipient, stands under `sops.age`.
- A value is `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`, base64, nonce of 32 bytes; the keys on the way to
  it, each followed by `:`, are authenticated with it, so that values cannot be swapped.
- `encrypted_regex` is matched against each key on the way; one that matches encrypts all below it.
- `mac` is the SHA-512 of all values in order of the document, as upper-case hex, encrypted with
  `lastmodified` as authenticated data. With `mac_only_encrypted` only encrypted values count, after
  SHA-256 of `sops`.

We always write `encrypted_regex: ^data$` and `mac_only_encrypted: true`: a person may then edit the
description of a secret without its key. A document is returned only if its mac is right.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import yaml
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pvc_gitops.adapters.age import keys
from pvc_gitops.errors import UsageError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 32  # SOPS's choice; GCM's usual 12 would be read too
TAG_BYTES: Final = 16
VERSION: Final = "3.9.0"  # the first release with all that is used here
ENCRYPTED: Final = "^data$"
MAC_ONLY_ENCRYPTED_SEED: Final = hashlib.sha256(b"sops").digest()
SCHEMA: Final = "../.pvc/schema/secret.json"

_VALUE: Final = re.compile(
    r"ENC\[AES256_GCM,data:(?P<data>[^,]*),iv:(?P<iv>[^,]+),tag:(?P<tag>[^,]+),type:(?P<type>[a-z0-9]+)\]\Z"
)
_Path = tuple[str, ...]


def write(
    name: str,
    description: str,
    data: Mapping[str, str],
    recipients: Sequence[str],
    *,
    now_s: int,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> str:
    """A Secret document, encrypted to the public age keys in `recipients`; any one of them opens it.

    An empty value is refused, since SOPS leaves it in the clear.
    """
    if not all(data.values()):
        raise UsageError("a secret has an empty value", hint="leave the key out")
    key = random_bytes(KEY_BYTES)
    modified = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha512(MAC_ONLY_ENCRYPTED_SEED)
    sealed = {}
    for field, value in data.items():
        digest.update(value.encode())
        sealed[field] = _seal(key, value, ("spec", "data", field), random_bytes)
    mac = _seal(key, digest.hexdigest().upper(), (), random_bytes, authenticated=modified)
    document = {
        "apiVersion": "pvc/v1",
        "kind": "Secret",
        "metadata": {"name": name, "description": description},
        "spec": {"data": sealed},
        "sops": {
            "age": [
                {"recipient": recipient, "enc": _Block(keys.encrypt(key, recipient))}
                for recipient in recipients
            ],
            "lastmodified": modified,
            "mac": mac,
            "encrypted_regex": ENCRYPTED,
            "mac_only_encrypted": True,
            "version": VERSION,
        },
    }
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10**6, allow_unicode=True)
    return f"# yaml-language-server: $schema={SCHEMA}\n{text}"


def read(text: bytes, secret_key: str) -> dict[str, str]:
    """The values under `spec.data`.

    Raises:
        UsageError: not a SOPS document, not for this key, or changed by somebody without it.
    """
    document = _load(text)
    sops = document["sops"]
    key = _data_key(sops, secret_key)
    opened = tuple(_open_leaves(document, sops, key))  # pairs: items of a list share one path
    _check_mac(sops, key, opened)
    return {path[2]: str(value) for path, value in opened if path[:2] == ("spec", "data")}


def recipients_of(text: bytes) -> tuple[str, ...]:
    """To whom a document is encrypted, in its order."""
    return tuple(entry["recipient"] for entry in _load(text)["sops"]["age"])


# --- values ---------------------------------------------------------------------------------------


def _seal(
    key: bytes,
    value: str,
    path: _Path,
    random_bytes: Callable[[int], bytes],
    *,
    authenticated: str | None = None,
) -> str:
    nonce = random_bytes(NONCE_BYTES)
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(_authenticated(path, authenticated))
    data = encryptor.update(value.encode()) + encryptor.finalize()
    parts = (base64.b64encode(part).decode() for part in (data, nonce, encryptor.tag))
    return "ENC[AES256_GCM,data:{},iv:{},tag:{},type:str]".format(*parts)


def _unseal(key: bytes, text: str, path: _Path, *, authenticated: str | None = None) -> str:
    found = _VALUE.match(text)
    where = ".".join(path) or "sops.mac"
    if found is None:
        raise _broken(f"{where} is not an encrypted value")
    try:
        data, nonce, tag = (base64.b64decode(found[part]) for part in ("data", "iv", "tag"))
        decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, tag, TAG_BYTES)).decryptor()
        decryptor.authenticate_additional_data(_authenticated(path, authenticated))
        return (decryptor.update(data) + decryptor.finalize()).decode()
    except (InvalidTag, ValueError) as err:
        raise _broken(f"{where} was changed or belongs elsewhere") from err


def _authenticated(path: _Path, instead: str | None) -> bytes:
    return (instead if instead is not None else "".join(f"{part}:" for part in path)).encode()


# --- the document ---------------------------------------------------------------------------------


def _load(text: bytes) -> dict[str, Any]:
    try:
        document: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader without timestamps
    except yaml.YAMLError as err:
        raise _broken(str(err)) from err
    sops = document.get("sops") if isinstance(document, dict) else None
    if not isinstance(sops, dict) or not isinstance(sops.get("age"), list):
        raise UsageError(
            "not a secret encrypted by SOPS for age recipients",
            hint="encrypt it: sops encrypt --encrypted-regex '^data$' --age RECIPIENT -i FILE",
        )
    return document


def _data_key(sops: Mapping[str, Any], secret_key: str) -> bytes:
    mine = keys.public_of(secret_key)
    for entry in sops["age"]:
        if entry.get("recipient") == mine:
            return keys.decrypt(entry["enc"], secret_key)
    raise UsageError(
        f"the secret is not encrypted to {mine}",
        hint="add it as a recipient: sops rotate -i --add-age KEY FILE",
    )


def _is_encrypted_path(sops: Mapping[str, Any]) -> Callable[[_Path], bool]:
    pattern = re.compile(sops.get("encrypted_regex", ENCRYPTED))
    return lambda path: any(pattern.search(part) for part in path)


def _open_leaves(
    document: Mapping[str, Any], sops: Mapping[str, Any], key: bytes
) -> Iterator[tuple[_Path, object]]:
    is_encrypted = _is_encrypted_path(sops)
    clear = {field: value for field, value in document.items() if field != "sops"}
    for path, value in _leaves(clear, ()):
        # SOPS leaves an empty string as it is, wherever it stands.
        if is_encrypted(path) and value != "":
            yield path, _unseal(key, str(value), path)
        else:
            yield path, value


def _leaves(value: object, path: _Path) -> Iterator[tuple[_Path, object]]:
    # An item of a list is authenticated with the path of its list.
    if isinstance(value, dict):
        for field, each in value.items():
            yield from _leaves(each, (*path, str(field)))
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each, path)
    elif value is not None:
        yield path, value


def _check_mac(sops: Mapping[str, Any], key: bytes, opened: Sequence[tuple[_Path, object]]) -> None:
    is_encrypted = _is_encrypted_path(sops)
    only_encrypted = bool(sops.get("mac_only_encrypted", False))
    digest = hashlib.sha512(MAC_ONLY_ENCRYPTED_SEED if only_encrypted else b"")
    for path, value in opened:
        if is_encrypted(path) or not only_encrypted:
            digest.update(_as_bytes(value))
    expected = _unseal(key, str(sops["mac"]), (), authenticated=str(sops["lastmodified"]))
    if not secrets.compare_digest(expected, digest.hexdigest().upper()):
        raise _broken("its mac is wrong: a value was added, removed or changed without the key")


def _as_bytes(value: object) -> bytes:
    return (str(value).title() if isinstance(value, bool) else str(value)).encode()


def _broken(reason: str) -> UsageError:
    return UsageError(f"secret: {reason}", hint="take the file from the last good commit")


class _Loader(yaml.SafeLoader):
    """Timestamps stay text: `lastmodified` is authenticated as it is written."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Block(str):
    """Text that is written as a block, line by line."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Indents lists under their key, as sops and people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


_Dumper.add_representer(
    _Block,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|"),
)
