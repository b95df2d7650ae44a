"""Files that staff export: ordered in a request, written by a job in parts, deleted in the end.

A part and the cursor after it are committed together: whichever worker comes next, after one that
was killed, goes on from there, and no row is in the file twice.
"""

import gzip
import time
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.models import StaffUser
from config.db.sweeper import backoff, claim
from store.export_rows import KINDS, lines
from store.finance import Period
from store.models import Export, ExportPart

log = structlog.get_logger(__name__)
State = Export.State
# Then others have their turn.
SECONDS = 20.0
LEASE = timedelta(minutes=5)
KEEP = timedelta(days=7)
# So many failures in a row without a single part.
GIVE_UP = 8


def order(*, kind: str, period: Period, author: StaffUser) -> Export:
    """Have a file written by the job, which the caller may hasten."""
    days = f"{period.first} to {period.last}"
    only = "".join(f", {name} {value}" for name, value in period.only)
    return Export.objects.create(
        title=f"{KINDS[kind].title} of {period.game.name}, {days}{only}"[:200],
        query={"kind": kind, **period.as_json()},
        author=author,
        expires_at=timezone.now() + KEEP,
    )


def write() -> bool:
    """Claim the export that is due and go on writing it for a while; False where none is due."""
    rows = claim(Export.objects.filter(state=State.DUE), limit=1, lease=LEASE)
    if not rows:
        return False
    export: Export = rows[0]
    end = time.monotonic() + SECONDS
    try:
        while write_part(export.pk):
            if time.monotonic() >= end:
                Export.objects.filter(pk=export.pk, state=State.DUE).update(
                    next_attempt_at=timezone.now()
                )
                break
    except Exception as error:
        _failed(export.pk, error)
    return True


def write_part(export_id: UUID) -> bool:
    """Write the next rows, and note where they end, in one transaction; whether more are left."""
    with transaction.atomic():
        export = (
            Export.objects.select_for_update(of=("self",), no_key=True)
            .filter(pk=export_id, state=State.DUE)
            .first()
        )
        if export is None:
            return False
        kind, period = KINDS[export.query["kind"]], Period.of_json(export.query)
        is_first = export.total is None
        if is_first:
            export.total = kind.count(period)
        piece = kind.read(period, export.cursor)
        text = (lines([kind.header]) if is_first else "") + lines(piece.rows)
        if text:
            number = ExportPart.objects.filter(export=export).count()
            ExportPart.objects.create(
                export=export, number=number, body=gzip.compress(text.encode(), 6, mtime=0)
            )
        export.cursor = piece.cursor
        export.written += piece.done
        # Who gets on is no failure, and keeps its lease.
        export.attempts = 0
        export.next_attempt_at = timezone.now() + LEASE
        if piece.is_last:
            export.state = State.DONE
            export.last_error = ""
        export.save()
    return not piece.is_last


def again(*, export_id: UUID) -> bool:
    """Go on with an export that failed; whether there was one."""
    return bool(
        Export.objects.filter(pk=export_id, state=State.FAILED).update(
            state=State.DUE, attempts=0, next_attempt_at=timezone.now(), last_error=""
        )
    )


def file(*, export: Export) -> Iterator[bytes]:
    """The file's bytes, a part at a time."""
    for number in (
        ExportPart.objects.filter(export=export).order_by("number").values_list("number", flat=True)
    ):
        part = ExportPart.objects.get(export=export, number=number)
        yield gzip.decompress(part.body)


def expire() -> int:
    """Delete files that are too old; how many."""
    late = Export.objects.filter(expires_at__lte=timezone.now())
    ids = list(late.values_list("pk", flat=True))
    ExportPart.objects.filter(export_id__in=ids).delete()
    Export.objects.filter(pk__in=ids).delete()
    return len(ids)


def _failed(export_id: UUID, error: Exception) -> None:
    log.error("export_failed", export=str(export_id), exc_info=error)
    with transaction.atomic():
        export = Export.objects.select_for_update(of=("self",)).filter(pk=export_id).first()
        if export is None or export.state != State.DUE:
            return
        export.last_error = type(error).__name__
        export.next_attempt_at = timezone.now() + backoff(export.attempts)
        if export.attempts >= GIVE_UP:
            export.state = State.FAILED
        export.save(update_fields=["last_error", "next_attempt_at", "state"])
