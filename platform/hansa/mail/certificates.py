"""Certificates of the brokers' ports: who may connect to which, and whom they find there.

The hub's authority signs the servers' certificates and the hub's own as a client. Each mailbox believes that authority
and one more, made for this mailbox, whose key signed the site's certificate once and was thrown away: so a mailbox
takes exactly the hub's certificate and one site's, whatever password another site may have got hold of. A server's
certificate is none for a client (extended key usage). ECDSA over P-256, X.509 v3 (RFC 5280). `now` is in seconds.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as draw
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hansa.errors import ProtocolViolation, Refused

LEAF_DAYS, AUTHORITY_DAYS = 825, 3650
SLACK = timedelta(days=1)  # a clock may be behind by this much on the day of founding


def draw_key() -> bytes:
    """A new private key, PEM, unencrypted: for a file that its user alone may read."""
    return draw(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_authority(key: bytes, name: str, now: float) -> bytes:
    """A certificate of its own, PEM; it may sign leaves and no further authority."""
    opened = _private(key)
    builder = _builder(name, opened.public_key(), _name(name), now, AUTHORITY_DAYS)
    usage = _usage(digital_signature=False, key_cert_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(opened, hashes.SHA256()).public_bytes(Encoding.PEM)


def make_request(key: bytes, name: str) -> bytes:
    """A certificate request, DER: the public key of `key`, and the proof that whoever asks holds it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    return builder.sign(_private(key), hashes.SHA256()).public_bytes(Encoding.DER)


def sign_client(request: bytes, name: str, authority: bytes, authority_key: bytes, now: float) -> bytes:
    """A client's certificate, PEM. Of the request only the key is taken; the name is the caller's word."""
    return _leaf(public_key_of(request), name, authority, authority_key, now, ExtendedKeyUsageOID.CLIENT_AUTH, ())


def sign_server(key: bytes, hosts: Sequence[str], authority: bytes, authority_key: bytes, now: float) -> bytes:
    """A server's certificate, PEM, for host names and addresses."""
    public, usage = _private(key).public_key(), ExtendedKeyUsageOID.SERVER_AUTH
    return _leaf(public, "hansa broker", authority, authority_key, now, usage, hosts)


def public_key_of(request: bytes) -> EllipticCurvePublicKey:
    """Raises ProtocolViolation for what is no request, or not by the holder of its key."""
    try:
        found = x509.load_der_x509_csr(request)
        public = found.public_key()
        if not found.is_signature_valid or not isinstance(public, EllipticCurvePublicKey):
            raise ProtocolViolation("a certificate request does not hold")
    except (ValueError, InvalidSignature) as error:
        raise ProtocolViolation("a certificate request is malformed") from error
    return public


def belongs(certificate: bytes, key: bytes) -> bool:
    """Whether a certificate, PEM, is for this private key."""
    return _raw(_read(certificate).public_key()) == _raw(_private(key).public_key())


def ends(certificate: bytes) -> datetime:
    return _read(certificate).not_valid_after_utc


def lasts(certificate: bytes) -> tuple[datetime, datetime]:
    """From when until when it holds; of several in one file, the first."""
    found = _read(certificate)
    return found.not_valid_before_utc, found.not_valid_after_utc


def fingerprint(certificate: bytes) -> str:
    """SHA-256 in hexadecimal with colons, as `openssl x509 -fingerprint -sha256` prints it."""
    return _read(certificate).fingerprint(hashes.SHA256()).hex(":").upper()


def _leaf(
    public: EllipticCurvePublicKey,
    name: str,
    authority: bytes,
    authority_key: bytes,
    now: float,
    usage: x509.ObjectIdentifier,
    hosts: Sequence[str],
) -> bytes:
    above, key = _read(authority), _private(authority_key)
    builder = _builder(name, public, above.subject, now, LEAF_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True, key_cert_sign=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    identifier = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    above_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    builder = builder.add_extension(above_id, critical=False)
    if hosts:
        names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys(hosts)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _builder(
    name: str, public: EllipticCurvePublicKey, issuer: x509.Name, now: float, days: int
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(now, UTC) - SLACK
    builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start)
    builder = builder.not_valid_after(start + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise Refused(f"'{host}' is no host name") from error


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _private(key: bytes) -> EllipticCurvePrivateKey:
    opened = load_pem_private_key(key, None)
    if not isinstance(opened, EllipticCurvePrivateKey):
        raise Refused("a TLS key is not one that Hansa drew")
    return opened


def _read(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise ProtocolViolation("a certificate is malformed") from error


def _raw(public: object) -> bytes:
    if not isinstance(public, EllipticCurvePublicKey):
        raise ProtocolViolation("a certificate's key is of another sort")
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
