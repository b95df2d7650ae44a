"""Access tokens and their keys."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from accounts import tokens
from config.api.problems import NotAuthenticated
from config.db.ids import uuid7

WHO: dict[str, Any] = {"player_id": uuid7(), "session_id": uuid7(), "game_id": uuid7()}


def pem(key: Any) -> str:
    encoded: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def token(**changes: Any) -> str:
    return tokens.make_access_token(**WHO, is_tester=False, **changes)


def forged(claims: dict[str, Any], key: Any, algorithm: str, **header: str) -> str:
    kid = {"kid": tokens.keys()[0].kid, "typ": tokens.TYPE} | header
    return jwt.encode(claims, key, algorithm, kid)


def claims() -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token(), options={"verify_signature": False})
    return found


def test_token__says_who() -> None:
    caller = tokens.caller_of(token())
    assert (caller.kind, caller.player_id, caller.session_id, caller.game_id) == (
        "player",
        WHO["player_id"],
        WHO["session_id"],
        WHO["game_id"],
    )
    assert caller.limit_id == str(WHO["player_id"])


def test_token__is_verified_once() -> None:
    one = token()
    assert tokens.caller_of(one) is tokens.caller_of(one)


def test_token__expires_in_the_cache_too() -> None:
    one = token()
    caller = tokens.caller_of(one)
    assert tokens.verified.get(one) is caller
    tokens.verified.put(one, int(time.time()) - 1, caller)
    assert tokens.verified.get(one) is None


def test_cache__is_bounded() -> None:
    cache = tokens.VerifiedTokens(size=2)
    caller = tokens.caller_of(token())
    for name in ("a", "b", "c"):
        cache.put(name, int(time.time()) + 60, caller)
    assert list(cache.kept) == ["b", "c"]
    cache.clear()
    assert cache.get("c") is None


def refused(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.caller_of(text)


def test_refused__expired() -> None:
    refused(token(now=time.time() - 901))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "x" * 5_000, "ä.b.c", "..", "e30.e30."])
def test_refused__malformed(text: str) -> None:
    refused(text)


def test_refused__algorithm_none() -> None:
    refused(forged(claims(), "", "none"))


def test_refused__hs256_with_the_public_key() -> None:
    secret = tokens.keys()[0].public.public_bytes_raw()
    header = {"alg": "HS256", "kid": tokens.keys()[0].kid, "typ": tokens.TYPE}
    signed = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims())
    )
    mac = base64.urlsafe_b64encode(hmac.digest(secret, signed, hashlib.sha256)).rstrip(b"=")
    refused((signed + b"." + mac).decode())


def test_refused__another_key_under_our_kid() -> None:
    refused(forged(claims(), Ed25519PrivateKey.generate(), "EdDSA"))


def test_refused__unknown_kid() -> None:
    refused(forged(claims(), tokens.keys()[0].private, "EdDSA", kid="unknown"))


def test_refused__another_type() -> None:
    refused(forged(claims(), tokens.keys()[0].private, "EdDSA", typ="JWT"))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "someone"},
        {"sub": "not a uuid"},
        {"exp": None},
        {"exp": "soon"},
        {"sid": None},
        {"gid": 7},
        {"tst": "yes"},
        {"nbf": 4_102_444_800},  # 2100: a time counted from the collection of tests may be over
    ],
)
def test_refused__claims(changes: dict[str, Any]) -> None:
    wrong = {name: value for name, value in (claims() | changes).items() if value is not None}
    refused(forged(wrong, tokens.keys()[0].private, "EdDSA"))


def test_rotation__the_first_signs_and_all_verify(settings: LazySettings) -> None:
    before = token()
    old = settings.ACCESS_TOKEN_KEYS
    settings.ACCESS_TOKEN_KEYS = pem(Ed25519PrivateKey.generate()) + old
    tokens.verified.clear()
    after = token()
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    assert tokens.caller_of(before).player_id == tokens.caller_of(after).player_id
    settings.ACCESS_TOKEN_KEYS = pem(Ed25519PrivateKey.generate())
    tokens.verified.clear()
    refused(before)


def test_keys__must_be_ed25519(settings: LazySettings) -> None:
    settings.ACCESS_TOKEN_KEYS = pem(generate_private_key(65537, 2048))
    with pytest.raises(ImproperlyConfigured, match="Ed25519"):
        tokens.keys()
    for wrong in ("", "-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----"):
        settings.ACCESS_TOKEN_KEYS = wrong
        with pytest.raises(ImproperlyConfigured):
            tokens.keys()


def test_jwks__lets_others_verify(client: Client) -> None:
    answer = client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "public, max-age=300"
    key_set = jwt.PyJWKSet.from_dict(answer.json())
    text = token()
    key = key_set[jwt.get_unverified_header(text)["kid"]]
    decoded = jwt.decode(text, key, algorithms=["EdDSA"], issuer="evenkeel")
    assert decoded["sub"] == str(WHO["player_id"])
    assert "d" not in answer.json()["keys"][0]


def test_kid__is_the_thumbprint() -> None:
    """RFC 8037, appendix A.3."""
    private = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = tokens.signing_key(pem(Ed25519PrivateKey.from_private_bytes(private)))
    assert key.jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
