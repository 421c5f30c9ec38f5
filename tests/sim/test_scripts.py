"""Scripts: every mistake with its place, and the two commands that play them."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner
from simulated import CASES, ON

from pvc_gitops.cli.simulate import simulate
from pvc_gitops.cli.try_ import try_
from pvc_gitops.sim.script import ScriptError, parse

NODES = frozenset({"hv1", "hv2"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wait", "s:1:1: `wait` takes seconds; write: wait SECONDS"),
        ("wait -3", "s:1:1: `wait` takes seconds"),
        ("wait 1; powr hv1 on", "s:1:9: no command 'powr'; did you mean 'power'?"),
        (
            "# all\n\n  power hv9 on",
            "s:3:3: the repository declares no node 'hv9' (it has hv1, hv2)",
        ),
        ("power hv1 of", "s:1:1: a node and one of on, off are expected; write: power NODE on|off"),
        ("drain hv1", "s:1:1: `drain` is not simulated yet: there are no operator intents yet"),
        ("bmc hv1 lie", "s:1:1: `bmc` is not simulated yet: there is no fencing yet"),
        ("vm web1 fail-migrate 1", "s:1:1: `fail-migrate` is not simulated yet"),
        ("store hv1 maybe", "s:1:1: a node and one of on, off, stale, ambiguous are expected"),
        ("settle soon", "s:1:1: `settle` takes at most a limit in seconds"),
        ("commit", "s:1:1: one directory is expected; write: commit DIR"),
    ],
)
def test_a_mistake_has_its_place(text, message):
    with pytest.raises(ScriptError) as caught:
        parse(text, name="s", nodes=NODES)
    assert caught.value.message.startswith(message)


def test_commands_of_one_line_happen_at_one_instant():
    found = parse("power hv1 on; power hv2 on # both\nwait 2.5", name="s", nodes=NODES)
    assert [(c.line, c.column, c.words) for c in found] == [
        (1, 1, ("power", "hv1", "on")),
        (1, 15, ("power", "hv2", "on")),
        (2, 1, ("wait", "2.5")),
    ]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.txt"
    path.write_text(ON + "settle\n")
    return path


def test_simulate_prints_the_result_as_json(script):
    base = str(CASES / "base")
    done = CliRunner().invoke(simulate, ["--repo", base, str(script), "--json", "-"])
    assert done.exit_code == 0
    result = json.loads(done.output)
    assert set(result) == {"ended_at_s", "settled", "violations", "nodes", "vms", "events"}
    assert result["settled"]
    assert result["violations"] == []
    assert result["nodes"]["hv1"] == {"state": "online", "power": "on"}
    assert result["vms"]["web1"]["state"] == "running"
    assert len(result["vms"]["web1"]["starts"]) == 1
    kinds = {event["kind"] for event in result["events"]}
    assert {
        "node_state",
        "vm_state",
        "guest_started",
        "plan_published",
        "step_done",
        "leader",
    } <= kinds
    again = CliRunner().invoke(simulate, ["--repo", base, str(script), "--json", "-"])
    assert again.output == done.output


def test_another_seed_is_another_moment(script):
    base = str(CASES / "base")
    outputs = {
        CliRunner()
        .invoke(simulate, ["--repo", base, str(script), "--seed", seed, "--json", "-"])
        .output
        for seed in ("1", "1", "2")
    }
    assert len(outputs) == 2


def test_ten_minutes_of_three_nodes_are_played_in_an_instant(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text(ON + "wait 600\n")
    began_s = time.process_time()
    done = CliRunner().invoke(simulate, ["--repo", str(CASES / "base"), str(path)])
    assert done.exit_code == 0
    # The budget is 0.15 s on a machine at rest; tests share theirs with others.
    assert time.process_time() - began_s < 1.5


def test_try_plays_what_it_is_told():
    cut = "power hv2 off\nwait 9\nstatus\nwait 30\nstatus\n"
    lines = f"plan\nstatus\n{cut}explain vm/web1\npush\nfly\nhelp\nquit\n"
    done = CliRunner().invoke(try_, ["--repo", str(CASES / "base")], input=lines)
    assert done.exit_code == 0, done.output
    assert "6 guests run" in done.output
    assert "Nothing to do" in done.output
    assert "HEALTHY" in done.output
    assert "hv2 silent, 2 guests unknown" in done.output
    assert "death_proven" in done.output  # and then they run elsewhere
    assert "unknown" not in done.output.split("death_proven")[1].split("explain")[0]
    assert "running on hv1, start 1" in done.output
    assert "Nothing has changed" in done.output
    assert "no command 'fly'" in done.output
