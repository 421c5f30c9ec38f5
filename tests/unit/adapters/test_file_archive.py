"""The archive on a disk that loses power and fills up."""

from __future__ import annotations

import pytest

from pvc_gitops.adapters import archive
from pvc_gitops.adapters.archive import FileArchive
from pvc_gitops.errors import WorldError


def entries(first, last):
    return [{"number": number, "text": f"ä {number}"} for number in range(first, last + 1)]


def test_entries_are_read_back_over_files_and_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FILE_ENTRIES", 4)
    FileArchive(tmp_path / "ledger").append(entries(1, 10))
    again = FileArchive(tmp_path / "ledger")
    assert again.last() == 10
    assert again.read(3, 9) == entries(3, 9)
    assert len(list((tmp_path / "ledger").iterdir())) == 3
    again.append(entries(9, 12))  # what it has is not written twice
    assert again.read(1, 99) == entries(1, 12)


def test_an_empty_one_says_so(tmp_path):
    one = FileArchive(tmp_path / "none")
    assert one.last() == 0
    assert one.read(1, 5) == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_short_is_written_again(tmp_path, cut):
    FileArchive(tmp_path).append(entries(1, 3))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    one = FileArchive(tmp_path)
    assert one.last() == 2
    assert one.read(1, 9) == entries(1, 2)
    one.append(entries(1, 4))
    assert FileArchive(tmp_path).read(1, 9) == entries(1, 4)


def test_a_disk_that_cannot_be_written_is_an_error_with_its_reason(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorldError, match="ledger"):
        FileArchive(tmp_path / "file" / "ledger").append(entries(1, 1))
