"""Problem documents (RFC 9457): every error that leaves the server.

A domain names its errors in its own errors.py, one `Problem` subclass a code. The list in
docs/errors.md is generated from the subclasses, so a code is documented by existing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.response import Response

from config.metrics import DATABASE_FAILURES, PROBLEMS

log = structlog.get_logger(__name__)
CONTENT_TYPE = "application/problem+json"


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with the body: where (JSON pointer), a stable code, and a sentence."""

    pointer: str
    code: str
    detail: str


class Problem(Exception):  # noqa: N818 (the word of RFC 9457)
    """An error with an HTTP status and a stable code. Raise a subclass, not this.

    `detail` is for a person and may name values of the request; it never names internals.
    `extra` members are added to the document (such as `current` of a version conflict).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on the server"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.headers = dict(headers or {})
        self.extra = extra

    def document(self, instance: str) -> dict[str, Any]:
        """The document's members; `instance` is the request id."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return body | self.extra

    def response(self, instance: str) -> HttpResponse:
        PROBLEMS.labels(self.code).inc()
        response = HttpResponse(
            msgspec.json.encode(self.document(instance)),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )
        response["Cache-Control"] = "no-store"
        if self.status == 401:
            # RFC 9110, 11.6.1; browsers ask nobody for a Bearer token.
            response.headers.setdefault("WWW-Authenticate", 'Bearer realm="evenkeel"')
        return response


class InternalError(Problem):
    """The fault is ours. The request id in `instance` finds it in the server's log."""

    status, code, title = 500, "internal_error", "Something went wrong on the server"


class Unavailable(Problem):
    """The database can't be reached just now; nothing was changed. Try again."""

    status, code, title = 503, "unavailable", "The server can't answer just now"


class BadRequest(Problem):
    """The request can't be understood."""

    status, code, title = 400, "bad_request", "The request can't be understood"


class InvalidJson(Problem):
    """The body is not the JSON that this API accepts: syntax, duplicate keys, NUL, lone
    surrogates, NaN, integers beyond 64 bits, or nesting deeper than 32."""

    status, code, title = 400, "invalid_json", "The body is not acceptable JSON"


class InvalidEncoding(Problem):
    """The body is not what its Content-Encoding says, or is not UTF-8."""

    status, code, title = 400, "invalid_encoding", "The body's encoding is wrong"


class ValidationFailed(Problem):
    """A field is missing, of the wrong type or out of bounds; `errors` says which."""

    status, code, title = 400, "validation_failed", "The request has invalid fields"


class UnknownField(Problem):
    """The body has a field that this call doesn't know. Nothing is silently dropped."""

    status, code, title = 400, "unknown_field", "The body has a field that is not known here"


class UnknownParameter(Problem):
    """The query string has a parameter that this call doesn't know."""

    status, code, title = 400, "unknown_parameter", "The query has a parameter not known here"


class InvalidCursor(Problem):
    """The cursor was not made by this list. Start again without one."""

    status, code, title = 400, "invalid_cursor", "The cursor is not valid here"


class InvalidRequestHeader(Problem):
    """A header is malformed; the detail names it."""

    status, code, title = 400, "invalid_header", "A header is malformed"


class IdempotencyKeyRequired(Problem):
    """This call needs an Idempotency-Key of 1 to 200 visible ASCII characters."""

    status, code, title = 400, "idempotency_key_required", "An Idempotency-Key is required"


class IdempotencyKeyReused(Problem):
    """The Idempotency-Key was used before with another body."""

    status, code, title = 422, "idempotency_key_reused", "The Idempotency-Key was used differently"


class IdempotencyInProgress(Problem):
    """The first request with this key is still running. Ask again after Retry-After seconds."""

    status, code, title = 409, "idempotency_in_progress", "The first request is still running"


class NotAuthenticated(Problem):
    """No credential, or one that is malformed, expired, forged, or of another kind."""

    status, code, title = 401, "not_authenticated", "A valid credential is required"


class SessionRevoked(Problem):
    """The session of this access token was signed out, or its player was banned."""

    status, code, title = 401, "session_revoked", "This session has ended"


class Forbidden(Problem):
    """The credential is valid, but may not do this."""

    status, code, title = 403, "forbidden", "This credential may not do that"


class ScopeMissing(Problem):
    """The server key lacks the scope that this call needs; the detail names it."""

    status, code, title = 403, "scope_missing", "The server key lacks a scope"


class NotFound(Problem):
    """There is no such thing, or it is not yours to see."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(Problem):
    """This address doesn't take that method; `Allow` lists those that it takes."""

    status, code, title = 405, "method_not_allowed", "This address doesn't take that method"


class LengthRequired(Problem):
    """A body needs a Content-Length here."""

    status, code, title = 411, "length_required", "A Content-Length is required"


class VersionConflict(Problem):
    """The resource has changed since the version in If-Match; `current` describes it."""

    status, code, title = 412, "version_conflict", "The resource has changed"


class BodyTooLarge(Problem):
    """The body, decompressed, is over the bound that the detail names."""

    status, code, title = 413, "body_too_large", "The body is too large"


class UnsupportedMediaType(Problem):
    """The body's Content-Type or Content-Encoding is not taken here."""

    status, code, title = 415, "unsupported_media_type", "This kind of body is not taken here"


class PreconditionRequired(Problem):
    """A write of this resource needs If-Match, or If-None-Match: * to create it."""

    status, code, title = 428, "precondition_required", "If-Match is required"


class RateLimited(Problem):
    """Too many requests. `Retry-After` says in how many seconds one will be let through."""

    status, code, title = 429, "rate_limited", "Too many requests"


def problem_of(error: Exception) -> Problem:
    """The problem that an exception becomes. Unexpected ones are logged, and tell nothing."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return Forbidden()
    if isinstance(error, (OperationalError, InterfaceError)):
        DATABASE_FAILURES.inc()
        log.error("database_unavailable", exc_info=error)
        return Unavailable(headers={"Retry-After": "2"})
    log.error("unhandled_exception", exc_info=error)
    return InternalError()


def respond(error: Exception, request: HttpRequest) -> HttpResponse:
    """The response that `error` becomes."""
    return problem_of(error).response(getattr(request, "request_id", ""))


def drf_exception_handler(error: Exception, context: dict[str, Any]) -> Response:
    """For the few views of DRF's own (the schema): the same documents."""
    problem = problem_of(error)
    request_id = getattr(context["request"], "request_id", "")
    return Response(
        msgspec.to_builtins(problem.document(request_id)),
        status=problem.status,
        headers=problem.headers,
        content_type=CONTENT_TYPE,
    )


def all_problems() -> list[type[Problem]]:
    """Every problem that the server can answer with, by code."""
    found: dict[str, type[Problem]] = {}
    queue = list(Problem.__subclasses__())
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        other = found.setdefault(kind.code, kind)
        if other is not kind and settings.configured:
            raise AssertionError(f"Two problems have the code {kind.code}: {other}, {kind}")
    return sorted(found.values(), key=lambda kind: kind.code)
