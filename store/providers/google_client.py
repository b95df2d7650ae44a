"""One app's way to Google Play: the access token, the calls, and what their errors mean.

google-auth makes the tokens; the calls are our own, because Google's client library brings 111 MB
and hides timeouts and `Retry-After`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from threading import Lock
from typing import Any, NoReturn, cast
from urllib.parse import quote

import msgspec
import requests
from django.conf import settings
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.oauth2 import service_account

from store.providers.base import App, MisconfiguredError, RejectedError, TryAgainError
from store.providers.google_wire import Failure, TokenFailure

SCOPE = "https://www.googleapis.com/auth/androidpublisher"
# Seconds to connect, and to wait for each part of an answer.
TIMEOUT = (3.05, 10.0)
# Google says "forbidden" also when there was too much.
QUOTA_REASONS = {
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "RATE_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
}
NO_TOKEN = "No access token"  # noqa: S105 (a message)
_REASON = re.compile(r"[A-Za-z_]{1,64}")
Query = Sequence[tuple[str, str]]


class RefusedError(RejectedError):
    """Google knows no such thing (any more), or won't do it. `status`: 400, 404 or 410."""

    def __init__(self, status: int, reason: str) -> None:
        code = "receipt_expired" if status == 410 else "unknown_transaction"
        super().__init__(code, f"Google says {status} {reason}".rstrip())
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """As google-auth likes to see it, too."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Connection:
    """Calls for one app, from many threads: one access token, one pool of connections.

    Raises `MisconfiguredError` unless the app's secret is a service account's JSON.
    """

    def __init__(self, app: App, timeout: tuple[float, float] = TIMEOUT) -> None:
        self.package = app.app_id
        self.timeout = timeout
        try:
            self._credentials = _credentials(app.secret)
        except (ValueError, TypeError, KeyError, GoogleAuthError) as error:
            # The error may quote the key.
            detail = "The service account is no JSON key of Google's" if app.secret else "No secret"
            raise MisconfiguredError("platform_misconfigured", detail) from error
        self._lock = Lock()
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get(self, path: str, query: Query = (), *, read_timeout: float | None = None) -> bytes:
        """The body of `path` below the app. Raises `RefusedError` for 400, 404 and 410;
        `TryAgainError`; `MisconfiguredError`."""
        return self._call("GET", path, query=query, read_timeout=read_timeout)

    def post(self, path: str, body: bytes = b"") -> None:
        """Do what `path` says; errors as with `get`."""
        self._call("POST", path, body=body)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        read_timeout: float | None = None,
    ) -> bytes:
        package = quote(self.package, safe="")
        url = f"{settings.GOOGLE_PLAY_URL}/androidpublisher/v3/applications/{package}/{path}"
        timeout = (self.timeout[0], read_timeout or self.timeout[1])

        def ask(token: str) -> Answer:
            headers = {"Content-Type": "application/json"} if body else {}
            return self._send(
                method, url, headers, token=token, params=query, data=body, timeout=timeout
            )

        token = self._token()
        answer = ask(token)
        if answer.status == 401:  # once, with a new token
            answer = ask(self._token(spent=token))
        if answer.status not in (200, 204):
            _refuse(answer)
        return answer.data

    def _token(self, spent: str = "") -> str:
        """An access token that lives, other than the one that Google refused.

        Callers wait here for the one who asks: all of them need what comes."""
        with self._lock:
            if not self._credentials.valid or self._credentials.token == spent:
                try:
                    self._credentials.refresh(self._ask_for_token)  # type: ignore[no-untyped-call]  # half typed
                except RefreshError as error:
                    raise TryAgainError("platform_bad_answer", NO_TOKEN) from error
            return str(self._credentials.token)

    def _ask_for_token(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> Answer:
        """google-auth's transport. What fails leaves as an error of ours: google-auth would
        repeat it, asleep, where the row that asks is repeated when it is due."""
        answer = self._send(method, url, headers or {}, data=body, timeout=self.timeout)
        if answer.status != 200:
            _refuse_token(answer)
        if not answer.data.lstrip().startswith(b"{"):
            raise TryAgainError("platform_bad_answer", NO_TOKEN)
        return answer

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], *, token: str = "", **more: Any
    ) -> Answer:
        try:
            answer = self._session.request(
                method,
                url,
                headers=dict(headers),
                # As `auth`, or a .netrc on the machine would put its own in the place of this.
                auth=_bearer(token) if token else None,
                allow_redirects=False,
                **more,
            )
        except requests.RequestException as error:
            # Its text has the address, and so the purchase token.
            raise TryAgainError("platform_unavailable", type(error).__name__) from None
        return Answer(answer.status_code, answer.headers, answer.content)


def quoted(token: str) -> str:
    """A token or product id as one segment of a path."""
    return quote(token, safe="")


def _bearer(token: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return sign


def _credentials(secret: str) -> service_account.Credentials:
    info = json.loads(secret)
    # The address of tokens is ours, as all addresses are.
    info["token_uri"] = settings.GOOGLE_TOKEN_URL
    make = service_account.Credentials.from_service_account_info
    return cast(service_account.Credentials, make(info, scopes=[SCOPE]))  # type: ignore[no-untyped-call]  # half typed


def _refuse_token(answer: Answer) -> NoReturn:
    """Raise what this answer to the wish for an access token means (RFC 6749, 5.2)."""
    if answer.status in (400, 401, 403):
        try:
            error = msgspec.json.decode(answer.data, type=TokenFailure).error
        except (msgspec.MsgspecError, UnicodeDecodeError):
            error = ""
        # The description would name the account.
        detail = f"{NO_TOKEN}: {error if _REASON.fullmatch(error) else answer.status}"
        if error in ("temporarily_unavailable", "server_error", "internal_failure"):
            raise TryAgainError("platform_unavailable", detail)
        raise MisconfiguredError("platform_misconfigured", detail)
    try:
        _refuse(answer)
    except RefusedError as refusal:  # no word about any receipt
        raise TryAgainError("platform_bad_answer", refusal.detail) from None


def _refuse(answer: Answer) -> NoReturn:
    """Raise what this answer means. Google's words stay out: they may quote a token."""
    status, reason = answer.status, _reason(answer.data)
    after = _retry_after(answer.headers)
    said = f"Google says {status} {reason}".rstrip()
    if status == 429 or (status == 403 and reason in QUOTA_REASONS):
        raise TryAgainError("platform_busy", said, after=after)
    if status >= 500 or status == 408:
        raise TryAgainError("platform_unavailable", said, after=after)
    if status in (401, 403) or (status == 404 and reason == "applicationNotFound"):
        raise MisconfiguredError("platform_misconfigured", said)
    if status == 409:  # somebody else is at the same purchase just now
        raise TryAgainError("platform_conflict", said, after=after, counts=False)
    # Google's errors are JSON: an error page in HTML is some proxy's, and says nothing.
    if status in (400, 404, 410) and answer.data.lstrip()[:1] in (b"", b"{"):
        raise RefusedError(status, reason)
    raise TryAgainError("platform_bad_answer", said, after=after)


def _reason(body: bytes) -> str:
    try:
        error = msgspec.json.decode(body, type=Failure).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    names = [*(item.reason for item in (*error.errors, *error.details)), error.status]
    return next((name for name in names if _REASON.fullmatch(name)), "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; the header has them, or a date (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.astimezone(UTC) - datetime.now(UTC)).total_seconds())
