"""Guest networks on the real kernel: who reaches whom, what stays on its node, what goes on running."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cloud import Cloud, until

from pvc_gitops.lab import network
from pvc_gitops.world import names

pytestmark = pytest.mark.lab

APP = 1000
DOORS = {22: "cluster", 2181: "cluster", 3300: "storage", 7481: "cluster", 16514: "cluster"}
SPARE = 1900
REACHED_S = 60.0  # BGP's 1 s timers, a DHCP answer; a guest emulated on a busy machine
REBOOT_S = 240.0
LISTEN_END_S = 30.0  # of tcpdump, milliseconds at rest

SPARE_YAML = f"""# yaml-language-server: $schema=../.pvc/schema/network.json
apiVersion: pvc/v1
kind: Network
metadata:
  name: spare
spec:
  type: managed
  vni: {SPARE}
  ipv4:
    subnet: 10.190.0.0/24
    gateway: 10.190.0.1
    dhcp: {{start: 10.190.0.100, end: 10.190.0.199}}
"""
# Its disk is blank, so it never says a word on any network.
MUTE_YAML = """# yaml-language-server: $schema=../.pvc/schema/virtual-machine.json
apiVersion: pvc/v1
kind: VirtualMachine
metadata:
  name: mute
spec:
  cpu: {vcpus: 1}
  memory: 64MiB
  disks:
    - {name: root, pool: vms, size: 16MiB, boot: 1}
  nics:
    - {network: app}
    - {network: spare}
  placement: {nodes: [hv2], strict: false}
  stop_timeout: 1s
"""


def leases(cloud: Cloud, node: str) -> dict[str, str]:
    """Address -> guest, of the NICs that this node's DHCP knows."""
    text = cloud.on(node, "sh", "-c", "cat /run/pvc/dhcp/*.hosts")
    return {line.split(",")[1]: line.split(",")[2] for line in text.split()}


def routes(cloud: Cloud, node: str) -> dict[str, str]:
    """Host route -> over which node's address it leads; empty for a guest of this node."""
    shown = json.loads(cloud.on(node, "ip", "-j", "route", "show"))
    return {
        each["dst"]: each.get("gateway", "")
        for each in shown
        if "/" not in each["dst"] and each.get("protocol") in {"bgp", "117"}
    }


def serving(cloud: Cloud, node: str) -> list[str]:
    """The networks whose DHCP runs there."""
    units = ("systemctl", "list-units", "--plain", "--no-legend", "--state=running", "pvc-dhcp@*")
    return sorted(line.split()[0] for line in cloud.on(node, *units).splitlines())


def daemons(cloud: Cloud, vni: int) -> dict[str, int]:
    return {node: cloud.main_pid(node, f"pvc-dhcp@{vni}") for node in cloud.nodes()}


def answers(argv: list[str], address: str) -> str:
    """The name of the guest that answers there, or nothing."""
    done = subprocess.run(
        [*argv, "curl", "-s", "-m", "5", f"http://{address}/"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return str(json.loads(done.stdout)["hostname"]) if done.stdout else ""


def ask(cloud: Cloud, node: str, url: str) -> str:
    return cloud.on(node, "curl", "-s", "-m", "9", url, ok=(0, 28))


@contextlib.contextmanager
def listening(cloud: Cloud, node: str, interface: str, what: str) -> Iterator[list[str]]:
    """What tcpdump prints there meanwhile, for reading after the block. It ends with its input, so also
    with this process."""
    dump = ["tcpdump", "-i", interface, "-n", "-e", "-v", "-l", *what.split()]
    argv = ["sh", "-c", '"$@" & read -r _; kill $!; wait', "listen", *dump]
    found: list[str] = []
    with subprocess.Popen(
        cloud.lab.node(node).enter(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "listening on" in process.stderr.readline()
        try:
            yield found
        finally:
            heard = process.communicate("", timeout=LISTEN_END_S)[0].splitlines()
            # An interrupted tcpdump ends with an empty line.
            found += [line for line in heard if line]


def test_every_node_knows_the_way_to_every_guest_and_is_answered(cloud: Cloud) -> None:
    own = {node: leases(cloud, node) for node in cloud.nodes()}
    core = {f"hv{number}": f"10.21.0.{number}" for number in (1, 2, 3)}
    guests = {address: guest for found in own.values() for address, guest in found.items()}
    assert set(guests.values()) == cloud.running()
    assert len(guests) > len(cloud.running())  # some are in two networks: both are answered
    for node in cloud.nodes():
        ways = {
            address: "" if place == node else core[place]
            for place, found in own.items()
            for address in found
        }
        until(f"routes of {node}", REACHED_S, lambda n=node, w=ways: routes(cloud, n) == w)
        inside = cloud.lab.node(node).enter([])
        for address, guest in guests.items():
            until(
                f"{guest} at {address} answers {node}",
                REACHED_S,
                lambda i=inside, a=address, g=guest: answers(i, a) == g,
            )


def test_a_client_outside_is_answered_whichever_node_it_asks(cloud: Cloud) -> None:
    """The answer leaves by the guest's own node, another one than the question came by."""
    client = cloud.lab.outside([])
    guests = {cloud.address(name): name for name in ("web1", "web2", "web3")}
    for number in (1, 2, 3):
        network.ip(cloud.lab.paths, [f"route replace 10.100.0.0/24 via 10.20.0.{number}"])
        try:
            assert {address: answers(client, address) for address in guests} == guests
        finally:
            network.ip(cloud.lab.paths, ["route del 10.100.0.0/24"])


def test_guests_reach_neither_other_nodes_nor_the_core(cloud: Cloud) -> None:
    others = [f"10.2{net}.0.{node}" for net in (0, 1, 2) for node in (1, 2, 3)]
    own = cloud.owner("web1").removeprefix("hv")
    for address in ["10.20.0.254", *(each for each in others if not each.endswith(f".{own}"))]:
        url = f"http://{cloud.address('web1')}/ping/{address}"
        assert json.loads(ask(cloud, cloud.owner("web1"), url))["ok"] is False, address


@pytest.mark.long
def test_no_door_of_the_cluster_opens_to_a_guest(cloud: Cloud) -> None:
    """ssh, ZooKeeper, Ceph's monitors, the peers' door, libvirt: each is open to nodes."""
    own = cloud.owner("web1")
    client, near = cloud.address("web1"), cloud.address("web2")

    def is_open(address: str, port: int) -> bool:
        said = ask(cloud, own, f"http://{client}/tcp/{address}/{port}")
        answer: dict[str, bool] = json.loads(said)
        return answer["open"]

    assert is_open(near, 80)
    doors = []
    for node in cloud.nodes():
        number = node.removeprefix("hv")
        for port, network_of_it in DOORS.items():
            home = {"cluster": "10.21.0", "storage": "10.22.0"}[network_of_it]
            heard = cloud.on(node, "ss", "-Hltn", f"sport = :{port}")
            assert heard, f"{node} does not listen on {port}"
            doors += [(f"{net}.{number}", port) for net in {home, "10.20.0"}]
    doors += [("10.100.0.1", port) for port in DOORS]
    with ThreadPoolExecutor(max_workers=6) as pool:
        opened = list(pool.map(lambda door: is_open(*door), doors))
    assert [door for door, is_it in zip(doors, opened, strict=True) if is_it] == []


def test_a_discover_has_one_offer_and_nothing_of_the_gateway_leaves_its_node(cloud: Cloud) -> None:
    here = cloud.owner("web1")
    others = [node for node in cloud.nodes() if node != here]
    before = cloud.console("web1").count("PVC-GUEST-READY")
    dhcp, tap, bridge = "udp port 67 or udp port 68", names.tap("web1", "app"), names.bridge(APP)
    with contextlib.ExitStack() as stack:
        local = stack.enter_context(listening(cloud, here, tap, dhcp))
        foreign = [stack.enter_context(listening(cloud, node, bridge, dhcp)) for node in others]
        core = [
            stack.enter_context(listening(cloud, node, "cl0", "udp port 4789"))
            for node in cloud.nodes()
        ]
        cloud.on(here, "virsh", "reset", "web1")
        until("web1 again", 120, lambda: cloud.console("web1").count("PVC-GUEST-READY") > before)
        inside = cloud.lab.node(others[0]).enter([])
        until("web1 answers", REACHED_S, lambda: answers(inside, cloud.address("web1")) == "web1")
    discovers = sum("DHCP-Message (53), length 1: Discover" in line for line in local)
    offers = sum("DHCP-Message (53), length 1: Offer" in line for line in local)
    assert discovers >= 1
    assert offers == discovers, local
    assert foreign == [[], []]
    crossed = [line for lines in core for line in lines]
    assert not [line for line in crossed if names.anycast_mac(APP) in line]
    assert not [line for line in crossed if "BOOTP/DHCP" in line]


def test_a_network_and_a_silent_guest_come_and_go(cloud: Cloud) -> None:
    before = daemons(cloud, APP)
    assert all(before.values())
    app = cloud.read("networks/app.yaml")
    cloud.write("networks/app.yaml", app.replace("10.100.0.199", "10.100.0.198"))
    cloud.write("networks/spare.yaml", SPARE_YAML)
    cloud.write("vms/mute.yaml", MUTE_YAML)
    cloud.commit_and_push("mute: new, on a network of its own; app: a smaller range")
    cloud.pvc("apply", "--yes")
    until("mute runs", REACHED_S, lambda: "mute" in cloud.running())
    assert daemons(cloud, APP) == before  # neither for the range nor for another host
    assert daemons(cloud, SPARE)["hv2"]
    assert_silent_and_reached(cloud, "mute", "hv2")

    (cloud.clone / "vms/mute.yaml").unlink()
    (cloud.clone / "networks/spare.yaml").unlink()
    cloud.write("networks/app.yaml", app)
    cloud.commit_and_push("mute, spare: gone; app: as it was")
    cloud.pvc("apply", "--yes")
    assert "Nothing to do" in cloud.pvc("plan")
    assert daemons(cloud, APP) == before
    for node in cloud.nodes():
        assert_no_trace(cloud, node, SPARE, "10.190.0.")


def assert_silent_and_reached(cloud: Cloud, guest: str, node: str) -> None:
    """What a guest of another node asks arrives at its tap, though it has never said a word."""
    address = next(
        address
        for address, name in leases(cloud, node).items()
        if name == guest and address.startswith("10.100.")
    )
    source = next(name for name in ("web1", "web2", "web3") if cloud.owner(name) != node)
    url = f"http://{cloud.address(source)}/ping/{address}"
    with listening(cloud, node, names.tap(guest, "app"), "arp or icmp") as heard:
        ask(cloud, cloud.owner(source), url)
    shown = cloud.on(node, "virsh", "-q", "domiflist", guest).splitlines()
    mac = next(line.split()[4] for line in shown if names.bridge(APP) in line)
    assert any(f"> {address}: ICMP echo request" in line for line in heard), heard
    assert not any(f" {mac} > " in line for line in heard), heard


def assert_no_trace(cloud: Cloud, node: str, vni: int, prefix: str) -> None:
    links = cloud.on(node, "ip", "-br", "link")
    assert names.bridge(vni) not in links
    assert names.vxlan(vni) not in links
    assert cloud.main_pid(node, f"pvc-dhcp@{vni}") == 0
    assert prefix not in cloud.on(node, "ip", "route")
    assert names.vxlan(vni) not in cloud.on(node, "nft", "list", "ruleset")


def test_dhcp_goes_on_through_the_death_of_an_agent(cloud: Cloud) -> None:
    before = daemons(cloud, APP)
    agent = cloud.main_pid("hv1", "pvc-node-agent")
    cloud.on("hv1", "kill", "-9", str(agent))
    until("another agent", 60, lambda: cloud.main_pid("hv1", "pvc-node-agent") not in {0, agent})
    until("it reports", 60, lambda: "Nothing to do" in cloud.try_pvc("plan").stdout)
    assert daemons(cloud, APP) == before


def test_a_rebooted_node_has_its_networks_and_guests_back_once(cloud: Cloud) -> None:
    guests = {name for name, nodes in cloud.domains().items() if nodes == ["hv2"]}
    starts = {name: guest["starts"] for name, guest in cloud.status()["guests"].items()}
    addresses = {a: guest for a, guest in leases(cloud, "hv2").items() if guest in guests}
    served = serving(cloud, "hv2")
    assert served
    first = cloud.lab.node("hv2").init_pid()
    cloud.on("hv2", "systemctl", "reboot", ok=tuple(range(256)))
    until("hv2 boots", 60, lambda: cloud.lab.node("hv2").init_pid() not in {None, first})

    def is_back() -> bool:
        try:
            domains = cloud.domains()
        except (AssertionError, subprocess.TimeoutExpired):
            return False
        # On its way home a guest has a second, paused domain.
        is_home = {name for name, nodes in domains.items() if "hv2" in nodes} == guests
        return is_home and all(len(nodes) == 1 for nodes in domains.values())

    until("its guests are home", REBOOT_S, is_back)
    inside = cloud.lab.node("hv1").enter([])
    for address, guest in addresses.items():
        until(f"{guest} at {address}", REBOOT_S, lambda a=address, g=guest: answers(inside, a) == g)
    after = {name: guest["starts"] for name, guest in cloud.status()["guests"].items()}
    # They moved away alive and came back, or were stopped and started: once, and only those.
    assert all(
        after[name] - count in ((0, 1) if name in guests else (0,))
        for name, count in starts.items()
    )
    assert serving(cloud, "hv2") == served
    until("nothing is left to do", 60, lambda: "Nothing to do" in cloud.try_pvc("plan").stdout)
