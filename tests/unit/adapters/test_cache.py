"""What is kept between runs is found again, or it is as if nothing had been kept."""

from __future__ import annotations

import os
import threading

import pytest

from pvc_gitops.adapters import cache

MADE_BY = b"m" * 32
VALUE = {"vms/web1.yaml": (b"digest", {"size": 3, "on": True, "none": None}, ("a", "b"), 1.5)}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pvc-gitops" / "documents"


def only_file(place):
    (file,) = place.iterdir()
    return file


def test_a_value_comes_back_to_who_made_it_and_to_nobody_else(place):
    cache.write("repo", MADE_BY, VALUE)
    assert cache.read("repo", MADE_BY) == VALUE
    assert cache.read("repo", b"n" * 32) is None
    assert cache.read("other", MADE_BY) is None
    assert only_file(place).stat().st_mode & 0o777 == 0o600


def test_any_flipped_or_missing_byte_is_as_if_nothing_were_kept(place):
    cache.write("repo", MADE_BY, VALUE)
    file = only_file(place)
    good = file.read_bytes()
    for at in range(len(good)):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert cache.read("repo", MADE_BY) is None
        file.write_bytes(good[:at])
        assert cache.read("repo", MADE_BY) is None
    file.write_bytes(good)
    assert cache.read("repo", MADE_BY) == VALUE


def test_a_file_that_others_may_write_or_read_is_not_believed(place):
    cache.write("repo", MADE_BY, VALUE)
    for mode in (0o666, 0o620, 0o604):
        only_file(place).chmod(mode)
        assert cache.read("repo", MADE_BY) is None
    only_file(place).chmod(0o600)
    assert cache.read("repo", MADE_BY) == VALUE


def test_a_file_of_another_user_is_not_believed(place):
    cache.write("repo", MADE_BY, VALUE)
    if os.geteuid() == 0:
        os.chown(only_file(place), 12345, 12345)
        assert cache.read("repo", MADE_BY) is None
    else:
        assert only_file(place).stat().st_uid == os.geteuid()


def test_links_pipes_and_folders_in_its_place_are_passed_over(place):
    cache.write("repo", MADE_BY, VALUE)
    file = only_file(place)
    elsewhere = file.rename(place / "elsewhere")
    file.symlink_to(elsewhere)
    assert cache.read("repo", MADE_BY) is None
    file.unlink()
    os.mkfifo(file, 0o600)
    assert cache.read("repo", MADE_BY) is None
    file.unlink()
    file.mkdir(mode=0o700)
    assert cache.read("repo", MADE_BY) is None
    cache.write("repo", MADE_BY, VALUE)  # cannot replace a folder: only slower
    assert file.is_dir()


def test_where_nothing_can_be_written_nothing_fails(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cache.write("repo", MADE_BY, VALUE)
    assert cache.read("repo", MADE_BY) is None


def test_a_relative_cache_home_is_ignored_as_the_standard_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "pvc-gitops" / "documents"


def test_the_oldest_go_when_there_are_too_many(place):
    for number in range(cache.FILES_MAX + 5):
        cache.write(f"repo{number}", MADE_BY, number)
        newest = max(place.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, ns=(number, number))
    cache.write("last", MADE_BY, "last")
    assert len(list(place.iterdir())) == cache.FILES_MAX
    assert cache.read("repo0", MADE_BY) is None
    assert cache.read(f"repo{cache.FILES_MAX + 4}", MADE_BY) == cache.FILES_MAX + 4
    assert cache.read("last", MADE_BY) == "last"


def test_what_writes_at_the_same_time_never_leaves_a_torn_file(place):
    values = [{"n": [number] * 20_000} for number in range(4)]

    def work(value):
        for _ in range(20):
            cache.write("repo", MADE_BY, value)

    workers = [threading.Thread(target=work, args=(value,)) for value in values]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        assert cache.read("repo", MADE_BY) in [None, *values]
    for worker in workers:
        worker.join()
    assert cache.read("repo", MADE_BY) in values
    assert len(list(place.iterdir())) == 1


def test_the_fingerprint_changes_with_any_file(tmp_path):
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for file in files:
        file.write_text("x = 1\n")
    before = cache.fingerprint(files)
    assert cache.fingerprint(files) == before
    files[1].write_text("x = 2\n")
    assert cache.fingerprint(files) != before
