"""Certificates: the cluster's authority, and one certificate a node for everything that speaks TLS.

Elliptic keys on P-256: libvirt's and QEMU's GnuTLS, Python's OpenSSL and Java read them alike.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pvc_gitops.formation.secrets import Authority
from pvc_gitops.model.values import dataclass

AUTHORITY_DAYS: Final = 3650 * 2  # longer than any machine that it signs for
NODE_DAYS: Final = 3650  # a cluster must not stop by calendar before renewal exists
CLOCK_SLACK: Final = timedelta(days=1)  # a new machine's clock may be behind
_PEM: Final = serialization.Encoding.PEM


def new_key() -> str:
    """A private key, PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def new_authority(cluster_id: str, now_s: int) -> Authority:
    """The cluster's own certificate authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"pvc cluster {cluster_id}")
    usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(key.public_key(), name, name, now_s, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key=_key_pem(key), certificate=_pem(certificate))


def sign(
    authority: Authority, key: str, *, name: str, addresses: Sequence[str], domain: str, now_s: int
) -> str:
    """A node's certificate for its private key (PEM): CN is the node's name, by which peers know it."""
    public = _load(key).public_key()
    return _certificate(
        authority, public, name=name, addresses=addresses, domain=domain, now_s=now_s
    )


def request(key: str, name: str) -> str:
    """A request for a certificate, PEM: it proves that whoever made it holds the key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    return builder.sign(_load(key), hashes.SHA256()).public_bytes(_PEM).decode()


def read_request(text: str) -> tuple[str, str]:
    """Name and fingerprint of a request. Raises ValueError unless it is one that we would have made."""
    found = _request(text)
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ValueError("the request names not exactly one node")
    return str(names[0].value), _fingerprint(found.public_key())


def sign_request(
    authority: Authority,
    text: str,
    *,
    name: str,
    addresses: Sequence[str],
    domain: str,
    now_s: int,
) -> str:
    """The certificate for a request's key. All else of the request is ignored: the caller knows it."""
    public = _request(text).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return _certificate(
        authority, public, name=name, addresses=addresses, domain=domain, now_s=now_s
    )


@dataclass(frozen=True, slots=True)
class AuthoritySigner:
    """Signs with the authority's key what its caller has looked at: `controllers.admission.Signer`."""

    authority: Authority

    @staticmethod
    def read(text: str) -> tuple[str, str]:
        return read_request(text)

    def sign(
        self, text: str, *, name: str, addresses: Sequence[str], domain: str, now_s: int
    ) -> str:
        return sign_request(
            self.authority, text, name=name, addresses=addresses, domain=domain, now_s=now_s
        )


def fingerprint(key: str) -> str:
    """SHA256:… of a private key's public half, as `identity.key` of a Node document writes it."""
    return _fingerprint(_load(key).public_key())


def subject(certificate: bytes) -> tuple[str, str]:
    """Name and fingerprint of a certificate (DER) that TLS has verified."""
    found = x509.load_der_x509_certificate(certificate)
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value), _fingerprint(found.public_key())


def _request(text: str) -> x509.CertificateSigningRequest:
    found = x509.load_pem_x509_csr(text.encode())
    try:
        key = found.public_key()
    except UnsupportedAlgorithm as err:
        raise ValueError(str(err)) from err
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the request is not for a key on P-256")
    if not found.is_signature_valid:
        raise ValueError("the request is not signed by its own key")
    return found


def _fingerprint(key: object) -> str:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    encoded = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "SHA256:" + base64.b64encode(hashlib.sha256(encoded).digest()).decode().rstrip("=")


def _certificate(
    authority: Authority,
    public: ec.EllipticCurvePublicKey,
    *,
    name: str,
    addresses: Sequence[str],
    domain: str,
    now_s: int,
) -> str:
    signer = _load(authority.key)
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.DNSName(f"{name}.{domain}")]
    names += [x509.IPAddress(ip_address(each)) for each in addresses]
    usages = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    certificate = (
        _builder(public, _name(name), issuer.subject, now_s, NODE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return _pem(certificate)


def is_signed_by(certificate: str, authority: str, key: str) -> bool:
    """Whether the certificate is this authority's (PEM, its certificate), for this key."""
    found = x509.load_pem_x509_certificate(certificate.encode())
    issuer = x509.load_pem_x509_certificate(authority.encode())
    try:
        found.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return found.public_key() == _load(key).public_key()


def expires_at_s(certificate: str) -> int:
    """When the certificate (PEM) ends, in seconds since 1970."""
    found = x509.load_pem_x509_certificate(certificate.encode())
    return int(found.not_valid_after_utc.timestamp())


def _builder(
    public: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now_s: int, days: int
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_s, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(
    *, digital_signature: bool, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _load(pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
