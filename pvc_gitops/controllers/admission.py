"""What a founded coordinator answers to other nodes: records, signatures, secrets, objects.

Decided by `formation.admission` from the accepted commit, which the store names and this node's mirror
holds. Called from several threads; keeps nothing between two questions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO, Final, Protocol

from pvc_gitops.controllers.records import read
from pvc_gitops.controllers.source import spec_of
from pvc_gitops.errors import RepoError, SpecError, WorldError
from pvc_gitops.formation.admission import gives_objects, gives_secrets, signs
from pvc_gitops.formation.peer_words import KNOWN_MAX, Answer, Asker, Question, Refusal, Verb
from pvc_gitops.formation.record import FoundingRecord, Told
from pvc_gitops.formation.secrets import NodeSecrets
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.records import Accepted
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.world.ports import Clock, Journal, Repo, Store

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
LATER: Final = "ask again, here or at another coordinator"


class Signer(Protocol):
    """The cluster's authority."""

    def read(self, text: str) -> tuple[str, str]:
        """Name and fingerprint of the key that a request (PEM) proves to hold. Raises ValueError."""
        ...

    def sign(
        self, text: str, *, name: str, addresses: Sequence[str], domain: str, now_s: int
    ) -> str:
        """The certificate, PEM."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """What one has to answer with."""

    me: NodeName
    record: FoundingRecord
    secrets: NodeSecrets
    signer: Signer
    store: Store
    repo: Repo
    clock: Clock
    journal: Journal
    bootstrap_key: Callable[[], str]  # of Ceph, for whoever makes OSDs. Raises WorldError
    # What a commit has and the others have not. Raises RepoError
    pack: Callable[[CommitId, Sequence[CommitId]], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    """The commit in force, as this node reads it."""

    commit: CommitId
    spec: ClusterSpec


def reply(
    here: Coordinator, asker: Asker | None, question: Question
) -> tuple[Answer | Refusal, BinaryIO | None]:
    """The answer, and the bytes that follow it."""
    if asker is None and question.verb is not Verb.CERTIFICATE:
        no = Refusal(
            reason=f"{question.verb} is told to nodes with a certificate of this cluster",
            hint="ask for a certificate first",
        )
        return no, None
    try:
        answer, body = _by_verb(here, asker, question)
    except SpecError as error:
        answer, body = _later(here, f"the accepted commit cannot be read: {error}"), None
    except WorldError as error:
        answer, body = _later(here, str(error)), None
    except KeyError as error:
        answer, body = Refusal(reason=f"{question.verb} lacks the field {error}", hint=""), None
    if isinstance(answer, Refusal):
        who = "a stranger" if asker is None else asker.name
        here.journal.event("peer_refused", asker=who, verb=question.verb, reason=answer.reason)
    return answer, body


def _by_verb(
    here: Coordinator, asker: Asker | None, question: Question
) -> tuple[Answer | Refusal, BinaryIO | None]:
    if question.verb is Verb.CERTIFICATE:
        return _certificate(here, question.fields["request"]), None
    assert asker is not None  # strangers were sent away
    if question.verb is Verb.RECORD:
        return Answer(value=encode(Told(record=here.record, is_founded=True))), None
    if question.verb is Verb.SECRETS:
        return _secrets(here, asker, question.fields["node"]), None
    return _objects(here, asker, question.fields["known"])


def _certificate(here: Coordinator, request: str) -> Answer | Refusal:
    try:
        name, key = here.signer.read(request)
    except ValueError as error:
        return Refusal(reason=f"no certificate request: {error}", hint="")
    accepted = _accepted(here)
    node = signs(accepted.spec.nodes, name, key)
    if isinstance(node, Refusal):
        return node
    certificate = here.signer.sign(
        request,
        name=node.name,
        addresses=[node.addresses[network] for network in sorted(node.addresses)],
        domain=accepted.spec.cluster.domain,
        now_s=here.clock.now_s(),
    )
    here.journal.event("certificate_signed", node=node.name, key=key, commit=accepted.commit)
    return Answer(value={"certificate": certificate})


def _secrets(here: Coordinator, asker: Asker, name: str) -> Answer | Refusal:
    accepted = _accepted(here)
    node = gives_secrets(accepted.spec.nodes, asker, name)
    if isinstance(node, Refusal):
        return node
    here.journal.event("secrets_given", node=node.name, commit=accepted.commit)
    return Answer(
        value={
            "commit": accepted.commit,
            "formation": here.record.formation,
            "secrets": asdict(here.secrets),
            # With it a node could take any OSD's name: only where the document declares one.
            "ceph_bootstrap_osd": here.bootstrap_key() if node.osds else None,
        }
    )


def _objects(
    here: Coordinator, asker: Asker, known: str
) -> tuple[Answer | Refusal, BinaryIO | None]:
    """Of the accepted commit and no other: what was not accepted is the origin's to give."""
    accepted = _accepted(here)
    no = gives_objects(accepted.spec.nodes, asker)
    if no is not None:
        return no, None
    words = [word for word in known.split()[:KNOWN_MAX] if _COMMIT.fullmatch(word)]
    body = here.pack(
        accepted.commit, [CommitId(word) for word in words if here.repo.has(CommitId(word))]
    )
    length = body.seek(0, os.SEEK_END)
    body.seek(0)
    return Answer(value={"commit": accepted.commit}, bytes_after=length), body


def _accepted(here: Coordinator) -> _Accepted:
    """Raises StoreError, RepoError, SpecError."""
    here.store.sync()  # a node that was put out a moment ago must not get in by an old answer
    record = read(here.store, paths.ACCEPTED, Accepted)
    if record is None:
        raise RepoError("read", "accepted", "no commit was accepted yet", retryable=True)
    return _Accepted(commit=record.commit, spec=spec_of(here.repo, record.commit))


def _later(here: Coordinator, why: str) -> Refusal:
    return Refusal(reason=f"{here.me} cannot tell now: {why}", hint=LATER)
