"""What a commit changed, whether another one still holds it, and the way back of what it moved."""

from __future__ import annotations

from pathlib import Path

from pvc_gitops.cli.simulate import files_of
from pvc_gitops.model.document import Place
from pvc_gitops.model.transitions import Transition, Transitions, Word
from pvc_gitops.model.values import replace
from pvc_gitops.spec.load import load
from pvc_gitops.spec.rollback import returning, still_held, touches

BASE = dict(files_of(Path(__file__).parents[2] / "golden" / "sim" / "base"))
HERE = Place(file="transitions.yaml", line=1, column=1)


def edited(files, path, *pairs):
    text = files[path].decode()
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    return {**files, path: text.encode()}


def without(files, path):
    return {name: data for name, data in files.items() if name != path}


def spec(files):
    return load(files, commit=None)


GOOD = spec(BASE)
BIGGER = edited(BASE, "vms/app1.yaml", ("memory: 96MiB", "memory: 128MiB"))


def held(bad, tip, good=GOOD):
    return still_held(touches(good, spec(bad)), spec(tip), good)


def test_nothing_is_touched_between_equal_commits_and_by_comments():
    assert touches(GOOD, spec(BASE)) == ()
    commented = edited(BASE, "vms/app1.yaml", ("  memory:", "  # more?\n  memory:"))
    assert touches(GOOD, spec(commented)) == ()


def test_the_bad_commit_itself_holds_its_change_and_the_good_one_does_not():
    assert held(BIGGER, BIGGER) == ("vm/app1",)
    assert held(BIGGER, BASE) == ()


def test_an_edit_of_another_field_of_the_same_document_undoes_no_rollback():
    tip = edited(BIGGER, "vms/app1.yaml", ("tags: [app", "tags: [seen, app"))
    assert held(BIGGER, tip) == ("vm/app1",)


def test_an_edit_of_another_document_undoes_no_rollback():
    tip = edited(BIGGER, "vms/web1.yaml", ("memory: 96MiB", "memory: 80MiB"))
    assert held(BIGGER, tip) == ("vm/app1",)


def test_another_value_is_not_the_bad_one():
    tip = edited(BASE, "vms/app1.yaml", ("memory: 96MiB", "memory: 112MiB"))
    assert held(BIGGER, tip) == ()


def test_a_revert_with_something_on_top_holds_nothing():
    tip = edited(BASE, "vms/web1.yaml", ("memory: 96MiB", "memory: 80MiB"))
    assert held(BIGGER, tip) == ()


def test_one_change_of_two_is_enough_to_hold():
    both = edited(BIGGER, "vms/web1.yaml", ("memory: 96MiB", "memory: 80MiB"))
    assert held(both, both) == ("vm/app1", "vm/web1")
    assert held(both, BIGGER) == ("vm/app1",)
    assert held(both, BASE) == ()


def test_a_deleted_object_is_held_until_it_is_declared_again():
    gone = without(BASE, "vms/app2.yaml")
    assert held(gone, gone) == ("vm/app2",)
    assert held(gone, edited(gone, "vms/web1.yaml", ("tags: [", "tags: [seen, "))) == ("vm/app2",)
    assert held(gone, BASE) == ()


def test_a_new_object_is_held_as_long_as_it_is_declared_in_whatever_form():
    less = spec(without(BASE, "vms/app2.yaml"))
    other = edited(BASE, "vms/app2.yaml", ("memory: 96MiB", "memory: 80MiB"))
    assert held(BASE, BASE, less) == ("vm/app2",)
    assert held(BASE, other, less) == ("vm/app2",)
    assert held(BASE, without(BASE, "vms/app2.yaml"), less) == ()


def test_a_commit_that_made_it_as_it_was_holds_nothing():
    """A bad commit and its revert, both put aside: the head is as the good one."""
    revert = touches(spec(BIGGER), GOOD)
    assert revert
    assert still_held(revert, GOOD, GOOD) == ()


# --- moved and moved back ----------------------------------------------------------------------------


def renamed(base, before, after):
    """The commit that renames a guest, and says so."""
    text = BASE[f"vms/{before}.yaml"].decode().replace(f"name: {before}", f"name: {after}")
    made = spec({**without(BASE, f"vms/{before}.yaml"), f"vms/{after}.yaml": text.encode()})
    said = Transition(word=Word.MOVED, address=f"vm/{after}", source=f"vm/{before}", place=HERE)
    return replace(made, transitions=Transitions((*base.transitions.items, said)))


def test_what_was_moved_is_moved_back():
    later = renamed(GOOD, "web1", "www1")
    back = returning(GOOD, [later])
    assert back.documents == GOOD.documents
    (item,) = back.transitions.items
    assert (item.word, item.address, item.source) == (Word.MOVED, "vm/web1", "vm/www1")


def test_what_was_moved_twice_goes_back_from_where_it_is():
    first = renamed(GOOD, "web1", "www1")
    second = replace(
        first,
        documents={of.replace("www1", "site1"): doc for of, doc in first.documents.items()},
        transitions=Transitions(
            (
                *first.transitions.items,
                Transition(word=Word.MOVED, address="vm/site1", source="vm/www1", place=HERE),
            )
        ),
    )
    (item,) = returning(GOOD, [first, second]).transitions.items
    assert (item.address, item.source) == ("vm/web1", "vm/site1")


def test_a_move_that_the_good_commit_knows_is_not_turned_round():
    moved = renamed(GOOD, "web1", "www1")
    assert returning(moved, [moved]) is moved
