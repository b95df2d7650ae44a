"""System checks: what would let anybody sign purchases, or read our key on the way to Apple."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from store.providers.apple_roots import roots
from store.providers.base import MisconfiguredError


@register(Tags.security)
def check_apple_roots(**_: Any) -> list[CheckMessage]:
    """`APPLE_ROOT_CERTIFICATES` can be read, and are certificate authorities that are valid now; in
    production, Apple's."""
    try:
        certificates = [x509.load_der_x509_certificate(data) for data in roots()]
    except MisconfiguredError as error:
        return [Error(error.detail, id="store.E101")]
    return [
        Error(f"APPLE_ROOT_CERTIFICATES: {certificate.subject.rfc4514_string()}: {wrong}", id=id_)
        for certificate in certificates
        for id_, wrong in _wrong(certificate)
    ]


@register(Tags.security)
def check_apple_addresses(**_: Any) -> list[CheckMessage]:
    """In production, Apple is asked over HTTPS: what comes back is believed."""
    return [
        Error(f"{name} is not an https address", id="store.E105")
        for name in ("APPLE_STORE_URL", "APPLE_SANDBOX_URL")
        if settings.PRODUCTION and urlsplit(getattr(settings, name)).scheme != "https"
    ]


def _wrong(certificate: x509.Certificate) -> list[tuple[str, str]]:
    now = datetime.now(UTC)
    found = []
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        found.append(("store.E102", "it is not valid now"))
    if not _is_authority(certificate):
        found.append(("store.E103", "it is no root of a certificate authority"))
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    if settings.PRODUCTION and [name.value for name in names] != ["Apple Inc."]:
        found.append(("store.E104", "it is not Apple's: its owner could sign any purchase"))
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except Exception:  # bad signature, other issuer, no such extension: each has its own kind
        return False
    return bool(constraints.value.ca)
