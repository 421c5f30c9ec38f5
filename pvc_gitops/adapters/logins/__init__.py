"""world.ports.Logins: the file that sshd reads at every login of the user pvc."""

from __future__ import annotations

from pathlib import Path

from pvc_gitops.adapters.formation import files
from pvc_gitops.errors import WorldError


class KeyFile:
    """Readable by all, since sshd reads it as that user; writable by root, or sshd refuses it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def allow(self, authorized_keys: str) -> None:
        try:
            files.write(str(self._path), authorized_keys, mode=0o644)
        except OSError as err:
            raise WorldError("write", str(self._path), str(err), retryable=True) from err
