"""world.ports.Vault: Secret documents opened with the cluster's age key, one file a node, mode 0600."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pvc_gitops.adapters.age import sops
from pvc_gitops.errors import UsageError, WorldError
from pvc_gitops.model.ids import NodeName

KEY: Final = "password"


class FileVault:
    """`key` gives the cluster's private age key, or None on a node that has none."""

    def __init__(self, folder: Path, key: Callable[[], str | None]) -> None:
        self._folder = folder
        self._key = key

    def keep(self, node: NodeName, sealed: bytes, secret: str) -> None:
        password = self._open(sealed, secret)
        path = self._folder / node
        part = path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.is_file() and path.read_text(encoding="utf-8") == password:
                return
            with os.fdopen(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(password)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as err:
            raise WorldError("keep", secret, str(err), retryable=True) from err

    def forget_others(self, known: frozenset[NodeName]) -> None:
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.iterdir()):
            if path.name not in known:
                path.unlink(missing_ok=True)

    def _open(self, sealed: bytes, secret: str) -> str:
        key = self._key()
        if key is None:
            raise WorldError("open", secret, "this node has no cluster key", retryable=False)
        try:
            data = sops.read(sealed, key)
        except (UsageError, ValueError) as err:
            raise WorldError("open", secret, str(err), retryable=False) from err
        if len(data) == 1:
            return next(iter(data.values()))
        if KEY not in data:
            raise WorldError("open", secret, f"it holds no {KEY}", retryable=False)
        return data[KEY]
