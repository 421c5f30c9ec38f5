"""A hypervisor at the coordinators' door: a certificate for its own key, its secrets, and the commit that
they stand on. Each is asked of one coordinator after the other until one gives it.

The coordinators are believed by the authority's certificate in the seed, the hypervisor by its key: the
accepted commit names it. Until it does, this waits and says what to write where.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pvc_gitops.adapters.formation import credentials, files, pki
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.adapters.formation.peers import Peer, ask
from pvc_gitops.errors import WorldError
from pvc_gitops.formation.layout import Layout
from pvc_gitops.formation.peer_words import Answer, Question, Verb
from pvc_gitops.formation.secrets import NodeSecrets
from pvc_gitops.model.codec import decode
from pvc_gitops.model.ids import CommitId, NodeName

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What a coordinator gives to a node of the cluster."""

    commit: CommitId  # accepted
    formation: int
    secrets: NodeSecrets
    ceph_bootstrap_osd: str | None


@dataclass(slots=True)
class Door:
    """The coordinators, and what the last try found."""

    peers: tuple[Peer, ...]
    name: NodeName
    authority: str  # PEM
    why_not: str = ""

    def certificate(self) -> str | None:
        """A certificate of this node's key, the one that is here or a new one; None with `why_not`."""
        key = credentials.own_key()
        known = credentials.own_certificate(self.authority, key)
        if known is not None:
            return known
        files.write(OWN.authority, self.authority)
        request = pki.request(key, self.name)
        question = Question(verb=Verb.CERTIFICATE, fields={"request": request})

        def take(answer: Answer) -> str:
            given = str(answer.value["certificate"])
            if not pki.is_signed_by(given, self.authority, key):
                raise ValueError("a certificate of another authority or for another key")
            return given

        return self._ask(question, take, is_stranger=True)

    def secrets(self) -> Welcome | None:
        """This node's secrets; None with `why_not`."""
        question = Question(verb=Verb.SECRETS, fields={"node": self.name})
        return self._ask(question, lambda answer: decode(Welcome, answer.value))

    def _ask(
        self, question: Question, take: Callable[[Answer], T], *, is_stranger: bool = False
    ) -> T | None:
        refused, failed = "", ""
        for peer in self.peers:
            try:
                answer = ask(peer, question, OWN, is_stranger=is_stranger)
                if isinstance(answer, Answer):
                    return take(answer)
                refused = refused or str(answer)
            except (WorldError, ValueError, KeyError) as err:
                failed = failed or f"{peer.name}: {err}"
        # A no in words is worth more to a person than a connection that failed.
        self.why_not = refused or failed
        return None


def door_of(layout: Layout, authority: str) -> Door:
    """The coordinators of a commit."""
    peers = tuple(Peer(name=member.name, address=member.cluster) for member in layout.members)
    return Door(peers=peers, name=layout.me.name, authority=authority)
