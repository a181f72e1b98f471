"""A private CA and the certificates that it signs. The keys are written to this machine only."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from claude_gauge.errors import GaugeError

CA_DAYS, LEAF_DAYS = 3650, 825  # Apple's clients refuse longer ones
LONGEST_NAME = 64  # X.509's limit of a common name; the full names of hosts stand beside it
LONGEST_HOST = 253
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
EARLIER = timedelta(days=1)  # a device whose clock is a little behind accepts it too


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


def make_ca(name: str, now: datetime) -> Pair:
    """Make a CA whose key may sign certificates and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = (
        _builder(subject, subject, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )
    return _signed(builder, key, key)


def issue(ca: Pair, name: str, now: datetime, *, hosts: Sequence[str] = ()) -> Pair:
    """Sign a certificate: a broker's for these host names and addresses, else a client's with this common name."""
    ca_certificate = x509.load_pem_x509_certificate(ca.certificate)
    ca_key = load_pem_private_key(ca.key, password=None)
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(_name(name), ca_certificate.subject, key.public_key(), now, LEAF_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    return _signed(builder, key, ca_key)  # type: ignore[arg-type] # our CA's key is the one that we made


def expires(certificate: bytes) -> datetime:
    """Return when a PEM certificate expires."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.astimezone(UTC)


def ascii_host(host: str) -> str:
    """Return a host's name (IDNA) or address as certificates and URLs spell it; raises GaugeError for neither.

    An IPv6 address may stand in brackets. A name whose last part is a number would be read as an address.
    """
    with contextlib.suppress(UnicodeError):
        name = host.rstrip(".").encode("idna").decode("ascii").lower() if ":" not in host else host
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(re.sub(r"^\[(.*)\]$", r"\1", name))
            if "%" not in name:
                return str(address)
        if _HOST.fullmatch(name) and len(name) <= LONGEST_HOST and not name.rpartition(".")[2].isdigit():
            return name
    raise GaugeError(f"--host {host}: neither a host's name nor an address")


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:LONGEST_NAME])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Pair:
    certificate = builder.sign(signer, hashes.SHA256())
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
