"""A coordinator's door over real TLS on loopback: who is answered what, and who cannot hold it up."""

import dataclasses
import io
import json
import secrets
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from documents import COMMIT, files
from test_founding_values import drawn, record

from pvc_gitops.adapters.formation import credentials, peer_server, pki
from pvc_gitops.adapters.formation import door as door_module
from pvc_gitops.adapters.formation import files as disk
from pvc_gitops.adapters.formation.door import Door
from pvc_gitops.adapters.formation.peer_mirror import PeerMirror
from pvc_gitops.adapters.formation.peer_server import ASKERS_MAX, PeerServer, Reply
from pvc_gitops.adapters.formation.peers import Body, Credentials, Peer, ask, client_context
from pvc_gitops.adapters.git import pack
from pvc_gitops.adapters.git.mirror import Mirror
from pvc_gitops.controllers.admission import Coordinator, reply
from pvc_gitops.errors import PoolError, RepoError, StoreUnavailable, WorldError
from pvc_gitops.formation import peer_words
from pvc_gitops.formation.peer_words import Answer, Question, Refusal, Verb
from pvc_gitops.model import paths
from pvc_gitops.model.codec import encode
from pvc_gitops.model.ids import CommitId, NodeName
from pvc_gitops.model.records import Accepted
from pvc_gitops.world.ports import Stamped

HV1, HV3, HV4 = NodeName("hv1"), NodeName("hv3"), NodeName("hv4")
LONG_AGO_S = 1_000_000_000
RECORD = Question(verb=Verb.RECORD, fields={})


# --- a coordinator in memory, with a real door ---


class Clock:
    @staticmethod
    def now_s():
        return int(time.time())


class Lines:
    def __init__(self):
        self.events = []

    def event(self, kind, **fields):
        self.events.append((kind, fields))


class Store:
    """Holds the accepted commit, or does not answer."""

    def __init__(self):
        self.accepted = COMMIT
        self.is_there = True

    def sync(self):
        if not self.is_there:
            raise StoreUnavailable("sync", "/pvc", "no quorum")

    def read(self, path):
        assert path == paths.ACCEPTED
        if self.accepted is None:
            return None
        value = Accepted(commit=self.accepted, subject="s", author="a", accepted_at_s=1)
        return Stamped(value=encode(value), version=1)


class Repo:
    """A commit a tree, by its id."""

    def __init__(self):
        self.trees = {}

    def files(self, commit):
        if commit not in self.trees:
            raise RepoError("read", commit, "the mirror does not hold it", retryable=True)
        return self.trees[commit]

    def has(self, commit):
        return commit in self.trees


@dataclasses.dataclass
class House:
    """A coordinator hv1 with its authority; `declare` commits hv4's key."""

    folder: Path
    authority: pki.Authority
    store: Store
    repo: Repo
    here: Coordinator
    port: int = 0

    def declare(self, key):
        # Never twice the same: what a commit holds is parsed once a process.
        commit = CommitId(secrets.token_hex(20))
        self.repo.trees[commit] = files(hypervisor=True, key=key)
        self.store.accepted = commit
        return commit

    def node(self, name, *, now_s=None, authority=None, sub=""):
        """A node with a signed certificate; its credentials and its key's fingerprint."""
        key = pki.new_key()
        certificate = pki.sign(
            authority or self.authority,
            key,
            name=name,
            addresses=["127.0.0.1"],
            domain="lab.example",
            now_s=int(time.time()) if now_s is None else now_s,
        )
        base = self.folder / f"{name}{sub}"
        made = Credentials(authority=f"{base}.ca", certificate=f"{base}.pem", key=f"{base}.key")
        disk.write(made.authority, self.authority.certificate)
        disk.write(made.certificate, certificate)
        disk.write(made.key, key)
        return made, pki.fingerprint(key)

    @property
    def peer(self):
        return Peer(name=HV1, address="127.0.0.1", port=self.port)


@pytest.fixture
def house(tmp_path):
    authority = pki.new_authority("11111111", int(time.time()))
    store, repo = Store(), Repo()
    here = Coordinator(
        me=HV1,
        record=record(),
        secrets=drawn().of_every_node,
        signer=pki.AuthoritySigner(authority),
        store=store,
        repo=repo,
        clock=Clock(),
        journal=Lines(),
        bootstrap_key=lambda: "key-of-bootstrap-osd",
        pack=lambda head, known: io.BytesIO(f"objects of {head[:4]} without {known}".encode()),
    )
    made = House(tmp_path, authority, store, repo, here)
    made.declare(None)

    def desk(asker, question):
        answer, body = reply(here, asker, question)
        return Reply(answer=answer, body=body)

    with PeerServer("127.0.0.1", made.node("hv1")[0], desk, port=0) as server:
        made.port = server.port
        yield made


def request_of(name):
    key = pki.new_key()
    question = Question(verb=Verb.CERTIFICATE, fields={"request": pki.request(key, name)})
    return question, key, pki.fingerprint(key)


def refused(answer):
    assert isinstance(answer, Refusal), answer
    return str(answer)


def secrets_of(name):
    return Question(verb=Verb.SECRETS, fields={"node": name})


# --- certificates ---


def stranger(house):
    """Who has the authority's certificate from its seed and nothing else."""
    path = house.folder / "seed.ca"
    disk.write(str(path), house.authority.certificate)
    return Credentials(authority=str(path), certificate="/nonexistent", key="/nonexistent")


def test_a_key_that_git_names_is_signed_and_one_that_it_does_not_is_printed(house):
    question, key, fingerprint = request_of("hv4")
    who = stranger(house)
    text = refused(ask(house.peer, question, who, is_stranger=True))
    assert f'write identity: {{key: "{fingerprint}"}} there, commit and push' in text
    house.declare(fingerprint)
    answer = ask(house.peer, question, who, is_stranger=True)
    assert isinstance(answer, Answer)
    certificate = answer.value["certificate"]
    assert pki.is_signed_by(certificate, house.authority.certificate, key)
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-ext", "subjectAltName"],
        input=certificate, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # From the document, not from the request.
    assert "CN = hv4" in shown or "CN=hv4" in shown
    assert "DNS:hv4, DNS:hv4.lab.example" in shown
    assert "IP Address:10.21.0.4" in shown


def test_another_key_than_git_names_is_refused_with_both(house):
    _, _, committed = request_of("hv4")
    house.declare(committed)
    question, _, mine = request_of("hv4")
    text = refused(ask(house.peer, question, stranger(house), is_stranger=True))
    assert f"it says {committed}, this machine's is {mine}" in text
    assert "some other machine asks in the name of hv4" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [("hv9", "declares no node hv9"), ("hv1", "hv1 is a coordinator, which signs for itself")],
)
def test_unknown_nodes_and_coordinators_are_not_signed(house, name, words):
    question, _, _ = request_of(name)
    assert words in refused(ask(house.peer, question, stranger(house), is_stranger=True))


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "x" * 5000])
def test_what_is_no_request_is_refused_in_words(house, text):
    question = Question(verb=Verb.CERTIFICATE, fields={"request": text})
    answer = ask(house.peer, question, stranger(house), is_stranger=True)
    assert "no certificate request" in refused(answer)


def test_a_request_that_its_own_key_did_not_sign_is_refused(house):
    """Somebody who saw hv4's public key cannot have it signed, nor a request changed."""
    question, _, fingerprint = request_of("hv4")
    house.declare(fingerprint)
    der = ssl.PEM_cert_to_DER_cert(
        question.fields["request"].replace("CERTIFICATE REQUEST", "CERTIFICATE")
    )
    forged = bytearray(der)
    forged[-3] ^= 1
    pem = ssl.DER_cert_to_PEM_cert(bytes(forged)).replace("CERTIFICATE", "CERTIFICATE REQUEST")
    answer = ask(
        house.peer,
        Question(verb=Verb.CERTIFICATE, fields={"request": pem}),
        stranger(house),
        is_stranger=True,
    )
    assert "no certificate request" in refused(answer)


def test_a_joiner_believes_only_the_authority_of_its_seed(house, tmp_path):
    other = pki.new_authority("11111111", int(time.time()))
    path = tmp_path / "other.ca"
    path.write_text(other.certificate)
    who = dataclasses.replace(stranger(house), authority=str(path))
    question, _, _ = request_of("hv4")
    with pytest.raises(WorldError, match="certificate verify failed"):
        ask(house.peer, question, who, is_stranger=True)


def test_a_hypervisor_with_a_certificate_is_no_coordinator(house):
    """Signed by the same authority, under another name than the one that was asked."""
    credentials_hv4, _ = house.node("hv4")
    with PeerServer("127.0.0.1", credentials_hv4, lambda *_: pytest.fail("asked")) as server:
        peer = Peer(name=HV1, address="127.0.0.1", port=server.port)
        with pytest.raises(WorldError, match="Hostname mismatch"):
            ask(peer, request_of("hv4")[0], stranger(house), is_stranger=True)


# --- who may ask for more ---


@pytest.mark.parametrize("verb", [Verb.RECORD, Verb.SECRETS, Verb.OBJECTS])
def test_strangers_are_told_nothing_but_certificates(house, verb):
    question = Question(verb=verb, fields={"node": "hv4", "known": ""})
    answer = ask(house.peer, question, stranger(house), is_stranger=True)
    assert f"{verb} is told to nodes with a certificate" in refused(answer)


def test_a_certificate_of_another_cluster_does_not_get_in(house):
    other = pki.new_authority("11111111", int(time.time()))
    wrong, key = house.node("hv4", authority=other, sub="-wrong")
    house.declare(key)
    with pytest.raises(WorldError, match="ask hv1"):
        ask(house.peer, secrets_of("hv4"), wrong)
    assert house.here.journal.events == []  # the desk was not asked


def test_an_expired_certificate_does_not_get_in(house):
    old, key = house.node("hv4", now_s=LONG_AGO_S, sub="-old")
    house.declare(key)
    with pytest.raises(WorldError, match="ask hv1"):
        ask(house.peer, secrets_of("hv4"), old)
    assert house.here.journal.events == []


def test_a_node_is_given_its_own_secrets_and_nothing_that_coordinators_hold(house):
    own, key = house.node("hv4")
    commit = house.declare(key)
    answer = ask(house.peer, secrets_of("hv4"), own)
    assert isinstance(answer, Answer)
    assert answer.value["secrets"] == dataclasses.asdict(drawn().of_every_node)
    assert answer.value["commit"] == commit
    assert answer.value["ceph_bootstrap_osd"] == "key-of-bootstrap-osd"  # it declares an OSD
    text = json.dumps(dict(answer.value))
    everything = drawn()
    for secret in (
        everything.ca_key, everything.ceph_admin, everything.ceph_mon,
        everything.zookeeper_super, everything.zookeeper_quorum,
    ):  # fmt: skip
        assert secret not in text
    assert house.here.journal.events == [("secrets_given", {"node": "hv4", "commit": commit})]


def test_a_node_is_not_given_another_s_secrets(house):
    own, key = house.node("hv5")
    house.declare(key)
    text = refused(ask(house.peer, secrets_of("hv4"), own))
    assert "the secrets of hv4 were asked for with the certificate of hv5" in text


def test_a_certificate_whose_key_git_names_no_more_opens_nothing(house):
    own, key = house.node("hv4")
    house.declare(key)
    assert isinstance(ask(house.peer, secrets_of("hv4"), own), Answer)
    house.declare(request_of("hv4")[2])
    assert "names another key" in refused(ask(house.peer, secrets_of("hv4"), own))
    objects = Question(verb=Verb.OBJECTS, fields={"known": ""})
    assert "names another key" in refused(ask(house.peer, objects, own))


def test_a_coordinator_that_cannot_know_says_so_and_why(house):
    question, _, fingerprint = request_of("hv4")
    house.declare(fingerprint)
    house.store.is_there = False
    text = refused(ask(house.peer, question, stranger(house), is_stranger=True))
    assert "hv1 cannot tell now: sync /pvc: no quorum" in text
    house.store.is_there = True
    house.store.accepted = CommitId("f" * 40)  # its mirror is behind
    text = refused(ask(house.peer, question, stranger(house), is_stranger=True))
    assert "the mirror does not hold it" in text


def test_ceph_away_is_no_secret_given(house):
    own, key = house.node("hv4")
    house.declare(key)

    def away():
        raise PoolError("connect", "monitors", "no quorum", retryable=True)

    here = dataclasses.replace(house.here, bootstrap_key=away)
    answer, _ = reply(here, peer_words.Asker(name=HV4, key=key), secrets_of("hv4"))
    assert "cannot tell now" in refused(answer)
    del own


def test_only_the_accepted_commit_s_objects_are_given(house):
    own, key = house.node("hv4")
    commit = house.declare(key)
    taken = io.BytesIO()
    answer = ask(
        house.peer,
        Question(verb=Verb.OBJECTS, fields={"known": f"{'0' * 40} ^{commit} {commit}"}),
        own,
        body=Body(file=taken, bytes_max=1000),
    )
    assert answer.value == {"commit": commit}
    assert taken.getvalue() == f"objects of {commit[:4]} without {[commit]}".encode()
    with pytest.raises(WorldError, match="more than is taken"):
        ask(
            house.peer,
            Question(verb=Verb.OBJECTS, fields={"known": ""}),
            own,
            body=Body(file=io.BytesIO(), bytes_max=3),
        )


# --- who speaks badly, or not at all ---


def connected(house, who):
    context = client_context(who, is_stranger=False)
    plain = socket.create_connection(("127.0.0.1", house.port), timeout=10)
    return context.wrap_socket(plain, server_hostname="hv1")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"hello\n", "not a line of JSON"),
        (b"[" * 10_000 + b"\n", "not a line of JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"version":2}\n', "protocol 2; this node speaks 1"),
        (b'{"version":1,"verb":"x","fields":{}}\n', "unknown verb 'x'"),
        (b'{"version":1,"verb":["record"],"fields":{}}\n', "unknown verb"),
        (b'{"version":1,"verb":"record","fields":{"a":1}}\n', "not an object of texts"),
        (b'{"version":1,"verb":"record"}\n', "expected version, verb, fields"),
        (b'{"version":1,"verb":"secrets","fields":{}}\n', "secrets lacks the field 'node'"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(house, line, words):
    own, _ = house.node("hv4")
    with connected(house, own) as tls:
        tls.sendall(line)
        answer = peer_words.read_answer(tls.makefile("rb").readline())
    assert words in refused(answer)


def test_an_oversize_question_is_cut_off_and_the_door_stays_open(house):
    own, _ = house.node("hv4")
    with connected(house, own) as tls:
        try:
            tls.sendall(b"x" * (2 * peer_words.QUESTION_BYTES_MAX))
            said = tls.recv(10_000)
        except OSError:
            said = b""  # it closed while we were still sending
    assert said == b"" or b"not understood: more than" in said
    assert isinstance(ask(house.peer, RECORD, own), Answer)


def is_cut_off(tls):
    """Without a word: whoever hangs is told nothing."""
    try:
        return tls.recv(100) == b""
    except OSError:
        return True


def test_hung_peers_are_let_go_and_keep_nobody_out_for_long(house, monkeypatch):
    own, _ = house.node("hv4")
    monkeypatch.setattr(peer_server, "QUESTION_S", 2.0)
    # One says nothing, one stops in the middle of its question, one drips for ever.
    silent = socket.create_connection(("127.0.0.1", house.port), timeout=10)
    half = connected(house, own)
    half.sendall(b'{"version":1,')
    dripping = connected(house, own)
    stop = threading.Event()

    def drip():
        while not stop.wait(0.05):
            try:
                dripping.sendall(b" ")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert isinstance(ask(house.peer, RECORD, own), Answer)  # beside them
        assert silent.recv(100) == b""
        assert is_cut_off(half)
        thread.join(timeout=15)
        assert not thread.is_alive()  # it was cut off although it never paused
    finally:
        stop.set()
        thread.join()
        for each in (silent, half, dripping):
            each.close()


def ask_often(peer, own):
    """Until the door has let all in that stood before it."""
    for _ in range(100):
        ask(peer, RECORD, own, limit_s=2)


def test_more_than_so_many_at_a_time_are_sent_away(house, monkeypatch):
    monkeypatch.setattr(peer_server, "QUESTION_S", 3.0)
    own, _ = house.node("hv4")
    hung = [
        socket.create_connection(("127.0.0.1", house.port), timeout=10) for _ in range(ASKERS_MAX)
    ]
    try:
        with pytest.raises(WorldError):
            ask_often(house.peer, own)
        assert all(each.recv(1) == b"" for each in hung)
        assert isinstance(ask(house.peer, RECORD, own), Answer)  # their places are free again
    finally:
        for each in hung:
            each.close()


def test_a_server_that_hangs_costs_the_asker_its_limit_and_no_more(house):
    own, _ = house.node("hv4")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        peer = Peer(name=HV1, address="127.0.0.1", port=mute.getsockname()[1])
        began_s = time.monotonic()
        with pytest.raises(WorldError, match="timed out"):
            ask(peer, RECORD, own, limit_s=0.5)
    assert time.monotonic() - began_s < 3


def test_a_server_that_talks_without_end_is_cut_off(house):
    own, _ = house.node("hv4")

    def endless(_asker, _question):
        return Reply(answer=Answer(value={"x": "y" * (2 * peer_words.ANSWER_BYTES_MAX)}))

    with PeerServer("127.0.0.1", house.node("hv1", sub="-2")[0], endless, port=0) as server:
        peer = Peer(name=HV1, address="127.0.0.1", port=server.port)
        with pytest.raises(WorldError, match="more than 65536 bytes"):
            ask(peer, RECORD, own)


# --- the joiner's side ---


@pytest.fixture
def joiner(house, monkeypatch, tmp_path):
    """hv4 with a seed's authority, and paths of its own."""
    own = Credentials(
        authority=str(tmp_path / "own/ca.pem"),
        certificate=str(tmp_path / "own/node.pem"),
        key=str(tmp_path / "own/node.key"),
    )
    for module in (credentials, door_module):
        monkeypatch.setattr(module, "OWN", own)
    dead = Peer(name=HV3, address="127.0.0.1", port=1)
    return Door(peers=(dead, house.peer), name=HV4, authority=house.authority.certificate), own


def test_a_joiner_goes_to_the_next_coordinator_and_shows_words_before_faults(house, joiner):
    door, own = joiner
    assert door.certificate() is None
    fingerprint = pki.fingerprint(Path(own.key).read_text())
    assert fingerprint in door.why_not
    assert "nodes/hv4.yaml of the accepted commit names no key" in door.why_not
    house.declare(fingerprint)
    given = door.certificate()
    assert given is not None
    # Killed here, the next run asks with the same key, whose name is in git by now.
    assert pki.fingerprint(Path(own.key).read_text()) == fingerprint
    Path(own.certificate).write_text(given)
    welcome = door.secrets()
    assert welcome is not None
    assert welcome.secrets == drawn().of_every_node
    house.store.is_there = False
    assert door.certificate() == given  # it is here already: nobody is asked
    assert door.secrets() is None
    assert "cannot tell now" in door.why_not


def test_objects_come_from_a_coordinator_while_the_origin_is_away(house, joiner, tmp_path):
    door, own = joiner
    origin, theirs, mine = tmp_path / "origin", tmp_path / "theirs.git", tmp_path / "mine.git"
    known_by_them = []

    def sent(commit, known):
        known_by_them.append(known)
        return pack.write(theirs, commit, known)

    def git(*argv):
        words = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b", *argv]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return CommitId(done.stdout.strip())

    origin.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    for path, data in files(hypervisor=True).items():
        target = origin / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    git("add", "--all")
    git("commit", "--quiet", "-m", "founding")
    base = git("rev-parse", "HEAD")
    settings = {"url": str(origin), "branch": "main", "folder": ".", "credential": None}
    there = Mirror(theirs, **settings)
    here = PeerMirror(mine, peers=door.peers, credentials=own, **settings)
    here.fetch()
    assert door.certificate() is None
    key = pki.fingerprint(Path(own.key).read_text())
    (origin / "nodes/hv4.yaml").write_bytes(files(hypervisor=True, key=key)["nodes/hv4.yaml"])
    git("commit", "--quiet", "--all", "-m", "hv4's key")
    head = git("rev-parse", "HEAD")
    there.fetch()
    git("branch", "-m", "main", "gone")  # the origin is away
    house.repo.files, house.repo.has = there.files, there.has
    house.store.accepted = head
    object.__setattr__(house.here, "pack", sent)
    Path(own.certificate).write_text(door.certificate())
    assert here.fetch().tip == head
    assert here.has(head)
    assert here.is_ancestor(base, head)
    assert here.files(head)["nodes/hv4.yaml"] == files(hypervisor=True, key=key)["nodes/hv4.yaml"]
    assert known_by_them == [[base]]
    # Nothing new there: the origin's silence is told, and nothing was sent but an empty pack.
    with pytest.raises(RepoError, match="main is not there any more"):
        here.fetch()
    assert here.take_accepted() == (None, "")
    assert head in known_by_them[-1]
    # From nothing, too.
    fresh = PeerMirror(tmp_path / "empty.git", peers=door.peers, credentials=own, **settings)
    assert fresh.fetch().tip == head
    assert fresh.files(head) == here.files(head)
    # And without any coordinator it says so.
    house.store.is_there = False
    with pytest.raises(RepoError, match=r"not there any more.*hv3"):
        here.fetch()


def test_a_pack_that_lacks_something_is_refused(tmp_path):
    origin = tmp_path / "origin"

    def git(*argv, **options):
        words = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b", *argv]
        return subprocess.run(words, capture_output=True, check=True, **options).stdout

    origin.mkdir()
    git("init", "--quiet", "--initial-branch=main")
    (origin / "a").write_text("1")
    git("add", "--all")
    git("commit", "--quiet", "-m", "one")
    head = CommitId(git("rev-parse", "HEAD").decode().strip())
    commit_only = git("pack-objects", "--stdout", input=f"{head}\n".encode())
    mine = tmp_path / "mine.git"
    mirror = Mirror(mine, url=str(origin), branch="main", folder=".", credential=None)
    assert not mirror.has(head)
    for number, bad in enumerate((commit_only, b"PACK and then nonsense")):
        path = tmp_path / str(number)
        path.write_bytes(bad)
        with path.open("rb") as file, pytest.raises(RepoError):
            pack.read(mine, head, file)
