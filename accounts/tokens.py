"""Access tokens: short-lived JWTs (RFC 7519) signed with Ed25519 (RFC 8037).

`ACCESS_TOKEN_KEYS` holds private keys; the first signs, all verify, so that a new key can be
put in front while tokens of the old one live out their 15 minutes. A key's `kid` is its RFC 7638
thumbprint. Verifying needs no database; a token that was verified is remembered until it expires.
"""

import base64
import hashlib
import re
import time
from functools import cache
from threading import Lock
from typing import Any
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

from config.api.callers import Caller
from config.api.problems import NotAuthenticated

ALGORITHM = "EdDSA"
ISSUER = "evenkeel"
# RFC 9068 names this type; it keeps a JWT that was signed for another purpose from passing.
TYPE = "at+jwt"
CACHE_SIZE = 20_000
MAX_LENGTH = 1_000
_PEM = re.compile(r"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", re.DOTALL)


class SigningKey(msgspec.Struct, frozen=True):
    """One key: its id, the header of the tokens that it signs, as they begin with it, the private
    key, and the public one as a JWK (RFC 7517)."""

    kid: str
    header: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    jwk: dict[str, str]


class KeyRing(TokenBackend):
    """simplejwt's backend, with several keys: the `kid` in a token's header chooses.

    The algorithm is ours, not the header's: `none`, or HS256 with the public key, fail in it.
    """

    def __init__(self) -> None:
        super().__init__(ALGORITHM, issuer=ISSUER)

    def encode(self, payload: dict[str, Any]) -> str:
        """A token signed with the first key; its header names the key and the type.

        The compact serialization of RFC 7515, section 3.1. Claims that we made need none of the
        checks of jwt.encode, which cost a quarter of the signature.
        """
        key = keys()[0]
        signed = f"{key.header}.{_base64url(msgspec.json.encode(payload | {'iss': ISSUER}))}"
        return f"{signed}.{_base64url(key.private.sign(signed.encode()))}"

    def get_verifying_key(self, token: Any) -> Ed25519PublicKey:
        """The public key that the header names. Raises `TokenBackendError`."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, UnicodeError) as error:
            raise TokenBackendError("The header is not readable") from error
        for key in keys():
            if key.kid == header.get("kid") and header.get("typ") == TYPE:
                return key.public
        raise TokenBackendError("No key of ours signed this")


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What an access token says: player, session, game, whether a tester; times in seconds."""

    iss: str
    sub: UUID
    sid: UUID
    gid: UUID
    tst: bool
    iat: int
    exp: int


def signing_key(pem: str) -> SigningKey:
    """The key of a PEM text. Raises `ImproperlyConfigured` unless it is Ed25519."""
    try:
        private = serialization.load_pem_private_key(pem.encode(), password=None)
    except ValueError as error:
        raise ImproperlyConfigured(f"ACCESS_TOKEN_KEYS has an unreadable key: {error}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ImproperlyConfigured("ACCESS_TOKEN_KEYS must be Ed25519 keys")
    public = private.public_key()
    x = _base64url(public.public_bytes_raw())
    # RFC 7638, section 3: the required members, in this order, without white space.
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    kid = _base64url(thumbprint)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": ALGORITHM}
    header = msgspec.json.encode({"alg": ALGORITHM, "kid": kid, "typ": TYPE})
    return SigningKey(kid, _base64url(header), private, public, jwk)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@cache
def _parsed_keys(pems: str) -> tuple[SigningKey, ...]:
    keys = tuple(signing_key(pem) for pem in _PEM.findall(pems))
    if not keys:
        raise ImproperlyConfigured("ACCESS_TOKEN_KEYS has no private key")
    return keys


def keys() -> tuple[SigningKey, ...]:
    """The keys in use; the first signs."""
    return _parsed_keys(settings.ACCESS_TOKEN_KEYS)


def jwks() -> dict[str, Any]:
    """The public keys as a JWK Set (RFC 7517, section 5)."""
    return {"keys": [key.jwk for key in keys()]}


def make_access_token(
    *, player_id: UUID, session_id: UUID, game_id: UUID, is_tester: bool, now: float | None = None
) -> str:
    """A new token that is valid for `ACCESS_TOKEN_SECONDS` from `now` (Unix time)."""
    issued = int(time.time() if now is None else now)
    payload = {
        "sub": str(player_id),
        "sid": str(session_id),
        "gid": str(game_id),
        "tst": is_tester,
        "iat": issued,
        "exp": issued + settings.ACCESS_TOKEN_SECONDS,
    }
    return key_ring.encode(payload)


class VerifiedTokens:
    """Tokens whose signature was checked, with their callers, until they expire. Bounded."""

    def __init__(self, size: int = CACHE_SIZE) -> None:
        self.size = size
        self.kept: dict[str, tuple[int, Caller]] = {}
        self.lock = Lock()

    def get(self, token: str) -> Caller | None:
        found = self.kept.get(token)
        if found is None:
            return None
        expires, caller = found
        return caller if time.time() < expires else None

    def put(self, token: str, expires: int, caller: Caller) -> None:
        with self.lock:
            self.kept[token] = (expires, caller)
            while len(self.kept) > self.size:
                del self.kept[next(iter(self.kept))]

    def clear(self) -> None:
        with self.lock:
            self.kept.clear()


key_ring = KeyRing()
verified = VerifiedTokens()


def caller_of(token: str) -> Caller:
    """The player whom `token` names. Raises `NotAuthenticated`.

    Whether the session was revoked is not asked here: the gate does (config/api/gate.py).
    """
    caller = verified.get(token)
    if caller is None:
        claims = read_access_token(token)
        caller = Caller(
            kind="player",
            game_id=claims.gid,
            limit_id=str(claims.sub),
            player_id=claims.sub,
            session_id=claims.sid,
            is_tester=claims.tst,
        )
        verified.put(token, claims.exp, caller)
    return caller


def read_access_token(token: str) -> Claims:
    """The claims of a valid token. Raises `NotAuthenticated`."""
    if len(token) > MAX_LENGTH:
        raise NotAuthenticated("The access token is not valid")
    try:
        # What simplejwt annotates as its own class is the text.
        return msgspec.convert(key_ring.decode(token), Claims)  # type: ignore[arg-type]
    except TokenBackendExpiredToken:
        raise NotAuthenticated("The access token has expired; refresh it") from None
    except (TokenBackendError, msgspec.ValidationError):
        raise NotAuthenticated("The access token is not valid") from None
