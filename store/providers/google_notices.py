"""Real-time developer notifications: what Pub/Sub pushes, and whether it is Google who does.

A push bears an OpenID Connect token of Google's (RFC 7519, RS256). google-auth's `verify_token`
checks neither issuer nor e-mail address, and fetches the keys each time; so we check all of it
ourselves, with keys that are kept.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import jwt
import msgspec
import requests
import structlog
from django.conf import settings

from store.providers.base import App, Notice, RejectedError, TryAgainError
from store.providers.google_wire import DeveloperNotification, Push, Voided

log = structlog.get_logger(__name__)
ISSUERS = ["https://accounts.google.com", "accounts.google.com"]
# A request waits for the keys at most this long: to connect, and to read.
TIMEOUT = (1.0, 2.0)
# Seconds. Google's keys change every few days; a token lives for an hour.
KEEP_KEYS = 6 * 3600
COOLDOWN = 60
LEEWAY = 60
MAX_TOKEN = 4_096
FindApp = Callable[[str], App | None]


class Keys:
    """Google's public keys. Fetched when there are none, or they are old, or one is missing; at
    most once in `COOLDOWN` seconds, so that forged tokens can't make us ask all the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._keys: dict[str, Any] = {}
        self._lock = Lock()
        self._fetched_at = self._asked_at = -float("inf")

    def get(self, kid: str) -> Any:
        """The key of this id. Raises `RejectedError` if Google has no such key, `TryAgainError` if
        its keys can't be had now."""
        now = self.clock()
        if kid in self._keys and now - self._fetched_at < KEEP_KEYS:
            return self._keys[kid]
        with self._lock:  # The others wait: they need what comes.
            now = self.clock()
            is_old = now - self._fetched_at >= KEEP_KEYS
            if (kid not in self._keys or is_old) and now - self._asked_at >= COOLDOWN:
                self._asked_at = now
                try:
                    self._keys = _fetch_keys()
                    self._fetched_at = now
                except (requests.RequestException, ValueError, jwt.PyJWTError) as error:
                    log.warning("google_keys_not_fetched", error=type(error).__name__)
        if kid in self._keys:
            return self._keys[kid]
        if self._fetched_at < self._asked_at:
            raise TryAgainError("platform_unavailable", "Google's keys can't be had", counts=False)
        raise RejectedError("not_authentic", "No key of Google's signed this")


def _fetch_keys() -> dict[str, Any]:
    answer = requests.get(settings.GOOGLE_CERTS_URL, timeout=TIMEOUT, allow_redirects=False)
    if answer.status_code != 200:
        raise ValueError(f"HTTP {answer.status_code}")
    found = jwt.PyJWKSet.from_dict(answer.json()).keys
    return {key.key_id: key.key for key in found if key.key_id and key.key_type == "RSA"}


def read(keys: Keys, find_app: FindApp, headers: Mapping[str, str], body: bytes) -> Notice:
    """The notification in a push. Raises `RejectedError` (`not_authentic`: 401; else 422),
    `TryAgainError` (503)."""
    claims = _claims(keys, headers)
    try:
        message = msgspec.json.decode(body, type=Push).message
        told = msgspec.json.decode(message.data, type=DeveloperNotification, strict=False)
        signed_at = datetime.fromtimestamp(told.event_time_millis / 1000, UTC)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError, OSError) as error:
        raise RejectedError("malformed_notification", "No notification of Google Play's") from error
    app = find_app(told.package_name)
    if app is None:
        raise RejectedError("unknown_app")
    _check_sender(app, claims)
    kind, data = _content(told)
    # Message ids are unique in their topic; each app has its own, or shares one.
    return Notice(f"{app.app_id}:{message.message_id}", kind, app.app_id, signed_at, data)


def _claims(keys: Keys, headers: Mapping[str, str]) -> dict[str, Any]:
    """What the bearer token says, with signature, times and issuer checked."""
    given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
        raise RejectedError("not_authentic", "There is no bearer token")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        claims: dict[str, Any] = jwt.decode(
            token,
            keys.get(str(kid)),
            # Ours, not the header's choice.
            algorithms=["RS256"],
            issuer=ISSUERS,
            leeway=LEEWAY,
            # The audience is the app's, which only the body names.
            options={"require": ["exp", "iat", "iss", "aud"], "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise RejectedError("not_authentic", type(error).__name__) from error
    return claims


def _check_sender(app: App, claims: Mapping[str, Any]) -> None:
    """Google signs such tokens for everybody: this one has to be for us, and from our Pub/Sub."""
    audience, email = (
        str(app.options.get(f"notification_{name}") or "") for name in ("audience", "email")
    )
    if not audience or not email:
        # Refused for now only: Pub/Sub sends it again once somebody has set them.
        raise TryAgainError(
            "platform_misconfigured",
            "notification_audience or notification_email is not set",
            counts=False,
        )
    for_us = _same(claims["aud"], audience)
    from_ours = _same(claims.get("email"), email) and claims.get("email_verified") is True
    if not (for_us and from_ours):
        raise RejectedError("not_authentic", "The token is another's")


def _same(given: Any, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(
        given.encode(errors="replace"), expected.encode()
    )


def _content(told: DeveloperNotification) -> tuple[str, dict[str, Any]]:
    """The notification's kind, and what `resolve` needs of it."""
    if product := told.one_time_product_notification:
        kind = f"oneTimeProductNotification {product.notification_type}"
        return kind, {"about": "product", "token": product.purchase_token}
    if subscription := told.subscription_notification:
        kind = f"subscriptionNotification {subscription.notification_type}"
        return kind, {"about": "subscription", "token": subscription.purchase_token}
    if voided := told.voided_purchase_notification:
        return "voidedPurchaseNotification", {
            "about": "voided",
            "token": voided.purchase_token,
            "order_id": voided.order_id,
            "subscription": voided.product_type == 1,
            "whole": voided.refund_type != 2,
            "is_listed": False,
        }
    if told.test_notification is not None:
        return "testNotification", {"about": "test"}
    return "unknown", {"about": "unknown"}


def listed(app: App, entry: Voided) -> Notice:
    """An entry of the list of voided purchases, as a notification: the same entry has the same id.

    A purchase may have several, each of a part of its quantity."""
    token = hashlib.sha256(entry.purchase_token.encode()).hexdigest()[:32]
    part = "whole" if entry.voided_quantity is None else entry.voided_quantity
    name = f"{token}:{entry.order_id[:60]}:{entry.voided_time_millis}:{part}"
    data = {
        "about": "voided",
        "token": entry.purchase_token,
        "order_id": entry.order_id,
        "subscription": ".." in entry.order_id,  # a renewal's is marked so; others may be too
        "whole": entry.voided_quantity is None,
        "is_listed": True,
    }
    at = datetime.fromtimestamp(entry.voided_time_millis / 1000, UTC)
    return Notice(f"voided:{name}", "voidedPurchase", app.app_id, at, data)
