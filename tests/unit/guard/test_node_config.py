"""The configuration file: the shipped example is the contract, and anything else is refused by name."""

import tomllib
from pathlib import Path

import pytest

from pvc_gitops.errors import UsageError
from pvc_node_agent.config import load, parse

EXAMPLE = Path(__file__).parents[3] / "node-agent/etc/node.toml.example"


@pytest.fixture
def document():
    return tomllib.loads(EXAMPLE.read_text())


def test_the_example_is_read_whole():
    config = load(EXAMPLE)
    assert config.node.name == "hv1"
    assert config.zookeeper.servers[0] == "10.21.0.1:2181"
    assert config.lease.seconds == 6.0
    assert config.source.credential_file is None


def test_a_credential_file_may_be_named(document):
    document["source"]["credential_file"] = "/etc/pvc/source.credential"
    assert parse(document).source.credential_file == Path("/etc/pvc/source.credential")


@pytest.mark.parametrize(
    ("section", "key", "value", "text"),
    [
        ("node", "color", "red", "unknown key node.color"),
        ("node", "role", "witness", "node.role = 'witness'"),
        ("lease", "seconds", "6s", "lease.seconds = '6s'"),
        ("lease", "seconds", True, "lease.seconds = True"),
        ("lease", "heartbeat", 0, "lease.heartbeat = 0"),
        ("zookeeper", "servers", [], "zookeeper.servers is empty"),
        ("zookeeper", "servers", [1], "zookeeper.servers = "),
        ("node", "name", "", "node.name = ''"),
    ],
)
def test_what_does_not_belong_is_named(document, section, key, value, text):
    document[section][key] = value
    with pytest.raises(ValueError, match=text.replace("[", r"\[")):
        parse(document)


def test_every_key_is_needed(document):
    for section, keys in list(document.items()):
        for key in list(keys):
            broken = {**document, section: {k: v for k, v in keys.items() if k != key}}
            with pytest.raises(ValueError, match=f"missing key {section}.{key}"):
                parse(broken)


def test_a_missing_file_says_that_the_node_is_not_formed(tmp_path):
    with pytest.raises(UsageError, match="has not been formed"):
        load(tmp_path / "node.toml")


def test_a_broken_file_names_itself(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text("[node\n")
    with pytest.raises(UsageError, match=r"node\.toml"):
        load(path)
