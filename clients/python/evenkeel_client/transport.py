"""Requests with retries. Whatever is sent may be sent twice: writes carry a key or a version."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from .errors import EvenkeelError, UnreachableError, error_of

RETRIED = frozenset({429, 500, 502, 503, 504})
# A server that dies in the middle of an answer gives a ChunkedEncodingError.
NO_ANSWER = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


@dataclass
class Answer:
    """An answer below 400."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body, which the caller knows to be JSON."""
        return json.loads(self.content)

    @property
    def replayed(self) -> bool:
        """Whether the server had done this before, and repeated its answer."""
        return self.headers.get("Idempotent-Replayed") == "true"


@dataclass
class Transport:
    """One server. Safe to share between threads: each has its own connection.

    base_url   such as https://play.example.com
    timeout    seconds for connecting and for reading
    patience   seconds that one call may take with all its retries
    on_retry   called with a code before each pause; a network error is "unreachable"
    headers    sent with every call, such as `User-Agent`
    """

    base_url: str
    timeout: tuple[float, float] = (3.05, 20.0)
    patience: float = 60.0
    on_retry: Callable[[str], None] | None = None
    sleep: Callable[[float], None] = time.sleep
    headers: Mapping[str, str] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local, repr=False)

    def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        content: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """One call, repeated until it is answered. `body` is sent as JSON, `content` as it is.

        A POST without an `Idempotency-Key` gets one. Raises `EvenkeelError` when the server
        refuses, `UnreachableError` when there is no answer within `patience`.
        """
        sent = {**self.headers, **headers}
        if method == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))
        deadline = time.monotonic() + self.patience
        attempt = 0
        while True:
            attempt += 1
            code, wait = "unreachable", 0.0
            try:
                response = self._session().request(
                    method,
                    self.base_url.rstrip("/") + path,
                    headers=sent,
                    json=body,
                    data=content,
                    params=params,
                    timeout=self.timeout,
                    allow_redirects=False,
                )
            except NO_ANSWER as problem:
                failure: Exception = UnreachableError(f"{method} {path}: {type(problem).__name__}")
                failure.__cause__ = problem
            else:
                if response.status_code < 400:
                    return Answer(response.status_code, response.headers, response.content)
                error = error_of(response.status_code, _document(response))
                if not _may_retry(error):
                    raise error
                failure, code = error, error.code
                wait = _retry_after(response)
            pause = max(wait, random.uniform(0, min(10.0, 0.2 * 2**attempt)))
            if time.monotonic() + pause > deadline:
                raise failure
            if self.on_retry is not None:
                self.on_retry(code)
            self.sleep(pause)

    def with_headers(self, **headers: str) -> "Transport":
        """The same server over the same connections, with further headers (`_` stands for `-`)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        return session


def _document(response: requests.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"detail": response.text[:200]}


def _may_retry(error: EvenkeelError) -> bool:
    """A rule of the game that says "too fast" is an answer, not a hiccup."""
    if error.status == 429:
        return error.code == "rate_limited"
    return error.status in RETRIED or error.code == "idempotency_in_progress"


def _retry_after(response: requests.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0
