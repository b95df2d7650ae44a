"""Asking the platforms about subscriptions whose time has run out, and ending what is over.

What they say goes through `granting.apply`, as all news: a renewal that no notification told of is
granted here.
"""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from config.db.sweeper import claim
from store.entitlement import ENTITLING, ends_at, lasts_until
from store.models import PurchaseStep
from store.models import Subscription as Row
from store.providers import registry
from store.providers.base import RejectedError
from store.services import asking, granting, subscription_events, telling
from store.services.steps import Cause
from store.services.subscriptions import DAILY, ask_at

log = structlog.get_logger(__name__)


def ask(*, player_id: UUID | None = None) -> bool:
    """Ask the platform about one subscription whose time has run out, or that has waited for a day
    (of this player, or the oldest); it expires where nothing newer is heard. False where none is
    due."""
    due = _due() if player_id is None else _due().filter(player_id=player_id)
    rows = claim(due, limit=1, lease=asking.LEASE)
    if not rows:
        return False
    row: Row = rows[0]
    try:
        _ask(row)
    except RejectedError as error:
        # The platform has forgotten it: it does so long after the end.
        _expire(row, error=asking.told(error), is_known=False)
    except Exception as error:
        log.warning("subscription_not_asked", subscription=str(row.pk), error=asking.told(error))
        end = ends_at(row.phase, row.entitled_until, row.grace_until)
        at = asking.next_attempt(row.attempts, end or row.updated_at, error, _due())
        if at is None:
            _expire(row, error=asking.told(error), is_known=True)
            at = timezone.now() + timedelta(hours=1)
        _move(row, next_attempt_at=at, last_error=asking.told(error))
    else:
        _expire(row, error="", is_known=True)
        # The platform said nothing of this one: its other products are what it speaks of.
        _move(row, attempts=0, next_attempt_at=ask_at(row))
    return True


def _due() -> "QuerySet[Row]":
    return Row.objects.filter(phase__in=Row.OPEN)


def _ask(row: Row) -> None:
    platform = asking.platform_for(row.game_id, row.provider)
    provider = registry.provider(row.provider)
    known = telling.known(row.purchase)
    lines = asking.ask(row.provider, lambda: provider.look_up(platform.app(), known))
    cause = Cause(PurchaseStep.Cause.SWEEPER, str(row.pk))
    for line in lines:
        granting.apply(platform=platform, line=line, cause=cause)


def refresh(*, player_id: UUID | None = None, subscription_id: UUID | None = None) -> int:
    """Have the platforms asked soon about a player's subscriptions, or one, if they are not over;
    how many that is."""
    which = {"player_id": player_id} if subscription_id is None else {"pk": subscription_id}
    rows = Row.objects.filter(**which, phase__in=Row.OPEN)
    return rows.update(next_attempt_at=timezone.now())


def _expire(row: Row, *, error: str, is_known: bool) -> None:
    """End what has run out, unless there is newer news. `is_known`: the platform knows it."""
    now = timezone.now()
    with transaction.atomic():
        fresh = Row.objects.select_for_update(of=("self",)).get(pk=row.pk)
        if fresh.phase not in Row.OPEN:
            return
        until = lasts_until(
            fresh.phase, fresh.entitled_until, fresh.grace_until, renews=fresh.renews
        )
        is_over = until is not None and until <= now
        if is_known and not (fresh.phase in ENTITLING and is_over):
            return
        if not is_known and fresh.phase in ENTITLING and not is_over:
            # It was paid for until then, whatever the platform remembers.
            fresh.next_attempt_at = until or now + DAILY
            fresh.last_error = error
            fresh.save(update_fields=["next_attempt_at", "last_error"])
            return
        was = (fresh.phase, fresh.purchase_id)
        fresh.phase = Row.Phase.EXPIRED
        fresh.renews = False
        fresh.last_error = error
        fresh.updated_at = now
        fresh.save(update_fields=["phase", "renews", "last_error", "updated_at"])
        if fresh.player_id is not None:
            subscription_events.tell(fresh, was)


def _move(row: Row, **fields: object) -> None:
    """Unless another worker has taken the row over, or it has become news meanwhile."""
    Row.objects.filter(pk=row.pk, attempts=row.attempts).update(**fields)
