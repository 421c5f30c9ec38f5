"""What the lab writes into Node documents for the person: stickers, and later keys."""

import subprocess

import pytest

from pvc_gitops.lab import clone
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.topology import NodeFacts

KEY = "SHA256:uH0mLq4yQ5o3vN9Jx2rTz8cWb1dEfGhIjKlMnOpQrSt"
DOCUMENT = """apiVersion: pvc/v1
kind: Node
metadata: {name: hv4}
spec:
  role: hypervisor  # runs guests only
"""


def facts() -> NodeFacts:
    return NodeFacts(
        name="hv4",
        system_uuid="4c4c4544-0042-4a10-8051-b4c04f4e3332",
        macs={"upstream": "02:00:00:00:04:00", "cluster": "02:00:00:00:04:01"},
        nics={"upstream": "up0", "cluster": "cl0"},
        bmc_address="10.20.0.204",
        bmc_guid="4c4c4544-0042-4a10-8051-b4c04f4e3332",
        bmc_username="admin",
        bmc_password="secret",
        osd_path="/var/lib/pvc/osd0",
        osd_size="6GiB",
    )


@pytest.fixture
def repo(tmp_path):
    (tmp_path / "nodes").mkdir()
    clone.document(tmp_path, "hv4").write_text(DOCUMENT)
    return tmp_path


def test_a_key_stands_beside_the_sticker_s_facts_and_comments_stay(repo):
    clone.write_machines(repo, [facts()])
    assert "key" not in clone.identity(repo, "hv4")
    clone.write_key(repo, "hv4", KEY)
    assert clone.identity(repo, "hv4") == {
        "match": {"macs": ["02:00:00:00:04:00", "02:00:00:00:04:01"]},
        "key": KEY,
    }
    text = clone.document(repo, "hv4").read_text()
    assert "role: hypervisor  # runs guests only" in text
    assert "path: /var/lib/pvc/osd0" in text


def test_a_node_that_says_it_has_no_disk_for_ceph_gets_none(repo):
    clone.document(repo, "hv4").write_text(DOCUMENT + "  osds: []\n")
    clone.write_machines(repo, [facts()])
    assert "osds: []" in clone.document(repo, "hv4").read_text()


def test_only_the_named_files_are_committed_and_pushed(repo, tmp_path_factory):
    remote = tmp_path_factory.mktemp("remote")

    def git(*argv):
        done = subprocess.run(
            ["git", "-C", str(repo), *argv], capture_output=True, text=True, check=True
        )
        return done.stdout

    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    git("init", "--quiet", "--initial-branch=main")
    clone.commit_all(repo, "begun")
    clone.connect(repo, remote, "unix:///nowhere")
    (repo / "draft.md").write_text("what the person is at")
    clone.write_key(repo, "hv4", KEY)
    clone.commit_and_push(repo, [clone.document(repo, "hv4")], "let hv4 in")
    assert git("show", "--name-only", "--format=", "origin/main").split() == ["nodes/hv4.yaml"]
    assert git("status", "--porcelain").split() == ["??", "draft.md"]


def test_a_lost_clone_is_fetched_again_and_another_one_is_not_pushed_over_it(tmp_path):
    """A lab outlives the folder it was founded from; its remote holds what the nodes have accepted."""
    remote, first, lost, other = (tmp_path / name for name in ("remote", "first", "lost", "other"))
    subprocess.run(["git", "init", "-q", "--bare", "--initial-branch=main", remote], check=True)
    for folder in (first, other):
        folder.mkdir()
        (folder / "cluster.yaml").write_text(f"kind: Cluster  # {folder.name}\n")
        subprocess.run(["git", "-C", folder, "init", "-q", "--initial-branch=main"], check=True)
        clone.commit_all(folder, "founded")
    clone.connect(first, remote, "hv1")

    assert clone.fetch(remote, lost)
    assert (lost / "cluster.yaml").read_text() == "kind: Cluster  # first\n"
    assert not clone.fetch(remote, lost)
    clone.connect(lost, remote, "hv1")
    with pytest.raises(LabError, match="cannot be pushed") as caught:
        clone.connect(other, remote, "hv1")
    assert f"git clone {remote}" in caught.value.hint
    assert clone.founding_commit(lost) == clone.head(first)
