"""All heartbeats and incarnations, as they stand in the store now."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_gitops.controllers.records import read
from pvc_gitops.model import paths
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.records import Heartbeat, IncarnationRecord
from pvc_gitops.world.ports import Store


def read_beats(store: Store) -> Mapping[NodeName, Heartbeat]:
    """The last sign of life of every node that ever joined: its counter, or that it began anew.

    A guard that opens an incarnation counts from then on, and is silent until its first beat: who looked
    at counters alone would count the silence of the life before, and end the new one at once.
    """
    found = {}
    for name in sorted(store.read_children(paths.NODES)):
        beat = read(store, paths.lease(NodeName(name)), Heartbeat)
        life = read(store, paths.incarnation(NodeName(name)), IncarnationRecord)
        if life is not None and (beat is None or beat.incarnation != life.id):
            beat = Heartbeat(counter=0, incarnation=life.id)
        if beat is not None:
            found[NodeName(name)] = beat
    return found


def read_incarnations(store: Store) -> Mapping[NodeName, IncarnationRecord]:
    """The latest life of every node that ever joined."""
    found = {}
    for name in sorted(store.read_children(paths.NODES)):
        record = read(store, paths.incarnation(NodeName(name)), IncarnationRecord)
        if record is not None:
            found[NodeName(name)] = record
    return found
