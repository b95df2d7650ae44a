"""The inbox of receipts: what a client sends is a row before it is an answer, and the row is
brought to its end by workers, however often they are killed."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from config.api.problems import NotFound
from config.db.sweeper import claim
from store.errors import ReceiptRefused, UnknownPlatform
from store.metrics import ORDERS
from store.models import Order, PlatformPurchase, PurchaseStep
from store.platforms import platform_of
from store.providers import registry
from store.providers.base import (
    MisconfiguredError,
    ProviderError,
    Receipt,
    RejectedError,
    Verified,
)
from store.services import asking, granting, ownership, steps, subscriptions
from store.services.steps import Cause

log = structlog.get_logger(__name__)
State = Order.State
# What keeps an order from ending well although its receipt is genuine: for staff, money was taken.
FOR_STAFF = "unknown_product"


def submit(*, game_id: UUID, player_id: UUID, provider: str, receipt: Any) -> tuple[Order, bool]:
    """Put a receipt into the inbox; the order, and whether it is new.

    The same receipt of the same player is the same order, for ever. Raises `UnknownPlatform` and
    `ReceiptRefused` (the receipt can't be read; its `reason` is the provider's code).
    """
    if platform_of(game_id, provider) is None or not registry.exists(provider):
        raise UnknownPlatform(f"This game sells nothing through {provider}", provider=provider)
    try:
        read = registry.provider(provider).read_receipt(receipt)
    except RejectedError as error:
        raise ReceiptRefused(error.detail, reason=error.code) from None
    digest = hashlib.sha256(f"{provider}\0{read.identity}".encode()).digest()
    new = Order(
        game_id=game_id,
        player_id=player_id,
        provider=provider,
        digest=digest,
        data=dict(read.data),
        product=read.product[:200],
    )
    Order.objects.bulk_create([new], ignore_conflicts=True)
    order = Order.objects.get(player_id=player_id, provider=provider, digest=digest)
    if order.state == State.REJECTED and (
        order.data != new.data or ownership.may_claim_again(order=order)
    ):
        # The same purchase with another proof of it, after one that did not hold; or one that
        # staff left with its owner, some time ago.
        return again(order_id=order.pk, cause=_cause(order), data=new.data), True
    return order, order.pk == new.pk


def process(*, order_id: UUID | None = None) -> bool:
    """Claim an order that is due (this one, or the oldest) and bring it as far as it goes; False
    where none is due. May be killed at any point: another worker begins again after a lease."""
    wanted = due() if order_id is None else due().filter(pk=order_id)
    rows = claim(wanted, limit=1, lease=asking.LEASE)
    if not rows:
        return False
    order: Order = rows[0]
    order.first_tried_at = order.first_tried_at or timezone.now()
    _move(order, State.VERIFYING)
    try:
        outcomes = _verify(order)
    except RejectedError as error:
        _finish(order, State.REJECTED, error.code, error=asking.told(error))
    except MisconfiguredError as error:
        _die(order, error.code, error)
    except Exception as error:
        _later(order, error)
    else:
        state, code = _conclude(outcomes)
        found = dict.fromkeys(str(outcome.purchase.pk) for outcome in outcomes)
        _finish(order, state, code, purchases=list(found))
    return True


def due() -> "QuerySet[Order]":
    """What waits to be processed, now or later."""
    return Order.objects.filter(state__in=Order.OPEN)


def again(*, order_id: UUID, cause: Cause, data: dict[str, Any] | None = None) -> Order:
    """Have an order that ended badly verified once more, with other `data` where there is some.

    Raises `NotFound` where there is no such order that is dead or rejected.
    """
    with transaction.atomic():
        order = (
            Order.objects.select_for_update()
            .filter(pk=order_id, state__in=(State.DEAD, State.REJECTED))
            .first()
        )
        if order is None:
            raise NotFound("No such order is dead or rejected")
        before = order.state
        order.state = State.RETRY
        order.code = order.last_error = ""
        order.attempts = 0
        order.first_tried_at = None
        order.next_attempt_at = order.updated_at = timezone.now()
        if data is not None:
            order.data = data
        order.save()
        steps.of_order(order, before, cause)
    return order


def _verify(order: Order) -> list[granting.Outcome]:
    platform = asking.platform_for(order.game_id, order.provider)
    provider = registry.provider(order.provider)
    receipt = Receipt(identity="", data=order.data, product=order.product)
    lines = asking.ask(order.provider, lambda: provider.verify(platform.app(), receipt))
    if not lines:
        raise RejectedError("no_purchase", "The receipt has no purchase")
    cause = _cause(order)

    def apply(lines: Iterable[Verified]) -> list[granting.Outcome]:
        return [
            granting.apply(platform=platform, line=line, cause=cause, order=order) for line in lines
        ]

    outcomes = apply(lines)
    claimed = [one.purchase for one in outcomes if one.purchase.player_id == order.player_id]
    for known in subscriptions.unclaimed(claimed):
        # Periods that were told of before anybody said whose the subscription is.
        outcomes += apply(
            asking.ask(order.provider, partial(provider.look_up, platform.app(), known))
        )
    return outcomes


def _conclude(outcomes: Sequence[granting.Outcome]) -> tuple[Order.State, str]:
    """One order may have several lines: it is well if one of them is, and dead if money was
    taken for something that we do not know."""
    codes = [outcome.code for outcome in outcomes]
    if FOR_STAFF in codes:
        return State.DEAD, FOR_STAFF
    if all(codes):
        return State.REJECTED, codes[0]
    return State.ACCEPTED, ""


def _move(order: Order, state: Order.State, **fields: Any) -> bool:
    """Write what became of the order, unless another worker has taken it over meanwhile."""
    order.state = state
    order.updated_at = timezone.now()
    for name, value in fields.items():
        setattr(order, name, value)
    mine = Order.objects.filter(pk=order.pk, attempts=order.attempts, state__in=Order.OPEN)
    return bool(
        mine.update(
            state=state,
            updated_at=order.updated_at,
            first_tried_at=order.first_tried_at,
            **fields,
        )
    )


def _finish(
    order: Order,
    state: Order.State,
    code: str,
    *,
    error: str = "",
    purchases: Sequence[str] | None = None,
) -> None:
    fields: dict[str, Any] = {"code": code, "last_error": error}
    if purchases is not None:
        fields["purchases"] = list(purchases)
    with transaction.atomic():
        if not _move(order, state, **fields):
            return
        steps.of_order(order, State.VERIFYING, _cause(order), {"code": code} if code else None)
    ORDERS.labels(order.provider, state).inc()
    log.info("order_ended", order=str(order.pk), state=state, code=code)


def _die(order: Order, code: str, error: Exception) -> None:
    """Nothing is lost, but a person has to look."""
    log.error("order_dead", order=str(order.pk), code=code, error=asking.told(error))
    _finish(order, State.DEAD, code, error=asking.told(error))


def _later(order: Order, error: Exception) -> None:
    first: datetime = order.first_tried_at or timezone.now()
    code = error.code if isinstance(error, ProviderError) else "internal_error"
    if not isinstance(error, ProviderError):
        log.error("order_failed", order=str(order.pk), exc_info=error)
    at = asking.next_attempt(order.attempts, first, error, due())
    if at is None:
        _die(order, code, error)
        return
    _move(order, State.RETRY, next_attempt_at=at, last_error=asking.told(error))
    log.info("order_put_off", order=str(order.pk), code=code, until=at.isoformat())


def _cause(order: Order) -> Cause:
    return Cause(PurchaseStep.Cause.ORDER, str(order.pk))


def untold(*, order_id: UUID) -> list[UUID]:
    """The purchases of an order that their platform has to be told of."""
    rows = PlatformPurchase.objects.filter(order_id=order_id, told=PlatformPurchase.Told.DUE)
    return list(rows.values_list("pk", flat=True))
