"""`/healthz`, `/readyz` and `/metrics`, for whoever runs the server."""

import hmac
import os
import time
from collections.abc import Callable

import msgspec
from django.conf import settings
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client import REGISTRY as PROCESS_REGISTRY

from config import redis
from config.api.problems import NotFound, respond
from config.celery import app as celery_app

READY_CACHE_SECONDS = 1.0
_migrated = False
_last: tuple[float, HttpResponse] | None = None


def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives. Touches nothing else, so a slow database doesn't get it restarted."""
    return _json({"status": "ok"})


def _database() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")


def _cache() -> None:
    redis.client().ping()


def _broker() -> None:
    with celery_app.connection_for_write(connect_timeout=2) as connection:
        connection.ensure_connection(max_retries=1, timeout=2)


def _migrations() -> None:
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connections["default"])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise RuntimeError("migrations are missing")
        _migrated = True


# Without the cache or the broker the server still serves: players' requests go on.
PARTS: dict[str, tuple[Callable[[], None], bool]] = {
    "database": (_database, True),
    "migrations": (_migrations, True),
    "cache": (_cache, False),
    "broker": (_broker, False),
}


def readyz(request: HttpRequest) -> HttpResponse:
    """Each part's state; 503 when the server can't serve. Asked at most once a second."""
    global _last
    now = time.monotonic()
    if _last is None or now - _last[0] > READY_CACHE_SECONDS:
        states: dict[str, str] = {}
        ready = True
        for name, (check, needed) in PARTS.items():
            try:
                check()
                states[name] = "ok"
            except Exception:
                states[name] = "down"
                ready = ready and not needed
        degraded = ready and "down" in states.values()
        status = "degraded" if degraded else "ok" if ready else "down"
        _last = (now, _json({"status": status, "parts": states}, 200 if ready else 503))
    response = _last[1]
    return HttpResponse(
        response.content, status=response.status_code, content_type="application/json"
    )


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics of all processes, for `Authorization: Bearer METRICS_TOKEN`."""
    expected = f"Bearer {settings.METRICS_TOKEN}"
    given = request.headers.get("Authorization", "")
    if not settings.METRICS_TOKEN or not hmac.compare_digest(given.encode(), expected.encode()):
        return respond(NotFound(), request)
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # half typed
    else:
        registry = PROCESS_REGISTRY
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _json(value: object, status: int = 200) -> HttpResponse:
    response = HttpResponse(
        msgspec.json.encode(value), status=status, content_type="application/json"
    )
    response["Cache-Control"] = "no-store"
    return response
