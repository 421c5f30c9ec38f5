"""`pvc node`: what is momentary about a node."""

from __future__ import annotations

import click

from pvc_gitops.cli.drain import drain, maintenance, undrain
from pvc_gitops.cli.fence_check import fence_check


@click.group()
def node() -> None:
    """Empty a node, see beforehand what that takes, and whether it could be fenced."""


for _command in (drain, undrain, maintenance, fence_check):
    node.add_command(_command)
