"""The origin goes away and comes back: commits by hand, divergence, and what is adopted by word."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pvc_gitops.cli.show_source import is_quiet, source_text
from pvc_gitops.cli.simulate import files_of
from pvc_gitops.controllers.answers import Refusal
from pvc_gitops.controllers.serve import answer
from pvc_gitops.errors import UsageError
from pvc_gitops.model import paths
from pvc_gitops.model.ledger import Entry, EntryKind
from pvc_gitops.model.records import Accepted, SourceSeen
from pvc_gitops.model.source import Ahead, Diverged, Override, Submitted
from pvc_gitops.sim.cluster import SimCluster
from pvc_gitops.sim.desk import ask
from pvc_gitops.world.protocol import Question

BASE = dict(files_of(Path(__file__).parents[1] / "golden" / "sim" / "base"))
SETTLED_S = 400.0
LOOK_S = 60.0


class Story:
    """A cluster that runs, and what its people do."""

    def __init__(self):
        self.cluster = SimCluster(BASE)
        for name in self.cluster.nodes:
            self.cluster.power(name, on=True)
        self.run(SETTLED_S)

    def run(self, seconds):
        self.cluster.kernel.run_until(self.cluster.kernel.now_s + seconds)

    @property
    def origin(self):
        return self.cluster.origin

    def made(self, description, parent=None):
        """A commit that nobody has pushed."""
        before = self.origin.tip
        self.origin.tip = parent or before
        files = {**BASE, "docs.yaml": b""} if description is None else self.files(description)
        name = self.origin.push(files, str(description))
        self.origin.tip = before
        return name

    def files(self, description):
        lines = BASE["vms/app1.yaml"].decode().splitlines()
        kept = [line for line in lines if not line.startswith("  description:")]
        at = kept.index("  name: app1") + 1
        text = "\n".join([*kept[:at], f"  description: {description}", *kept[at:]]) + "\n"
        return {**BASE, "vms/app1.yaml": text.encode()}

    def accepted(self):
        return self.cluster.get(paths.ACCEPTED, Accepted).commit

    def submit(self, head, base=None, names=None):
        text = " ".join(names or [head]).encode()
        pack = base64.b64encode(text).decode()
        return ask(
            self.cluster, "source-submit", head=head, base=base or self.accepted(), pack=pack
        )

    def seen(self):
        return [self.cluster.get(paths.seen(name), SourceSeen) for name in self.cluster.nodes]

    def ledger(self, kind):
        store = self.cluster.world_of(node := self.cluster.nodes["hv1"], node.agent).store
        rows = store.read_children(paths.LEDGER_ENTRIES)
        from pvc_gitops.controllers.records import typed

        entries = [typed(name, rows[name], Entry) for name in sorted(rows)]
        return [entry for entry in entries if entry.kind is kind]

    def state(self):
        return ask(self.cluster, "source")


@pytest.fixture
def story():
    return Story()


def test_while_the_origin_answers_commits_come_from_there(story):
    with pytest.raises(UsageError, match="the origin answers") as caught:
        story.submit(story.made("by hand"))
    assert caught.value.hint == "git push"
    assert story.cluster.get(paths.SUBMITTED, Submitted) is None
    assert is_quiet(story.state())


def test_commits_by_hand_diverge_until_the_origin_holds_them(story):
    before, mine = story.accepted(), story.made("by hand")
    theirs = story.made("theirs")
    story.origin.is_up = False
    outcome = story.submit(mine)
    assert outcome["accepted"].commit == mine
    assert story.accepted() == mine
    ahead = story.cluster.get(paths.AHEAD, Ahead)
    assert (ahead.commit, ahead.how) == (mine, "submitted by root")
    assert "the origin lacks it: git push when it answers" in source_text(story.state())
    assert [entry.text for entry in story.ledger(EntryKind.SOURCE)] == [
        f"{mine[:7]} submitted by root"
    ]
    assert story.cluster.get(paths.DIVERGED, Diverged) is None
    # The next one by hand follows the first.
    second = story.made("by hand again", parent=mine)
    assert story.submit(second, names=[mine, second])["accepted"].commit == second
    # The origin is back as it was.
    story.origin.is_up = True
    story.run(LOOK_S)
    diverged = story.cluster.get(paths.DIVERGED, Diverged)
    assert diverged.commit == second
    assert diverged.text.endswith("Push it, from the clone that has it: git push")
    assert not is_quiet(story.state())
    assert f"does not hold {second[:7]}" in source_text(story.state())
    # It gets other commits: nothing of them is adopted.
    story.origin.tip = theirs
    story.run(LOOK_S)
    assert story.accepted() == second
    words = story.seen()[0].problems[0]
    assert f"it has {theirs[:7]} instead" in words
    assert "git pull --no-rebase && git push" in words
    # It gets what is in force.
    story.origin.tip = second
    story.run(LOOK_S)
    for path, kind in (
        (paths.AHEAD, Ahead),
        (paths.DIVERGED, Diverged),
        (paths.SUBMITTED, Submitted),
    ):
        assert story.cluster.get(path, kind) is None
    assert is_quiet(story.state())
    assert story.accepted() == second != before
    story.origin.push(story.files("as ever"), "as ever")
    story.run(LOOK_S)
    assert story.accepted() == story.origin.tip


def test_by_hand_the_same_rules_hold(story):
    story.origin.is_up = False
    broken = story.made(None)
    outcome = story.submit(broken)
    assert outcome["accepted"] is None
    assert "docs.yaml" in outcome["seen"].problems[0]
    stranger = story.origin.push(BASE, "unrelated", is_forced=True)
    outcome = story.submit(stranger)
    assert outcome["accepted"] is None
    assert story.accepted() != stranger
    with pytest.raises(UsageError, match="the cluster is at"):
        story.submit(story.made("x"), base="0" * 40)
    with pytest.raises(UsageError, match="a pack of at most"):
        ask(story.cluster, "source-submit", head="x", base=story.accepted(), pack="AAAA")


def test_a_pack_that_cannot_be_unpacked_hinders_no_fetch(story):
    story.origin.is_up = False
    mine = story.made("by hand")
    outcome = story.submit(mine, names=["0" * 40])
    assert outcome["accepted"] is None
    assert "what root submitted cannot be unpacked" in outcome["seen"].error
    story.origin.is_up = True
    tip = story.origin.push(story.files("pushed"), "pushed")
    story.run(LOOK_S)
    assert story.accepted() == tip
    assert story.cluster.get(paths.SUBMITTED, Submitted) is None


def test_a_branch_that_was_set_back_on_purpose_is_adopted_by_word(story):
    old = story.accepted()
    new = story.origin.push(story.files("newer"), "newer")
    story.run(LOOK_S)
    assert story.accepted() == new
    story.origin.rewind()
    story.run(LOOK_S)
    assert story.accepted() == new
    assert f"pvc source accept {old[:7]} --reason" in story.seen()[0].problems[0]
    with pytest.raises(UsageError, match="and a reason"):
        ask(story.cluster, "source-accept", commit=old)
    with pytest.raises(UsageError, match=f"the branch points at {old[:7]}"):
        ask(story.cluster, "source-accept", commit=new[:7], reason="no")
    outcome = ask(story.cluster, "source-accept", commit=old[:7], reason="lost history")
    assert outcome["accepted"].commit == old
    assert story.cluster.get(paths.OVERRIDE, Override) is None
    (entry,) = story.ledger(EntryKind.SOURCE)
    assert (entry.by, entry.commit) == ("root", old)
    assert entry.text == f"{old[:7]} accepted although it was refused: lost history"
    story.run(LOOK_S)
    assert story.accepted() == old
    assert is_quiet(story.state())


def test_replaced_history_is_adopted_by_word_and_ends_a_divergence(story):
    mine = story.made("by hand")
    story.origin.is_up = False
    story.submit(mine)
    story.origin.is_up = True
    other = story.origin.push(story.files("anew"), "anew", is_forced=True)
    story.run(LOOK_S)
    assert story.cluster.get(paths.DIVERGED, Diverged) is not None
    outcome = ask(story.cluster, "source-accept", commit=other, reason="the server was restored")
    assert outcome["accepted"].commit == other
    story.run(LOOK_S)
    assert story.cluster.get(paths.DIVERGED, Diverged) is None
    assert story.cluster.get(paths.AHEAD, Ahead) is None
    assert story.accepted() == other


def test_what_is_not_valid_is_not_adopted_by_word_either(story):
    broken = story.origin.push({**BASE, "docs.yaml": b""}, "broken", is_forced=True)
    before = story.accepted()
    outcome = ask(story.cluster, "source-accept", commit=broken, reason="please")
    assert outcome["accepted"] is None
    assert story.accepted() == before


def person(name, roles):
    key = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{name:A<42}"
    text = f"apiVersion: pvc/v1\nkind: Operator\nmetadata: {{name: {name}}}\n"
    return (text + f"spec: {{keys: ['{key}'], roles: [{roles}]}}\n").encode()


def test_only_who_may_hands_over_and_adopts(story):
    files = {**BASE, "operators/ann.yaml": person("ann", "admin")}
    files["operators/bob.yaml"] = person("bob", "web")
    files["roles/web.yaml"] = (
        b"apiVersion: pvc/v1\nkind: Role\nmetadata: {name: web}\n"
        b"spec: {operate: {select: {addresses: ['vm/*']}, verbs: [submit]}}\n"
    )
    story.origin.push(files, "people")
    story.run(LOOK_S)
    node = story.cluster.nodes["hv1"]
    world = story.cluster.world_of(node, node.agent)
    for op in ("source-submit", "source-accept"):
        question = Question(id=1, op=op, args={}, operator="bob")
        (said,) = answer(question, world, lambda: node.agent.memory)
        assert isinstance(said, Refusal)
        assert said.code == "not-allowed"
        assert "bob may" in said.message
    question = Question(id=1, op="source-submit", args={}, operator="ann")
    (said,) = answer(question, world, lambda: node.agent.memory)
    assert said.code == "bad-arguments"


@pytest.mark.parametrize(("mode", "intents"), [("none", 0), ("tip", 1)])
def test_a_commit_approves_only_where_somebody_signed_it(story, mode, intents):
    cluster = BASE["cluster.yaml"] + f"  source: {{signers: {mode}}}\n".encode()
    assert b"source:" not in BASE["cluster.yaml"]
    files = {**BASE, "cluster.yaml": cluster, "operators/ann.yaml": person("ann", "admin")}
    story.origin.push(files, "people")
    story.run(LOOK_S)
    tip = story.origin.push(files, "approve\n\nPvc-Approve: 48ec4726")
    story.run(LOOK_S)
    assert story.accepted() == tip
    assert {seen.signer for seen in story.seen()} == {"root" if intents else ""}
    node = story.cluster.nodes["hv1"]
    store = story.cluster.world_of(node, node.agent).store
    assert len(store.read_children(paths.INTENTS)) == intents


def test_a_commit_says_only_what_its_signer_may(story):
    from pvc_gitops.controllers import accept

    files = {**BASE, "operators/ann.yaml": person("ann", "admin")}
    files |= {"operators/bob.yaml": person("bob", "")}
    story.origin.push(files, "people")
    story.run(LOOK_S)
    tip = story.origin.push(files, "approve\n\nPvc-Approve: 48ec4726")
    story.run(LOOK_S)
    node = story.cluster.nodes["hv1"]
    world = story.cluster.world_of(node, node.agent)
    info = world.repo.info(tip)
    for signer, counts in (("ann", True), ("bob", False), ("the forge", False), ("", False)):
        ops, notes = accept._words(world, info, signer, 0)
        assert (bool(ops), bool(notes)) == (counts, counts), signer
        assert [note.by for note in notes] == ([signer] if counts else [])
