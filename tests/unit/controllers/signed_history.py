"""Real repositories with real keys: what people and forges push, and a mirror that holds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from pvc_gitops.adapters.folder import read_working_tree
from pvc_gitops.adapters.git.mirror import Mirror
from pvc_gitops.controllers.trust import judge_range
from pvc_gitops.model.ids import CommitId
from pvc_gitops.spec.load import load

BASE = Path(__file__).parents[3] / "tests" / "schema" / "good" / "base"
ROLE = """apiVersion: pvc/v1
kind: Role
metadata: {name: web}
spec:
  commit: [{may: [create, change, delete], addresses: ["vm/web*", "userdata/web*"]}]
  use: {networks: [app], pools: [vms]}
"""
GUEST = """apiVersion: pvc/v1
kind: VirtualMachine
metadata: {name: NAME}
spec:
  cpu: {vcpus: 1}
  memory: MEMORY
"""
LIMIT_S = 30


def guest(name, memory="1GiB"):
    return GUEST.replace("NAME", name).replace("MEMORY", memory)


def operator(name, *keys, roles=""):
    text = f"apiVersion: pvc/v1\nkind: Operator\nmetadata: {{name: {name}}}\n"
    return text + f"spec: {{keys: {list(keys)!r}, roles: [{roles}]}}\n"


def run(*argv, cwd=None, env=None, stdin=None):
    done = subprocess.run(
        list(map(str, argv)), cwd=cwd, env={**os.environ, **(env or {})}, input=stdin,
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Keys:
    """ssh and OpenPGP keys, made once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.gnupg = home / "gnupg"
        self.gnupg.mkdir(mode=0o700)

    def ssh(self, name: str, kind: str = "ed25519") -> str:
        """The public key, `TYPE BODY`."""
        path = self.home / name
        if not path.exists():
            run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", path)
        return " ".join(path.with_suffix(".pub").read_text().split()[:2])

    def end(self) -> None:
        """gpg's agent lives on by itself."""
        if shutil.which("gpgconf") is not None:
            run("gpgconf", "--homedir", self.gnupg, "--kill", "all")
        shutil.rmtree(self.home)

    @cache  # noqa: B019  as long as the tests
    def gpg(self, name: str, expires: str = "never", at: str | None = None) -> str:
        """The public key, armoured."""
        if shutil.which("gpg") is None:
            pytest.skip("gpg makes OpenPGP keys, and is not installed")
        faked = ("--faked-system-time", at) if at else ()
        base = ("gpg", "--homedir", self.gnupg, "--batch", "--quiet", "--passphrase", "")
        run(*base, *faked, "--quick-gen-key", f"{name} <{name}@x>", "ed25519", "sign", expires)
        return run("gpg", "--homedir", self.gnupg, "--armor", "--export", f"{name}@x") + "\n"


class History:
    """A clone with a base commit; every change is a commit by somebody, signed or not."""

    def __init__(self, home: Path, keys: Keys, signers: str, files=None) -> None:
        self.clone = home / "clone"
        self.keys = keys
        run("git", "init", "-q", "-b", "main", self.clone)
        self.bare = self.clone / ".git"
        base = {path: data.decode() for path, data in read_working_tree(BASE).items()}
        base["cluster.yaml"] += f"  source: {{signers: {signers}}}\n"
        base["operators/ann.yaml"] = operator("ann", keys.ssh("ann"), roles="admin")
        base["operators/bob.yaml"] = operator("bob", keys.ssh("bob"), roles="web")
        base["roles/web.yaml"] = ROLE
        base["vms/db9.yaml"] = guest("db9")
        base["vms/web1.yaml"] = guest("web1")
        self.base = self.commit({**base, **(files or {})}, by=None)
        self.mirror = Mirror(self.bare, url="x", branch="main", folder=".", credential=None)

    def git(self, *argv, by=None, env=None):
        """`by`: who signs: an ssh key's name, `gpg:NAME`, or None."""
        who = (by or "nobody").removeprefix("gpg:")
        identity = {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GNUPGHOME": str(self.keys.gnupg),
            **{f"GIT_{r}_NAME": who for r in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{r}_EMAIL": f"{who}@x" for r in ("AUTHOR", "COMMITTER")},
        }
        config: tuple[str, ...] = ("-c", "commit.gpgsign=false")
        if by is not None and by.startswith("gpg:"):
            config = ("-c", "commit.gpgsign=true", "-c", f"user.signingkey={who}@x")
        elif by is not None:
            self.keys.ssh(by)
            config = (
                "-c", "commit.gpgsign=true", "-c", "gpg.format=ssh",
                "-c", f"user.signingkey={self.keys.home / by}",
            )  # fmt: skip
        return run("git", *config, *argv, cwd=self.clone, env={**identity, **(env or {})})

    def write(self, files):
        for name, text in files.items():
            path = self.clone / name
            if text is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")

    def commit(self, files, *, by, message="change"):
        self.write(files)
        self.git("commit", "-q", "--allow-empty", "-m", message, by=by)
        return self.head()

    def branch(self, name, at=None):
        self.git("checkout", "-q", "-b", name, *([at] if at else []))

    def checkout(self, name):
        self.git("checkout", "-q", name)

    def merge(self, name, *, by, how="--no-ff"):
        self.git("merge", "-q", how, "-m", f"merge {name}", name, by=by)
        return self.head()

    def head(self, rev="HEAD"):
        return CommitId(self.git("rev-parse", rev))

    def found(self, tip=None, base=None, now_s=None):
        """Why the tip is not adopted, in lines; and who answers for it."""
        return judge_range(
            self.mirror,
            self.base if base is None else base,
            self.head() if tip is None else tip,
            lambda commit: load(self.mirror.files(commit), commit=commit),
            int(time.time()) if now_s is None else now_s,
        )

    def problems(self, **more):
        return self.found(**more).problems
