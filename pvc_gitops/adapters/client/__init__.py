"""The command line's side of the agent's socket: how to reach a node, and typed questions."""

from __future__ import annotations

from pvc_gitops.adapters.client.client import Client
from pvc_gitops.adapters.client.reach import connect

__all__ = ["Client", "connect"]
