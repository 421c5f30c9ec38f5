"""`pvc node`: what is momentary about a node."""

from __future__ import annotations

import click

from pvc_gitops.cli.drain import drain, maintenance, undrain
from pvc_gitops.cli.fence_check import fence_check
from pvc_gitops.cli.recover_quorum import recover_quorum


@click.group()
def node() -> None:
    """Empty a node, see beforehand what that takes, and whether it could be fenced."""


for _command in (drain, undrain, maintenance, fence_check, recover_quorum):
    node.add_command(_command)
