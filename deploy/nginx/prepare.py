"""Fills the volumes that nginx reads: this release's static files, and a certificate to begin with.

Run in the application's image by compose.yaml, with the host names as its argument. A certificate
that is there is left alone, so a real one only has to be put in its place.
"""

import datetime
import ipaddress
import shutil
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

STATIC, SHARED_STATIC = Path("/static"), Path("/shared/static")
CERTIFICATES = Path("/shared/certificates")
VALID_DAYS = 365


def alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def self_sign(directory: Path, hosts: list[str]) -> None:
    """Write fullchain.pem and privkey.pem for `hosts`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([alternative_name(host) for host in hosts]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # nginx reads it under another user id; the volume is mounted into nothing else.
    (directory / "privkey.pem").write_bytes(private)
    (directory / "fullchain.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def main() -> int:
    shutil.copytree(STATIC, SHARED_STATIC, dirs_exist_ok=True)
    if not (CERTIFICATES / "fullchain.pem").exists():
        hosts = [host.strip().lstrip(".") for host in sys.argv[1].split(",") if host.strip()]
        self_sign(CERTIFICATES, hosts or ["localhost"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
