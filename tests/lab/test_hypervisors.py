"""Hypervisors, for real: one that is declared at the founding, and one that comes later. One is killed at
every stage, loses its power, and is at first not the machine that git names.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cloud import ANSWER_LIMIT_S, PVC, Cloud, until

from pvc_gitops.adapters.age import sops
from pvc_gitops.cli import lab_up
from pvc_gitops.formation.secrets import SECRET_FILE
from pvc_gitops.lab import clone, image, preflight
from pvc_gitops.lab.lab import Lab

pytestmark = pytest.mark.lab

NAME = "hyp"
EXAMPLE = Path(__file__).parents[2] / "example-cluster-repo"
COORDINATORS = ("hv1", "hv2", "hv3")
FIRST, LATE = "hv4", "hv5"
WRONG = "SHA256:" + "A" * 43
FORMED_LIMIT_S = 400.0  # 45 s undisturbed; each kill costs the pause before the next start
ONLINE_LIMIT_S = 90.0
REACHED_S = 90.0
FOLLOWED_S = 60.0  # a poll interval of 15 s, and the time limit of a fetch from nowhere
# Below these nothing of a killed formation would be worth the name `every stage`.
STAGES_KILLED_MIN = 5
LOOK_S = 0.02


def node_document(name: str, *, osds: str = "") -> str:
    number = name.removeprefix("hv")
    return f"""# yaml-language-server: $schema=../.pvc/schema/node.json
apiVersion: pvc/v1
kind: Node
metadata: {{name: {name}}}
spec:
  role: hypervisor
  hardware: {{cpus: 4, memory: 2GiB}}
  addresses: {{upstream: 10.20.0.{number}, cluster: 10.21.0.{number}, storage: 10.22.0.{number}}}
{osds}"""


def guest_document(name: str, node: str) -> str:
    return f"""# yaml-language-server: $schema=../.pvc/schema/virtual-machine.json
apiVersion: pvc/v1
kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  cpu: {{vcpus: 1}}
  memory: 96MiB
  disks:
    - {{name: root, pool: vms, size: 64MiB, image: tiny-guest}}
  nics:
    - {{network: app}}
  console: {{log: true}}
  placement: {{nodes: [{node}], strict: false}}  # strict would lose N-1, and is refused
  stop_timeout: 1s
"""


@dataclass(slots=True)
class Attack:
    """What was done to hv4 on its way, and what it said."""

    killed: set[str] = field(default_factory=set)
    is_cut: bool = False
    said: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def play(self, cloud: Cloud) -> None:
        state = lab_up.formation_state(cloud.lab, FIRST)
        self._write_keys(cloud, state)
        new = set(state["stage"].split(", ")) - self.killed - {"off", "booting", "done", "idle"}
        if not new:
            return
        self.killed |= new
        if "ceph" in new and not self.is_cut:
            self.is_cut = True
            cloud.lab.power(FIRST, "cycle")
        else:
            unit = "pvc-formation.service"
            cloud.lab.node(FIRST).run("systemctl", "kill", "--signal=KILL", unit)

    def _write_keys(self, cloud: Cloud, state: dict[str, str]) -> None:
        """First none is named, then a wrong one, then the right one: as slow as people are."""
        waiting, key = str(state.get("waiting_for", "")), str(state.get("key", ""))
        if "of the accepted commit" not in waiting or waiting in self.said:
            return
        self.said.append(waiting)
        self.keys.append(key)
        clone.write_key(cloud.clone, FIRST, WRONG if len(self.said) == 1 else key)
        cloud.commit_and_push(f"a key for {FIRST}")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, Attack]]:
    assert preflight.missing() == []
    preflight.install_host_packages()
    home = tmp_path_factory.mktemp("hypervisors")
    example = home / "example"
    shutil.copytree(EXAMPLE, example)
    (example / f"nodes/{FIRST}.yaml").write_text(node_document(FIRST), encoding="utf-8")
    cloud, attack = Cloud(home / "clone"), Attack()
    cloud.lab = Lab(NAME)
    cloud.lab.down(wipe=True)
    try:
        lab_up.prepare(cloud.lab, cloud.clone, example, print)
        cloud.lab.up(
            cloud.clone,
            seed_for=lab_up.seeds(cloud.lab, cloud.clone),
            layers=image.layers(cloud.lab.paths.root),
        )
        end_s = time.monotonic() + FORMED_LIMIT_S
        while not all(is_done(cloud, node) for node in (*COORDINATORS, FIRST)):
            assert time.monotonic() < end_s, (attack, lab_up.formation_state(cloud.lab, FIRST))
            attack.play(cloud)
            time.sleep(LOOK_S)
        until(f"{FIRST} is online", ONLINE_LIMIT_S, lambda: state_of(cloud, FIRST) == "online")
        cloud.wait_running({path.stem for path in (cloud.clone / "vms").glob("*.yaml")})
        yield cloud, attack
    finally:
        cloud.lab.down(wipe=True)


@pytest.fixture
def grown(story: tuple[Cloud, Attack]) -> Cloud:
    return story[0]


def is_done(cloud: Cloud, node: str) -> bool:
    state = lab_up.formation_state(cloud.lab, node)
    return bool(state["stage"] == "done")


def state_of(cloud: Cloud, node: str) -> str:
    found = cloud.status()["nodes"].get(node)
    return "" if found is None else str(found["state"])


def answer(cloud: Cloud, node: str, address: str) -> str:
    """The name of the guest that answers a node there, or nothing."""
    argv = cloud.lab.node(node).enter(["curl", "-s", "-m", "5", f"http://{address}/"])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return str(json.loads(done.stdout)["hostname"]) if done.stdout else ""


def add_guest(cloud: Cloud, name: str, node: str) -> None:
    cloud.write(f"vms/{name}.yaml", guest_document(name, node))
    cloud.commit_and_push(f"{name} on {node}")
    until(f"{name} runs", ANSWER_LIMIT_S * 6, lambda: name in cloud.running())
    assert cloud.owner(name) == node


def test_without_its_key_in_git_a_machine_waits_and_says_what_to_write(
    story: tuple[Cloud, Attack],
) -> None:
    _, attack = story
    key = attack.keys[0]
    assert f"nodes/{FIRST}.yaml of the accepted commit names no key" in attack.said[0]
    assert f'write identity: {{key: "{key}"}} there, commit and push' in attack.said[0]


def test_a_machine_with_another_key_than_git_names_is_refused(story: tuple[Cloud, Attack]) -> None:
    cloud, attack = story
    key = attack.keys[0]
    assert f"names another key: it says {WRONG}, this machine's is {key}" in attack.said[1]
    assert f"some other machine asks in the name of {FIRST}" in attack.said[1]
    signed = [
        line
        for node in COORDINATORS
        for line in cloud.on(node, "journalctl", "-u", "pvc-peers", "-o", "cat").splitlines()
        if line.startswith("event=certificate_signed")
    ]
    assert signed
    assert all(f"node={FIRST} key={key} " in line for line in signed)


def test_killed_everywhere_it_is_a_whole_node(story: tuple[Cloud, Attack]) -> None:
    cloud, attack = story
    assert attack.is_cut
    assert len(attack.killed) >= STAGES_KILLED_MIN, attack.killed
    assert set(attack.keys) == {attack.keys[0]}  # one key, whatever happened
    assert cloud.on(FIRST, "hostname").strip() == FIRST
    assert cloud.on(FIRST, "systemctl", "--failed", "--no-legend") == ""
    assert cloud.on(COORDINATORS[0], "ceph", "osd", "ls").split() == ["0", "1", "2", "3"]
    until(
        "four OSDs", ONLINE_LIMIT_S,
        lambda: "4 osds: 4 up" in cloud.on(COORDINATORS[0], "ceph", "osd", "stat"),
    )  # fmt: skip
    sessions = cloud.on(FIRST, "vtysh", "-c", "show bgp l2vpn evpn summary json")
    assert sessions.count('"state":"Established"') == len(COORDINATORS)
    # libvirt of the others lets it in, and it them.
    for here, there in ((FIRST, COORDINATORS[0]), (COORDINATORS[0], FIRST)):
        uri = f"qemu+tls://{there}/system"
        assert cloud.on(here, "virsh", "-c", uri, "hostname").startswith(there)


def test_a_hypervisor_holds_nothing_that_only_coordinators_hold(grown: Cloud) -> None:
    known = json.loads((grown.lab.paths.home / lab_up.SECRETS_FILE).read_text(encoding="utf-8"))
    sealed = (grown.clone / SECRET_FILE).read_bytes()
    secrets = sops.read(sealed, known["cluster_key"])
    for name in ("zookeeper_quorum", "zookeeper_super", "ceph_admin", "ceph_mon", "ca_key"):
        middle = secrets[name].splitlines()[len(secrets[name].splitlines()) // 2]
        assert len(middle) > 20
        where = ("grep", "-rlF", "--exclude=osd0", "--", middle, "/etc", "/var/lib", "/run/pvc")
        assert grown.on(FIRST, *where, ok=(0, 1, 2)) == "", name
    assert known["cluster_key"] not in grown.on(FIRST, "cat", "/var/lib/pvc/seed.json")
    for path in ("/etc/pvc/zookeeper.password", "/etc/pvc/tls/node.key", "/etc/pvc/guards.key"):
        assert grown.on(FIRST, "stat", "-c", "%a %U", path).strip() == "600 root"
    for unit in ("zookeeper", "pvc-planner", "pvc-peers"):
        assert grown.on(FIRST, "systemctl", "is-active", unit, ok=(3, 4)).strip() == "inactive"


def test_a_hypervisor_is_not_given_another_s_secrets(grown: Cloud) -> None:
    script = """
from pvc_gitops.adapters.formation.credentials import OWN
from pvc_gitops.adapters.formation.peers import Peer, ask
from pvc_gitops.formation.peer_words import Question, Verb
peer = Peer(name="hv1", address="10.21.0.1")
print(ask(peer, Question(verb=Verb.SECRETS, fields={"node": "hv2"}), OWN))
"""
    said = grown.on(FIRST, "python3", "-c", script)
    assert "the secrets of hv2 were asked for with the certificate of hv4" in said


def test_a_hypervisor_runs_a_guest_with_a_disk_that_all_nodes_reach(grown: Cloud) -> None:
    add_guest(grown, "pinned", FIRST)
    counted = grown.counter("pinned")
    until("it counts on its disk", REACHED_S, lambda: grown.counter("pinned") > counted)
    address = grown.address("pinned")
    for node in COORDINATORS:
        until(
            f"{node} is answered", REACHED_S, lambda n=node: answer(grown, n, address) == "pinned"
        )


def test_a_later_start_changes_nothing(grown: Cloud) -> None:
    files = (
        "/etc/pvc/node.toml",
        "/etc/pvc/tls/node.pem",
        "/etc/frr/frr.conf",
        "/etc/ceph/ceph.conf",
    )
    before = grown.on(FIRST, "stat", "-c", "%Y%i", *files)
    grown.on(FIRST, "systemctl", "restart", "pvc-formation")
    until("it ends", ANSWER_LIMIT_S, lambda: is_done(grown, FIRST))
    assert grown.on(FIRST, "stat", "-c", "%Y%i", *files) == before
    assert state_of(grown, FIRST) == "online"


def test_a_node_that_is_declared_later_joins_and_changes_nothing_elsewhere(grown: Cloud) -> None:
    conf = ("stat", "-c", "%Y%i", "/etc/frr/frr.conf", "/etc/libvirt/libvirtd.conf")
    before = {node: grown.on(node, *conf) for node in (*COORDINATORS, FIRST)}
    pids = {node: grown.main_pid(node, "frr") for node in (*COORDINATORS, FIRST)}
    grown.write(f"nodes/{LATE}.yaml", node_document(LATE, osds="  osds: []\n"))
    # The machine is delivered: the lab writes what stands on its sticker, and later its key.
    up = subprocess.run(
        [PVC, "lab", "up", "--name", NAME, "--repo", grown.clone], capture_output=True, text=True,
        timeout=FORMED_LIMIT_S, check=False,
    )  # fmt: skip
    assert up.returncode == 0, up.stdout + up.stderr
    until(f"{LATE} is online", ONLINE_LIMIT_S, lambda: state_of(grown, LATE) == "online")
    add_guest(grown, "latest", LATE)
    assert grown.counter("latest") >= 0
    address = grown.address("latest")
    for node in (COORDINATORS[0], FIRST):  # another hypervisor learns the way from the reflectors
        until(
            f"{node} is answered", REACHED_S, lambda n=node: answer(grown, n, address) == "latest"
        )
    assert {node: grown.on(node, *conf) for node in before} == before
    assert {node: grown.main_pid(node, "frr") for node in pids} == pids
    grown.pvc("plan", ok=(0,))  # nothing is left to do


def test_a_node_without_the_origin_follows_through_the_coordinators(grown: Cloud) -> None:
    grown.lab.link(LATE, ["upstream"], on=False)
    try:
        grown.write("README.md", "Nothing that a plan would do.\n")
        commit = grown.commit_and_push("words")
        until("accepted", FOLLOWED_S, lambda: grown.accepted() == commit)
        until(
            f"{LATE} holds it", FOLLOWED_S * 2,
            lambda: grown.status()["seen"][LATE]["head"] == commit,
        )  # fmt: skip
        # And its silence is told: the origin is not forgotten over it.
        until("told", FOLLOWED_S * 2, lambda: grown.status()["seen"][LATE]["error"] != "")
    finally:
        grown.lab.link(LATE, ["upstream"], on=True)
    until("well", FOLLOWED_S * 2, lambda: grown.status()["seen"][LATE]["error"] == "")
