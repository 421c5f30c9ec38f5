"""Whose commits count: the signatures and the rights of all that lies between two commits (DESIGN D12).

History is taken step by step along the line that comes from the accepted commit. Each step, with what it
merges, is judged by the documents of the step before, so that nobody is let in by the very commit that
lets them in, and keys can be handed over within one push. What is not proven never changes the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Final

from pvc_gitops.errors import SpecError
from pvc_gitops.model.document import Kind
from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.trailers import VOUCH, trailer
from pvc_gitops.model.trust import FORGE, PLAYER, Signature, Verdict, Vouch
from pvc_gitops.model.values import dataclass, replace
from pvc_gitops.spec.authority import (
    Change,
    Overstep,
    admins,
    has_explicit_admin,
    may_commit,
    needs_admin,
    overstep_lines,
)
from pvc_gitops.spec.trust import able_admins, keyring
from pvc_gitops.world.ports import CommitInfo, Repo

COMMITS_MAX: Final = 1000  # a check of each takes 5 ms; a day of a busy team is a tenth of it
PARENTS_MAX: Final = 16  # an octopus of people; more is made to tire whoever walks it
VOUCHES_MAX: Final = 20  # of one message
SHOWN_MAX: Final = 5  # commits named in a refusal
NAME_CHARACTERS_MAX: Final = 60  # of an author, who writes what they like
_RANGE: Final = re.compile(r"([0-9a-f]{7,40})\.\.([0-9a-f]{7,40})")

SpecOf = Callable[[CommitId], ClusterSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Why a tip is not adopted, as people read it, or who answers for it."""

    problems: tuple[str, ...]
    signer: str  # an operator or FORGE; "" where nobody's signature is asked for


def judge_range(repo: Repo, base: CommitId, tip: CommitId, spec_of: SpecOf, now_s: int) -> Found:
    """Say whether everything from the accepted commit to a tip that descends from it may be adopted.

    Args:
        repo: this node's mirror.
        base: the accepted commit, whose documents are the rules.
        tip: what the branch points at.
        spec_of: what a commit declares; raises SpecError.
        now_s: this node's wall clock; keys have times.

    Raises:
        RepoError: the history cannot be read, or is made not to be.
        SpecError: the tip cannot be parsed.
    """
    rules = spec_of(base)
    if tip == base:
        return Found(problems=(), signer="")
    if signers(rules) == "none":
        return Found(problems=_handover(rules, spec_of(tip), base, tip, now_s), signer="")
    walk = _Walk(repo=repo, base=base, tip=tip, spec_of=spec_of, now_s=now_s)
    found = walk.judge(rules)
    if found.problems:
        return found
    problems = _handover(rules, spec_of(tip), base, tip, now_s)
    return replace(found, problems=problems)


def signers(spec: ClusterSpec) -> str:
    """Whose signatures a cluster wants: none, tip or every."""
    (document,) = spec.of_kind(Kind.CLUSTER)
    return str(document.spec["source"]["signers"])


def _handover(
    before: ClusterSpec, after: ClusterSpec, base: CommitId, tip: CommitId, now_s: int
) -> tuple[str, ...]:
    """A commit after which nobody could sign its repair, or be an admin, is not adopted."""
    if has_explicit_admin(before) and not has_explicit_admin(after):
        words = (
            "takes the role admin from the last operator who has it: everybody would have it then"
        )
        hint = "Leave one operator with roles: [admin] and a key."
    elif signers(after) != "none" and not able_admins(after.documents, after.trust, now_s):
        words = "leaves no admin with a key that is valid now, so nobody could sign its repair"
        hint = "Give an admin a key in operators/ or trust/allowed_signers whose time is not over."
    else:
        return ()
    return (_head(tip[:7], base), f"  it {words}", f"  {hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One step along the line: a commit, the one before it, and all that came with it."""

    commit: CommitId
    before: CommitId
    brings: tuple[CommitId, ...]  # parents before children, itself last


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """One commit that is not good: of whom, and why."""

    commit: CommitId
    who: str
    words: str = ""
    oversteps: tuple[Overstep, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Walk:
    repo: Repo
    base: CommitId
    tip: CommitId
    spec_of: SpecOf
    now_s: int
    infos: dict[CommitId, CommitInfo] = field(default_factory=dict)
    vouches: dict[CommitId, list[CommitId]] = field(default_factory=dict)  # commit -> who vouches

    def judge(self, rules: ClusterSpec) -> Found:
        new = self.repo.new_commits(self.base, self.tip, COMMITS_MAX)
        self.infos = {commit: self.repo.info(commit) for commit in new}
        for commit, info in self.infos.items():
            if len(info.parents) > PARENTS_MAX:
                words = f"  it has {len(info.parents)} parents, {PARENTS_MAX} is the most"
                return Found(problems=(_head(commit[:7], self.base), words), signer="")
        self._read_vouches(new)
        signer = ""
        waiting: list[tuple[_Step, CommitId]] = []
        for step in self._steps(new):
            mode = signers(rules)
            faults = list(self._faults(rules, step)) if mode != "none" else []
            if faults and mode == "every":
                return Found(problems=self._words(faults), signer="")
            if faults or waiting:
                # With `tip` the next signed commit answers for what is not; till then it changes no rule.
                waiting += [(step, commit) for commit in step.brings]
                faults = self._answered(rules, waiting, step.commit)
            if not faults:
                waiting = []
                signer = self._signer(rules, step.commit)
                rules = self._rules_after(step.commit, rules)
            elif step.commit == self.tip:
                return Found(problems=self._words(faults), signer="")
        return Found(problems=(), signer=signer)

    # -- the shape of history -----------------------------------------------------------------------

    def _steps(self, new: Sequence[CommitId]) -> Iterator[_Step]:
        """From the accepted commit to the tip, along the parents that come from the accepted one."""
        comes: set[CommitId] = set()
        for commit in new:
            if any(p == self.base or p in comes for p in self.infos[commit].parents):
                comes.add(commit)
        line = [self.tip]
        while True:
            parents = self.infos[line[-1]].parents
            before = next(p for p in parents if p == self.base or p in comes)
            if before == self.base:
                break
            line.append(before)
        known: set[CommitId] = set()
        last = self.base
        for commit in reversed(line):
            brought = self._reach(commit) - known
            known |= brought
            yield _Step(commit=commit, before=last, brings=tuple(c for c in new if c in brought))
            last = commit

    def _reach(self, of: CommitId) -> set[CommitId]:
        """Of the new commits, those that one holds, itself included."""
        found: set[CommitId] = set()
        waiting = [of]
        while waiting:
            commit = waiting.pop()
            if commit in self.infos and commit not in found:
                found.add(commit)
                waiting += self.infos[commit].parents
        return found

    def _read_vouches(self, new: Sequence[CommitId]) -> None:
        for commit in new:
            for vouch in self._vouches_of(commit):
                covered = self._reach(CommitId(vouch.head)) - self._reach(CommitId(vouch.base))
                for each in covered & self._reach(commit) - {commit}:
                    self.vouches.setdefault(each, []).append(commit)

    def _vouches_of(self, commit: CommitId) -> Iterator[Vouch]:
        for text in trailer(self.infos[commit].message, VOUCH)[:VOUCHES_MAX]:
            match = _RANGE.fullmatch(text)
            ends = [] if match is None else [self.repo.find(name) for name in match.groups()]
            if None not in ends and ends:
                yield Vouch(base=str(ends[0]), head=str(ends[1]))

    def _rules_after(self, commit: CommitId, rules: ClusterSpec) -> ClusterSpec:
        try:
            return self.spec_of(commit)
        except SpecError:
            return rules  # it could never have been accepted by itself

    # -- signatures and rights ----------------------------------------------------------------------

    def _faults(self, rules: ClusterSpec, step: _Step) -> Iterator[_Fault]:
        """What keeps a step from being proven: every commit of it signed by somebody who may."""
        for commit in step.brings:
            signature = self._signature(rules, commit)
            is_merge = len(self.infos[commit].parents) > 1
            is_clean = is_merge and self.repo.is_clean_merge(commit)
            if signature.verdict is Verdict.GOOD and signature.holder == FORGE:
                if is_clean:
                    continue
                author = None
            else:
                author = signature.holder if signature.verdict is Verdict.GOOD else None
            others = self._answering(rules, step, commit)
            vouched = [who for who, is_vouch in others if is_vouch]
            if author is None and not vouched:
                yield self._unsigned(rules, commit, signature, step.before)
            elif not is_clean:
                people = [*([author] if author is not None else ()), *(who for who, _ in others)]
                yield from self._overstep(rules, step, commit, people, signature)

    def _answering(
        self, rules: ClusterSpec, step: _Step, commit: CommitId
    ) -> list[tuple[str, bool]]:
        """Operators other than the author who answer for a commit: by vouching, or by merging it."""
        found: list[tuple[str, bool]] = []
        for voucher in self.vouches.get(commit, ()):
            who = self._operator(rules, voucher)
            if who is not None:
                found.append((who, True))
        if commit != step.commit:
            who = self._operator(rules, step.commit)
            if who is not None:
                found.append((who, False))
        return found

    def _operator(self, rules: ClusterSpec, commit: CommitId) -> str | None:
        signature = self._signature(rules, commit)
        is_person = signature.verdict is Verdict.GOOD and signature.holder != FORGE
        return signature.holder if is_person else None

    def _signature(self, rules: ClusterSpec, commit: CommitId) -> Signature:
        return self.repo.signature(commit, keyring(rules), self.now_s)

    def _overstep(
        self,
        rules: ClusterSpec,
        step: _Step,
        commit: CommitId,
        people: Sequence[str],
        signature: Signature,
    ) -> Iterator[_Fault]:
        """Nothing if any of these people may do what the commit does."""
        if not admins(rules).isdisjoint(people) or PLAYER in people:
            return
        change = self._change(step, commit)
        found = [_oversteps(rules, who, change) for who in people]
        if all(found):
            yield _Fault(commit=commit, who=f"{people[0]}, {signature.words}", oversteps=found[0])

    def _change(self, step: _Step, commit: CommitId) -> Change | None:
        """What a commit does; None if that cannot be told, since it or its parent does not parse.

        A merge that is not clean is taken for all that it changes on the line.
        """
        parents = self.infos[commit].parents
        before = step.before if commit == step.commit else parents[0] if parents else None
        try:
            return Change(
                before=None if before is None else self.spec_of(before),
                after=self.spec_of(commit),
                paths=self.repo.changed(before, commit),
            )
        except SpecError:
            return None

    # -- signers: tip -------------------------------------------------------------------------------

    def _answered(
        self, rules: ClusterSpec, waiting: Sequence[tuple[_Step, CommitId]], tip: CommitId
    ) -> list[_Fault]:
        """What is wrong with commits if the signer of `tip` answers for those that nobody signed.

        A forge answers for nobody: what only admins may change must be signed by one then.
        """
        signature = self._signature(rules, tip)
        if signature.verdict is not Verdict.GOOD:
            return [self._unsigned(rules, tip, signature, self.base)]
        last = self._operator(rules, tip)
        faults: list[_Fault] = []
        for step, commit in waiting:
            if len(self.infos[commit].parents) > 1 and self.repo.is_clean_merge(commit):
                continue
            own = self._operator(rules, commit)
            others = [who for who, _ in self._answering(rules, step, commit)]
            people = [who for who in (own, *others, last) if who is not None]
            if people:
                mine = signature if own is None else self._signature(rules, commit)
                faults += self._overstep(rules, step, commit, people, mine)
                continue
            change = self._change(step, commit)
            found = _UNREADABLE if change is None else needs_admin(change)
            if found:
                who = f"signed by nobody but {FORGE}"
                faults.append(_Fault(commit=commit, who=who, oversteps=found))
        return faults

    # -- words --------------------------------------------------------------------------------------

    def _signer(self, rules: ClusterSpec, commit: CommitId) -> str:
        found = self._signature(rules, commit)
        return str(found.holder) if found.verdict is Verdict.GOOD else ""

    def _unsigned(
        self, rules: ClusterSpec, commit: CommitId, signature: Signature, before: CommitId
    ) -> _Fault:
        mode = signers(rules)
        which = "the newest commit" if mode == "tip" else "every commit"
        words = {
            Verdict.NONE: f"no signature; signers: {mode} wants one on {which}",
            Verdict.UNKNOWN: f"{signature.words} is nobody's in operators/ and trust/ of {before[:7]}",
            Verdict.EXPIRED: f"{signature.words} of {signature.holder} is not valid now",
            Verdict.BAD: signature.words,
            Verdict.GOOD: f"{FORGE}, {signature.words}, may sign clean merges only: a squash or rebase "
            "loses its author's signature",
        }[signature.verdict]
        return _Fault(commit=commit, who=_shown(self.infos[commit].author), words=words)

    def _words(self, faults: Sequence[_Fault]) -> tuple[str, ...]:
        unsigned = [fault for fault in faults if not fault.oversteps]
        lines: list[str] = []
        if unsigned:
            lines.append(_head(self.tip[:7], self.base))
            lines += [f"  {f.commit[:7]} ({f.who}): {f.words}" for f in unsigned[:SHOWN_MAX]]
            if len(unsigned) > SHOWN_MAX:
                lines.append(f"  and {len(unsigned) - SHOWN_MAX} more")
            lines.append(
                "  Sign and push again (git rebase --exec 'git commit --amend --no-edit -S' "
                f"{self.base[:7]}), or let an admin vouch: git commit --allow-empty -S "
                f"-m vouch --trailer 'Pvc-Vouch: {self.base[:7]}..{self.tip[:7]}'"
            )
        for fault in [fault for fault in faults if fault.oversteps][:SHOWN_MAX]:
            lines.append(_head(f"{fault.commit[:7]} ({fault.who})", self.base))
            lines += overstep_lines(fault.oversteps)
            lines.append(
                "  Ask an admin to merge it (their signature on the merge counts), or take "
                f"{'this' if len(fault.oversteps) == 1 else 'these'} out."
            )
        return tuple(lines)


_UNREADABLE: Final = (
    Overstep(
        address="?",
        what="its documents do not parse, or its parent's",
        allowed="what it does cannot be judged: squash it with the commit that repairs it",
    ),
)


def _oversteps(rules: ClusterSpec, who: str, change: Change | None) -> tuple[Overstep, ...]:
    return _UNREADABLE if change is None else may_commit(rules, who, change)


def _head(what: str, base: CommitId) -> str:
    return f"refused: {what} is not adopted; {base[:7]} stays in force"


def _shown(name: str) -> str:
    """An author's name as it may stand in a terminal."""
    kept = "".join(char for char in name if char.isprintable())
    return kept[:NAME_CHARACTERS_MAX] or "?"
