"""The files of trust/: keys, holders, times; and what cannot be read."""

import time
from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.model.trust import FORGE, KeyKind
from pvc_gitops.spec.load import load, problems
from pvc_gitops.spec.trust import able_admins, keyring

BASE = Path(__file__).parents[3] / "tests" / "schema" / "good" / "base"
ANN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIANN" + "A" * 39
BOB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBOB" + "A" * 39
WEB = "ecdsa-sha2-nistp256 AAAAE2VjZHNhWEB="
PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"


def operator(name, *keys):
    text = f"apiVersion: pvc/v1\nkind: Operator\nmetadata: {{name: {name}}}\n"
    return (text + f"spec: {{keys: {list(keys)!r}}}\n").encode()


FILES = {
    **read_working_tree(BASE),
    "operators/ann.yaml": operator("ann", ANN + " ann@laptop"),
    "operators/bob.yaml": operator("bob"),
}


def trusted(**files):
    return {**FILES, **{f"trust/{path}": text.encode() for path, text in files.items()}}


def test_keys_of_operators_sign_without_any_file():
    spec = load(FILES, commit=None)
    assert [(key.holder, key.text) for key in keyring(spec)] == [("ann", ANN)]


def test_every_file_is_read():
    files = trusted(
        allowed_signers=f"# people\n\nbob {BOB} bob@work\n",
        forge_keys=f'web-flow namespaces="git,file" {WEB}\n',
    )
    forges = PGP.replace("mQ", "mR")
    files |= {"trust/gpg/ann.asc": PGP.encode(), "trust/forge_keys.asc": (forges + forges).encode()}
    spec = load(files, commit=None)
    found = [(key.holder, key.kind, key.text.split()[0]) for key in keyring(spec)]
    assert found == [
        ("bob", KeyKind.SSH, "ssh-ed25519"),
        (FORGE, KeyKind.SSH, "ecdsa-sha2-nistp256"),
        (FORGE, KeyKind.GPG, "-----BEGIN"),
        (FORGE, KeyKind.GPG, "-----BEGIN"),
        ("ann", KeyKind.GPG, "-----BEGIN"),
        ("ann", KeyKind.SSH, "ssh-ed25519"),
    ]


def test_a_key_may_have_a_time_which_binds_it_wherever_else_it_stands():
    line = f'ann valid-after="20260101",valid-before=20270101120000Z {ANN}\n'
    spec = load(trusted(allowed_signers=line), commit=None)
    (key,) = keyring(spec)
    assert (key.valid_after_s, key.valid_before_s) == (1767225600, 1798804800)
    assert not key.is_valid(1767225599)
    assert key.is_valid(1767225600)
    assert not key.is_valid(1798804800)
    assert able_admins(spec.documents, spec.trust, 1767225600) == {"ann"}
    assert able_admins(spec.documents, spec.trust, 1798804800) == frozenset()


@pytest.mark.parametrize(
    ("path", "text", "line", "code"),
    [
        ("allowed_signers", f"carol {ANN}\n", 1, "no-operator"),
        ("allowed_signers", f"* {BOB}\n", 1, "no-operator"),
        ("allowed_signers", f"\nann {BOB[:12]}\n", 2, "no-key"),
        ("allowed_signers", f"bob ssh-dss {BOB.split()[1]}\n", 1, "no-key"),
        ("allowed_signers", f"bob cert-authority {BOB}\n", 1, "bad-option"),
        ("allowed_signers", f'bob namespaces="file" {BOB}\n', 1, "bad-option"),
        ("allowed_signers", f"bob valid-before=tomorrow {BOB}\n", 1, "bad-option"),
        ("allowed_signers", f"bob valid-before=20261301 {BOB}\n", 1, "bad-option"),
        ("allowed_signers", f"bob {ANN}\n", 0, "duplicate-key"),
        ("forge_keys", f"web-flow {ANN}\n", 0, "duplicate-key"),
        ("gpg/carol.asc", PGP, 0, "no-operator"),
        ("gpg/ann.asc", "nothing\n", 0, "no-key"),
        ("gpg/ann.asc", PGP + "more\n", 0, "no-key"),
        ("authority.yaml", "a: 1\n", 0, "foreign-file"),
    ],
)
def test_what_cannot_be_read_is_a_problem(path, text, line, code):
    files = {**FILES, f"trust/{path}": text.encode()}
    assert [(p.file, p.line, p.code) for p in problems(files)] == [
        (
            "trust/allowed_signers"
            if code == "duplicate-key" and path[0] == "a"
            else f"trust/{path}",
            line,
            code,
        )
    ]


def test_long_lines_take_no_long_time():
    began = time.monotonic()
    assert problems(trusted(allowed_signers="ann " + "a" * 200_000 + "\n"))
    assert time.monotonic() - began < 1


def test_signatures_that_nobody_could_make_are_refused():
    cluster = FILES["cluster.yaml"].decode()
    assert "  source:" not in cluster
    files = {**FILES, "cluster.yaml": cluster.encode() + b"  source: {signers: every}\n"}
    assert problems(files) == ()
    files["operators/ann.yaml"] = operator("ann")
    (found,) = problems(files)
    assert (found.file, found.code) == ("cluster.yaml", "nobody-can-sign")
    assert found.line == cluster.count("\n") + 1
