"""`manage.py make_token_key`: an Ed25519 key for `ACCESS_TOKEN_KEYS`."""

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management.base import BaseCommand

from accounts.tokens import signing_key


class Command(BaseCommand):
    help = "Print a new Ed25519 private key (PEM) for ACCESS_TOKEN_KEYS; its kid on stderr."
    # A first key is made before there is a working configuration.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        pem = (
            Ed25519PrivateKey.generate()
            .private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            .decode()
        )
        self.stderr.write(f"kid {signing_key(pem).kid}")
        self.stdout.write(pem, ending="")
