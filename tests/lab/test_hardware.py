"""The lab's hardware, for real: three machines from the image's base layer, which need no product
to boot.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_gitops.lab import image, preflight
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.lab import Lab, is_clean
from pvc_gitops.lab.process import must_become
from pvc_gitops.lab.remote import RemoteMode

pytestmark = pytest.mark.lab

NAME = "test-hardware"
CLUSTER = """spec:
  networks:
    upstream: {subnet: 10.20.0.0/24, gateway: 10.20.0.254}
    cluster: {subnet: 10.21.0.0/24, mtu: 1600}
    storage: {subnet: 10.22.0.0/24}
"""
NODE = (
    "spec: {{addresses: {{upstream: 10.20.0.{0}, cluster: 10.21.0.{0}, storage: 10.22.0.{0}}}}}\n"
)
# A client that has a connection and then only listens: FIN shows as `end`, RST as `reset`, no
# packet as `silence`.
LISTENER = """
import socket
connection = socket.create_connection(("10.20.0.2", 7000), timeout=5)
connection.sendall(b"x")
assert connection.recv(1) == b"x"
print("connected", flush=True)
try:
    print("end" if connection.recv(1) == b"" else "data")
except TimeoutError:
    print("silence")
except ConnectionResetError:
    print("reset")
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "cluster.yaml").write_text(CLUSTER)
    (folder / "nodes").mkdir()
    for number in (1, 2, 3):
        (folder / "nodes" / f"hv{number}.yaml").write_text(NODE.format(number))
    return folder


@pytest.fixture(scope="module")
def lab(repository: Path) -> Iterator[Lab]:
    assert preflight.missing() == []
    preflight.install_host_packages()
    lab = Lab(NAME)
    lab.down(wipe=True)
    layers = image.layers(lab.paths.root, software=False)
    lab.up(repository, layers=layers, seed_for=lambda node: f'{{"for": "{node}"}}'.encode())
    yield lab
    lab.down(wipe=True)
    assert is_clean(lab) == []


def said(lab: Lab, node: str, *argv: str) -> str:
    done = lab.node(node).run(*argv)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def boot_id(lab: Lab, node: str) -> str:
    return said(lab, node, "cat", "/proc/sys/kernel/random/boot_id")


def must_boot_again(lab: Lab, node: str, before: str, failure: str) -> None:
    """Wait for another boot than `before`. A machine that goes down takes the question with it."""

    def is_another_boot() -> bool:
        try:
            done = lab.node(node).run("cat", "/proc/sys/kernel/random/boot_id", timeout_s=5)
        except (LabError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and done.stdout.strip() != before

    must_become(is_another_boot, limit_s=30, failure=failure, hint="")
    lab.node(node).wait_until_up()


def ipmi(lab: Lab, *argv: str) -> str:
    """What hv1 gets from hv2's BMC."""
    facts = lab.facts()[1]
    words = ["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "2", "-H", facts.bmc_address]
    return said(lab, "hv1", *words, "-U", facts.bmc_username, "-P", facts.bmc_password, *argv)


def test_three_machines_are_up_and_no_unit_failed(lab: Lab) -> None:
    assert [(node.name, node.power, node.system) for node in lab.status()] == [
        ("hv1", "on", "running"),
        ("hv2", "on", "running"),
        ("hv3", "on", "running"),
    ]
    assert said(lab, "hv1", "systemctl", "--failed", "--no-legend") == ""


def test_up_again_changes_nothing(lab: Lab, repository: Path) -> None:
    before = boot_id(lab, "hv1")
    lab.up(repository, layers=image.layers(lab.paths.root, software=False))
    assert boot_id(lab, "hv1") == before


def test_a_machine_has_what_its_installer_left(lab: Lab) -> None:
    assert said(lab, "hv2", "cat", "/var/lib/pvc/seed.json") == '{"for": "hv2"}'
    assert said(lab, "hv2", "stat", "-c", "%a %U", "/var/lib/pvc/seed.json") == "600 root"
    facts = lab.facts()[1]
    assert said(lab, "hv2", "cat", "/etc/machine-id") == facts.system_uuid.replace("-", "")
    for network, nic in facts.nics.items():
        assert said(lab, "hv2", "cat", f"/sys/class/net/{nic}/address") == facts.macs[network]
    assert "10.20.0.2/24" in said(lab, "hv2", "ip", "-br", "addr", "show", "up0")
    assert sorted(said(lab, "hv2", "ls", "/sys/class/net").split()) == ["cl0", "lo", "st0", "up0"]


def test_a_machine_has_control_groups_of_its_own_with_a_controller(lab: Lab) -> None:
    assert said(lab, "hv1", "cat", "/sys/fs/cgroup/cgroup.controllers") != ""
    assert (
        said(
            lab,
            "hv1",
            "sh",
            "-c",
            "mkdir /sys/fs/cgroup/t && echo 1 > /sys/fs/cgroup/t/cgroup.kill",
        )
        == ""
    )
    said(lab, "hv1", "rmdir", "/sys/fs/cgroup/t")


def test_exec_ends_with_the_commands_status(lab: Lab) -> None:
    assert lab.call("hv1", ["sh", "-c", "exit 7"]) == 7
    assert lab.call("outside", ["ping", "-q", "-c", "1", "-W", "2", "10.20.0.3"]) == 0


def test_nodes_read_what_the_host_pushed(lab: Lab, tmp_path: Path) -> None:
    def git(*argv: str | Path) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *map(str, argv)], check=True, timeout=30, cwd=tmp_path)

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "one")
    git("push", "-q", "--force", lab.remote_path(), "main")
    fetch = (
        "import pygit2, sys; r = pygit2.init_repository('/tmp/t.git', bare=True);"
        "r.remotes.create_anonymous(sys.argv[1]).fetch(['+refs/heads/*:refs/heads/*']);"
        "print(r.branches['main'].target)"
    )
    assert len(said(lab, "hv1", "python3", "-c", fetch, lab.remote_url())) == 40
    lab.git(RemoteMode.OFF)
    assert lab.node("hv1").run("git", "ls-remote", lab.remote_url()).returncode != 0
    lab.git(RemoteMode.ON)
    assert lab.node("hv1").run("git", "ls-remote", lab.remote_url()).returncode == 0


def test_no_packet_leaves_a_machine_whose_power_is_cut(lab: Lab) -> None:
    server = subprocess.Popen(
        lab.node("hv2").enter(["socat", "TCP-LISTEN:7000", "EXEC:cat"]), stderr=subprocess.DEVNULL
    )
    time.sleep(0.5)
    client = subprocess.Popen(
        lab.outside([sys.executable, "-c", LISTENER]), stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "connected\n"
    began = time.monotonic()
    lab.power("hv2", "off")
    assert time.monotonic() - began < 3
    out, _ = client.communicate(timeout=15)
    server.wait(timeout=5)
    assert out == "silence\n"
    assert lab.status()[1].power == "off"
    lab.power("hv2", "on")


def test_a_bmc_is_the_power_switch_and_knows_its_machine(lab: Lab) -> None:
    guid = ipmi(lab, "raw", "0x06", "0x37").replace(" ", "").replace("\n", "")
    assert guid == lab.facts()[1].bmc_guid.replace("-", "")
    before = boot_id(lab, "hv2")
    ipmi(lab, "chassis", "power", "off")
    assert ipmi(lab, "chassis", "power", "status") == "Chassis Power is off"
    assert lab.node("hv2").init_pid() is None
    ipmi(lab, "chassis", "power", "on")
    lab.node("hv2").wait_until_up()
    assert boot_id(lab, "hv2") != before


@pytest.mark.parametrize("verb", ["cycle", "reset"])
def test_a_bmc_gives_a_machine_a_new_boot(lab: Lab, verb: str) -> None:
    before = boot_id(lab, "hv2")
    ipmi(lab, "chassis", "power", verb)
    must_boot_again(lab, "hv2", before, f"{verb} does nothing")


def test_a_dead_bmc_does_not_answer_and_its_machine_goes_on(lab: Lab) -> None:
    lab.bmc("hv2", on=False)
    facts = lab.facts()[1]
    words = [
        "ipmitool",
        "-I",
        "lanplus",
        "-C",
        "3",
        "-N",
        "1",
        "-R",
        "1",
        "-H",
        facts.bmc_address,
        "-U",
        "admin",
    ]
    assert (
        lab.node("hv1")
        .run(*words, "-P", facts.bmc_password, "chassis", "power", "status")
        .returncode
        != 0
    )
    assert lab.status()[1].power == "on"
    lab.bmc("hv2", on=True)
    must_become(
        lambda: lab.node("hv1").run(*words, "-P", facts.bmc_password, "mc", "info").returncode == 0,
        limit_s=10,
        failure="the BMC is not back",
        hint="",
    )


def test_a_reboot_from_inside_keeps_the_disk_and_nothing_else(lab: Lab) -> None:
    before = boot_id(lab, "hv3")
    said(
        lab, "hv3", "sh", "-c", "echo kept > /var/lib/kept; ip link add name br9 type bridge; sync"
    )
    lab.node("hv3").run("systemctl", "reboot")
    must_boot_again(lab, "hv3", before, "hv3 did not boot again")
    assert said(lab, "hv3", "cat", "/var/lib/kept") == "kept"
    assert sorted(said(lab, "hv3", "ls", "/sys/class/net").split()) == ["cl0", "lo", "st0", "up0"]
    assert lab.call("outside", ["ping", "-q", "-c", "1", "-W", "2", "10.20.0.3"]) == 0


def test_a_machine_that_powers_itself_off_is_off(lab: Lab) -> None:
    lab.node("hv3").run("systemctl", "poweroff")
    must_become(lambda: not lab.node("hv3").is_on(), limit_s=30, failure="hv3 stays on", hint="")
    assert lab.log("hv3", lines=1) == 0
    lab.power("hv3", "on")


def test_an_interrupted_up_is_finished_by_the_next_and_down_leaves_nothing(
    lab: Lab, repository: Path
) -> None:
    layers = image.layers(lab.paths.root, software=False)
    for cut_s in (0.3, 0.8, 1.5):
        lab.down(wipe=True)
        assert is_clean(lab) == []
        script = (
            "import sys; from pathlib import Path; from pvc_gitops.lab.lab import Lab;"
            "Lab(sys.argv[1]).up(Path(sys.argv[2]), layers=[Path(p) for p in sys.argv[3:]])"
        )
        up = subprocess.Popen([sys.executable, "-c", script, NAME, repository, *layers])
        time.sleep(cut_s)
        up.kill()
        up.wait()
        lab.up(repository, layers=layers)
        assert [node.system for node in lab.status()] == ["running"] * 3
    lab.down()
    lab.down()
    assert is_clean(lab) == []
    assert [node.power for node in lab.status()] == ["off"] * 3
