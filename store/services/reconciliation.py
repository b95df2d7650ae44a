"""Asking the platforms for what their notifications did not tell: what they may have missed, and
what became of purchases that were pending."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.utils import timezone

from config.db.sweeper import backoff, claim
from store.metrics import RECONCILED
from store.models import PlatformApp, PlatformPurchase, PurchaseStep, Watermark
from store.platforms import Platform
from store.providers import registry
from store.providers.base import Notice, RejectedError, Verified
from store.services import asking, granting, notices, steps, telling
from store.services.steps import Cause

log = structlog.get_logger(__name__)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
POLL = timedelta(minutes=15)
# Platforms list by when they recorded it, which may be after it happened.
OVERLAP = HOUR
# How far back the daily look goes, and how far the platform goes back at all.
LONG = {"apple": 7 * DAY, "google": 30 * DAY}
FURTHEST = {"apple": 180 * DAY, "google": 30 * DAY}
EVERY = {Watermark.Kind.RECENT: HOUR, Watermark.Kind.LONG: DAY}
State = PlatformPurchase.State


def watch() -> None:
    """See that every app has its watermarks."""
    apps = PlatformApp.objects.filter(is_active=True).values_list("pk", flat=True)
    now = timezone.now()
    Watermark.objects.bulk_create(
        [Watermark(app_id=pk, kind=kind, until=now) for pk in apps for kind in Watermark.Kind],
        ignore_conflicts=True,
    )


def look_back() -> bool:
    """Claim a look that is due and apply what it finds; False where none is due.

    The watermark moves when all of it was applied: a look that is cut short is made again.
    """
    due = Watermark.objects.filter(app__is_active=True)
    rows = claim(due, limit=1, lease=HOUR)
    if not rows:
        return False
    mark: Watermark = rows[0]
    app = mark.app
    until = timezone.now()
    try:
        platform = asking.platform_for(app.game_id, app.provider)
        found = _apply_missed(platform, since=_since(mark, until), until=until)
    except Exception as error:
        log.warning("reconciliation_failed", app=str(app), exc_info=error)
        fields = {
            "next_attempt_at": timezone.now() + backoff(mark.attempts),
            "last_error": asking.told(error),
        }
    else:
        if found:
            RECONCILED.labels(app.provider).inc(found)
        period = EVERY[Watermark.Kind(mark.kind)]
        fields = {
            "until": until,
            "attempts": 0,
            "next_attempt_at": until + period,
            "last_error": "",
        }
    Watermark.objects.filter(pk=mark.pk, attempts=mark.attempts).update(**fields)
    return True


def _since(mark: Watermark, until: datetime) -> datetime:
    provider = mark.app.provider
    window = DAY if mark.kind == Watermark.Kind.RECENT else LONG.get(provider, DAY)
    since = min(mark.until - OVERLAP, until - window)
    return max(since, until - FURTHEST.get(provider, 30 * DAY))


def _apply_missed(platform: Platform, *, since: datetime, until: datetime) -> int:
    """Apply all that happened in that time; how much of it was news."""
    provider = registry.provider(platform.provider)
    # Read whole before anything is written, so that no transaction waits for the platform.
    found = asking.ask(
        platform.provider, lambda: list(provider.missed(platform.app(), since, until))
    )
    cause = Cause(PurchaseStep.Cause.RECONCILIATION)
    return sum(_apply_one(platform, one, cause) for one in found)


def _apply_one(platform: Platform, one: Verified | Notice, cause: Cause) -> bool:
    if isinstance(one, Notice):
        return notices.store(provider=platform.provider, notice=one) is not None
    before = _state_of(platform, one)
    after = granting.apply(platform=platform, line=one, cause=cause).purchase.state
    return before != after


def _state_of(platform: Platform, line: Verified) -> str | None:
    return (
        PlatformPurchase.objects.filter(
            provider=platform.provider,
            environment=line.environment,
            app_id=line.app_id,
            transaction_id=line.transaction_id,
            line=line.line,
        )
        .values_list("state", flat=True)
        .first()
    )


def poll(*, purchase_id: UUID | None = None) -> bool:
    """Ask what became of one pending purchase that is due; False where none is."""
    due = PlatformPurchase.objects.filter(state=State.PENDING)
    if purchase_id is not None:
        due = due.filter(pk=purchase_id)
    rows = claim(due, limit=1, lease=POLL)
    if not rows:
        return False
    row: PlatformPurchase = rows[0]
    cause = Cause(PurchaseStep.Cause.SWEEPER)
    try:
        platform = asking.platform_for(row.game_id, row.provider)
        provider = registry.provider(row.provider)
        lines = asking.ask(
            row.provider, lambda: provider.look_up(platform.app(), telling.known(row))
        )
        for line in lines:
            granting.apply(platform=platform, line=line, cause=cause)
    except RejectedError as error:
        _forgotten(row, error, cause)
    except Exception as error:
        log.warning("poll_failed", purchase=str(row.pk), error=asking.told(error))
    return True


def _forgotten(row: PlatformPurchase, error: RejectedError, cause: Cause) -> None:
    """The platform knows nothing of a purchase that was pending: nobody paid for it."""
    gone = PlatformPurchase.objects.filter(pk=row.pk, state=State.PENDING).update(
        state=State.CANCELLED, code=error.code, last_error=asking.told(error)
    )
    if gone:
        row.state = State.CANCELLED
        steps.of_purchase(row, State.PENDING, cause, {"code": error.code})
