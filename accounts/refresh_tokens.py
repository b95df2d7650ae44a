"""Refresh tokens: `rt_` and base64url of session (16 bytes), generation (4), MAC (32).

A token is computed from the session and its generation with a key derived from `SECRET_KEY`:
nothing of it is stored, and the answer to a repeated refresh can be made again. With
`SECRET_KEY_FALLBACKS` tokens outlive a change of the secret.
"""

import base64
import binascii
import hmac
from functools import cache
from hashlib import sha256
from uuid import UUID

from django.conf import settings

PREFIX = "rt_"
_LENGTH = 16 + 4 + 32


@cache
def _keyed(secret: str) -> hmac.HMAC:
    return hmac.new(
        hmac.digest(secret.encode(), b"evenkeel refresh tokens 1", sha256), digestmod=sha256
    )


def _mac(secret: str, named: bytes) -> bytes:
    mac = _keyed(secret).copy()
    mac.update(named)
    return mac.digest()


def make_refresh_token(session_id: UUID, generation: int) -> str:
    """The refresh token of a session's generation."""
    named = session_id.bytes + generation.to_bytes(4, "big")
    mac = _mac(settings.SECRET_KEY, named)
    return PREFIX + base64.urlsafe_b64encode(named + mac).decode().rstrip("=")


def read_refresh_token(token: str) -> tuple[UUID, int] | None:
    """(session, generation) of a token that this deployment made; None for anything else."""
    if not token.startswith(PREFIX) or not token.isascii():
        return None
    text = token.removeprefix(PREFIX)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if len(data) != _LENGTH:
        return None
    named, mac = data[:20], data[20:]
    for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
        if hmac.compare_digest(_mac(secret, named), mac):
            return UUID(bytes=named[:16]), int.from_bytes(named[16:], "big")
    return None
