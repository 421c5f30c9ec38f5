"""Who may do what (DESIGN D12): pure answers from the documents of the commit before.

Commits are judged by the objects that become different, never by the files that make them so: a template
reaches guests of other people. What is already so is nobody's doing: a guest that an admin gave another
network keeps it when its owner changes its memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS, Document, FieldPath, Kind, Value
from pvc_gitops.model.ids import Address, address
from pvc_gitops.model.people import ADMIN, VERBS, Operator, Quota, Right, Role
from pvc_gitops.model.spec import ClusterSpec
from pvc_gitops.model.transitions import Word
from pvc_gitops.model.tree import FILE_FOLDERS
from pvc_gitops.model.units import size_mib, size_text
from pvc_gitops.model.values import dataclass
from pvc_gitops.spec.checks.references import values_at
from pvc_gitops.spec.fields import references

# Whoever may change these may do everything, so nobody else may (also where no role says so).
ADMIN_KINDS: Final = frozenset({Kind.CLUSTER, Kind.OPERATOR, Kind.ROLE})
ADMIN_FOLDERS: Final = ("trust/", ".github/", ".forgejo/", ".gitea/", ".gitlab/")
ADMIN_FILES: Final = frozenset({".gitlab-ci.yml"})
COMPOSED_FOLDERS: Final = ("profiles/", "templates/", "sets/")
OVERSTEPS_SHOWN_MAX: Final = 10  # nobody fixes more before looking again
GLOBS_SHOWN_MAX: Final = 6
_DATA_WORDS: Final = frozenset({Word.REMOVED, Word.FORGOTTEN})

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overstep:
    """One thing that a commit does and its author may not: address, what happens, what is allowed."""

    address: str
    what: str
    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A commit against its parent. `paths` differ between their trees, inside the cluster's folder.

    `before` is None for a commit without a parent. Both sides are resolved and valid.
    """

    before: ClusterSpec | None
    after: ClusterSpec
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why somebody may not do something now, and what to do."""

    message: str
    hint: str


# --- people ------------------------------------------------------------------------------------------


def operators(spec: ClusterSpec) -> Mapping[str, Operator]:
    """By name."""
    return MappingProxyType(
        {doc.name: Operator.from_spec(doc.name, doc.spec) for doc in spec.of_kind(Kind.OPERATOR)}
    )


def admins(spec: ClusterSpec) -> frozenset[str]:
    """Operators who may do everything. While nobody has the role, everybody has it: a cluster of one
    team needs no roles. `spec.checks.people` sees to it that roles begin with an admin."""
    return admins_among(spec.of_kind(Kind.OPERATOR))


def admins_among(people: Iterable[Document]) -> frozenset[str]:
    """The same, from the Operator documents alone."""
    roles = {doc.name: doc.spec["roles"] for doc in people}
    explicit = {name for name, held in roles.items() if ADMIN in held}
    return frozenset(explicit or roles)


def has_explicit_admin(spec: ClusterSpec) -> bool:
    """Does anybody have the role by name?"""
    return any(ADMIN in operator.roles for operator in operators(spec).values())


def roles_of(spec: ClusterSpec, operator: str) -> tuple[Role, ...]:
    """The roles of one operator, in order of name; the ones that are not declared are left out."""
    person = operators(spec).get(operator)
    found = []
    for name in sorted(() if person is None else person.roles):
        doc = spec.documents.get(address(Kind.ROLE, name))
        if doc is not None:
            found.append(Role.from_spec(doc.name, doc.spec))
    return tuple(found)


# --- operations --------------------------------------------------------------------------------------


def may_operate(
    spec: ClusterSpec, operator: str | None, verb: str, target: Address | str
) -> Refusal | None:
    """None if it is allowed.

    Args:
        spec: the accepted commit's.
        operator: who asks; None is root on a node, who may do everything.
        verb: a word of `model.people.VERBS`.
        target: the address of what it is about; `cluster` for all of it.
    """
    assert verb in VERBS, verb
    if operator is None or operator in admins(spec):
        return None
    if operator not in operators(spec):
        return Refusal(
            message=f"{operator} is no operator of this cluster",
            hint=f"operators/{operator}.yaml must be in the accepted commit",
        )
    document = spec.documents.get(Address(str(target)))
    tags = frozenset() if document is None else frozenset(document.tags)
    roles = roles_of(spec, operator)
    if any(_selects(role, verb, str(target), tags) for role in roles):
        return None
    return Refusal(
        message=f"{operator} may not {verb} {target}: {_may_words(operator, roles)}",
        hint="an admin may, or adds it to a role in roles/",
    )


def _selects(role: Role, verb: str, target: str, tags: frozenset[str]) -> bool:
    if verb not in role.operate_verbs or not (role.operate_addresses or role.operate_tags):
        return False
    return _matches(role.operate_addresses, role.operate_tags, target, tags)


def _may_words(operator: str, roles: tuple[Role, ...]) -> str:
    rights = [
        f"{' '.join(role.operate_verbs)} on {_objects(role.operate_addresses, role.operate_tags)}"
        for role in roles
        if role.operate_verbs and (role.operate_addresses or role.operate_tags)
    ]
    return f"{operator} may {'; '.join(rights)}" if rights else f"{operator} may only look"


# --- commits -----------------------------------------------------------------------------------------


def may_commit(rules: ClusterSpec, operator: str, change: Change) -> tuple[Overstep, ...]:
    """What of a change its author may not do; none if it is all allowed.

    Args:
        rules: the commit before, whose operators and roles count.
        operator: whose signature it carries.
        change: the commit against its parent.
    """
    if operator in admins(rules):
        return ()
    roles = roles_of(rules, operator)
    found: list[Overstep] = []
    for step in affected(change):
        allowed = _refused_address(operator, roles, step)
        if allowed:
            found.append(Overstep(address=step.address, what=step.words, allowed=allowed))
        elif step.after is not None and step.after.kind is Kind.VM:
            found += _guest_oversteps(roles, step.before, step.after)
    return (*found, *_quota_oversteps(roles, change))


def needs_admin(change: Change) -> tuple[Overstep, ...]:
    """What of a change only admins may do, whatever roles say."""
    return tuple(
        Overstep(address=step.address, what=step.words, allowed=_ADMINS_ONLY)
        for step in affected(change)
        if step.is_admins
    )


_ADMINS_ONLY: Final = "only admins may change it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """One address that a change makes different. `act`: create, change or delete."""

    address: str
    act: str
    words: str
    before: Document | None
    after: Document | None
    is_admins: bool


def affected(change: Change) -> Iterator[Affected]:
    """Every address that becomes different, in order: documents, then words about them, then files."""
    before = {} if change.before is None else change.before.documents
    after = change.after.documents
    for at in sorted(before.keys() | after.keys()):
        old, new = before.get(at), after.get(at)
        if old is not None and new is not None and _is_same(old, new):
            continue
        known = new if new is not None else old
        assert known is not None
        act = "create" if old is None else "delete" if new is None else "change"
        yield Affected(
            address=at,
            act=act,
            words=_words(act, old, new, change.paths),
            before=old,
            after=new,
            is_admins=known.kind in ADMIN_KINDS,
        )
    yield from _transitions(change)
    for path in change.paths:
        if path.startswith(ADMIN_FOLDERS) or path in ADMIN_FILES:
            yield _file(path, is_admins=True)
        elif path.partition("/")[0] in FILE_FOLDERS and "/" in path:
            yield _file(path, is_admins=False)


def _file(path: str, *, is_admins: bool) -> Affected:
    return Affected(
        address=path, act="change", words="changes", before=None, after=None, is_admins=is_admins
    )


def _transitions(change: Change) -> Iterator[Affected]:
    """A word about an object is a deed to it."""
    known = set() if change.before is None else _said(change.before)
    for word, at, source in sorted(_said(change.after) - known):
        for target in filter(None, (at, source)):
            yield Affected(
                address=target,
                act="delete" if word in _DATA_WORDS else "change",
                words=f"{word} in transitions.yaml",
                before=None if change.before is None else change.before.documents.get(target),
                after=change.after.documents.get(target),
                is_admins=False,
            )


def _said(spec: ClusterSpec) -> set[tuple[str, Address, Address]]:
    return {(i.word, i.address, i.source or Address("")) for i in spec.transitions.items}


def _is_same(old: Document, new: Document) -> bool:
    return old.spec == new.spec and old.tags == new.tags and old.description == new.description


def _words(act: str, old: Document | None, new: Document | None, paths: tuple[str, ...]) -> str:
    if act == "delete":
        return "is deleted"
    assert new is not None
    if new.file in paths:
        return "is created" if old is None else "changes"
    return f"{'appears' if old is None else 'changes'} through {_through(old, new, paths)}"


def _through(old: Document | None, new: Document, paths: tuple[str, ...]) -> str:
    """The place that makes an object different whose own file stayed the same."""
    for path in _differing({} if old is None else old.spec, new.spec, ()):
        place = new.place(path)
        if place.file in paths:
            return str(place)
    composed = [path for path in paths if path.startswith(COMPOSED_FOLDERS)]
    return composed[0] if composed else ", ".join(paths[:1]) or "a default of this release"


def _differing(old: Value, new: Value, path: FieldPath) -> Iterator[FieldPath]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differing(old.get(key), new.get(key), (*path, str(key)))
    elif old != new:
        yield path


def _refused_address(operator: str, roles: tuple[Role, ...], step: Affected) -> str:
    """What is allowed instead, or "" if this is."""
    if step.is_admins:
        return _ADMINS_ONLY
    for role in roles:
        if any(_grants(right, step) for right in role.commit):
            return ""
    rights = [right for role in roles for right in role.commit if step.act in right.may]
    if not rights:
        return f"{operator} may {step.act} nothing"
    shown = [_objects(right.addresses, right.tags) for right in rights]
    return f"{operator} may {step.act} {', '.join(dict.fromkeys(shown))}"


def _grants(right: Right, step: Affected) -> bool:
    if step.act not in right.may or not (right.addresses or right.tags):
        return False
    # What it was counts for a change, so that nobody makes an object theirs by naming it so.
    known = step.after if step.before is None else step.before
    tags = frozenset() if known is None else frozenset(known.tags)
    return _matches(right.addresses, right.tags, step.address, tags)


def _matches(
    globs: tuple[str, ...], wanted: tuple[str, ...], target: str, tags: frozenset[str]
) -> bool:
    is_named = not globs or any(fnmatchcase(target, glob) for glob in globs)
    return is_named and (not wanted or not tags.isdisjoint(wanted))


def _objects(globs: tuple[str, ...], tags: tuple[str, ...]) -> str:
    shown = ", ".join(globs[:GLOBS_SHOWN_MAX]) or "objects"
    return f"{shown} with tag {' or '.join(tags)}" if tags else shown


# --- what a guest may be given -------------------------------------------------------------------------


def _guest_oversteps(
    roles: tuple[Role, ...], before: Document | None, after: Document
) -> Iterator[Overstep]:
    names = " and ".join(role.name for role in roles)
    word = f"role {names}" if len(roles) == 1 else f"roles {names}"
    old = {} if before is None else before.spec
    had = set(_uses(before)) if before is not None else set()
    for path, kind, name in _uses(after):
        if any((k, n) == (kind, name) for _, k, n in had):
            continue
        folder = DOCUMENT_KINDS[kind][1] if isinstance(kind, Kind) else kind
        if any(_may_use(role, folder, kind, name) for role in roles):
            continue
        globs = sorted({glob for role in roles for glob in role.use.get(folder, ())})
        yield Overstep(
            address=after.address,
            what=f"{_path_words(path)}: {name}",
            allowed=f"{word} may use {folder}: {', '.join(globs) or 'none'}",
        )
    yield from _limit_oversteps(roles, word, old, after)


@lru_cache(maxsize=1)
def _vm_references() -> tuple[tuple[FieldPath, Kind], ...]:
    return tuple((path, kind) for path, kind in references(Kind.VM) if kind not in _NOT_USED)


# Named, and yet not used: nodes are a limit of their own, and waiting for a guest takes nothing of it.
_NOT_USED: Final = frozenset({Kind.NODE, Kind.VM})
# Named in guests' documents by fields of composition, which know no kind yet.
_USED_FIELDS: Final = {"profile": "profiles", "userdata": "userdata", "script": "scripts"}


def _uses(document: Document) -> Iterator[tuple[FieldPath, Kind | str, str]]:
    for pattern, kind in _vm_references():
        for path, name in values_at(document.spec, pattern):
            yield path, kind, name
    for field, folder in _USED_FIELDS.items():
        named = document.spec.get(field)
        if isinstance(named, str):
            yield (field,), folder, named


def _may_use(role: Role, folder: str, kind: Kind | str, name: str) -> bool:
    if any(fnmatchcase(name, glob) for glob in role.use.get(folder, ())):
        return True
    word = kind.value if isinstance(kind, Kind) else folder
    own = f"{word}/{name}"
    return any(
        right.addresses
        and not right.tags
        and any(fnmatchcase(own, glob) for glob in right.addresses)
        for right in role.commit
    )


def _path_words(path: FieldPath) -> str:
    """`("nics", "app", "network")` is `nics.app.network`."""
    return ".".join(path)


def _limit_oversteps(
    roles: tuple[Role, ...], word: str, old: Mapping[str, Value], after: Document
) -> Iterator[Overstep]:
    new = after.spec
    tier, first = new["ha"]["tier"], min((role.ha_tier for role in roles), default=3)
    if tier < first and tier != old.get("ha", {}).get("tier"):
        yield Overstep(
            address=after.address,
            what=f"ha.tier: {tier}",
            allowed=f"{word} may have tier {first} and later",
        )
    named = ("nodes", "prefer")
    placement, had = new["placement"], old.get("placement", {})
    if not any(role.may_name_nodes for role in roles) and any(
        placement[key] and placement[key] != had.get(key) for key in named
    ):
        yield Overstep(
            address=after.address,
            what="placement names nodes",
            allowed=f"{word} may not name nodes",
        )
    if not any(role.may_protect for role in roles) and new["protect"] != old.get("protect", False):
        yield Overstep(
            address=after.address,
            what=f"protect: {str(new['protect']).lower()}",
            allowed=f"{word} may not switch protection",
        )


# --- quota -----------------------------------------------------------------------------------------


def _quota_oversteps(roles: tuple[Role, ...], change: Change) -> Iterator[Overstep]:
    for role in roles:
        before = _sums(role, change.before)
        after = _sums(role, change.after)
        for word, limit in _limits(role.quota):
            if limit is not None and after[word] > limit and after[word] > before[word]:
                yield Overstep(
                    address=f"role/{role.name}",
                    what=f"{word}: {_amount(word, after[word])} in all",
                    allowed=f"its quota is {_amount(word, limit)}",
                )


def _limits(quota: Quota) -> tuple[tuple[str, int | None], ...]:
    return (
        ("vms", quota.vms),
        ("vcpus", quota.vcpus),
        ("memory", quota.memory_mib),
        ("disk", quota.disk_mib),
    )


def _amount(word: str, value: int) -> str:
    return size_text(value) if word in ("memory", "disk") else str(value)


def _sums(role: Role, spec: ClusterSpec | None) -> Mapping[str, int]:
    sums = {"vms": 0, "vcpus": 0, "memory": 0, "disk": 0}
    for doc in () if spec is None else spec.of_kind(Kind.VM):
        is_mine = any(
            (right.addresses or right.tags)
            and _matches(right.addresses, right.tags, doc.address, frozenset(doc.tags))
            for right in role.commit
        )
        if is_mine:
            sums["vms"] += 1
            sums["vcpus"] += doc.spec["cpu"]["vcpus"]
            sums["memory"] += size_mib(doc.spec["memory"])
            sums["disk"] += sum(
                size_mib(d["size"]) for d in doc.spec["disks"].values() if "size" in d
            )
    return sums


# --- words -----------------------------------------------------------------------------------------


def overstep_lines(oversteps: tuple[Overstep, ...]) -> tuple[str, ...]:
    """As people read them, in columns."""
    shown = oversteps[:OVERSTEPS_SHOWN_MAX]
    widths = [max((len(getattr(o, key)) for o in shown), default=0) for key in ("address", "what")]
    lines = [f"  {o.address:{widths[0]}}   {o.what:{widths[1]}}   {o.allowed}" for o in shown]
    more = len(oversteps) - len(shown)
    return (*lines, f"  and {more} more") if more else tuple(lines)
