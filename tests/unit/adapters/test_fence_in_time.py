"""An order to a BMC that comes too late is not given; one that stands still in its middle is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import pytest

from pvc_gitops.adapters import fence
from pvc_gitops.adapters.fence import FenceAgents
from pvc_gitops.errors import BmcError
from pvc_gitops.model.spec import Bmc

BMC = Bmc(agent="played", address="192.0.2.1", username="u", password_secret="", guid=None)
AGENT = """#!/bin/bash
while read -r line; do case $line in action=*) action=${{line#action=}};; esac; done
if [ "$action" = off ]; then
    echo $$ > {here}/pid
    for _ in $(seq "$(cat {here}/tenths)"); do sleep 0.1; done
    touch {here}/is-off; exit 0
fi
[ -e {here}/is-off ] && {{ echo 'Status: OFF'; exit 2; }}
echo 'Status: ON'
"""


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """`fence_played` says whom it is when told OFF, and does it after the `tenths` of a second."""
    (tmp_path / "hv2").write_text("secret\n")
    (tmp_path / "tenths").write_text("0")
    agent = tmp_path / "fence_played"
    agent.write_text(AGENT.format(here=tmp_path))
    agent.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(fence, "READ_APART_S", 0.01)
    return FenceAgents(tmp_path)


def now_s():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_an_order_in_time_is_carried_out(machines, tmp_path):
    machines.switch_off("hv2", BMC, by_s=now_s() + 5)
    assert (tmp_path / "is-off").exists()


def test_an_order_that_comes_too_late_is_not_given(machines, tmp_path):
    with pytest.raises(BmcError, match="too late by"):
        machines.switch_off("hv2", BMC, by_s=now_s())
    assert not (tmp_path / "pid").exists()


def test_an_agent_that_stood_still_beyond_its_time_orders_nothing_when_it_goes_on(
    machines, tmp_path, monkeypatch
):
    """All its processes stop, as when the machine stands still; nobody who waits for it ends it.

    It has work left when it goes on: its bound and the end of its last step may not fall together.
    """
    run = subprocess.run
    monkeypatch.setattr(fence, "LIMIT_S", 2.0)
    monkeypatch.setattr(subprocess, "run", lambda *argv, **how: run(*argv, **how | {"timeout": 9}))
    (tmp_path / "tenths").write_text("9")

    def freeze():
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        group = os.getpgid(int((tmp_path / "pid").read_text()))  # led by `timeout`
        os.killpg(group, signal.SIGSTOP)
        time.sleep(2.5)
        os.killpg(group, signal.SIGCONT)

    thread = threading.Thread(target=freeze)
    thread.start()
    with pytest.raises(BmcError):
        machines.switch_off("hv2", BMC, by_s=now_s() + 5)
    thread.join()
    time.sleep(1.5)
    assert not (tmp_path / "is-off").exists()
