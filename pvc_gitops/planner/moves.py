"""Objects under the addresses that they are to have: what is renamed, what only looks like it, and what
lies in the trash.

Everything behind this file plans as if the moves had happened: the records stand under their new
addresses, and every step on one waits for the step that moves it. A commit that takes a recorded move
back (a revert, a rollback) says no word; the record knows the names that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from pvc_gitops.model.document import DOCUMENT_KINDS, Document, Kind, Spec
from pvc_gitops.model.ids import Address, VmName, address
from pvc_gitops.model.inventory import Inventory, NodeFacts
from pvc_gitops.model.plan import Action, Cause, Change, ItemKind, Operation, Permit
from pvc_gitops.model.records import Applied, Phase
from pvc_gitops.model.transitions import Transition, Word
from pvc_gitops.planner.context import WORDS, Context, Held
from pvc_gitops.planner.draft import Draft

NAMES_MAX: Final = (
    8  # of one object; older ones are forgotten, and are then not found by a rollback
)
MOVABLE: Final = frozenset({Kind.VM, Kind.VOLUME, Kind.NETWORK, Kind.IMAGE, Kind.GROUP})


def arranged(context: Context) -> Context:
    """The same, with what exists under the addresses that it is to have."""
    everything = context.inventory.applied
    kept = {of: r for of, r in everything.items() if r.phase is Phase.TRASHED}
    if kept:
        live = {of: r for of, r in everything.items() if of not in kept}
        context = replace(context, inventory=replace(context.inventory, applied=live), kept=kept)
    gone = [r for of, r in sorted(context.inventory.applied.items()) if _is_undeclared(context, of)]
    moves: dict[Address, Address] = {}
    held: dict[Address, Held] = {}
    for entry in context.spec.transitions.items:
        if entry.word is Word.MOVED and not context.is_done(entry):
            _by_word(context, entry, moves, held)
    for applied in gone:
        if applied.names and applied.address not in (*moves.values(), *held):
            _by_name(context, applied, moves, held)
    free = [r for r in gone if r.address not in moves.values() and r.address not in held]
    renamed = dict(_renamed(context, free, {*moves, *held}))
    for old, new in renamed.items():
        held[new] = _looks_like(old, new)
    if not (moves or held or any(r.names for r in context.inventory.applied.values())):
        return context
    return replace(
        context,
        inventory=_moved(context.inventory, moves),
        moves=moves,
        held=held,
        renamed=renamed,
        _vms={},
        _openings={},
    )


def plan_moves(context: Context, draft: Draft) -> None:
    """One step a move, before all others of the object."""
    for new, old in sorted(context.moves.items()):
        record = context.inventory.applied[new]
        node = None if record.kind is not Kind.VM else context.owner(VmName(record.name))
        node = node or context.coordinator(new)
        assert node is not None
        before = _renamed_record(record, old)
        draft.moves[new] = draft.step(
            Operation.RECORD_MOVE,
            new,
            node,
            pre="",
            also_pre={old: before.digest},
            record=record,
            inputs={"from": old},
        )


def tell_moves(context: Context, draft: Draft) -> None:
    """The change of each move, together with what else happens to the object."""
    for new, old in sorted(context.moves.items()):
        entry = context.said(Word.MOVED, new)
        cause = Cause(
            code="moved",
            text=f"renamed from {old}" if entry else f"renamed back from {old}",
            place=None if entry is None else entry.place,
        )
        change, record = draft.changes.get(new), context.inventory.applied[new]
        if change is None:
            change = Change(
                address=new,
                actions=(),
                fields=(),
                before=record.spec,
                after=draft.after[new].spec if new in draft.after else record.spec,
                disposition=None,
                downtime_s=0.0,
                because=(),
            )
        draft.changes[new] = replace(
            change, actions=(Action.MOVE, *change.actions), because=(cause, *change.because)
        )
    for name, facts in _bearing_others(context):
        of = address(Kind.VM, name)
        text = f"still {facts} in libvirt; its name there follows at its next start"
        draft.item(ItemKind.NOTE, of, "name-in-libvirt", text)


def _bearing_others(context: Context) -> Iterator[tuple[str, str]]:
    for facts in context.inventory.nodes.values():
        for name, guest in sorted(facts.guests.items()):
            if guest.bears and guest.bears != name:
                yield name, guest.bears


# --- which ----------------------------------------------------------------------------------------


def _is_undeclared(context: Context, of: Address) -> bool:
    return of not in context.spec.documents and of != WORDS


def _by_word(
    context: Context,
    entry: Transition,
    moves: dict[Address, Address],
    held: dict[Address, Held],
) -> None:
    old, new = entry.source, entry.address
    assert old is not None
    applied = context.applied(old)
    if applied is None or new in moves:
        return  # it is under its new address already, or there is nothing to move
    refusal = _reason_not_to_move(context, applied, new)
    if refusal is None:
        moves[new] = old
    else:
        held[old] = held[new] = refusal


def _by_name(
    context: Context,
    applied: Applied,
    moves: dict[Address, Address],
    held: dict[Address, Held],
) -> None:
    """Back to a name that it had, which is declared again and nothing's."""
    of = applied.address
    if context.said(Word.REMOVED, of) or context.said(Word.FORGOTTEN, of):
        return
    for name in reversed(applied.names):
        is_free = name not in moves and name not in held and context.applied(name) is None
        if name in context.spec.documents and is_free:
            refusal = _reason_not_to_move(context, applied, name)
            if refusal is None:
                moves[name] = of
            else:
                held[of] = held[name] = refusal
            return


def _reason_not_to_move(  # noqa: PLR0911  one return a reason
    context: Context, applied: Applied, new: Address
) -> Held | None:
    old = applied.address
    if old in context.spec.documents:
        return _blocked("moved-and-declared", f"moved from {old}, which is still declared",
                        f"git rm {_file(old)}, or take the entry out")  # fmt: skip
    if context.applied(new) is not None:
        return _blocked("moved-onto-another", f"moved from {old}, and there is a {new} already",
                        "give it another name")  # fmt: skip
    if new in context.kept:
        return _blocked("moved-onto-data",
                        f"moved from {old}, and data of a removed {new} lies in the trash",
                        "give it another name, or wait for the purge")  # fmt: skip
    if applied.phase is not Phase.PRESENT:
        return _waiting("being-removed", f"{old} is being removed")
    for of in (old, new):
        claim = context.foreign_claim(of) or context.undoing(of)
        if claim is not None:
            return _waiting("claimed", f"moves when {claim} is done")
    owner = context.owner(VmName(applied.name)) if applied.kind is Kind.VM else None
    if owner is not None and owner not in context.online:
        return _waiting("node-not-online", f"moves when {owner} is back")
    if context.coordinator(new) is None:
        return _waiting("no-coordinator", "no coordinator is online")
    return None


def _blocked(code: str, text: str, remedy: str) -> Held:
    return Held(kind=ItemKind.BLOCKED, code=code, text=text, remedy=remedy)


def _waiting(code: str, text: str) -> Held:
    return Held(kind=ItemKind.WAITING, code=code, text=text, remedy="pvc status")


def _file(of: Address) -> str:
    kind, _, name = of.partition("/")
    return f"{DOCUMENT_KINDS[Kind(kind)][1]}/{name}.yaml"


# --- what looks like one --------------------------------------------------------------------------


def _renamed(
    context: Context, gone: Iterable[Applied], taken: set[Address]
) -> Iterator[tuple[Address, Address]]:
    """Pairs of what goes and what comes in its place without a word: by a MAC, a volume, a VNI, or by
    being the same in every word."""
    gone = [
        r
        for r in gone
        if r.kind in MOVABLE - {Kind.GROUP}
        and r.phase is Phase.PRESENT
        and not context.said(Word.REMOVED, r.address)
        and not context.said(Word.FORGOTTEN, r.address)
    ]
    if not gone:
        return
    new = [
        doc
        for of, doc in context.spec.documents.items()
        if context.applied(of) is None
        and of not in context.kept
        and of not in taken
        and not context.said(Word.ADOPTED, of)
    ]
    used: set[Address] = set()
    for is_same in (_has_its_mark, _is_alike):
        for applied in gone:
            heirs = [d for d in new if d.kind is applied.kind and is_same(context, applied, d)]
            heirs = [doc for doc in heirs if doc.address not in used]
            if not heirs or applied.address in used:
                continue
            if is_same is _is_alike and _is_one_of_many(context, applied):
                continue
            used |= {applied.address, heirs[0].address}
            yield applied.address, heirs[0].address


def _has_its_mark(context: Context, applied: Applied, doc: Document) -> bool:
    """Something that only one of them can have."""
    del context
    if doc.kind is Kind.NETWORK:
        return any(
            doc.spec.get(key) is not None and doc.spec.get(key) == applied.spec.get(key)
            for key in ("vni", "vlan")
        )
    if doc.kind is not Kind.VM:
        return False
    macs = {nic["mac"].lower() for nic in doc.spec["nics"].values()}
    if macs & {lease.mac for lease in applied.nics.values()}:
        return True
    return bool(_volumes(doc.spec) & _volumes(applied.spec))


def _volumes(spec: Spec) -> set[str]:
    return {disk["volume"] for disk in spec["disks"].values() if disk.get("volume")}


def _is_alike(context: Context, applied: Applied, doc: Document) -> bool:
    """The same in every word, and with data that would stay behind."""
    del context
    has_data = bool(applied.disks) and applied.kind is not Kind.IMAGE
    return has_data and doc.spec == applied.spec


def _is_one_of_many(context: Context, applied: Applied) -> bool:
    """Alike ones that come and go, or stay, are a fleet that grows elsewhere, not a rename."""
    records = (r for r in context.inventory.applied.values() if r.kind is applied.kind)
    known = {r.address for r in records if r.spec == applied.spec}
    known |= {doc.address for doc in context.spec.of_kind(applied.kind) if doc.spec == applied.spec}
    return len(known) > 2  # noqa: PLR2004  it and its heir


def _looks_like(old: Address, new: Address) -> Held:
    return Held(
        kind=ItemKind.WAITING,
        code="renamed",
        text=f"waits for the word on {old}, whose place it takes",
        remedy="",
        permits=(Permit(word=Word.MOVED, address=new, source=old),),
    )


# --- the inventory afterwards ---------------------------------------------------------------------


def _moved(inventory: Inventory, moves: Mapping[Address, Address]) -> Inventory:
    """Records, placements and what nodes say, under the new addresses; guests that a node still calls
    by an older name under the name of their record."""
    applied = dict(inventory.applied)
    for new, old in moves.items():
        applied[new] = _renamed_record(applied.pop(old), new)
    names = {
        VmName(old.partition("/")[2]): VmName(new.partition("/")[2])
        for new, old in moves.items()
        if new.startswith(f"{Kind.VM}/")
    }
    by_uuid = {r.uuid: VmName(r.name) for r in applied.values() if r.kind is Kind.VM and r.names}
    return replace(
        inventory,
        applied=dict(sorted(applied.items())),
        placements={names.get(vm, vm): each for vm, each in inventory.placements.items()},
        chosen={names.get(vm, vm): each for vm, each in inventory.chosen.items()},
        leases={names.get(vm, vm): each for vm, each in inventory.leases.items()},
        nodes={name: _called(facts, by_uuid) for name, facts in inventory.nodes.items()},
    )


def _called(facts: NodeFacts, by_uuid: Mapping[str, VmName]) -> NodeFacts:
    guests = {by_uuid.get(guest.uuid, name): guest for name, guest in facts.guests.items()}
    return facts if guests.keys() == facts.guests.keys() else replace(facts, guests=guests)


def _renamed_record(record: Applied, to: Address) -> Applied:
    """As it is, under another address; it remembers all that it had, for references and rollbacks."""
    older = (name for name in record.names if name != record.address)
    names = (*older, record.address)[-NAMES_MAX:]
    return replace(record, address=to, name=to.partition("/")[2], names=names)
