"""Scripts: every mistake with its place, and the two commands that play them."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner
from simulated import CASES, ON, events, player

from pvc_gitops.cli.simulate import simulate
from pvc_gitops.cli.try_ import try_
from pvc_gitops.sim.script import Names, ScriptError, manual, parse

NAMES = Names(nodes=frozenset({"hv1", "hv2", "hv4"}), coordinators=frozenset({"hv1", "hv2"}))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("wait", "s:1:1: SECONDS is missing", "write: wait SECONDS"),
        ("wait -3", "s:1:6: '-3' is no number of seconds", "write: wait SECONDS"),
        ("wait 3 4", "s:1:8: '4' is too much", "write: wait SECONDS"),
        (
            "wait 1; powr hv1 on",
            "s:1:9: no command 'powr'; did you mean 'power'?",
            "pvc simulate --help lists them",
        ),
        (
            "# all\n\n  power hv9 on",
            "s:3:9: the repository declares no node 'hv9'; did you mean 'hv4'? (it has hv1, hv2, hv4)",
            "write: power NODE on|off",
        ),
        ("power hv1 of", "s:1:11: 'of' is not one of on, off; did you mean 'off'?", "write: power"),
        ("power hv1", "s:1:1: one of on, off is missing", "write: power NODE on|off"),
        ("drain", "s:1:1: NODE is missing", "write: drain NODE"),
        (
            "bmc hv1",
            "s:1:1: `bmc hv1` is not whole",
            "write: bmc NODE on|off|hang|lie | bmc NODE is",
        ),
        ("bmc hv1 is hv7", "s:1:12: the repository declares no node 'hv7'", "write: bmc"),
        ("ha hv4 kill", "s:1:4: hv4 is no coordinator", "write: ha NODE kill"),
        ("zk hv4 wipe", "s:1:4: hv4 is no coordinator", "write: zk NODE kill"),
        (
            "link hv1 storag off",
            "s:1:10: 'storag' is not one of cluster, storage, upstream",
            "write",
        ),
        ("clock hv1 rate 3", "s:1:16: '3' is no rate from 0.5 to 2", "write: clock NODE rate RATE"),
        ("vm web1 fail-migrate 1 late", "s:1:24: 'late' is none of prepare", "write: vm VM crash"),
        ("vm web1 fail-start many", "s:1:20: 'many' is no count", "write: vm VM crash"),
        ("store hv1 maybe", "s:1:11: 'maybe' is not one of on, off, stale", "write: store NODE"),
        ("settle soon", "s:1:8: 'soon' is no number of seconds", "write: settle [MAX]"),
        ("commit", "s:1:1: DIR is missing", "write: commit DIR"),
    ],
)
def test_a_mistake_has_its_place(text, message, hint):
    with pytest.raises(ScriptError) as caught:
        parse(text, name="s", names=NAMES)
    assert caught.value.message.startswith(message)
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == 2  # 1 says that a rule was broken


DESIGNED = """\
wait 5; settle; settle 60; power hv1 on; power hv1 off
bmc hv1 on; bmc hv1 off; bmc hv1 hang; bmc hv1 lie; bmc hv1 is hv2
network hv1 on; network hv1 off; link hv1 cluster off; link hv1 storage on; link hv1 upstream off
store hv1 on; store hv1 off; store hv1 stale; store hv1 ambiguous
zk hv1 kill; zk hv1 start; zk hv1 wipe; zk hv1 slow; link hv1 hv4 off; link hv4 hv1 on
agent hv4 kill; agent hv4 start; agent hv4 pause; agent hv4 resume; agent hv4 restart
guard hv4 kill; guard hv4 pause; planner hv1 restart; planner hv2 start; ha hv1 kill; ha hv1 resume
pause hv4; resume hv4; libvirt hv1 hang; libvirt hv1 ok; disk hv1 wipe; clock hv4 rate 1.01
ceph off; ceph on; ceph slow 2.5; place web1 hv4
vm web1 crash; vm web1 fail-start 2; vm web1 fail-start 1 hv4; vm web1 fail-migrate 1
vm web1 fail-migrate 2 switch; vm web1 fail-stop 3
shutdown hv1; reboot hv4; drain hv1; undrain hv1; hold on; hold off; maintenance on; maintenance off
run web1 start; run web1 stop; run web1 migrate hv4; run web1 relocate hv4
commit next; git off; git on
"""


def test_everything_that_the_design_names_is_understood():
    told = DESIGNED.count(";") + len(DESIGNED.splitlines())
    assert len(parse(DESIGNED, name="s", names=NAMES)) == told
    shown = manual()
    for verb in {command.words[0] for command in parse(DESIGNED, name="s", names=NAMES)}:
        assert f"\n{verb} " in f"\n{shown}"


def test_commands_of_one_line_happen_at_one_instant():
    found = parse("power hv1 on; power hv2 on # both\nwait 2.5", name="s", names=NAMES)
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


def test_an_event_names_whom_it_is_about(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_text(ON + "settle\npower hv2 off\nsettle\n")
    done = CliRunner().invoke(simulate, ["--repo", str(CASES / "base"), str(path), "--json", "-"])
    assert done.exit_code == 0
    result = json.loads(done.output)
    found = {e["kind"]: e for e in result["events"] if "teller" in e and e["node"] == "hv2"}
    assert {"node_revoked", "fence_requested", "death_proven"} <= found.keys()
    assert found["death_proven"]["teller"] == "hv1"
    assert [e["vm"] for e in result["events"] if e["kind"] == "guest_stopped"] == ["app2", "web2"]
    assert result["nodes"]["hv2"] == {"state": "fenced", "power": "off"}
    assert result["vms"]["app2"]["starts"][0]["node"] == "hv2"
    assert len(result["vms"]["app2"]["starts"]) == 2


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (ON + "vm web9 crash\n", "2:1: the cluster has no guest 'web9'"),
        ("place web9 hv1\n" + ON, "1:1: the cluster has no guest 'web9'"),
        (ON + "place web1 hv1\n", "2:1: `place` comes before any power"),
        ("run web9 stop\n", "1:1: the cluster has no guest 'web9'"),
    ],
)
def test_what_only_the_cluster_knows_has_its_place_too(script, message):
    with pytest.raises(ScriptError) as caught:
        player().play(script, name="s")
    assert caught.value.message.startswith(f"s:{message}")


def test_a_wish_that_is_refused_is_told_and_the_story_goes_on():
    one = player()
    one.play(ON + "settle\ndrain hv2\ndrain hv3\nsettle\n")
    (refused,) = [e for e in events(one, "operator") if "refused" in e]
    assert refused["act"] == "drain hv3"
    assert "drained already" in refused["refused"]
    assert one.result()["settled"]


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
