"""A developer's machine, and `make run`: readable logs, nothing to set by hand."""

import contextlib
import os
from pathlib import Path

from config.settings.base import *
from config.settings.env import env

DEBUG = env.flag("DEBUG", False, doc="Django's debug pages in the admin; never in production")
SECRET_KEY = SECRET_KEY or "development-only-secret-that-production-refuses"
METRICS_TOKEN = METRICS_TOKEN or "development"
STORE_SANDBOX = env.raw("STORE_SANDBOX") is None or STORE_SANDBOX
# A proxy on this machine. The demo is one too: its players come from addresses of their own.
TRUSTED_PROXIES = TRUSTED_PROXIES or ["127.0.0.0/8", "::1/128"]


def _development_token_key(path: Path) -> str:
    """An Ed25519 key kept in `.local/`, so that tokens outlive a restart."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(pem)
        # A hard link fails if another process was first: all then read the same key.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


ACCESS_TOKEN_KEYS = env.raw("ACCESS_TOKEN_KEYS") or _development_token_key(
    LOCAL_DIR / "access_token_key.pem"
)

env.refuse_problems()
