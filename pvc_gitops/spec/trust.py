"""The files of trust/ to keys; what cannot be read is a problem with its line, since a key that is passed
over in silence locks somebody out, and one that is half understood lets somebody in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from pvc_gitops.model.document import Document, Kind
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.problem import Problem
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.trust import FORGE, KeyKind, SignerKey, Trust
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.authority import admins_among
from pvc_gitops.spec.findings import Finding, located

ALLOWED: Final = "trust/allowed_signers"
FORGES: Final = "trust/forge_keys"
FORGES_GPG: Final = "trust/forge_keys.asc"
GPG_FOLDER: Final = "trust/gpg/"
KEYS_MAX: Final = 200  # each may be tried on a signature
_TYPES: Final = (
    "ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-rsa",
)  # fmt: skip
_WORD: Final = re.compile(
    r'(?:[^\s"]|"[^"]*")+'
)  # an option's value is quoted where it holds a space
_BODY: Final = re.compile(r"[A-Za-z0-9+/]+={0,3}")
_OPTION: Final = re.compile(r'([a-z-]+)(?:="([^"]*)"|=([^\s,"]+)|)(?:,|$)')
_TIME: Final = re.compile(r"(\d{8})(\d{4}(?:\d{2})?)?Z?")
_GPG: Final = re.compile(
    r"\s*-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n.*?\n-----END PGP PUBLIC KEY BLOCK-----\s*",
    re.DOTALL,
)
_GPG_FILE: Final = re.compile(rf"{re.escape(GPG_FOLDER)}([^/]+)\.asc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The keys, and what is wrong."""

    trust: Trust
    problems: tuple[Problem, ...]


def read(files: Mapping[str, bytes], documents: Mapping[Address, Document]) -> Read:
    """Everything below trust/. `documents`: holders must be Operators among them."""
    keys: list[SignerKey] = []
    problems: list[Problem] = []
    for path in sorted(path for path in files if path.startswith("trust/")):
        for found in _file(path, files[path], documents):
            if isinstance(found, SignerKey):
                keys.append(found)
            else:
                problems.append(found)
    problems += _shared(keys, documents)
    if len(keys) > KEYS_MAX:
        problems.append(_problem("trust/", 0, "too-many", f"more than {KEYS_MAX} keys"))
    return Read(trust=Trust(keys=tuple(keys)), problems=tuple(problems))


def keyring(spec: ClusterSpec) -> tuple[SignerKey, ...]:
    """All keys whose signatures count by this commit: trust/'s, and those of Operator documents.

    A key that trust/allowed_signers names is bound to the times that stand there.
    """
    return _keyring(spec.documents, spec.trust)


def _keyring(documents: Mapping[Address, Document], trust: Trust) -> tuple[SignerKey, ...]:
    named = {key.text for key in trust.keys}
    own = [
        SignerKey(holder=doc.name, kind=KeyKind.SSH, text=" ".join(text.split()[:2]))
        for doc in documents.values()
        if doc.kind is Kind.OPERATOR
        for text in doc.spec["keys"]
    ]
    return (*trust.keys, *(key for key in own if key.text not in named))


def able_admins(
    documents: Mapping[Address, Document], trust: Trust, now_s: int | None = None
) -> frozenset[str]:
    """Admins who have a key to sign with; at an instant, one that is valid then."""
    people = admins_among(doc for doc in documents.values() if doc.kind is Kind.OPERATOR)
    return frozenset(
        key.holder
        for key in _keyring(documents, trust)
        if key.holder in people and (now_s is None or key.is_valid(now_s))
    )


def nobody_can_sign(
    documents: Mapping[Address, Document], trust: Trust, files: Mapping[str, bytes]
) -> tuple[Problem, ...]:
    """A cluster that wants signatures which no admin can make could never be repaired by a commit."""
    cluster = next((doc for doc in documents.values() if doc.kind is Kind.CLUSTER), None)
    if cluster is None or cluster.spec["source"]["signers"] == "none":
        return ()
    if able_admins(documents, trust):
        return ()
    finding = Finding(
        document=cluster,
        path=("source", "signers"),
        code="nobody-can-sign",
        message="no admin has a key: the commit after this one could be signed by nobody",
        hint='an Operator document with keys: ["ssh-ed25519 …"] first',
    )
    return tuple(located([finding], files))


def _file(
    path: str, data: bytes, documents: Mapping[Address, Document]
) -> Iterator[SignerKey | Problem]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        yield _problem(path, 0, "not-utf-8", "is not UTF-8")
        return
    of_operator = _GPG_FILE.fullmatch(path)
    if path in (ALLOWED, FORGES):
        yield from _lines(path, text, documents, is_forge=path == FORGES)
    elif path == FORGES_GPG:
        yield from _blocks(path, text, FORGE)
    elif of_operator is not None and _is_operator(of_operator[1], documents):
        yield from _blocks(path, text, of_operator[1])
    elif of_operator is not None:
        yield _no_operator(path, 0, of_operator[1])
    else:
        yield _problem(
            path,
            0,
            "foreign-file",
            "is not read",
            f"trust/ holds {ALLOWED}, {GPG_FOLDER}OPERATOR.asc, {FORGES} and {FORGES_GPG}",
        )


def _blocks(path: str, text: str, holder: str) -> Iterator[SignerKey | Problem]:
    rest, count = text, 0
    while (match := _GPG.match(rest)) is not None:
        yield SignerKey(holder=holder, kind=KeyKind.GPG, text=match[0].strip())
        rest, count = rest[match.end() :], count + 1
    if rest.strip() or not count:
        yield _problem(
            path,
            0,
            "no-key",
            "is no armoured OpenPGP public key",
            "gpg --armor --export KEYID > FILE",
        )


def _lines(
    path: str, text: str, documents: Mapping[Address, Document], *, is_forge: bool
) -> Iterator[SignerKey | Problem]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = _WORD.findall(line)
        options_text = (
            "" if words[1:2] and words[1] in _TYPES else words.pop(1) if words[2:] else ""
        )
        if len(words) < 3 or words[1] not in _TYPES or not _BODY.fullmatch(words[2]):  # noqa: PLR2004
            yield _problem(
                path, number, "no-key", "is no line of an allowed_signers file",
                'OPERATOR [valid-before="20270101"] ssh-ed25519 AAAA…; man ssh-keygen, ALLOWED SIGNERS',
            )  # fmt: skip
            continue
        options, wrong = _options(options_text)
        if wrong:
            yield _problem(
                path, number, "bad-option", wrong, "namespaces, valid-after, valid-before"
            )
            continue
        for who in words[0].split(","):
            if not is_forge and not _is_operator(who, documents):
                yield _no_operator(path, number, who)
                continue
            yield SignerKey(
                holder=FORGE if is_forge else who,
                kind=KeyKind.SSH,
                text=f"{words[1]} {words[2]}",
                valid_after_s=options.get("valid-after"),
                valid_before_s=options.get("valid-before"),
            )


def _options(text: str) -> tuple[dict[str, int], str]:
    """Instants by option, and what is wrong with one."""
    found: dict[str, int] = {}
    matches = list(_OPTION.finditer(text))
    if sum(len(match[0]) for match in matches) != len(text):
        return {}, f"the options {text[:100]} cannot be read"
    for match in matches:
        word, value = match[1], match[2] if match[2] is not None else match[3] or ""
        if word == "namespaces":
            if "git" not in value.split(","):
                return {}, f'namespaces="{value}" leaves out git, so the key could sign no commit'
        elif word in ("valid-after", "valid-before"):
            instant = _instant(value)
            if instant is None:
                return {}, f'{word}="{value}" is no time as YYYYMMDD or YYYYMMDDHHMM[SS], in UTC'
            found[word] = instant
        else:
            return {}, f"the option {word} is not known here"
    return found, ""


def _instant(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    clock = (match[2] or "").ljust(6, "0")
    try:
        found = datetime.strptime(match[1] + clock + "+0000", "%Y%m%d%H%M%S%z")
    except ValueError:
        return None
    return int(found.timestamp())


def _is_operator(name: str, documents: Mapping[Address, Document]) -> bool:
    return address(Kind.OPERATOR, name) in documents


def _no_operator(path: str, line: int, name: str) -> Problem:
    return _problem(
        path, line, "no-operator", f'no operator "{name}"',
        f"declare operators/{name}.yaml: whoever signs has a name and roles",
    )  # fmt: skip


def _shared(keys: list[SignerKey], documents: Mapping[Address, Document]) -> Iterator[Problem]:
    """One key of two holders has no author."""
    holders = {
        " ".join(text.split()[:2]): doc.name
        for doc in documents.values()
        if doc.kind is Kind.OPERATOR
        for text in doc.spec["keys"]
    }
    for key in keys:
        other = holders.setdefault(key.text, key.holder)
        if other != key.holder:
            yield _problem(
                _file_of(key), 0, "duplicate-key", f"a key of {key.holder} is {other}'s, too",
                "a shared key has no author",
            )  # fmt: skip


def _file_of(key: SignerKey) -> str:
    if key.holder == FORGE:
        return FORGES if key.kind is KeyKind.SSH else FORGES_GPG
    return ALLOWED if key.kind is KeyKind.SSH else f"{GPG_FOLDER}{key.holder}.asc"


def _problem(path: str, line: int, code: str, message: str, hint: str = "") -> Problem:
    return Problem(
        file=path,
        line=line,
        column=1 if line else 0,
        address="",
        code=code,
        message=message,
        hint=hint,
    )
