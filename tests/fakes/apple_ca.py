"""A private stand-in for Apple's certificate authority: three tiers, OCSP, and signed texts.

Apple's library accepts it with all its checks on: the certificates carry key identifiers, the leaf
and the intermediate have Apple's marks, and each names the OCSP responder that answers for it.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

LEAF_MARK = "1.2.840.113635.100.6.11.1"
INTERMEDIATE_MARK = "1.2.840.113635.100.6.2.1"
YEAR = timedelta(days=365)


@dataclass(frozen=True)
class Tier:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def x5c(self) -> str:
        return base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()


class Authority:
    """Issues a root, an intermediate, and leaves; answers for them over OCSP.

    responder  the address of the OCSP server that the certificates name
    """

    def __init__(self, responder: str) -> None:
        self.responder = responder
        self.revoked: set[int] = set()
        self._issued: list[tuple[Tier, Tier]] = []
        self.root = self._issue("Fake Root", None)
        self.intermediate = self._issue("Fake Intermediate", self.root, mark=INTERMEDIATE_MARK)
        self.leaf = self.new_leaf()

    def new_leaf(
        self, *, mark: str = LEAF_MARK, valid_for: timedelta = YEAR, age: timedelta = YEAR
    ) -> Tier:
        """A leaf that became valid `age` ago, for `valid_for` from now (negative: expired)."""
        return self._issue("Fake Leaf", self.intermediate, mark=mark, ends=valid_for, age=age)

    def sign(self, payload: dict[str, Any], leaf: Tier | None = None, **header: Any) -> str:
        """A JWS, as Apple makes them."""
        leaf = leaf or self.leaf
        chain = [leaf.x5c(), self.intermediate.x5c(), self.root.x5c()]
        return jwt.encode(payload, leaf.key, algorithm="ES256", headers={"x5c": chain} | header)

    def answer(self, request: bytes) -> bytes:
        """An OCSP answer to an OCSP request."""
        asked = ocsp.load_der_ocsp_request(request)
        tier, issuer = next(
            (tier, issuer)
            for tier, issuer in self._issued
            if tier.certificate.serial_number == asked.serial_number
        )
        now = datetime.now(UTC)
        is_revoked = asked.serial_number in self.revoked
        response = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                cert=tier.certificate,
                issuer=issuer.certificate,
                algorithm=hashes.SHA256(),
                cert_status=ocsp.OCSPCertStatus.REVOKED if is_revoked else ocsp.OCSPCertStatus.GOOD,
                this_update=now,
                next_update=now + timedelta(hours=1),
                revocation_time=now if is_revoked else None,
                revocation_reason=None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
            .sign(issuer.key, hashes.SHA256())
        )
        return response.public_bytes(Encoding.DER)

    def _issue(
        self,
        name: str,
        issuer: Tier | None,
        *,
        mark: str = "",
        ends: timedelta = YEAR,
        age: timedelta = YEAR,
    ) -> Tier:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fake Inc."),
            ]
        )
        signer = issuer.key if issuer else key
        is_leaf = issuer is not None and issuer.certificate.issuer != issuer.certificate.subject
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - age)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
            .add_extension(_usage(is_leaf), critical=True)
        )
        if mark:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(mark), b"\x05\x00"), False
            )
        if issuer:
            responder = x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(self.responder)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([responder]), False)
        tier = Tier(builder.sign(signer, hashes.SHA256()), key)
        self._issued.append((tier, issuer or tier))
        return tier


def _usage(is_leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=is_leaf,
        key_cert_sign=not is_leaf,
        crl_sign=not is_leaf,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
