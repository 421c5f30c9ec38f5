"""What fencing needs must be there when git is not: the BMCs' passwords of the commit in force, decrypted
into files of root's on every coordinator."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pvc_gitops.controllers.source import spec_of
from pvc_gitops.controllers.view import View
from pvc_gitops.errors import PvcError, SpecError, WorldError
from pvc_gitops.model.document import DOCUMENT_KINDS, Kind
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.values import dataclass
from pvc_gitops.world.ports import World

JOB: Final = "passwords"
RETRY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordMemory:
    """Of which commit they are kept, and what was wrong."""

    commit: CommitId | None = None
    wanted: CommitId | None = None  # while a job is at it
    again_at_s: float = 0.0
    faults: tuple[str, ...] = ()


def tick(world: World, view: View, memory: PasswordMemory) -> PasswordMemory:
    """Keep those of the accepted commit; begun anew when another is accepted."""
    if not world.me.is_coordinator or view.accepted is None:
        return memory
    job = world.jobs.state(JOB)
    if job is not None and job.is_done:
        world.jobs.forget(JOB)
        if job.error is None:
            faults: tuple[str, ...] = job.value
            if faults != memory.faults:
                world.journal.event("passwords", faults=len(faults), first="".join(faults[:1]))
            memory = replace(memory, commit=memory.wanted, wanted=None, faults=faults)
        elif isinstance(job.error, WorldError | SpecError):
            fault = f"the BMCs' passwords cannot be read: {job.error}"
            memory = replace(memory, wanted=None, again_at_s=view.now_s + RETRY_S, faults=(fault,))
        else:
            raise job.error
    commit = view.accepted.commit
    if memory.commit == commit or memory.wanted is not None or view.now_s < memory.again_at_s:
        return memory
    if not world.repo.has(commit):
        # This node's mirror follows in a moment; until then the earlier ones are good.
        return memory
    world.jobs.start(JOB, lambda _: keep(world, commit))
    return replace(memory, wanted=commit)


def keep(world: World, commit: CommitId) -> tuple[str, ...]:
    """Decrypt and write them; sentences about those that could not be."""
    spec = spec_of(world.repo, commit)
    _, folder = DOCUMENT_KINDS[Kind.SECRET]
    files = world.repo.files(commit)
    faults = []
    known: set[NodeName] = set()
    for name, node in sorted(spec.nodes.items()):
        if node.bmc is None:
            continue
        known.add(name)
        try:
            sealed = files[f"{folder}/{node.bmc.password_secret}.yaml"]
            world.vault.keep(name, sealed, node.bmc.password_secret)
        except PvcError as error:
            faults.append(f"{name} cannot be fenced by its BMC: {error}")
    world.vault.forget_others(frozenset(known))
    return tuple(faults)
