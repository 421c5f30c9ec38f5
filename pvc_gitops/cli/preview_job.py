"""`pvc preview-job`: one proposal, in a process that may die of it. Run by nodes, never by people.

The request comes on standard input and the answer goes to standard output, both JSON. It confines itself
before it reads a byte that somebody proposed; whoever runs it also kills it at a limit of time.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import sys
from pathlib import Path

import click

from pvc_gitops.model.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """As `adapters.proposals` writes it."""

    mirror: str
    folder: str
    ask: str
    inputs: str
    cpu_s: int
    memory_bytes: int


@click.command(hidden=True)
def preview_job() -> None:
    """Plan one proposal (a child of the node's processes)."""
    from pvc_gitops.controllers.preview_answer import planned, unplanned
    from pvc_gitops.errors import UsageError
    from pvc_gitops.model.codec import decode, encode
    from pvc_gitops.model.preview import Ask, Outcome
    from pvc_gitops.planner.codec import export_from_bytes

    job = Job(**json.loads(sys.stdin.buffer.read()))
    _confine(job)
    ask = decode(Ask, json.loads(job.ask))
    inputs = export_from_bytes(job.inputs.encode())
    try:
        if ask.files is not None:
            from pvc_gitops.adapters.git.tree import read_commit

            files = {path: base64.b64decode(text) for path, text in ask.files.items()}
            _, base_files = read_commit(Path(job.mirror), ask.base, folder=job.folder)
            answer = planned(ask, inputs, files, base_files, commit=None)
        else:
            from pvc_gitops.adapters.git.merge import merge

            assert ask.head is not None
            found = merge(Path(job.mirror), ask.base, ask.head, folder=job.folder)
            answer = planned(
                ask,
                inputs,
                found.files,
                found.base_files,
                commit=found.commit,
                found=found.problems,
            )
    except UsageError as error:
        answer = unplanned(ask, Outcome.REFUSED, error.message)
    click.echo(json.dumps(encode(answer)))


def _confine(job: Job) -> None:
    os.nice(10)  # the cluster's own work comes first
    resource.setrlimit(resource.RLIMIT_CPU, (job.cpu_s, job.cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (job.memory_bytes, job.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
