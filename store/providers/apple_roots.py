"""The certificates that Apple's signatures have to lead to."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.conf import settings

from store.providers.base import MisconfiguredError

# Apple's own: https://www.apple.com/certificateauthority/AppleRootCA-G3.cer, SHA-256
# 63343abf b89a6a03 ebb57e9b 3f5fa7be 7c4f5c75 6f3017b3 a8c488c3 653e9179.
APPLE_ROOT_CA_G3 = Path(__file__).parent / "certificates" / "apple_root_ca_g3.pem"


def roots() -> list[bytes]:
    """The certificates that Apple's signatures have to lead to (DER).

    From the files in `APPLE_ROOT_CERTIFICATES`, PEM or DER; where there are none, Apple's own root,
    which comes with Evenkeel. Raises `MisconfiguredError`.
    """
    found: list[bytes] = []
    for path in [Path(name) for name in settings.APPLE_ROOT_CERTIFICATES] or [APPLE_ROOT_CA_G3]:
        try:
            data = path.read_bytes()
            certificates = (
                x509.load_pem_x509_certificates(data)
                if b"-----BEGIN" in data
                else [x509.load_der_x509_certificate(data)]
            )
        except (OSError, ValueError) as error:
            raise MisconfiguredError(
                "platform_misconfigured", f"APPLE_ROOT_CERTIFICATES: {path}: {error}"
            ) from error
        found += [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    return found
