"""The text of configuration files, where a word decides whether a cluster is safe or alive."""

import dataclasses
import tomllib
from types import MappingProxyType

import pytest
from documents import CLUSTER_ID, COMMIT, HV1, spec
from test_founding_values import drawn

from pvc_gitops.formation import seed
from pvc_gitops.formation.layout import Layout, layout
from pvc_gitops.formation.render import ceph, frr, host, libvirt, node, sshd, zookeeper
from pvc_gitops.model.ids import NodeName
from pvc_gitops.model.spec import NodeRole
from pvc_node_agent import config


def of(name: NodeName = HV1, **options: bool) -> Layout:
    return layout(spec(**options), name, CLUSTER_ID)


def test_network_file_of_the_upstream_card():
    assert host.network(of(), "upstream") == (
        "[Match]\nMACAddress=02:00:00:00:01:00\nType=ether\n[Link]\nMTUBytes=1500\n"
        "[Network]\nAddress=10.20.0.1/24\nGateway=10.20.0.254\nLinkLocalAddressing=no\n"
        "IPv6AcceptRA=no\nConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n"
    )


def test_only_upstream_has_a_gateway_and_each_network_its_own_mtu():
    text = host.network(of(), "cluster")
    assert "Gateway" not in text
    assert "MTUBytes=1600" in text


def test_a_card_declared_by_name_is_matched_by_name():
    me = dataclasses.replace(of().me, interfaces=MappingProxyType({"storage": {"name": "st0"}}))
    named = dataclasses.replace(of(), me=me)
    assert host.network(named, "storage").startswith("[Match]\nName=st0\n[Link]")


def test_hosts_lead_to_the_cluster_network():
    assert host.hosts(of().nodes, "lab.example").splitlines()[2:] == [
        "10.21.0.1 hv1.lab.example hv1",
        "10.21.0.2 hv2.lab.example hv2",
        "10.21.0.3 hv3.lab.example hv3",
    ]


def test_zookeeper_s_members_are_the_founders():
    assert zookeeper.members(of().members) == (
        "server.1=10.21.0.1:2888:3888:participant;0.0.0.0:2181\n"
        "server.2=10.21.0.2:2888:3888:participant;0.0.0.0:2181\n"
        "server.3=10.21.0.3:2888:3888:participant;0.0.0.0:2181\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "tickTime=500",  # these three keep the longest silence below the lease
        "initLimit=20",
        "syncLimit=4",
        "standaloneEnabled=false",
        "enforce.auth.enabled=true",
        "quorum.auth.learnerRequireSasl=true",
        "quorum.auth.serverRequireSasl=true",
        "admin.enableServer=false",
    ],
)
def test_zookeeper_s_settings(line):
    assert line in zookeeper.ZOO_CFG.splitlines()


def test_a_wiped_server_may_not_vote_and_a_dead_leader_is_noticed_in_a_second():
    assert "-Dzookeeper.db.autocreate=false" in zookeeper.UNIT
    assert "-Dzookeeper.cnxTimeout=1000" in zookeeper.UNIT


def test_zookeeper_s_logins():
    secrets = drawn()
    lines = zookeeper.jaas(secrets).splitlines()
    assert f'user_zk="{secrets.zookeeper_quorum}"' in lines[0]
    assert f'username="zk" password="{secrets.zookeeper_quorum}"' in lines[1]
    assert f'user_super="{secrets.zookeeper_super}"' in lines[2]
    assert f'user_pvc="{secrets.zookeeper_pvc}"' in lines[2]


def section(text: str, name: str) -> list[str]:
    return text.split(f"[{name}]\n")[1].split("\n[", maxsplit=1)[0].splitlines()


def test_ceph_notices_a_dead_monitor_in_seconds_for_daemons_too():
    everybody = section(ceph.conf(of(), "f"), "global")
    assert "mon_client_ping_interval = 2" in everybody
    assert "mon_client_ping_timeout = 4" in everybody


def test_ceph_s_monitors_speak_both_protocols_on_the_storage_network():
    everybody = section(ceph.conf(of(), "f"), "global")
    assert "fsid = f" in everybody
    assert "public_network = 10.22.0.0/24" in everybody
    assert (
        "mon_host = [v2:10.22.0.1:3300,v1:10.22.0.1:6789],[v2:10.22.0.2:3300,v1:10.22.0.2:6789],"
        "[v2:10.22.0.3:3300,v1:10.22.0.3:6789]"
    ) in everybody


def test_ceph_conf_is_the_same_on_every_node():
    assert len({ceph.conf(of(name), "f") for name in spec().nodes}) == 1


def test_one_osd_never_warns_about_copies_that_it_cannot_have():
    alone = dataclasses.replace(of(), nodes=of().nodes[:1])
    assert "osd_pool_default_size = 1" in section(ceph.conf(alone, "f"), "global")


def test_monitors_know_the_administrator_and_the_guests_client_from_their_making():
    secrets = drawn()
    text = ceph.monitor_keyring(secrets)
    assert f"[client.pvc]\n\tkey = {secrets.ceph_pvc}\n" in text
    assert section(text, "client.pvc")[1:] == [
        '\tcaps mgr = "profile rbd"',
        '\tcaps mon = "profile rbd"',
        '\tcaps osd = "profile rbd"',
    ]


def test_libvirt_lets_in_nodes_of_this_cluster_only_and_is_itself():
    text = libvirt.libvirtd_conf(of())
    # By the authority's signature alone: it signs for nodes and nothing else.
    assert 'auth_tls = "none"\ntls_allowed_dn_list = ["CN=*"]\n' in text
    uuids = {libvirt.libvirtd_conf(of(name)).splitlines()[0] for name in spec().nodes}
    assert len(uuids) == 3


def test_migration_runs_verified_on_the_cluster_network():
    text = libvirt.qemu_conf(of())
    assert "migrate_tls_x509_verify = 1" in text
    assert 'migration_host = "10.21.0.1"' in text


def test_frr_reflects_routes_between_coordinators():
    assert (
        frr.conf(of())
        == """frr defaults datacenter
hostname hv1
log syslog warnings
!
ip prefix-list GUESTS seq 5 permit 0.0.0.0/0 ge 32
!
route-map GUESTS permit 10
 match ip address prefix-list GUESTS
exit
!
router bgp 65500
 bgp router-id 10.21.0.1
 no bgp default ipv4-unicast
 neighbor core peer-group
 neighbor core remote-as 65500
 neighbor core update-source 10.21.0.1
 neighbor core timers 1 3
 neighbor core timers connect 1
 neighbor 10.21.0.2 peer-group core
 neighbor 10.21.0.3 peer-group core
 bgp listen limit 1000
 bgp listen range 10.21.0.0/24 peer-group core
 !
 address-family l2vpn evpn
  neighbor core activate
  neighbor core route-reflector-client
  advertise-all-vni
 exit-address-family
 !
 address-family ipv4 unicast
  redistribute kernel route-map GUESTS
  neighbor core activate
  neighbor core route-reflector-client
 exit-address-family
exit
!
"""
    )


def test_frr_of_a_hypervisor_talks_to_the_reflectors_and_reflects_nothing():
    text = frr.conf(of(NodeName("hv4"), hypervisor=True))
    assert text.count("peer-group core\n") == 3
    assert "route-reflector-client" not in text
    assert "listen" not in text


def test_frr_of_a_coordinator_is_the_same_whoever_joins():
    assert frr.conf(of(hypervisor=True)) == frr.conf(of())


def test_frr_talks_to_declared_routers_with_the_same_timers():
    text = frr.conf(of(peers=True))
    assert " neighbor 10.20.0.254 remote-as 65000\n neighbor 10.20.0.254 timers 1 3\n" in text
    assert "  neighbor 10.20.0.254 activate\n" in text


def test_frr_tells_declared_routers_of_its_own_guests_only():
    text = frr.conf(of(peers=True))
    assert "route-map FROM-CORE permit 10\n set community no-export\n" in text
    assert "  neighbor core route-map FROM-CORE in\n" in text


def toml(credential: str | None) -> str:
    made = seed.make(
        url="http://10.20.0.254/lab.git",
        founding_commit=COMMIT,
        cluster_key="AGE-SECRET-KEY-1X",
        credential=credential,
    )
    uuid = drawn().of_every_node.libvirt_secret_uuid
    return node.toml(of(NodeName("hv2")), seed.parse(made), uuid)


def test_node_toml_is_what_the_processes_of_a_node_read():
    read = config.parse(tomllib.loads(toml(None)))
    assert (read.node.name, read.node.role) == ("hv2", "coordinator")
    assert (read.cluster.id, read.cluster.name) == (CLUSTER_ID, "lab")
    # Its own server first: the guard's first connection goes there.
    assert read.zookeeper.servers == ("10.21.0.2:2181", "10.21.0.1:2181", "10.21.0.3:2181")
    assert (read.lease.seconds, read.lease.heartbeat) == (6.0, 1.0)
    assert read.addresses.storage == "10.22.0.2"
    assert read.source.url == "http://10.20.0.254/lab.git"
    assert read.source.credential_file is None
    assert read.ceph.secret_uuid == drawn().of_every_node.libvirt_secret_uuid


def test_node_toml_names_the_credential_s_file_and_never_holds_it():
    text = toml("token-of-git")
    assert "token-of-git" not in text
    assert str(config.parse(tomllib.loads(text)).source.credential_file) == node.CREDENTIAL


def test_planners_run_on_coordinators_only():
    for unit in ("pvc-planner.service", "pvc-ha.service"):
        assert unit in node.daemons(NodeRole.COORDINATOR)
        assert unit not in node.daemons(NodeRole.HYPERVISOR)


def test_sshd_listens_on_the_upstream_address_with_a_key_that_outlives_the_image():
    text = sshd.conf(of())
    assert "ListenAddress 10.20.0.1\n" in text
    assert text.count("ListenAddress") == 1
    assert f"HostKey {sshd.HOST_KEY}\n" in text
    assert sshd.HOST_KEY.startswith("/var/lib/pvc/")
    assert sshd.UNIT in node.daemons(NodeRole.HYPERVISOR)
