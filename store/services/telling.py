"""Telling the platforms that a purchase was granted: Google gives the money back after three days
where nobody does."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from config.db.sweeper import claim
from store.models import PlatformPurchase, PurchaseStep
from store.providers import registry
from store.providers.base import Environment, Kind, RejectedError, State, Verified
from store.services import asking, steps
from store.services.steps import Cause

log = structlog.get_logger(__name__)
Told = PlatformPurchase.Told
# Whoever was not reached by then is not waiting any more.
GIVE_UP = timedelta(days=7)
HELD = (PlatformPurchase.State.GRANTED, PlatformPurchase.State.PARTIALLY_REVOKED)


def known(row: PlatformPurchase) -> Verified:
    """What we know of a purchase, as its provider knows it."""
    return Verified(
        environment=Environment(row.environment),
        app_id=row.app_id,
        transaction_id=row.transaction_id,
        product=row.product,
        signed_at=row.signed_at,
        state=State.PENDING if row.state == PlatformPurchase.State.PENDING else State.PURCHASED,
        kind=Kind(row.kind),
        line=row.line,
        original_id=row.original_id,
        quantity=row.quantity,
        purchased_at=row.purchased_at,
        account=row.account,
        revoked=row.revoked,
        revoked_at=row.revoked_at,
        price_minor_units=row.price_minor_units,
        price_currency=row.price_currency,
        country=row.country,
        token=row.token,
    )


def tell(*, purchase_id: UUID | None = None) -> bool:
    """Tell the platform of one purchase that is due (this one, or the oldest); False where none
    is. A platform may be told twice."""
    wanted = due() if purchase_id is None else due().filter(pk=purchase_id)
    rows = claim(wanted, limit=1, lease=asking.LEASE)
    if not rows:
        return False
    row: PlatformPurchase = rows[0]
    if row.state not in HELD:
        # Taken back meanwhile: there is nothing to tell.
        _move(row, Told.NONE)
        return True
    try:
        platform = asking.platform_for(row.game_id, row.provider)
        provider = registry.provider(row.provider)
        asking.ask(
            row.provider,
            lambda: provider.tell(platform.app(), known(row), consume=row.kind == Kind.CONSUMABLE),
        )
    except RejectedError as error:
        log.error("telling_refused", purchase=str(row.pk), error=asking.told(error))
        _move(row, Told.FAILED, last_error=asking.told(error))
    except Exception as error:
        log.warning("telling_put_off", purchase=str(row.pk), error=asking.told(error))
        granted_at = row.granted_at or row.created_at
        if timezone.now() - granted_at > GIVE_UP:
            _move(row, Told.FAILED, last_error=asking.told(error))
        else:
            at = asking.next_attempt(row.attempts, timezone.now(), error, due())
            _move(row, Told.DUE, next_attempt_at=at, last_error=asking.told(error))
    else:
        _move(row, Told.DONE, last_error="")
    return True


def due() -> "QuerySet[PlatformPurchase]":
    """What its platform has to be told of, now or later."""
    return PlatformPurchase.objects.filter(told=Told.DUE)


def again(*, purchase_id: UUID) -> bool:
    """Tell the platform now, of what it was not told or could not be; whether there was such."""
    return bool(
        PlatformPurchase.objects.filter(
            pk=purchase_id, told__in=(Told.DUE, Told.FAILED), state__in=HELD
        ).update(told=Told.DUE, attempts=0, next_attempt_at=timezone.now(), last_error="")
    )


def _move(row: PlatformPurchase, state: str, **fields: object) -> None:
    """Unless another worker has taken the row over, or it has become due anew. The end of it is
    a step of the purchase."""
    mine = PlatformPurchase.objects.filter(pk=row.pk, told=Told.DUE, attempts=row.attempts)
    with transaction.atomic():
        if mine.update(told=state, **fields) and state in (Told.DONE, Told.FAILED):
            cause = Cause(PurchaseStep.Cause.SWEEPER)
            steps.of_purchase(row, row.state, cause, {"told": state})
