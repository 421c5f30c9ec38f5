"""The node's own key and certificate, made once, and the places where libvirt and QEMU look for them."""

from __future__ import annotations

from typing import Final

from pvc_gitops.adapters.formation import files, pki
from pvc_gitops.adapters.formation.peers import Credentials
from pvc_gitops.formation.layout import Layout
from pvc_gitops.formation.secrets import Authority, FoundingSecrets

OWN: Final = Credentials(
    authority="/etc/pvc/tls/ca.pem",
    certificate="/etc/pvc/tls/node.pem",
    key="/etc/pvc/tls/node.key",
)
AUTHORITIES: Final = (OWN.authority, "/etc/pki/CA/cacert.pem", "/etc/pki/qemu/ca-cert.pem")
CERTIFICATES: Final = (
    "/etc/pki/libvirt/servercert.pem",
    "/etc/pki/libvirt/clientcert.pem",
    "/etc/pki/qemu/server-cert.pem",
    "/etc/pki/qemu/client-cert.pem",
)
KEYS: Final = (
    "/etc/pki/libvirt/private/serverkey.pem",
    "/etc/pki/libvirt/private/clientkey.pem",
    "/etc/pki/qemu/server-key.pem",
    "/etc/pki/qemu/client-key.pem",
)


def ensure(layout: Layout, secrets: FoundingSecrets, now_s: int) -> None:
    """A coordinator's: a key of its own, signed here, copies where they are read."""
    authority = Authority(key=secrets.ca_key, certificate=secrets.ca_certificate)
    key = own_key()
    certificate = own_certificate(authority.certificate, key)
    if certificate is None:
        certificate = pki.sign(
            authority,
            key,
            name=layout.me.name,
            addresses=[layout.me.addresses[network] for network in sorted(layout.me.addresses)],
            domain=layout.cluster.domain,
            now_s=now_s,
        )
    install(authority.certificate, certificate, key)


def own_key() -> str:
    """This node's private key, PEM: made here, once, and told to nobody."""
    known = files.read(OWN.key)
    if known is not None:
        return known.decode()
    key = pki.new_key()
    files.write(OWN.key, key, mode=0o600)
    return key


def own_certificate(authority: str, key: str) -> str | None:
    """The certificate that is here, if it is this authority's (PEM) for this key."""
    known = files.read(OWN.certificate)
    if known is None or not pki.is_signed_by(known.decode(), authority, key):
        return None
    return known.decode()


def install(authority: str, certificate: str, key: str) -> None:
    """All three where each program looks for them."""
    files.write(OWN.certificate, certificate)
    for path in AUTHORITIES:
        files.write(path, authority)
    for path in CERTIFICATES:
        files.write(path, certificate)
    for path in KEYS:
        files.write(path, key, mode=0o600)
