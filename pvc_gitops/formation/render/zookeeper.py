"""ZooKeeper's files. Written once, at founding: afterwards `reconfig` owns zoo.cfg and the member list.

The timings are DESIGN section 8's: with them the longest silence at a leader's power cut is 2.8 s
(measured); Debian's defaults give 10.8 s, longer than a node's lease.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pvc_gitops.formation.layout import Member
from pvc_gitops.formation.secrets import FoundingSecrets

DATA: Final = "/var/lib/zookeeper"
CONF: Final = f"{DATA}/conf"
JAAS: Final = "/etc/pvc/zookeeper-jaas.conf"
CLIENT_PORT: Final = 2181
SUPER_USER: Final = "super"
USER: Final = "pvc"

# autopurge.purgeInterval in hours. 4lw commands are reached without a password: only those that read.
ZOO_CFG: Final = f"""tickTime=500
initLimit=20
syncLimit=4
maxSessionTimeout=60000
minSessionTimeout=1000
maxClientCnxns=0
dataDir={DATA}
dynamicConfigFile={CONF}/zoo.cfg.dynamic
reconfigEnabled=true
standaloneEnabled=false
admin.enableServer=false
autopurge.snapRetainCount=5
autopurge.purgeInterval=1
4lw.commands.whitelist=srvr,stat,mntr,ruok,conf,cons
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
enforce.auth.enabled=true
enforce.auth.schemes=sasl
quorum.auth.enableSasl=true
quorum.auth.learnerRequireSasl=true
quorum.auth.serverRequireSasl=true
quorum.auth.learner.saslLoginContext=QuorumLearner
quorum.auth.server.saslLoginContext=QuorumServer
"""

# slf4j-simple.jar: without a log binding ZooKeeper writes no log at all. db.autocreate=false: a server
# whose disk was wiped must not vote, or committed writes are gone (tried).
UNIT: Final = f"""[Unit]
Description=ZooKeeper, the cluster's store
ConditionPathExists={CONF}/zoo.cfg
After=network.target
StartLimitIntervalSec=0

[Service]
User=zookeeper
Environment=LANG=C.UTF-8
ExecStart=/usr/bin/java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError \\
  -cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar \\
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=false \\
  -Dzookeeper.db.autocreate=false -Dzookeeper.cnxTimeout=1000 -Dzookeeper.superUser={SUPER_USER} \\
  -Djava.security.auth.login.config={JAAS} -Djava.net.preferIPv4Stack=true \\
  org.apache.zookeeper.server.quorum.QuorumPeerMain {CONF}/zoo.cfg
Restart=always
RestartSec=1
SuccessExitStatus=143
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def members(of: Iterable[Member]) -> str:
    """zoo.cfg.dynamic of the founding."""
    return "".join(
        f"server.{member.id}={member.cluster}:2888:3888:participant;0.0.0.0:{CLIENT_PORT}\n"
        for member in of
    )


def jaas(secrets: FoundingSecrets) -> str:
    """Passwords: between servers, for the super user, for us."""
    clients = f'user_{SUPER_USER}="{secrets.zookeeper_super}" user_{USER}="{secrets.zookeeper_pvc}"'
    module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
    return f"""QuorumServer {{ {module} user_zk="{secrets.zookeeper_quorum}"; }};
QuorumLearner {{ {module} username="zk" password="{secrets.zookeeper_quorum}"; }};
Server {{ {module} {clients}; }};
"""
