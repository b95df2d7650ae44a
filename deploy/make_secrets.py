"""Writes the secrets that compose.yaml mounts, into secrets/; those that exist are left alone.

    python3 deploy/make_secrets.py [DIRECTORY]

Needs nothing but Python. The directory is private; the files in it are readable, because Compose
mounts them as they are into containers that run under other user ids.
"""

import base64
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

# RFC 8410: PKCS #8 of an Ed25519 private key is this prefix and the 32 bytes of the seed.
ED25519_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


def ed25519_key() -> str:
    encoded = base64.b64encode(ED25519_PKCS8 + secrets.token_bytes(32)).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n"


def main() -> int:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "secrets")
    directory.mkdir(mode=0o700, exist_ok=True)
    directory.chmod(0o700)

    def secret(name: str, make: Callable[[], str]) -> str:
        path = directory / name
        if not path.exists():
            path.write_text(make(), encoding="utf-8")
            path.chmod(0o444)
            print(f"made {path}")
        return path.read_text(encoding="utf-8")

    secret("secret_key", lambda: secrets.token_urlsafe(64))
    secret("access_token_keys", ed25519_key)
    secret("metrics_token", lambda: secrets.token_urlsafe(32))
    database = secret("postgres_password", lambda: secrets.token_urlsafe(32))
    secret("database_url", lambda: f"postgres://evenkeel:{database}@postgres:5432/evenkeel")
    configuration = secret("valkey_conf", valkey_configuration)
    cache = configuration.split("requirepass ", 1)[1].split()[0]
    secret("redis_url", lambda: f"redis://:{cache}@valkey:6379/0")
    secret("broker_url", lambda: f"redis://:{cache}@valkey:6379/1")
    return 0


def valkey_configuration() -> str:
    return (
        f"requirepass {secrets.token_urlsafe(32)}\n"
        "dir /data\n"
        "appendonly yes\n"
        # Jobs wait here too: an error is better than an evicted job.
        "maxmemory-policy noeviction\n"
    )


if __name__ == "__main__":
    sys.exit(main())
