"""The platforms' notifications: stored once, answered at once, processed by a worker."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db.models import QuerySet
from django.utils import timezone

from config.db.sweeper import claim
from store.errors import (
    NotificationNotReadable,
    NotificationNotTrusted,
    NotificationRefused,
    UnknownPlatform,
)
from store.metrics import NOTICES
from store.models import PlatformNotice, PurchaseStep
from store.platforms import platform_by_app
from store.providers import registry
from store.providers.base import MisconfiguredError, Notice, ProviderError, RejectedError
from store.services import asking, granting, orders
from store.services.steps import Cause

log = structlog.get_logger(__name__)
State = PlatformNotice.State
# How providers call a message that somebody else has made.
NOT_TRUSTED = frozenset({"bad_signature", "not_authentic"})


def receive(*, provider: str, headers: Mapping[str, str], body: bytes) -> UUID | None:
    """Store a notification that the provider believes; its id, or None where it was known.

    Raises `UnknownPlatform`, `NotificationRefused`, `NotificationNotTrusted`,
    `NotificationNotReadable` (the platform sends it again).
    """
    if not registry.exists(provider):
        raise UnknownPlatform(f"There is no platform {provider}", provider=provider)
    try:
        notice = registry.provider(provider).read_notice(headers, body)
    except RejectedError as error:
        NOTICES.labels(provider, "refused").inc()
        kind = NotificationNotTrusted if error.code in NOT_TRUSTED else NotificationRefused
        raise kind(reason=error.code) from None
    except ProviderError as error:
        NOTICES.labels(provider, "put_off").inc()
        log.warning("notification_put_off", provider=provider, error=asking.told(error))
        raise NotificationNotReadable(headers={"Retry-After": "60"}) from None
    stored = store(provider=provider, notice=notice)
    NOTICES.labels(provider, "received" if stored else "repeated").inc()
    return stored


def store(*, provider: str, notice: Notice) -> UUID | None:
    """Keep a notification for processing; its id, or None where it is kept already."""
    new = PlatformNotice(
        provider=provider,
        notice_id=notice.id,
        kind=notice.kind[:100],
        app_id=notice.app_id,
        data=dict(notice.data),
        signed_at=notice.signed_at,
    )
    PlatformNotice.objects.bulk_create([new], ignore_conflicts=True)
    return new.pk if PlatformNotice.objects.filter(pk=new.pk).exists() else None


def process(*, notice_id: UUID | None = None) -> bool:
    """Claim a notification that is due (this one, or the oldest) and do what follows from it;
    False where none is due."""
    wanted = due() if notice_id is None else due().filter(pk=notice_id)
    rows = claim(wanted, limit=1, lease=asking.LEASE)
    if not rows:
        return False
    row: PlatformNotice = rows[0]
    row.first_tried_at = row.first_tried_at or timezone.now()
    try:
        state, why = _apply(row)
    except RejectedError as error:
        state, why = State.IGNORED, asking.told(error)
    except MisconfiguredError as error:
        state, why = State.DEAD, asking.told(error)
    except Exception as error:
        _later(row, error)
        return True
    _finish(row, state, why)
    return True


def due() -> "QuerySet[PlatformNotice]":
    """What waits to be processed, now or later."""
    return PlatformNotice.objects.filter(state=State.RECEIVED)


def again(*, notice_id: UUID) -> bool:
    """Process a dead notification once more; whether there was one."""
    return bool(
        PlatformNotice.objects.filter(pk=notice_id, state=State.DEAD).update(
            state=State.RECEIVED, attempts=0, first_tried_at=None, next_attempt_at=timezone.now()
        )
    )


def _apply(row: PlatformNotice) -> tuple[PlatformNotice.State, str]:
    platform = platform_by_app(row.provider, row.app_id)
    if platform is None:
        return State.IGNORED, "unknown_app"
    provider = registry.provider(row.provider)
    notice = Notice(row.notice_id, row.kind, row.app_id, row.signed_at, row.data)
    lines = asking.ask(row.provider, lambda: provider.resolve(platform.app(), notice))
    cause = Cause(PurchaseStep.Cause.NOTICE, row.notice_id)
    outcomes = [granting.apply(platform=platform, line=line, cause=cause) for line in lines]
    if any(outcome.code == orders.FOR_STAFF for outcome in outcomes):
        return State.DEAD, orders.FOR_STAFF
    return (State.DONE, "") if outcomes else (State.IGNORED, "")


def _later(row: PlatformNotice, error: Exception) -> None:
    if not isinstance(error, ProviderError):
        log.error("notification_failed", notice=str(row.pk), exc_info=error)
    first: datetime = row.first_tried_at or timezone.now()
    at = asking.next_attempt(row.attempts, first, error, due())
    if at is None:
        _finish(row, State.DEAD, asking.told(error))
    else:
        _update(row, next_attempt_at=at, last_error=asking.told(error))


def _finish(row: PlatformNotice, state: PlatformNotice.State, why: str) -> None:
    if state == State.DEAD:
        log.error("notification_dead", notice=str(row.pk), kind=row.kind, error=why)
    _update(row, state=state, last_error=why)
    NOTICES.labels(row.provider, state).inc()


def _update(row: PlatformNotice, **fields: Any) -> None:
    """Unless another worker has taken it over."""
    PlatformNotice.objects.filter(pk=row.pk, state=State.RECEIVED, attempts=row.attempts).update(
        first_tried_at=row.first_tried_at, **fields
    )
