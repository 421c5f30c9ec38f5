"""This node's ssh host key: made once, kept outside of the image, never taken along by a copy of it."""

from __future__ import annotations

from pathlib import Path

from pvc_gitops.adapters.formation import commands, files
from pvc_gitops.formation.render.sshd import HOST_KEY


def ensure_host_key() -> None:
    """Make the key where none stands. An interrupted run leaves nothing under the final name."""
    key, new = Path(HOST_KEY), Path(f"{HOST_KEY}.new")
    if key.exists():
        return
    files.make_folder(str(key.parent), mode=0o700)
    for left in (new, _public(new)):
        left.unlink(missing_ok=True)
    commands.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(new))
    _public(new).replace(_public(key))
    new.replace(key)
    files.sync_folder(key.parent)


def _public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")
