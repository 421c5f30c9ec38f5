"""What a wrong push does to a real cluster: nothing, with a clear word."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloud import Cloud, until

from pvc_gitops.lab.remote import RemoteMode

pytestmark = pytest.mark.lab

SEEN_LIMIT_S = 60.0  # a poll interval of 15 s, with room for a busy machine


@pytest.fixture
def unharmed(cloud: Cloud) -> Iterator[str]:
    """The accepted commit; in the end the branch is back, and guests and agents never noticed."""
    until("all is applied", 120.0, lambda: cloud.status()["is_applied"])
    accepted = cloud.accepted()
    domains = cloud.domains()
    agents = {node: cloud.main_pid(node, "pvc-node-agent") for node in cloud.nodes()}
    yield accepted
    cloud.lab.git(RemoteMode.ON)
    cloud.git("reset", "--quiet", "--hard", accepted)
    cloud.git("push", "--quiet", "--force", "origin", "main")
    until("the branch is well again", SEEN_LIMIT_S, lambda: not problems(cloud))
    assert cloud.accepted() == accepted
    assert cloud.domains() == domains
    assert {node: cloud.main_pid(node, "pvc-node-agent") for node in cloud.nodes()} == agents


def problems(cloud: Cloud) -> str:
    """Everything that status says against the tip, from all nodes."""
    status = cloud.status()
    said = list(status["problems"])
    for seen in status["seen"].values():
        said += [*seen["problems"], seen["error"]]
    return "\n".join(line for line in said if line)


def expect(cloud: Cloud, words: str) -> None:
    until(f"status says {words!r}", SEEN_LIMIT_S, lambda: words in problems(cloud))


def test_an_invalid_document_is_not_adopted(cloud: Cloud, unharmed: str) -> None:
    cloud.write("vms/web1.yaml", cloud.read("vms/web1.yaml").replace("memory:", "memroy:"))
    cloud.commit_and_push("a typo")
    expect(cloud, "vms/web1.yaml")
    assert cloud.accepted() == unharmed


def test_a_symlink_is_not_adopted(cloud: Cloud, unharmed: str) -> None:
    (cloud.clone / "vms/link.yaml").symlink_to("web1.yaml")
    cloud.commit_and_push("a link")
    expect(cloud, "link.yaml")
    assert cloud.accepted() == unharmed


def test_an_emptied_repository_deletes_nothing(cloud: Cloud, unharmed: str) -> None:
    for path in cloud.clone.iterdir():
        if path.name != ".git":
            cloud.git("rm", "-rq", path.name)
    cloud.git("commit", "--quiet", "-m", "everything is gone")
    cloud.git("push", "--quiet")
    expect(cloud, "cluster.yaml")
    assert cloud.accepted() == unharmed


def test_a_force_push_is_not_adopted(cloud: Cloud, unharmed: str) -> None:
    cloud.git("commit", "--quiet", "--amend", "-m", "history is rewritten")
    cloud.git("push", "--quiet", "--force")
    expect(cloud, "descend")
    assert cloud.accepted() == unharmed


def test_a_deleted_branch_is_not_a_deletion(cloud: Cloud, unharmed: str) -> None:
    # A bare repository refuses to delete its HEAD's branch from outside: do it as its admin would.
    remote = cloud.lab.remote_path()
    cloud.git("--git-dir", str(remote), "update-ref", "-d", "refs/heads/main")
    expect(cloud, "main")
    assert cloud.accepted() == unharmed


def test_an_unreachable_remote_changes_nothing(cloud: Cloud, unharmed: str) -> None:
    cloud.lab.git(RemoteMode.OFF)
    until("status says that git does not answer", SEEN_LIMIT_S, lambda: problems(cloud))
    assert cloud.accepted() == unharmed
