"""`Idempotency-Key`: the same request twice has the effect and the answer of one.

The key is a row, written in the transaction of the change itself: either both are there or
neither. A second request with the key waits on the first one's uncommitted row, and then
answers with its outcome. Refusals change nothing and are not kept, so that a retry after, say,
`insufficient_funds` may succeed. Value has a second guard that never expires: the ledger's own
keys. See docs/adr/0003-idempotency.md.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.http import HttpResponse
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from config.api.callers import ApiRequest
from config.api.problems import (
    IdempotencyInProgress,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    InvalidRequestHeader,
)
from config.models import IdempotencyRecord

WAIT_MS = 5_000
_VALID = re.compile(r"[\x21-\x7e]{1,200}")


def read_key(request: ApiRequest, *, required: bool = False) -> str | None:
    """The request's key. Raises `IdempotencyKeyRequired` or `InvalidRequestHeader`."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        if required:
            raise IdempotencyKeyRequired
        return None
    if not _VALID.fullmatch(key):
        raise InvalidRequestHeader("Idempotency-Key takes 1 to 200 visible ASCII characters")
    return str(key)


def fingerprint(*parts: bytes) -> bytes:
    """Tells two requests apart: path and body."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def request_fingerprint(request: ApiRequest) -> bytes:
    return fingerprint(request.path.encode(), request.raw_body)


def mark_replayed(response: HttpResponse) -> HttpResponse:
    response["Idempotent-Replayed"] = "true"
    return response


def once(
    request: ApiRequest, endpoint: str, key: str, act: Callable[[], HttpResponse]
) -> HttpResponse:
    """`act()`'s response, made once for this caller, endpoint and key.

    `act` runs inside the transaction that holds the key. Raises `IdempotencyKeyReused`, or
    `IdempotencyInProgress` when the first request takes longer than `WAIT_MS`.
    """
    owner = request.caller.owner
    mark = request_fingerprint(request)
    with transaction.atomic():
        if not _claim(owner, endpoint, key, mark):
            record = IdempotencyRecord.objects.get(owner=owner, endpoint=endpoint, key=key)
            if bytes(record.fingerprint) != mark:
                raise IdempotencyKeyReused
            response = HttpResponse(
                bytes(record.body), status=record.status, content_type=record.content_type
            )
            for name, value in record.headers.items():
                response[name] = value
            return mark_replayed(response)
        response = act()
        IdempotencyRecord.objects.filter(owner=owner, endpoint=endpoint, key=key).update(
            status=response.status_code,
            content_type=response["Content-Type"],
            headers={name: response[name] for name in ("Location", "ETag") if name in response},
            body=response.content,
        )
    return response


def _claim(owner: UUID, endpoint: str, key: str, mark: bytes) -> bool:
    """Insert the key's row; False when it is there already (waiting for one not yet committed)."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{WAIT_MS}ms"])
            cursor.execute(
                """INSERT INTO config_idempotencyrecord
                       (owner, endpoint, key, fingerprint, status, content_type, headers, body,
                        created_at)
                   VALUES (%s, %s, %s, %s, 0, '', '{}', '', %s)
                   ON CONFLICT (owner, endpoint, key) DO NOTHING""",
                [owner, endpoint, key, mark, timezone.now()],
            )
            claimed = bool(cursor.rowcount == 1)
            cursor.execute("SELECT set_config('lock_timeout', '0', true)")
            return claimed
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise IdempotencyInProgress(headers={"Retry-After": "1"}) from None
        raise


def forget_old(*, batch: int = 5_000) -> int:
    """Delete keys older than `IDEMPOTENCY_DAYS`, in small batches; how many were deleted."""
    before = timezone.now() - timedelta(days=settings.IDEMPOTENCY_DAYS)
    total = 0
    while True:
        old = IdempotencyRecord.objects.filter(created_at__lt=before).values_list("pk", flat=True)[
            :batch
        ]
        deleted, _ = IdempotencyRecord.objects.filter(pk__in=list(old)).delete()
        total += deleted
        if deleted < batch:
            return total
