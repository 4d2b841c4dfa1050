"""Certificates that are derived, not stored. Nothing here reads a file, a clock or Ansible.

A leaf certificate is a pure function of the authority, what it is for and the time: its key comes from the authority's key by
HKDF (RFC 5869), its signature from deterministic ECDSA (RFC 6979), and its validity from a grid of epochs. So every controller
renders the same bytes, a second run changes nothing, and no leaf key is kept on a controller.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import ipaddress
import re
import typing as t
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

RENEWAL_DAYS = 30
"""A certificate is renewed when fewer days than this are left."""
LONGEST_DAYS = 825
"""Some clients refuse a server's certificate that is valid for longer, also one of a private authority (macOS, iOS)."""
SKEW = timedelta(days=1)
"""Certificates begin this much early, so that a host whose clock is late accepts them too."""

# Changing one of these labels gives every host new certificates; do it when what is derived changes its meaning.
KEY_PURPOSE = "observatory leaf key 1"
SERIAL_PURPOSE = "observatory leaf serial 1"
STAGGER_PURPOSE = "observatory stagger 1"

# Order of the group of P-256 (SEC 2, 2.4.2).
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# 16 bytes more than the order has: the bias of the reduction is then below 2^-128 (FIPS 186-5, A.2.1).
KEY_BYTES = 48
SERIAL_BYTES = 19  # RFC 5280 allows 20 and a positive number

# A listener trusts the name `<role>.<site>`, so no host may have such a name by accident: its other certificates would carry it.
ROLES = frozenset(
    [
        "admin",
        "alertmanager",
        "blackbox_exporter",
        "elasticsearch",
        "elasticsearch_exporter",
        "filebeat",
        "front",
        "gateway",
        "grafana",
        "host",
        "jaeger",
        "json_exporter",
        "kibana",
        "logstash",
        "node_exporter",
        "prometheus",
    ]
)

_SITE = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z][a-z0-9_]{0,61}[a-z0-9]")
# Underscores are no host name's (RFC 1123), yet inventories have them and TLS libraries compare them well.
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*")
_NAME_LENGTH = 253

Time = datetime | int | float


class CertificateError(Exception):
    """A certificate cannot be issued; the message says why, and never holds key material."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """One service's certificate on one host."""

    certificate: str
    """PEM, the leaf alone."""
    key: str = dataclasses.field(repr=False)
    """PEM, PKCS 8, not encrypted."""
    authority: str
    """PEM of the authority that signed it."""
    serial: int
    not_before: datetime
    not_after: datetime
    role_name: str
    """The name that listeners know the service by: node-exporter.lab"""


@dataclasses.dataclass(frozen=True)
class _Subject:
    """What a certificate is for, checked and in one order, so that equal wishes are equal objects."""

    site: str
    host: str
    service: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    generation: int

    @property
    def label(self) -> str:
        # None of the parts can hold the separator: each has passed its pattern.
        return "|".join((self.site, self.host, self.service, str(self.generation)))


def new_authority(name: str, now: Time, years: int = 10) -> tuple[str, str]:
    """Return a new authority as (certificate PEM, key PEM): P-256, signs leaf certificates only, valid from a day before `now`."""
    now = _utc(now).replace(microsecond=0)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=round(years * 365.25)))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), _key_pem(key)


def issue(
    authority_cert: str,
    authority_key: str,
    *,
    site: str,
    host: str,
    service: str,
    names: t.Iterable[str] = (),
    addresses: t.Iterable[str] = (),
    now: Time,
    days: int = 90,
    generation: int = 1,
) -> Certificate:
    """Return the certificate of a service on a host that is due at `now`: the same bytes for the same arguments in one epoch.

    names, addresses: subject alternative names beside the host's name, the role name, localhost and 127.0.0.1; what is an IP
    address among the names is treated as one. Raises CertificateError when the authority or an argument does not allow it.
    """
    problems = check_authority(authority_cert, authority_key, now, notice_days=0)
    if problems:
        raise CertificateError("the authority's certificate " + "; it ".join(problems))
    if not isinstance(days, int) or not RENEWAL_DAYS < days <= LONGEST_DAYS:
        raise CertificateError(
            f"the validity is {days!r} days; it must be a whole number from {RENEWAL_DAYS + 1} to {LONGEST_DAYS}: certificates are"
            f" renewed {RENEWAL_DAYS} days before they end"
        )
    if not isinstance(generation, int) or generation < 1:
        raise CertificateError(f"the generation is {generation!r}; it must be a whole number from 1 upwards")
    subject = _subject(site, host, service, names, addresses, generation)
    return _issue(authority_cert, authority_key, subject, days, epoch_start(site, host, now, days))


def check_authority(cert: str, key: str, now: Time, notice_days: int = RENEWAL_DAYS) -> list[str]:
    """Return what is wrong with an authority, as sentences whose subject is its certificate ("expired on 2026-01-02").

    notice_days: an authority that ends within so many days is a problem too, since its leaves then end with it; 0 asks only
    whether it works now.
    """
    now = _utc(now)
    try:
        certificate = _load_certificate(cert)
        private = _load_key(key)
    except CertificateError as error:
        return [str(error)]
    problems = []
    if private.public_key() != certificate.public_key():
        problems.append("does not belong to the key beside it: restore both from the same place")
    if not _is_authority(certificate):
        problems.append("is not an authority's: it must be allowed to sign certificates (CA:TRUE, keyCertSign)")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end <= now:
        problems.append(f"expired on {end:%Y-%m-%d}")
    elif begin > now:
        problems.append(f"is not valid before {begin:%Y-%m-%d}: is this machine's clock right ({now:%Y-%m-%d})?")
    elif end - now < timedelta(days=notice_days):
        problems.append(f"expires within {notice_days} days, on {end:%Y-%m-%d}")
    return problems


def bundle(authority: str, trusted: t.Iterable[str]) -> str:
    """Return the PEM text of what a site's machines trust: its authority, then each other one (before and after a rotation).

    Raises CertificateError naming the entry that is not exactly one certificate.
    """
    texts = [authority]
    for number, pem in enumerate(trusted):
        try:
            text = _load_certificate(pem).public_bytes(serialization.Encoding.PEM).decode()
        except CertificateError as error:
            raise CertificateError(f"observatory_authority_trusted[{number}] {error}") from None
        if text not in texts:
            texts.append(text)
    return "".join(texts)


def role_name(service: str, site: str) -> str:
    """Return the name that listeners know a service by: node_exporter of the site lab is node-exporter.lab."""
    return f"{service.replace('_', '-')}.{site}"


def epoch_start(site: str, host: str, now: Time, days: int) -> int:
    """Return when the current epoch of a host began (seconds since 1970): its certificates change when the next one begins.

    Epochs are as long as a certificate's validity less the renewal time, and each host's begin at a moment of its own, so that
    a site's certificates do not all change in one run.
    """
    length = (days - RENEWAL_DAYS) * 86400
    digest = hashlib.sha256("|".join((STAGGER_PURPOSE, site, host)).encode()).digest()
    offset = int.from_bytes(digest[:8], "big") % length
    seconds = int(_utc(now).timestamp())
    return seconds - (seconds - offset) % length


def split_addresses(values: t.Iterable[str]) -> tuple[list[str], list[str]]:
    """Return (names, addresses): the values that are IP addresses apart from the others."""
    names, addresses = [], []
    for value in values:
        (addresses if is_address(value) else names).append(value)
    return names, addresses


def is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_name(value: str) -> bool:
    """Whether a certificate can carry the value as a DNS name."""
    return len(value) <= _NAME_LENGTH and bool(_NAME.fullmatch(value))


# Templates ask for each of a certificate's parts by itself, and a value that is evaluated lazily asks again.
@functools.lru_cache(maxsize=256)
def _issue(authority_cert: str, authority_key: str, subject: _Subject, days: int, start: int) -> Certificate:
    authority, signer = _load_certificate(authority_cert), _load_key(authority_key)
    begin = datetime.fromtimestamp(start, UTC)
    not_before = max(begin - SKEW, authority.not_valid_before_utc)
    not_after = min(begin + timedelta(days=days), authority.not_valid_after_utc)
    # The length belongs to the epoch's name: with another one, an epoch that begins in the same second is another epoch.
    key = _leaf_key(signer, f"{subject.label}|{start}+{days}")
    name = role_name(subject.service, subject.site)
    serial = _serial(signer, authority, subject, days, start)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_distinguished_name(subject))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(_alternative_names(subject), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_identifier(authority), critical=False)
    )
    certificate = builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True)
    pem = serialization.Encoding.PEM
    return Certificate(
        certificate=certificate.public_bytes(pem).decode(),
        key=_key_pem(key),
        authority=authority.public_bytes(pem).decode(),
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        role_name=name,
    )


def _subject(site: str, host: str, service: str, names: t.Iterable[str], addresses: t.Iterable[str], generation: int) -> _Subject:
    if not _SITE.fullmatch(site):
        raise CertificateError(f"the site's name {site!r} must consist of lower-case letters, digits, dots and hyphens, up to 63")
    if not _SERVICE.fullmatch(service):
        raise CertificateError(f"the service {service!r} must consist of lower-case letters, digits and underscores, up to 63")
    own = role_name(service, site)
    dns, found = split_addresses([host, *names])
    addresses = [*addresses, *found]
    reserved = {role_name(role, site): role for role in ROLES} | {f"*.{site}": "each service"}
    for name in dns:
        if not is_name(name):
            raise CertificateError(f"{name!r} is neither a host name nor an IP address: a certificate cannot carry it")
        if name.lower() != own and name.lower() in reserved:
            raise CertificateError(
                f"{name!r} is the role name of {reserved[name.lower()]} in the site {site!r}, and would open what that role opens:"
                " rename the host, or choose another observatory_site"
            )
    for address in addresses:
        if not is_address(address):
            raise CertificateError(f"{address!r} is not an IP address")
    canonical = {str(ipaddress.ip_address(address)) for address in addresses}
    return _Subject(site, host, service, tuple(sorted({*dns, own, "localhost"})), tuple(sorted({*canonical, "127.0.0.1"})), generation)


def _distinguished_name(subject: _Subject) -> x509.Name:
    # 64 is the limit of each attribute (RFC 5280, A.1). Nothing is decided by this name: it is for people who read certificates.
    parts = (
        (NameOID.ORGANIZATION_NAME, f"Observatory {subject.site}"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.service),
        (NameOID.COMMON_NAME, subject.host),
    )
    return x509.Name([x509.NameAttribute(oid, value[:64]) for oid, value in parts])


def _alternative_names(subject: _Subject) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.names]
    names.extend(x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses)
    return x509.SubjectAlternativeName(names)


def _leaf_key(signer: ec.EllipticCurvePrivateKey, info: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(_derive(signer, KEY_PURPOSE, info, KEY_BYTES), "big") % (P256_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def _serial(signer: ec.EllipticCurvePrivateKey, authority: x509.Certificate, subject: _Subject, days: int, start: int) -> int:
    # An authority never signs two certificates of one serial number: everything that differs between them takes part.
    parts = (
        authority.fingerprint(hashes.SHA256()).hex(),
        subject.label,
        ",".join(subject.names),
        ",".join(subject.addresses),
        f"{start}+{days}",
    )
    return int.from_bytes(_derive(signer, SERIAL_PURPOSE, "|".join(parts), SERIAL_BYTES), "big") or 1


def _derive(signer: ec.EllipticCurvePrivateKey, purpose: str, info: str, length: int) -> bytes:
    # The number itself, not an encoding of the key, so that a key file that was rewritten by another tool derives the same.
    secret = signer.private_numbers().private_value.to_bytes(32, "big")
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=f"{purpose}|{info}".encode()).derive(secret)


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(t.cast(ec.EllipticCurvePublicKey, authority.public_key()))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


@functools.lru_cache(maxsize=8)
def _load_certificate(pem: str) -> x509.Certificate:
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise CertificateError("is not PEM: it must begin with -----BEGIN CERTIFICATE----- and be complete") from None
    if len(certificates) != 1:
        raise CertificateError(f"holds {len(certificates)} certificates; it must be one authority's alone")
    return certificates[0]


@functools.lru_cache(maxsize=8)
def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        raise CertificateError(
            "cannot be used: the key beside it is not PEM; it must begin with -----BEGIN PRIVATE KEY-----, be complete and have no"
            " passphrase (the vault encrypts it)"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError("cannot be used: the key beside it is of another kind than P-256, and leaf keys are derived from it")
    return key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _utc(moment: Time) -> datetime:
    if isinstance(moment, datetime):
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.fromtimestamp(moment, UTC)
