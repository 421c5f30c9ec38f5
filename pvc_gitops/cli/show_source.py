"""The words of `pvc source status`: first what is in force, then what is not right, whole."""

from __future__ import annotations

from collections.abc import Iterator

from pvc_gitops.cli.show import ago
from pvc_gitops.model.source import SourceState


def is_quiet(state: SourceState) -> bool:
    """Is nothing refused, and does the origin hold what is in force?"""
    return state.diverged is None and not any(each.problems for each in state.seen.values())


def source_text(state: SourceState) -> str:
    """Lines. What several nodes say alike is said once."""
    return "\n".join([*_head(state), *_problems(state), *_nodes(state)])


def _head(state: SourceState) -> Iterator[str]:
    accepted = state.accepted
    if accepted is None:
        yield "no commit is in force yet"
    else:
        yield f'in force   {accepted.commit[:7]} "{accepted.subject}" ({accepted.author})'
        who = {each.signer for each in state.seen.values() if each.head == accepted.commit}
        signed = ", ".join(sorted(each for each in who if each))
        if signed:
            yield f"signed by  {signed}"
    wanted = {"none": "nobody's signature is asked for: roles are advisory"}
    yield f"signers    {state.signers}{' · ' + wanted[state.signers] if state.signers in wanted else ''}"
    yield f"origin     {state.url or 'as the nodes were installed'}"
    for mirror in state.mirrors:
        yield f"mirror     {mirror}"
    if state.ahead is not None:
        ahead = state.ahead
        yield (
            f"ahead      {ahead.commit[:7]} {ahead.how} {ago(state.now_s - ahead.since_s)} ago; "
            "the origin lacks it: git push when it answers"
        )
    if state.override is not None:
        yield f"override   {state.override.commit[:7]} by {state.override.by}: {state.override.reason}"


def _problems(state: SourceState) -> Iterator[str]:
    told: dict[tuple[str, ...], list[str]] = {}
    for name, each in sorted(state.seen.items()):
        if each.problems:
            told.setdefault(each.problems, []).append(name)
    for lines, names in told.items():
        where = "" if len(names) == len(state.seen) else f" (on {', '.join(names)})"
        yield ""
        yield f"not adopted{where}"
        yield from (f"  {line}" for line in lines)


def _nodes(state: SourceState) -> Iterator[str]:
    yield ""
    yield "NODE      HOLDS    SEES     LOOKED"
    for name, each in sorted(state.seen.items()):
        holds = "-" if each.head is None else each.head[:7]
        sees = "-" if each.tip is None else each.tip[:7]
        looked = f"{ago(state.now_s - each.fetched_at_s)} ago"
        note = f"   origin: {each.error}" if each.error else ""
        yield f"{name:9} {holds:8} {sees:8} {looked}{note}"
