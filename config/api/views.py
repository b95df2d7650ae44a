"""What every endpoint is made of: `@endpoint` declares the contract, `ApiViewSet` keeps it.

The declaration is the single place that names who may call, what is sent and answered, which
limits count, and whether an idempotency key is taken; the OpenAPI document is read from it too.
The order is always the same: credential, gate (limits and revocation), body, handler.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any, Literal, TypeVar, cast

import msgspec
import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from rest_framework.viewsets import ViewSet

from config.api import gate, idempotency
from config.api.callers import ApiRequest, Caller, CallerKind
from config.api.parsing import parse_json, parse_query
from config.api.problems import Forbidden, MethodNotAllowed, Problem, ScopeMissing, respond
from config.api.wire import encode
from config.db import definitions

F = TypeVar("F", bound=Callable[..., HttpResponse])
JSON = "application/json"
DEFAULT_LIMITS: dict[CallerKind, str] = {"game": "address", "player": "player", "server": "server"}


@dataclass(frozen=True)
class Contract:
    """What `@endpoint` declared."""

    callers: tuple[CallerKind, ...]
    answers: Mapping[int, Any]
    body: type | None = None
    query: type | None = None
    scope: str | None = None
    limits: tuple[str, ...] = ()
    limit_of: Callable[[Caller, Any], tuple[str, str] | None] | None = None
    idempotent: Literal["no", "optional", "required", "domain", "domain-optional"] = "no"
    max_body: int | None = None
    problems: tuple[type[Problem], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    raw_body: tuple[str, ...] = ()
    cache: str = "no-store"
    example: Any = None


def endpoint(
    *,
    callers: Sequence[CallerKind],
    answers: Mapping[int, Any],
    body: type | None = None,
    query: type | None = None,
    scope: str | None = None,
    limits: Sequence[str] = (),
    limit_of: Callable[[Caller, Any], tuple[str, str] | None] | None = None,
    idempotent: Literal["no", "optional", "required", "domain", "domain-optional"] = "no",
    max_body: int | None = None,
    problems: Sequence[type[Problem]] = (),
    headers: Mapping[str, str] | None = None,
    raw_body: Sequence[str] = (),
    cache: str = "no-store",
    example: Any = None,
) -> Callable[[F], F]:
    """Declare an endpoint. The handler gets `request`, the path's arguments, and `body=`/`query=`
    where declared; it returns `answer(...)`.

    callers     who may call: "game" (publishable key), "player", "server"; () for anyone
    answers     status → `Output` class (None: no body; bytes: raw content)
    body        an `Input`; parsed strictly. `raw_body` instead: media types that are taken as bytes
                (the handler reads them itself, with `read_body`)
    query       a Struct for the query string (`PageQuery` for lists)
    scope       what a server key needs; servers without it get `scope_missing`
    limits      names of `RATE_LIMITS` counted in addition to the caller's own
    limit_of    one more limit, and whose it is, told from caller and body (an identity's sign-ins);
                the body is then parsed before the gate, which asks for both at once
    idempotent  "optional" or "required": kept by `config.api.idempotency.once`;
                "domain": the handler keeps the key on its own row for ever (purchases, grants);
                "domain-optional": the same, and the key may be missing
    max_body    bytes, decompressed; `MAX_BODY_BYTES` unless told
    problems    what the handler may raise beyond the plumbing's own, for the documentation
    headers     request headers that the handler reads, name → description
    example     a request body for the documentation, checked against `body` in a test
    """
    contract = Contract(
        tuple(callers),
        answers,
        body,
        query,
        scope,
        tuple(limits),
        limit_of,
        idempotent,
        max_body,
        tuple(problems),
        headers or {},
        tuple(raw_body),
        cache,
        example,
    )

    def decorate(handler: F) -> F:
        @wraps(handler)
        def run(view: "ApiViewSet", request: ApiRequest, **arguments: Any) -> HttpResponse:
            return _run(contract, handler, view, request, arguments)

        run.contract = contract  # type: ignore[attr-defined]  # functions have any
        return cast(F, run)

    return decorate


def answer(
    value: object = None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    """A JSON answer. `value` is an `Output` (or anything msgspec encodes); None: no content."""
    if value is None and status == 200:
        status = 204
    response = HttpResponse(
        b"" if value is None else encode(value), status=status, content_type=JSON, headers=headers
    )
    if value is None:
        del response["Content-Type"]
    return response


def _run(
    contract: Contract,
    handler: Callable[..., HttpResponse],
    view: "ApiViewSet",
    request: ApiRequest,
    arguments: dict[str, Any],
) -> HttpResponse:
    if contract.callers:
        _admit(contract, request, arguments)
    if contract.body is not None and "body" not in arguments:
        arguments["body"] = _parse_body(contract, request)
    if contract.query is not None:
        arguments["query"] = parse_query(request, contract.query)
    elif request.META.get("QUERY_STRING") and contract.callers:
        parse_query(request, _NoQuery)
    key = None
    if contract.idempotent in ("optional", "required"):
        key = idempotency.read_key(request, required=contract.idempotent == "required")
    if key is None:
        response = handler(view, request, **arguments)
    else:
        response = idempotency.once(
            request, request.route, key, lambda: handler(view, request, **arguments)
        )
    if contract.cache and "Cache-Control" not in response:
        response["Cache-Control"] = contract.cache
    return response


def _admit(contract: Contract, request: ApiRequest, arguments: dict[str, Any]) -> None:
    """Check the credential, and pass the gate."""
    caller = _authenticate(request)
    if caller.kind not in contract.callers:
        raise Forbidden(f"This call takes a credential of: {', '.join(contract.callers)}")
    if caller.kind == "server" and contract.scope and contract.scope not in caller.scopes:
        raise ScopeMissing(f"The server key needs the scope {contract.scope}")
    names = [DEFAULT_LIMITS[caller.kind]]
    if caller.kind != "server":
        names += contract.limits
    also = mistake = None
    if contract.limit_of is not None:
        try:
            arguments["body"] = _parse_body(contract, request)
        except Problem as problem:
            # Counted like any other, before it is told.
            mistake = problem
        else:
            also = contract.limit_of(caller, arguments["body"])
    gate.pass_gate(request, caller, names, also)
    if mistake is not None:
        raise mistake
    definitions.use_version(caller.game_id, request.definition_version)
    if caller.kind != "player":
        _confirm(request)


def _parse_body(contract: Contract, request: ApiRequest) -> Any:
    limit = contract.max_body or settings.MAX_BODY_BYTES
    kind: Any = contract.body
    body, request.raw_body = parse_json(request, kind, limit)
    return body


class _NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """An endpoint without parameters."""


# The plumbing imports no app: settings name what it calls.
_named = cache(import_string)


def _authenticate(request: ApiRequest) -> Caller:
    caller: Caller = _named(settings.API_AUTHENTICATE)(request)
    request.caller = caller
    structlog.contextvars.bind_contextvars(
        game=str(caller.game_id), **({"player": str(caller.player_id)} if caller.player_id else {})
    )
    return caller


def _confirm(request: ApiRequest) -> None:
    """Check a key against the content version just read: a revoked key ends at once."""
    _named(settings.API_CONFIRM_KEY)(request)


class ApiViewSet(ViewSet):
    """A DRF viewset whose handlers are `@endpoint`s. DRF's own negotiation, parsing and
    permission steps are left out: they cost more than the work itself, and do not know the
    contract. Routing and the schema are DRF's and drf-spectacular's."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        api_request = cast(ApiRequest, request)
        api_request.route = (
            f"{type(self).__name__}.{self.action_map.get((request.method or '').lower(), '-')}"
        )
        api_request.limit_headers = {}
        # What an idempotency key is compared by; calls without a JSON body leave it empty.
        api_request.raw_body = b""
        try:
            handler = self._handler(api_request)
            response = handler(api_request, **kwargs)
        except Exception as error:
            response = respond(error, request)
        for name, value in api_request.limit_headers.items():
            response.headers.setdefault(name, value)
        return response

    def _handler(self, request: ApiRequest) -> Callable[..., HttpResponse]:
        method = (request.method or "").lower()
        name = self.action_map.get(method)
        if name is not None:
            return cast(Callable[..., HttpResponse], getattr(self, name))
        allowed = ", ".join(sorted({m.upper() for m in self.action_map} | {"OPTIONS"}))
        if method == "options":
            return lambda request, **_: HttpResponse(
                status=204, headers={"Allow": allowed, "Cache-Control": "no-store"}
            )
        raise MethodNotAllowed(headers={"Allow": allowed})
