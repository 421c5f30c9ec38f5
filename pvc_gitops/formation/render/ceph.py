"""Ceph's configuration and keyrings."""

from __future__ import annotations

from typing import Final

from pvc_gitops.formation.layout import Layout, Member
from pvc_gitops.formation.secrets import FoundingSecrets

COPIES_DEFAULT: Final = 3


def conf(layout: Layout, fsid: str) -> str:
    """ceph.conf, the same on every node."""
    copies = min(COPIES_DEFAULT, max(1, layout.founding_osds))
    monitors = ",".join(monitor_addresses(member) for member in layout.members)
    names = ", ".join(member.name for member in layout.members)
    return f"""[global]
fsid = {fsid}
mon_initial_members = {names}
mon_host = {monitors}
public_network = {layout.cluster.networks["storage"].subnet}
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = {copies}
osd_pool_default_min_size = {max(1, copies - 1)}
osd_pool_default_pg_num = 16
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_delete = true
log_to_file = false
log_to_syslog = false
log_to_stderr = true
err_to_stderr = true
# For everybody who talks to monitors, OSDs too: with these only in [client], images opened after a power
# cut waited up to 20 s in 4 of 11 runs; here in none of 8.
mon_client_ping_interval = 2
mon_client_ping_timeout = 4
mon_client_hunt_interval = 1
# `restful`, on by default, imports pyOpenSSL, which ceph-mgr of Debian 13 cannot load.
mgr_initial_modules = iostat
[mon]
mon_cluster_log_to_file = false
mon_lease = 2
mon_election_timeout = 2
mon_tick_interval = 1
mon_osd_down_out_interval = 600
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 5
mon_data_avail_crit = 2
[mgr]
mgr_pool = false
[osd]
osd_memory_target = 939524096
bluestore_cache_size = 67108864
bluestore_cache_autotune = false
bluestore_block_wal_create = false
bluestore_block_db_create = false
osd_op_num_shards = 1
osd_op_num_threads_per_shard = 2
osd_heartbeat_interval = 2
osd_heartbeat_grace = 10
osd_crush_initial_weight = 1
[client.bootstrap-osd]
keyring = /var/lib/ceph/bootstrap-osd/ceph.keyring
[client]
rbd_default_features = 61
rbd_cache = true
"""


def monitor_addresses(member: Member) -> str:
    """A monitor's address vector, both protocols."""
    return f"[v2:{member.storage}:3300,v1:{member.storage}:6789]"


def monitor_keyring(secrets: FoundingSecrets) -> str:
    """What the monitors know from their making: themselves, the administrator, and the guests' client.

    `profile rbd` without a pool: pools come and go, and this key opens only guests' disks anyway."""
    return f"""[mon.]
\tkey = {secrets.ceph_mon}
\tcaps mon = "allow *"
[client.admin]
\tkey = {secrets.ceph_admin}
\tcaps mds = "allow *"
\tcaps mgr = "allow *"
\tcaps mon = "allow *"
\tcaps osd = "allow *"
[client.pvc]
\tkey = {secrets.ceph_pvc}
\tcaps mgr = "profile rbd"
\tcaps mon = "profile rbd"
\tcaps osd = "profile rbd"
"""


def keyring(entity: str, key: str) -> str:
    """A client's or daemon's own keyring."""
    return f"[{entity}]\n\tkey = {key}\n"
