"""Questions and answers between guards: only fresh, authentic ones of the right guard count."""

import itertools
import json

import pytest

from pvc_guard import lease
from pvc_guard.talk import (
    Answer,
    Notebook,
    Question,
    Witness,
    digest_of,
    read_answer,
    read_question,
    write_answer,
    write_question,
)

KEY = b"k" * 32
VOTERS = ("10.21.0.1", "10.21.0.2", "10.21.0.3")


def notebook(key=KEY, voters=VOTERS):
    numbers = itertools.count()
    return Notebook(key=key, voters=voters, new_nonce=lambda: f"{next(numbers):032x}")


def witness(me="10.21.0.2", key=KEY, voters=VOTERS):
    return Witness(me=me, voters=voters, key=key)


def out():
    return "mark"


def test_a_question_and_its_answer():
    book = notebook()
    asked = book.ask(105.0)
    assert list(asked) == list(VOTERS)
    said = witness().answer(asked["10.21.0.2"], 50.0, out)
    answer, asked_at_s = book.take(said)
    assert (answer.of, answer.is_out, answer.out_for_s, asked_at_s) == ("10.21.0.2", True, 0.0, 105)


def test_an_answer_counts_once():
    book = notebook()
    said = witness().answer(book.ask(105.0)["10.21.0.2"], 50.0, out)
    assert book.take(said) is not None
    assert book.take(said) is None


def test_the_answer_to_another_question_does_not_count():
    said = witness().answer(notebook(voters=VOTERS).ask(1.0)["10.21.0.2"], 50.0, out)
    fresh = notebook()
    fresh.new_nonce = lambda: "f" * 32
    fresh.ask(105.0)
    assert fresh.take(said) is None


def test_a_question_for_another_guard_is_not_answered():
    asked = notebook().ask(105.0)
    assert witness().answer(asked["10.21.0.3"], 50.0, out) is None


def test_one_guard_cannot_stand_for_another():
    book = notebook()
    asked = book.ask(105.0)
    nonce = read_question(KEY, asked["10.21.0.3"]).nonce
    said = write_answer(KEY, Answer(nonce=nonce, of="10.21.0.2", is_out=True, out_for_s=9.0))
    assert book.take(said) is None


def test_a_question_about_another_ensemble_is_not_answered():
    asked = notebook(voters=(*VOTERS[:2], "10.21.0.4")).ask(105.0)
    assert witness().answer(asked["10.21.0.2"], 50.0, out) is None


@pytest.mark.parametrize("at", [0, 31, 32, 60, -1])
def test_a_changed_byte_is_noticed(at):
    data = bytearray(write_question(KEY, Question(nonce="0" * 32, to=VOTERS[1], voters="x")))
    data[at] ^= 1
    assert read_question(KEY, bytes(data)) is None


@pytest.mark.parametrize("data", [b"", b"x", b"x" * 32, b"x" * 600])
def test_what_nobody_with_the_key_wrote_is_nothing(data):
    assert read_question(KEY, data) is None
    assert read_answer(KEY, data) is None


def test_another_key_opens_nothing():
    said = write_answer(b"other", Answer(nonce="0", of=VOTERS[1], is_out=True, out_for_s=1.0))
    assert read_answer(KEY, said) is None


def test_a_question_is_no_answer():
    book = notebook()
    assert book.take(book.ask(105.0)["10.21.0.1"]) is None


def test_how_long_it_has_been_out_counts_from_the_first_look_of_an_unchanged_log():
    mind = witness()
    book = notebook()

    def asked(now_s, look):
        said = mind.answer(book.ask(now_s)["10.21.0.2"], now_s, look)
        answer, _ = book.take(said)
        return answer.is_out, answer.out_for_s

    assert asked(50.0, out) == (True, 0.0)
    assert asked(53.5, out) == (True, 3.5)
    assert asked(54.0, lambda: "another mark") == (True, 0.0)
    assert asked(55.0, lambda: None) == (False, 0.0)
    assert asked(56.0, lambda: "another mark") == (True, 0.0)


def test_questions_without_answers_are_forgotten():
    book = notebook()
    first = book.ask(1.0)
    for second in range(2, 40):
        book.ask(float(second))
    assert book.take(witness().answer(first["10.21.0.2"], 50.0, out)) is None


def test_the_order_of_an_ensemble_is_nobodys_business():
    assert digest_of(VOTERS) == digest_of(tuple(reversed(VOTERS)))


def told(of, now_s, mark="mark"):
    """For how long its server has been out, as a question at that time finds it."""
    book = notebook()
    said = of.answer(book.ask(105.0)["10.21.0.2"], now_s, lambda: mark)
    return book.take(said)[0].out_for_s


@pytest.mark.parametrize(
    ("boot", "mark", "expected"),
    [("boot", "mark", 30.0), ("boot", "another mark", 0.0), ("another boot", "mark", 0.0)],
)
def test_the_next_guard_of_a_boot_is_witness_of_what_the_last_one_was(boot, mark, expected):
    one = witness()
    told(one, 50.0)
    guard, _ = lease.begin(
        boot_id="boot",
        timing=lease.Timing(lease_s=6.0, heartbeat_s=1.0),
        now_s=50.0,
        is_slice_empty=True,
        saved=None,
        coordinators=frozenset(VOTERS),
    )
    written = json.loads(json.dumps(lease.to_json(guard, one.out)))
    following = witness()
    following.out = lease.out_of_json(written, boot)
    assert told(following, 80.0, mark) == expected


def test_what_is_not_a_witness_s_is_not_taken_for_one():
    with pytest.raises(ValueError, match="witness"):
        lease.out_of_json({"boot_id": "boot", "out": {"since_s": "long"}}, "boot")
