"""What runs around requests. The API needs little of it, and pays only for that.

`RequestMiddleware` serves everything: client address, request id, metrics, log line, headers,
compression. `ApiMiddleware` answers the API; Django's own middlewares follow it.
"""

import gzip
import ipaddress
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.security import SecurityMiddleware
from django.template.response import SimpleTemplateResponse
from django.urls import ResolverMatch, get_resolver

from config.api.callers import ApiRequest
from config.db.definitions import forget_version
from config.db.ids import uuid7
from config.metrics import REQUEST_SECONDS, REQUESTS

log = structlog.get_logger("request")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = ("/healthz", "/readyz", "/metrics")
API_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
COMPRESS_FROM = 1024
COMPRESSIBLE = ("application/json", "application/problem+json", "application/vnd.oai.openapi")


def is_api(request: HttpRequest) -> bool:
    """Whether the API's rules hold: everything but the back office and its static files."""
    return not request.path_info.startswith(("/admin", "/accounts/", "/static/", "/docs"))


class TrustedProxies:
    """`TRUSTED_PROXIES`: whose word on the client's address and scheme is taken."""

    def __init__(self, networks: list[str]) -> None:
        self.networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        # The few proxies in front are asked about with every request.
        self.trusts = lru_cache(1024)(self._trusts)

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)

    def client_ip(self, meta: dict[str, Any]) -> str:
        """The nearest address that is no trusted proxy. Without trust no scheme header counts."""
        address = str(meta.get("REMOTE_ADDR", ""))
        if not self.networks or not self.trusts(address):
            meta.pop("HTTP_X_FORWARDED_PROTO", None)
            return address
        for hop in reversed(str(meta.get("HTTP_X_FORWARDED_FOR", "")).split(",")):
            hop = hop.strip()
            if not _is_address(hop):
                break
            address = hop
            if not self.trusts(hop):
                break
        return address


@lru_cache(4096)
def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class RequestMiddleware:
    """The outermost layer, for every request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.proxies = TrustedProxies(settings.TRUSTED_PROXIES)
        self.headers = API_HEADERS | _strict_transport()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        api = cast(ApiRequest, request)
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        api.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid7())
        api.client_ip = self.proxies.client_ip(request.META)
        structlog.contextvars.clear_contextvars()
        # The thread's last request may have been one of the same game, some time ago.
        forget_version()
        structlog.contextvars.bind_contextvars(request_id=api.request_id)
        response = self.get_response(request)
        response.headers["X-Request-ID"] = api.request_id
        if is_api(request):
            # A page of one's own may have another policy.
            policy = response.headers.get("Content-Security-Policy")
            for name, value in self.headers.items():
                response.headers[name] = value
            if policy is not None:
                response.headers["Content-Security-Policy"] = policy
            _compress(request, response)
            if isinstance(response, HttpResponse) and response.status_code not in (204, 304):
                # Without it gunicorn sends the body in chunks.
                response.headers.setdefault("Content-Length", str(len(response.content)))
        self._observe(request, response, time.perf_counter() - started)
        return response

    def _observe(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        route = getattr(request, "route", None)
        if route is None:
            match = request.resolver_match
            route = match.view_name if match and match.view_name else "unknown"
        # Clients make up words; each would be a series of its own.
        method = request.method if request.method in _METHODS else "other"
        _counter(method, route, response.status_code).inc()
        _timer(route).observe(seconds)
        if settings.LOG_REQUESTS and request.path_info not in _QUIET:
            log.info(
                "request",
                method=request.method,
                route=route,
                status=response.status_code,
                ms=round(seconds * 1000, 1),
            )


# Their look-ups take a lock and compare all labels.
_counter = lru_cache(4096)(REQUESTS.labels)
_timer = lru_cache(1024)(REQUEST_SECONDS.labels)


def _strict_transport() -> dict[str, str]:
    """HSTS (RFC 6797), as Django's settings have it."""
    if not settings.SECURE_HSTS_SECONDS:
        return {}
    value = f"max-age={settings.SECURE_HSTS_SECONDS}"
    if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS:
        value += "; includeSubDomains"
    if settings.SECURE_HSTS_PRELOAD:
        value += "; preload"
    return {"Strict-Transport-Security": value}


def _compress(request: HttpRequest, response: HttpResponseBase) -> None:
    """Gzip an answer of over 1 KiB for a client that takes it."""
    if not isinstance(response, HttpResponse) or len(response.content) <= COMPRESS_FROM:
        return
    if not response.get("Content-Type", "").startswith(COMPRESSIBLE):
        return
    if response.has_header("Content-Encoding") or response.has_header("Content-Digest"):
        return
    vary = [v for v in response.get("Vary", "").split(", ") if v]
    response["Vary"] = ", ".join([*vary, "Accept-Encoding"])
    if accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", "")):
        response.content = gzip.compress(response.content, compresslevel=4, mtime=0)
        response["Content-Encoding"] = "gzip"
        response["Content-Length"] = str(len(response.content))


def accepts_gzip(header: str) -> bool:
    """Whether `Accept-Encoding` names gzip with a weight above zero."""
    for part in header.lower().split(","):
        name, _, weight = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


class ApiMiddleware:
    """Answers the API's requests. The middlewares after it serve only the back office: the API has
    neither cookies nor forms, and two calls a middleware cost more than many of its answers. Of
    Django's SecurityMiddleware it needs one thing, the redirect to HTTPS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.security = SecurityMiddleware(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_api(request):
            return self.get_response(request)
        if redirect := self.security.process_request(request):
            return redirect
        match = request.resolver_match = _resolve(settings.ROOT_URLCONF, request.path_info)
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        if isinstance(response, SimpleTemplateResponse):
            response = response.render()
        return response


@lru_cache(4096)
def _resolve(urlconf: str, path: str) -> ResolverMatch:
    """Django's resolver tries one pattern after the other; most requests go to few paths."""
    return get_resolver(urlconf).resolve(path)
