"""On a node, with its own libgit2 and libssh2: the mirror fetches from a real sshd on loopback.

Prints PASS at the end; raises where something is not as it should be. Argument: a folder to work in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pvc_gitops.adapters.formation import source
from pvc_gitops.adapters.git.mirror import Mirror
from pvc_gitops.errors import RepoError
from pvc_gitops.formation import seed

PORT = 2222
BEGIN_S = 20.0
SSHD = """ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/login.pub
PasswordAuthentication no
StrictModes no
PidFile none
"""


def run(*argv: str) -> str:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def remote(folder: Path) -> str:
    """A bare repository of one commit."""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@localhost", "-C", f"{folder}/work")
    run("git", "init", "-q", "--bare", "-b", "main", f"{folder}/remote.git")
    run("git", "init", "-q", "-b", "main", f"{folder}/work")
    run(*git, "commit", "-q", "--allow-empty", "-m", "first")
    run(*git, "push", "-q", f"{folder}/remote.git", "main")
    return run(*git, "rev-parse", "HEAD")


def attempt(folder: Path, host_keys: tuple[str, ...], key: str, commit: str) -> str:
    """What formation and the agent after it do with such a seed: the tip, or why not."""
    url = f"ssh://root@127.0.0.1:{PORT}{folder}/remote.git"
    credential = (folder / key).read_text()
    text = seed.make(
        url=url,
        founding_commit=commit,
        cluster_key=None,
        authority="not asked for here",
        host_keys=host_keys,
        credential=credential,
    )
    source.write_known_hosts(seed.parse(text))
    shutil.rmtree(folder / "mirror.git", ignore_errors=True)
    mirror = Mirror(
        folder / "mirror.git", url=url, branch="main", folder=".", credential=credential
    )
    try:
        return mirror.fetch().tip
    except RepoError as err:
        return err.reason


def checks(folder: Path, commit: str) -> None:
    host, login = (
        f"[127.0.0.1]:{PORT} " + " ".join((folder / name).read_text().split()[:2])
        for name in ("host.pub", "login.pub")
    )
    assert attempt(folder, (host,), "login", commit) == commit
    assert (
        attempt(folder, ("other.example " + host.partition(" ")[2], host), "login", commit)
        == commit
    )
    assert "does not prove who it is" in attempt(folder, (login,), "login", commit)
    assert "does not prove who it is" in attempt(folder, (), "login", commit)
    assert "the login is refused" in attempt(folder, (host,), "host", commit)


def wait_for_sshd() -> None:
    end = time.monotonic() + BEGIN_S
    while not run("ss", "-Hltn", f"sport = :{PORT}"):
        assert time.monotonic() < end, "sshd does not listen"
        time.sleep(0.1)


def main() -> None:
    os.environ["HOME"] = "/root"
    folder = Path(sys.argv[1])
    for name in ("host", "login"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}")
    commit = remote(folder)
    (folder / "sshd_config").write_text(SSHD.format(port=PORT, folder=folder))
    known = Path(source.KNOWN_HOSTS)
    before = known.read_bytes() if known.exists() else None
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-q", "-f", f"{folder}/sshd_config"])
    try:
        wait_for_sshd()
        checks(folder, commit)
    finally:
        server.kill()
        server.wait()
        known.unlink(missing_ok=True)
        if before is not None:
            known.write_bytes(before)
    print("PASS git over ssh")


if __name__ == "__main__":
    main()
