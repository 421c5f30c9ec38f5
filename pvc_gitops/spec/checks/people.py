"""Operators and roles: what a key does must have one author, and somebody must be able to repair this."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.model.document import Kind
from pvc_gitops.model.people import ADMIN
from pvc_gitops.spec.checks.repository import Repository, Taken
from pvc_gitops.spec.findings import Finding, meant

RESERVED = ("root",)  # whoever has a node; a document of this name would be taken for them


def operator_findings(repository: Repository) -> Iterator[Finding]:
    """Keys and names of operators."""
    # sshd would take the first of two operators for both.
    keys = Taken("ssh key", "one of them has another; a shared key has no author")
    for document in repository.of_kind(Kind.OPERATOR):
        for index, text in enumerate(document.spec["keys"]):
            key = " ".join(text.split()[:2])
            yield from keys.take(key, document, ("keys", str(index)))
        if document.name in RESERVED:
            yield Finding(
                document=document,
                path=(),
                code="reserved-name",
                message=f"{document.name} is whoever has a node's root, and no operator",
                hint="give the operator a name of their own",
            )


def role_findings(repository: Repository) -> Iterator[Finding]:
    """Roles that nobody declares, and roles without an admin, who alone may change them."""
    known = repository.names(Kind.ROLE)
    people = repository.of_kind(Kind.OPERATOR)
    for document in people:
        for index, role in enumerate(document.spec["roles"]):
            if role not in known and role != ADMIN:
                guess = meant(role, {*known, ADMIN})
                yield Finding(
                    document=document,
                    path=("roles", str(index)),
                    code="dangling-reference",
                    message=f'no role "{role}"',
                    hint=f"did you mean {guess}?" if guess else f"declare it in roles/{role}.yaml",
                )
    for document in repository.of_kind(Kind.ROLE):
        if document.name == ADMIN:
            yield Finding(
                document=document,
                path=(),
                code="reserved-name",
                message="admin may do everything, and needs no document",
                hint="git rm roles/admin.yaml",
            )
        for index, right in enumerate(document.spec["commit"]):
            if not right["addresses"] and not right["tags"]:
                yield Finding(
                    document=document,
                    path=("commit", str(index)),
                    code="empty-right",
                    message="names neither addresses nor tags, so it allows nothing",
                    hint='addresses: ["*"] for everything',
                )
    yield from _no_admin(repository)


def _no_admin(repository: Repository) -> Iterator[Finding]:
    people, roles = repository.of_kind(Kind.OPERATOR), repository.of_kind(Kind.ROLE)
    if not repository.is_complete(Kind.OPERATOR):
        return
    if any(ADMIN in doc.spec["roles"] and doc.spec["keys"] for doc in people):
        return
    limited = [*(doc for doc in people if doc.spec["roles"]), *roles]
    if limited:
        yield Finding(
            document=limited[0],
            path=("roles",) if limited[0].kind is Kind.OPERATOR else (),
            code="no-admin",
            message="there are roles, and no operator with a key has the role admin: "
            "nobody could ever change cluster.yaml, operators/, roles/ and trust/",
            hint="roles: [admin] for one of the operators",
        )
