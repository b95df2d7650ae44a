"""One app's way to the App Store Server API: Apple's own client, with what it leaves out.

Added in this one place: the address from the settings, connect and read timeouts, one pool of
connections, `Retry-After`, and errors of ours for everything that can go wrong.
"""

from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from typing import Any, NoReturn, TypeVar

import requests
from appstoreserverlibrary.api_client import APIError, AppStoreServerAPIClient
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from django.conf import settings
from requests.adapters import HTTPAdapter

from store.providers.apple_signed import ENVIRONMENTS
from store.providers.base import (
    App,
    Environment,
    MisconfiguredError,
    ProviderError,
    RejectedError,
    TryAgainError,
)

T = TypeVar("T")

# Seconds to connect, and to wait for each part of an answer.
TIMEOUT = (3.05, 10.0)
# A time in milliseconds in place of a number of seconds: far above any number of seconds.
MILLISECONDS_FROM = 10**11
# "Later", said of one transaction, not of the App Store.
RETRYABLE = {
    APIError.ACCOUNT_NOT_FOUND_RETRYABLE,
    APIError.APP_NOT_FOUND_RETRYABLE,
    APIError.ORIGINAL_TRANSACTION_ID_NOT_FOUND_RETRYABLE,
    # A page of a list that has gone: asking again begins anew.
    APIError.INVALID_PAGINATION_TOKEN,
    APIError.PAGINATION_TOKEN_EXPIRED,
}
UNKNOWN = {
    APIError.TRANSACTION_ID_NOT_FOUND,
    APIError.ORIGINAL_TRANSACTION_ID_NOT_FOUND,
    APIError.ACCOUNT_NOT_FOUND,
    APIError.INVALID_TRANSACTION_ID,
    APIError.INVALID_ORIGINAL_TRANSACTION_ID,
}


class UnknownTransactionError(RejectedError):
    """The App Store knows no such transaction of this app in this environment."""


class UnauthorizedError(MisconfiguredError):
    """The key was refused: it is wrong or revoked, or the app has never been in the store."""


class Client(AppStoreServerAPIClient):
    """Calls for one app in one environment, from many threads. Raises `ProviderError`s only."""

    def __init__(self, app: App, environment: Environment) -> None:
        issuer, key_id = (_option(app, name) for name in ("issuer_id", "key_id"))
        try:
            super().__init__(
                # In an environment variable, line breaks often arrive as two characters.
                app.secret.replace("\\n", "\n").encode(),
                key_id,
                issuer,
                app.app_id,
                ENVIRONMENTS[environment],
            )
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without the cause, which may quote the key.
            raise _misconfigured("The secret is no private key of App Store Connect") from None
        if not (
            isinstance(self._signing_key, EllipticCurvePrivateKey)
            and isinstance(self._signing_key.curve, SECP256R1)
        ):
            raise _misconfigured("The secret is another kind of key than App Store Connect's")
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("http", HTTPAdapter(pool_maxsize=32))
        self._environment = environment

    def _get_full_url(self, path: str) -> str:
        return f"{base_url(self._environment)}{path}"

    def _execute_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, str | list[str]],
        headers: MutableMapping[str, str],
        json: Mapping[str, Any] | None,
        data: bytes | None,
    ) -> requests.Response:
        bearer = headers.pop("Authorization")
        try:
            return self._session.request(
                method,
                url,
                params=params,
                headers=headers,
                # As `auth`, or a .netrc on the machine would put its own in the place of this.
                auth=lambda request: _signed(request, bearer),
                json=json,
                data=data,
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # Its text has the address, and so the transaction's id.
            raise TryAgainError("platform_unavailable", type(error).__name__) from None

    def _parse_response(
        self,
        status_code: int,
        headers: MutableMapping[str, str],
        json_supplier: Callable[[], Any],
        destination_class: type[T],
    ) -> T:
        if not 200 <= status_code < 300:
            _refuse(status_code, _error_code(json_supplier), headers)
        try:
            return super()._parse_response(status_code, headers, json_supplier, destination_class)
        # Not JSON, or cattrs cannot make of it what it should be: some proxy's page.
        except (ValueError, TypeError, KeyError, AttributeError, ExceptionGroup):
            detail = f"Not {destination_class.__name__}"
            raise TryAgainError("platform_bad_answer", detail) from None


class Clients:
    """One `Client` for each app and environment, for the life of the process; for many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: dict[tuple[str, Environment], tuple[App, Client]] = {}

    def get(self, app: App, environment: Environment) -> Client:
        """The client, made anew when the app's settings changed. Raises `MisconfiguredError`."""
        with self._lock:
            made_for, client = self._made.get((app.app_id, environment), (None, None))
            if client is None or made_for != app:
                client = Client(app, environment)
                self._made[app.app_id, environment] = (app, client)
            return client


def base_url(environment: Environment) -> str:
    """Where the API of this environment is, without a slash at the end."""
    is_sandbox = environment is Environment.SANDBOX
    url = settings.APPLE_SANDBOX_URL if is_sandbox else settings.APPLE_STORE_URL
    return str(url).rstrip("/")


def _signed(request: requests.PreparedRequest, bearer: str) -> requests.PreparedRequest:
    request.headers["Authorization"] = bearer
    return request


def _option(app: App, name: str) -> str:
    value = app.options.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _misconfigured(f"options.{name} is missing")
    return value.strip()


def _error_code(json_supplier: Callable[[], Any]) -> int:
    """Apple's number of the error. The library reads it only beside one exact content type."""
    try:
        code = json_supplier()["errorCode"]
    except (ValueError, TypeError, KeyError):
        return 0
    return code if isinstance(code, int) else 0


def _refuse(status: int, code: int, headers: Mapping[str, str]) -> NoReturn:
    """Raise what this answer means."""
    said = f"Apple says {status} {code or ''}".rstrip()
    after = _retry_after(headers.get("Retry-After", ""))
    if code in RETRYABLE:
        raise TryAgainError("platform_unavailable", said, after=after, counts=False)
    if status == 429:
        raise TryAgainError("platform_busy", said, after=after)
    if status >= 500 or status == 408:
        raise TryAgainError("platform_unavailable", said, after=after)
    if status == 401:
        raise UnauthorizedError("platform_misconfigured", said)
    if code in UNKNOWN:
        raise UnknownTransactionError("unknown_transaction", said)
    # An app or a request that Apple does not know is our mistake: nobody loses a purchase by it.
    if code or status == 403:
        raise _misconfigured(said)
    # Apple's errors have numbers: what has none is some proxy's.
    raise TryAgainError("platform_bad_answer", said, after=after)


def _retry_after(value: str) -> float | None:
    """Seconds. Apple sends the time of the next attempt, in milliseconds since 1970; a proxy of
    theirs may send seconds or a date, as RFC 9110 has it."""
    value = value.strip()
    if value.isascii() and value.isdigit() and len(value) < 16:
        number = int(value)
        if number < MILLISECONDS_FROM:
            return float(number)
        return max(0.0, number / 1000 - datetime.now(UTC).timestamp())
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _misconfigured(detail: str) -> ProviderError:
    return MisconfiguredError("platform_misconfigured", detail)
