"""Whom a coordinator lets in, by the accepted commit: whose key it signs, who is given which secrets.

A node is what git says it is: its name and the fingerprint of its key stand in one reviewed document.
Nothing that a machine says of itself counts, but for the key that it proves to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pvc_gitops.formation.peer_words import Asker, Refusal
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import Node, NodeRole

Nodes = Mapping[NodeName, Node]
_NODE_GONE: Final = "declare it in nodes/ and push; it is let in once the cluster has accepted that"


def signs(nodes: Nodes, name: str, key: str) -> Node | Refusal:
    """The node whose certificate may be signed for this key, or why not.

    Args:
        nodes: of the accepted commit.
        name: what the asker calls itself.
        key: SHA256:… of the key that it proved to hold.
    """
    node = _active(nodes, name)
    if isinstance(node, Refusal):
        return node
    if node.role is NodeRole.COORDINATOR:
        return Refusal(
            reason=f"{name} is a coordinator, which signs for itself",
            hint="its seed must hold the cluster key",
        )
    if node.identity_key is None:
        return Refusal(
            reason=f"nodes/{name}.yaml of the accepted commit names no key; this machine's is {key}",
            hint=f'if the machine is yours, write identity: {{key: "{key}"}} there, commit and push',
        )
    if not same_key(node.identity_key, key):
        return Refusal(
            reason=f"nodes/{name}.yaml of the accepted commit names another key: it says "
            f"{node.identity_key}, this machine's is {key}",
            hint="if the machine was installed anew, write its key there, commit and push; "
            f"if not, some other machine asks in the name of {name}",
        )
    return node


def gives_secrets(nodes: Nodes, asker: Asker, name: str) -> Node | Refusal:
    """The node whose secrets may go over this connection, or why not."""
    if name != asker.name:
        return Refusal(
            reason=f"the secrets of {name} were asked for with the certificate of {asker.name}",
            hint="a node is given its own and no other's",
        )
    # As for signing: a key that git no longer names opens nothing, whatever was signed for it before.
    return signs(nodes, name, asker.key)


def gives_objects(nodes: Nodes, asker: Asker) -> Refusal | None:
    """Whether a node may read the repository here. Coordinators have no key in their document."""
    node = _active(nodes, asker.name)
    if isinstance(node, Refusal):
        return node
    if node.identity_key is not None and not same_key(node.identity_key, asker.key):
        return Refusal(reason=f"nodes/{asker.name}.yaml names another key", hint="")
    return None


def same_key(one: str, other: str) -> bool:
    """Base64 with and without its padding is the same fingerprint."""
    return one.rstrip("=") == other.rstrip("=")


def _active(nodes: Nodes, name: str) -> Node | Refusal:
    node = nodes.get(NodeName(name))
    if node is None:
        return Refusal(reason=f"the accepted commit declares no node {name}", hint=_NODE_GONE)
    if node.is_retired:
        return Refusal(
            reason=f"nodes/{name}.yaml says that {name} is retired",
            hint="commit `state: active` there to have it back",
        )
    return node
