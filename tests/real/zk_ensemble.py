"""Three real ZooKeeper servers on loopback, configured as formation configures them, for tests.

The jar is the one of the image where the lab has built it, else the host's (package libzookeeper-java).
"""

import shutil
import signal
import socket
import subprocess
import time
import zipfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

PASSWORD = "for-tests-only"

ZOO_CFG = """\
tickTime=500
initLimit=20
syncLimit=4
maxSessionTimeout=60000
minSessionTimeout=1000
maxClientCnxns=0
dataDir={data}
dynamicConfigFile={data}/zoo.cfg.dynamic
reconfigEnabled=true
standaloneEnabled=false
admin.enableServer=false
4lw.commands.whitelist=srvr,ruok
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
enforce.auth.enabled=true
enforce.auth.schemes=sasl
quorum.auth.enableSasl=true
quorum.auth.learnerRequireSasl=true
quorum.auth.serverRequireSasl=true
quorum.auth.learner.saslLoginContext=QuorumLearner
quorum.auth.server.saslLoginContext=QuorumServer
"""
LOGIN = "org.apache.zookeeper.server.auth.DigestLoginModule required"
JAAS = f"""\
QuorumServer {{ {LOGIN} user_zk="{PASSWORD}"; }};
QuorumLearner {{ {LOGIN} username="zk" password="{PASSWORD}"; }};
Server {{ {LOGIN} user_super="{PASSWORD}" user_pvc="{PASSWORD}"; }};
"""


def jars():
    """A class path, or None where no ZooKeeper is installed."""
    if shutil.which("java") is None:
        return None
    for root in (*sorted(Path("/var/lib/pvc-lab/image").glob("base-*")), Path("/")):
        jar = root / "usr/share/java/zookeeper.jar"
        if jar.exists():
            # The jar names what it needs by absolute paths, which inside an image are not ours.
            with zipfile.ZipFile(jar) as opened:
                manifest = (
                    opened.read("META-INF/MANIFEST.MF")
                    .decode()
                    .replace("\r", "")
                    .replace("\n ", "")
                )
            line = next(each for each in manifest.splitlines() if each.startswith("Class-Path: "))
            needed = [f"{root}{each}" for each in line.removeprefix("Class-Path: ").split()]
            return ":".join([str(jar), str(jar.with_name("slf4j-simple.jar")), *needed])
    return None


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@dataclass
class Server:
    """One server and its process."""

    number: int
    port: int
    data: Path
    process: subprocess.Popen | None = None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def host(self):
        """A loopback address of its own, as coordinators have one each."""
        return f"127.0.0.{self.number}"

    def mode(self):
        """leader, follower, or None while it serves nobody."""
        try:
            with closing(socket.create_connection((self.host, self.port), timeout=1)) as to:
                to.settimeout(1)
                to.sendall(b"srvr")
                answer = b""
                while part := to.recv(4096):
                    answer += part
        except OSError:
            return None
        for line in answer.decode().splitlines():
            if line.startswith("Mode: "):
                return line.removeprefix("Mode: ")
        return None

    def start(self):
        command = [
            "java",
            *("-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-cp", jars()),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dzookeeper.db.autocreate=false",
            "-Dzookeeper.cnxTimeout=1000",
            "-Dzookeeper.superUser=super",
            f"-Djava.security.auth.login.config={self.data}/jaas.conf",
            "-Djava.net.preferIPv4Stack=true",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            f"{self.data}/zoo.cfg",
        ]
        with (self.data / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None


@dataclass
class Ensemble:
    """The three of them."""

    root: Path
    servers: list[Server] = field(default_factory=list)

    def form(self):
        ports = free_ports(9)
        quorum, election, client = ports[:3], ports[3:6], ports[6:]
        dynamic = "".join(
            f"server.{n + 1}=127.0.0.1:{quorum[n]}:{election[n]}:participant;"
            f"127.0.0.{n + 1}:{client[n]}\n"
            for n in range(3)
        )
        for n in (1, 2, 3):
            data = self.root / f"zk{n}"
            data.mkdir()
            (data / "zoo.cfg").write_text(ZOO_CFG.format(data=data))
            (data / "zoo.cfg.dynamic").write_text(dynamic)
            (data / "jaas.conf").write_text(JAAS)
            (data / "myid").write_text(f"{n}\n")
            (data / "initialize").write_text("")
            server = Server(number=n, port=client[n - 1], data=data)
            server.start()
            self.servers.append(server)
        self.wait_for_quorum()

    @property
    def addresses(self):
        return tuple(server.address for server in self.servers)

    def leader(self):
        return next(server for server in self.servers if server.mode() == "leader")

    def wait_for_quorum(self, limit_s=40.0):
        """Every server that runs serves again, one of them as leader."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            modes = [server.mode() for server in self.servers if server.process is not None]
            if None not in modes and "leader" in modes:
                return
            time.sleep(0.1)
        logs = "\n".join((server.data / "log").read_text()[-800:] for server in self.servers)
        raise AssertionError(f"no quorum after {limit_s} s\n{logs}")

    def heal(self):
        """Whatever a test did: all three run, and agree."""
        for server in self.servers:
            if server.process is None:
                server.start()
            else:
                server.signal(signal.SIGCONT)
        self.wait_for_quorum()

    def end(self):
        for server in self.servers:
            server.kill()
