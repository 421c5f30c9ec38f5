"""Operators: what a key does must have one author."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Kind
from pvc_gitops.spec.checks.repository import Repository, Taken
from pvc_gitops.spec.findings import Finding


def operator_findings(repository: Repository) -> Iterator[Finding]:
    """A key of two operators: sshd would take the first of them for both."""
    keys = Taken("ssh key", "one of them has another; a shared key has no author")
    for document in repository.of_kind(Kind.OPERATOR):
        for index, text in enumerate(document.spec.get("keys", ())):
            key = " ".join(text.split()[:2])
            yield from keys.take(key, document, ("keys", str(index)))
