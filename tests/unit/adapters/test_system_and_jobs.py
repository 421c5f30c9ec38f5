"""Jobs, journal lines, notes: small, and relied on by everything."""

import threading

import pytest

from pvc_gitops.adapters import system
from pvc_gitops.adapters.jobs import ThreadJobs
from pvc_gitops.errors import WorldError


@pytest.fixture
def woken():
    return threading.Event()


def test_a_job_ends_with_its_value_and_wakes(woken):
    jobs = ThreadJobs(woken.set)
    go = threading.Event()
    jobs.start("a", lambda progress: (progress(0.5), go.wait(5), "done")[2])
    for _ in range(100):
        if jobs.state("a").progress is not None:
            break
        threading.Event().wait(0.01)
    assert not jobs.state("a").is_done
    assert jobs.state("a").progress == 0.5
    jobs.forget("a")  # not while it runs
    assert jobs.state("a") is not None
    go.set()
    assert woken.wait(5)
    assert jobs.state("a").is_done
    assert jobs.state("a").value == "done"
    jobs.forget("a")
    assert jobs.state("a") is None


def test_a_known_key_is_not_run_twice(woken):
    ran = []
    jobs = ThreadJobs(woken.set)
    for _ in range(3):
        jobs.start("a", lambda _: ran.append(1))
        assert woken.wait(5)
    assert ran == [1]


def test_an_error_is_kept_for_the_controller(woken):
    jobs = ThreadJobs(woken.set)
    jobs.start("a", lambda _: {}["missing"])
    assert woken.wait(5)
    assert isinstance(jobs.state("a").error, KeyError)


def test_no_more_than_so_many_at_once():
    ended = threading.Semaphore(0)
    jobs = ThreadJobs(ended.release, workers_max=2)
    lock, running, most = threading.Lock(), [0], [0]

    def work(_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.02)
        with lock:
            running[0] -= 1

    for key in range(10):
        jobs.start(str(key), work)
    for _ in range(10):
        assert ended.acquire(timeout=5)
    assert most[0] == 2
    assert all(jobs.state(str(key)).is_done for key in range(10))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"step": "vm/web1", "n": 3}, "event=x step=vm/web1 n=3"),
        ({"why": "two words"}, 'event=x why="two words"'),
        ({"why": "a\nb"}, 'event=x why="a\\nb"'),
        ({"why": 'a"b', "none": None, "empty": ""}, 'event=x why="a\\"b" empty=""'),
    ],
)
def test_a_journal_line_is_one_line(fields, text):
    assert system.line("x", fields) == text


def test_notes_are_kept_and_replaced(tmp_path):
    notes = system.FileNotes(tmp_path / "notes")
    assert notes.get("generation") is None
    notes.put("generation", {"n": 1})
    notes.put("generation", {"n": 2})
    assert system.FileNotes(tmp_path / "notes").get("generation") == {"n": 2}
    assert [p.name for p in (tmp_path / "notes").iterdir()] == ["generation.json"]


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_torn_note_is_an_error_and_never_nothing(tmp_path, text):
    (tmp_path / "generation.json").write_text(text)
    with pytest.raises(WorldError):
        system.FileNotes(tmp_path).get("generation")


def test_the_machine_is_counted(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16384000 kB\nMemFree: 1 kB\n")
    assert system.hardware(meminfo).memory_mib == 16000
    assert system.hardware(meminfo).cpus >= 1
    meminfo.write_text("")
    with pytest.raises(WorldError, match="MemTotal"):
        system.hardware(meminfo)


def test_the_guards_complaints_are_told(tmp_path):
    path = tmp_path / "guard.json"
    assert "has not begun" in system.guard_faults(path)[0]
    path.write_text('{"faults": ["a QEMU is elsewhere"]}')
    assert system.guard_faults(path) == ("a QEMU is elsewhere",)
    path.write_text("{")
    assert "cannot be read" in system.guard_faults(path)[0]


ADDRESSES = """[{"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]},
 {"ifname": "cluster", "addr_info": [{"family": "inet", "local": "10.21.0.1", "prefixlen": 24}]},
 {"ifname": "down", "addr_info": []}]"""


def test_subnets_are_found_by_address():
    assert system.subnets(ADDRESSES, ["10.21.0.1", "127.0.0.1"]) == ("10.21.0.0/24", "127.0.0.0/8")
    with pytest.raises(WorldError, match=r"10\.9\.9\.9"):
        system.subnets(ADDRESSES, ["10.9.9.9"])
    assert system.subnets_of(["127.0.0.1"]) == ("127.0.0.0/8",)
