"""The file by which sshd lets operators in."""

import stat

import pytest

from pvc_gitops.adapters.logins import KeyFile
from pvc_gitops.errors import WorldError


def test_sshd_can_read_it_and_it_is_written_only_when_it_changes(tmp_path):
    path = tmp_path / "authorized_keys"
    KeyFile(path).allow("one\n")
    before = path.stat()
    assert stat.S_IMODE(before.st_mode) == 0o644
    KeyFile(path).allow("one\n")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    KeyFile(path).allow("two\n")
    assert path.read_text() == "two\n"


def test_a_disk_that_takes_nothing_is_a_world_error_and_the_list_stays(tmp_path):
    path = tmp_path / "authorized_keys"
    path.write_text("one\n")
    (tmp_path / ".authorized_keys.new").mkdir()  # so that nothing can be written beside it
    with pytest.raises(WorldError):
        KeyFile(path).allow("two\n")
    assert path.read_text() == "one\n"
