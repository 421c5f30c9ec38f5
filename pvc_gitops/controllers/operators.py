"""Who may log in to a node: the keys of the applied Operator documents, each bound to its operator.

Level triggered like everything else: sshd's list is what the records say, on every node, and a node that
cannot read the records keeps the list it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pvc_gitops.controllers.records import read, typed
from pvc_gitops.errors import WorldError
from pvc_gitops.model import paths
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import address
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.world.ports import Store, World

HEADER: Final = "# Written by pvc-node-agent from the Operator documents in force.\n"
# `restrict`: no forwarding of any kind, no terminal, no rc file, also of kinds that sshd learns later.
LINE: Final = 'restrict,command="/usr/bin/pvc agent-stdio --operator {name}" {key}\n'
# A name cannot end the quoted command, a key cannot begin with options or hold a line's end. The schema
# refuses such documents; whoever may log in does not hang on that alone.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_KEY: Final = re.compile(
    r"((?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3})(?:\s.*)?", re.DOTALL
)


def tick(world: World) -> tuple[str, ...]:
    """Make sshd's list match; what hinders, as sentences. Raises StoreError."""
    wanted = authorized_keys(_operators(world.store))
    try:
        world.logins.allow(wanted)
    except WorldError as error:
        return (f"operators' ssh keys cannot be written: {error.reason}",)
    return ()


def authorized_keys(operators: Iterable[Applied]) -> str:
    """The text of sshd's AuthorizedKeysFile: a line a key, without its comment, in order of names."""
    lines = [
        LINE.format(name=record.name, key=key)
        for record in sorted(operators, key=lambda record: record.name)
        if record.phase is Phase.PRESENT and _NAME.fullmatch(record.name)
        for key in _keys(record)
    ]
    return HEADER + "".join(lines)


def is_operator(store: Store, name: str) -> bool:
    """Whether somebody of this name may ask now. Raises StoreError."""
    if not _NAME.fullmatch(name):
        return False
    record = read(store, paths.applied(address(Kind.OPERATOR, name)), Applied)
    return record is not None and record.phase is Phase.PRESENT


def _operators(store: Store) -> list[Applied]:
    prefix = f"{Kind.OPERATOR}:"
    owned = store.read_children(paths.OWNED)
    return [
        typed(f"{paths.OWNED}/{name}", owned[name], Applied)
        for name in owned
        if name.startswith(prefix)
    ]


def _keys(record: Applied) -> list[str]:
    found = [_KEY.fullmatch(text) for text in record.spec.get("keys", ())]
    return [match[1] for match in found if match is not None]
