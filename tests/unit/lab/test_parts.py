"""The lab's small pure parts."""

import json
import os
from pathlib import Path

import pytest

from pvc_gitops.lab import bmc, cgroup, image, node, preflight, process, topology
from pvc_gitops.lab.errors import LabError
from pvc_gitops.lab.paths import LabPaths

HARDWARE = topology.NodeHardware(
    name="hv1",
    system_uuid="5463fc42-b71f-5b09-9c02-f0daaafce87c",
    nics=(),
    bmc_address="10.20.0.201",
)


def test_cgroup_version_2_is_found_beside_version_1() -> None:
    hybrid = (
        "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    assert cgroup.find_root(hybrid) == Path("/sys/fs/cgroup/unified")
    assert cgroup.find_root("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == Path("/sys/fs/cgroup")
    assert cgroup.find_root("proc /proc proc rw 0 0\n") is None


def test_only_number_one_of_an_inner_name_space_is_an_init() -> None:
    assert node.is_init("Name:\tsystemd\nNSpid:\t4711\t1\n")
    assert not node.is_init("Name:\tsystemd\nNSpid:\t1\n")
    assert not node.is_init("Name:\tbash\nNSpid:\t4712\t17\n")


def test_available_memory_is_read_in_bytes() -> None:
    assert (
        preflight.memory_available_bytes("MemTotal: 9 kB\nMemAvailable:   2048 kB\n") == 2 * 1024**2
    )
    assert preflight.memory_available_bytes("") == 0


def test_a_bmcs_guid_is_the_machines_uuid_in_the_order_of_its_bytes() -> None:
    text = bmc.lan_conf(HARDWARE, Path("/x/chassis"), "word")
    assert "    guid 5463fc42b71f5b099c02f0daaafce87c\n" in text
    assert 'chassis_control "/x/chassis 0x20"' in text


def test_a_chassis_names_root_lab_and_node() -> None:
    text = bmc.chassis_script(LabPaths(Path("/r"), "demo").node("hv1"))
    assert "-m pvc_gitops.lab.switch /r demo hv1" in text


def test_ports_of_a_switch_fit_into_interface_names() -> None:
    long = LabPaths(Path("/r"), "demo").node("a-node-with-a-rather-long-name")
    assert len(long.port("upstream")) <= 15


def test_a_pid_file_forgets_a_process_that_is_another_now(tmp_path: Path) -> None:
    ours = process.PidFile(tmp_path / "pid", "no such words in any command line")
    ours.write(os.getpid())
    assert ours.pid() is None
    assert process.PidFile(tmp_path / "pid", "python").pid() == os.getpid()
    ours.forget()
    ours.end()


def test_a_dead_process_is_dead() -> None:
    assert process.is_dead(2**22 + 1)
    assert not process.is_dead(os.getpid())


def test_a_failing_command_shows_what_it_said() -> None:
    with pytest.raises(LabError, match="status 3: broken"):
        process.run("sh", "-c", "echo broken >&2; exit 3")
    with pytest.raises(LabError, match="not installed"):
        process.run("no-such-program-anywhere")


def test_a_wait_has_an_end_and_a_name() -> None:
    assert process.wait_for(lambda: True, limit_s=0)
    assert not process.wait_for(lambda: False, limit_s=0)
    with pytest.raises(LabError, match="hv1 did not come up within 0 s"):
        process.must_become(lambda: False, limit_s=0, failure="hv1 did not come up", hint="look")


def test_a_layer_that_a_lab_uses_is_never_pruned(tmp_path: Path) -> None:
    for number in range(12):
        layer = tmp_path / "image" / f"software-{number:02d}"
        (layer / "upper").mkdir(parents=True)
        os.utime(layer, (number, number))
    half = tmp_path / "image" / "software-99.new"
    (half / "upper").mkdir(parents=True)
    node = tmp_path / "labs" / "demo" / "nodes" / "hv1"
    node.mkdir(parents=True)
    (node / "layers.json").write_text(json.dumps([f"{tmp_path}/image/software-01/upper", "/base"]))
    assert sorted(path.name for path in image.prune(tmp_path)) == [
        "software-00",
        "software-02",
        "software-03",
    ]
    assert half.exists()
    assert image.prune(tmp_path) == []
