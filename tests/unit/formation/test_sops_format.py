"""Secrets in SOPS's format: files of the real program are read, changed ones are refused.

The files in tests/facts/sops were written by sops 3.11.0 for the throw-away key beside them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pvc_gitops.adapters.age import keys, sops
from pvc_gitops.errors import UsageError

FACTS = Path(__file__).parents[2] / "facts" / "sops"
DATA = {"password": "s3cret", "pem": "line one\nline two\n"}
NOW_S = 1_790_000_000


@pytest.fixture(scope="module")
def key() -> keys.AgeKey:
    return keys.generate()


def written(key: keys.AgeKey, data: dict[str, str] = DATA) -> str:
    return sops.write("bmc-hv1", "a test", data, (key.public, keys.generate().public), now_s=NOW_S)


@pytest.mark.parametrize("name", ["3.11.0.yaml", "3.11.0-mac-only-encrypted.yaml"])
def test_a_file_of_the_real_program_is_read(name):
    secret_key = (FACTS / "age.key").read_text()
    assert sops.read((FACTS / name).read_bytes(), secret_key) == DATA


def test_what_is_written_is_read_with_either_key():
    first, second = keys.generate(), keys.generate()
    text = sops.write("x", "d", DATA, (first.public, second.public), now_s=NOW_S).encode()
    assert sops.read(text, first.secret) == sops.read(text, second.secret) == DATA
    assert sops.recipients_of(text) == (first.public, second.public)


def test_no_value_stands_in_the_clear(key):
    text = written(key)
    assert "s3cret" not in text
    assert "line one" not in text


def test_a_stranger_s_key_is_refused_by_name(key):
    stranger = keys.generate()
    with pytest.raises(UsageError, match=f"not encrypted to {stranger.public}"):
        sops.read(written(key).encode(), stranger.secret)


def test_a_description_may_be_edited_without_the_key(key):
    text = written(key).replace("a test", "another text")
    assert sops.read(text.encode(), key.secret) == DATA


def changed(key, change):
    document = yaml.safe_load(written(key))
    change(document["spec"]["data"])
    return yaml.safe_dump(document).encode()


def test_swapped_values_are_refused(key):
    def swap(data):
        data["password"], data["pem"] = data["pem"], data["password"]

    with pytest.raises(UsageError, match=r"spec\.data\.p.* was changed or belongs elsewhere"):
        sops.read(changed(key, swap), key.secret)


def test_a_removed_value_is_refused(key):
    with pytest.raises(UsageError, match="mac is wrong"):
        sops.read(changed(key, lambda data: data.pop("pem")), key.secret)


def test_a_value_in_the_clear_is_refused(key):
    with pytest.raises(UsageError, match="not an encrypted value"):
        sops.read(changed(key, lambda data: data.update(password="now in the clear")), key.secret)


def test_a_plain_document_says_how_to_encrypt_it(key):
    with pytest.raises(UsageError) as refusal:
        sops.read((FACTS / "3.11.0.plain.yaml").read_bytes(), key.secret)
    assert "sops encrypt" in refusal.value.hint


def test_an_empty_value_is_refused(key):
    with pytest.raises(UsageError, match="empty value"):
        written(key, {"password": ""})


@pytest.mark.skipif(shutil.which("sops") is None, reason="the program sops is not installed")
def test_the_real_program_reads_and_edits_what_we_write(key, tmp_path):
    path = tmp_path / "secret.yaml"
    path.write_text(written(key))
    env = {**os.environ, "SOPS_AGE_KEY": key.secret}

    def run(*argv):
        return subprocess.run(["sops", *argv], env=env, check=True, capture_output=True, text=True)

    shown = yaml.safe_load(run("decrypt", str(path)).stdout)
    assert shown["spec"]["data"] == DATA
    run("set", str(path), '["spec"]["data"]["more"]', '"new"')
    assert sops.read(path.read_bytes(), key.secret) == {**DATA, "more": "new"}
