"""Playing scenarios in tests: repositories as overlays of one base, journals as text."""

from __future__ import annotations

import re
from pathlib import Path

from pvc_gitops.cli.simulate import files_of, line
from pvc_gitops.model.codec import encode
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.play import Player

CASES = Path(__file__).parents[1] / "golden" / "sim"
BASE = dict(files_of(CASES / "base"))
ON = "power hv1 on; power hv2 on; power hv3 on\n"
# What people follow; the rest of the events is the same in every scenario.
KINDS = frozenset(
    {
        *("accepted", "plan_published", "step_done", "step_failed", "step_resumed", "not_planned"),
        *(
            "guest_started",
            "guest_destroyed",
            "guest_changed",
            "drift",
            "drift_healed",
            "drift_seen",
            "self_fenced",
            "client_blocked",
        ),
        *("node_state", "leader", "source", "retry_planned", "retry", "target_refused"),
        *("planner_conflict", "store_lost", "store_found", "settled", "not_settled"),
        *("power", "reset", "commit", "git", "agent", "planner", "operator"),
        *("withheld", "intent", "intent_ended", "rollback", "released", "quarantine_ended"),
    }
)


def overlay(folder, base=BASE):
    """The base with the files of a folder; an empty file takes one away."""
    files = dict(base)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            files[str(path.relative_to(folder))] = path.read_bytes()
    return {name: data for name, data in files.items() if data}


def changed(path, before, after, files=BASE):
    """A copy with one piece of one file replaced."""
    text = files[path].decode()
    assert before in text, (path, before)
    return {**files, path: text.replace(before, after).encode()}


def player(files=BASE, commits=None, seed=0):
    return Player(SimCluster(files), lambda name: (commits or {})[name], seed=seed)


def play(script, files=BASE, commits=None, seed=0):
    """Play to the end; nothing may be broken on the way."""
    one = player(files, commits, seed)
    one.play(script)
    assert one.result()["violations"] == []
    return one


def starts(one):
    """Guest -> how often its vCPUs began to run."""
    return {name: len(vm["starts"]) for name, vm in one.result()["vms"].items()}


def states(one):
    return {name: str(vm["state"]) for name, vm in one.result()["vms"].items()}


def events(one, kind):
    return [event for event in one.cluster.events if event["kind"] == kind]


def journal(one, kinds=KINDS, after=None):
    """The events that tell the story, without ids that every change of a format changes; those after
    the first of a kind, if one is named."""
    told = one.cluster.events
    if after is not None:
        told = told[[event["kind"] for event in told].index(after) + 1 :]
    lines = [line(encode(event)) for event in told if event["kind"] in kinds]
    text = "\n".join(_named(each) for each in lines)
    vms = [
        f"{name}: {vm['state']} on {vm['node']}, {len(vm['starts'])} starts"
        for name, vm in one.result()["vms"].items()
    ]
    return "\n".join([text, "", *vms]) + "\n"


def _named(text):
    text = re.sub(
        r" (plan|commit|effect|head|tip|record|generation|disk|image)=(\"[^\"]*\"|\S+)", "", text
    )
    text = re.sub(r"\b[0-9a-f]{40}\b", "<commit>", text)
    return re.sub(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{7}\b", "<commit>", text)
