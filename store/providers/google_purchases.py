"""What Google says of a purchase, in the store's terms.

Google names a purchase by its token and a payment by its order id. A token is one purchase of
products, but a subscription's token stays while its order id changes with each renewal: so the
transaction of what was bought is the token, and of a renewal the order (docs/adr/0067).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from store.providers.base import (
    WHOLE,
    Environment,
    Kind,
    Phase,
    State,
    Subscription,
    TryAgainError,
    Verified,
)
from store.providers.google_wire import (
    Order,
    Product,
    ProductLine,
    SubscriptionLine,
    SubscriptionPurchase,
)
from store.providers.money import minor_units

MAX_ID = 512
PHASES = {
    "SUBSCRIPTION_STATE_PENDING": Phase.PENDING,
    "SUBSCRIPTION_STATE_ACTIVE": Phase.ACTIVE,
    "SUBSCRIPTION_STATE_PAUSED": Phase.PAUSED,
    "SUBSCRIPTION_STATE_IN_GRACE_PERIOD": Phase.GRACE,
    "SUBSCRIPTION_STATE_ON_HOLD": Phase.HOLD,
    "SUBSCRIPTION_STATE_CANCELED": Phase.CANCELLED,
    "SUBSCRIPTION_STATE_EXPIRED": Phase.EXPIRED,
    "SUBSCRIPTION_STATE_PENDING_PURCHASE_CANCELED": Phase.EXPIRED,
}
UNPAID = {"SUBSCRIPTION_STATE_PENDING", "SUBSCRIPTION_STATE_PENDING_PURCHASE_CANCELED"}


def id_of(token: str) -> str:
    """A purchase token as an id: itself, or its digest where it is too long for an index."""
    if len(token) <= MAX_ID:
        return token
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def payment_id(token: str, order_id: str) -> str:
    """The transaction of a subscription's payment: of the first it is the token, also before it is
    paid and has an order; of a renewal the order, whose id Google marks with `..` and a number."""
    return order_id if ".." in order_id else id_of(token)


def read_products(
    app_id: str, token: str, said: Product, at: datetime, order: Order | None = None
) -> list[Verified]:
    """A purchase of products: one `Verified` a line, named by its product.

    Not the line's position: a line that goes would shift the others. `at` is when Google was asked.
    Raises `TryAgainError` for a state that nobody knows yet.
    """
    state = said.purchase_state_context.purchase_state
    if state not in ("PURCHASED", "PENDING", "CANCELLED") or not said.product_line_item:
        raise TryAgainError("platform_bad_answer", f"Purchase state {state!r}", counts=False)
    # What was paid for and is cancelled now is a refund; what never was paid for is not.
    was_paid = state == "PURCHASED" or said.purchase_completion_time is not None
    is_void = state == "CANCELLED" or (
        order is not None and order.state in ("REFUNDED", "CANCELED")
    )
    lines: list[Verified] = []
    for line in said.product_line_item:
        offer = line.product_offer_details
        # One product may be in it twice, by two of its offers.
        before = sum(other.product == line.product_id for other in lines)
        revoked = WHOLE if is_void else _refunded_share(line)
        price, currency = price_of(order, line.product_id)
        lines.append(
            Verified(
                environment=_environment(said.test_purchase_context),
                app_id=app_id,
                transaction_id=id_of(token),
                line=f"{line.product_id}#{before + 1}" if before else line.product_id,
                product=line.product_id,
                signed_at=at,
                state=(
                    State.PENDING
                    if state == "PENDING"
                    else State.PURCHASED
                    if was_paid
                    else State.CANCELLED
                ),
                original_id=said.order_id,
                quantity=offer.quantity,
                purchased_at=said.purchase_completion_time,
                account=_account(said.obfuscated_external_account_id),
                revoked=revoked if state != "PENDING" else 0,
                revoked_at=refunded_at(order) if revoked and order else None,
                price_minor_units=price,
                price_currency=currency,
                country=said.region_code,
                token=token,
                # What is kept for ever stays "yet to be consumed": to acknowledge it again does no
                # harm, and not to consume what is consumable would keep it from being bought again.
                must_tell=state == "PURCHASED"
                and revoked < WHOLE
                and not (is_acknowledged(said) and is_consumed(line)),
                refunds_last=True,
            )
        )
    return lines


def is_acknowledged(said: Product | SubscriptionPurchase) -> bool:
    return said.acknowledgement_state == "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED"


def is_consumed(line: ProductLine) -> bool:
    return line.product_offer_details.consumption_state == "CONSUMPTION_STATE_CONSUMED"


def _refunded_share(line: ProductLine) -> int:
    offer = line.product_offer_details
    if offer.refundable_quantity is None or offer.quantity < 1:
        return 0
    refunded = min(max(offer.quantity - offer.refundable_quantity, 0), offer.quantity)
    return WHOLE * refunded // offer.quantity


def read_subscription(
    app_id: str,
    token: str,
    said: SubscriptionPurchase,
    at: datetime,
    orders: Mapping[str, Order],
) -> list[Verified]:
    """A subscription as it is: one `Verified` for each product's latest paid order.

    A product that replaces another later is in the list without an order: nobody owns it yet.
    Raises `TryAgainError` for a state that nobody knows yet.
    """
    phase = PHASES.get(said.subscription_state)
    if phase is None or not said.line_items:
        detail = f"Subscription state {said.subscription_state!r}"
        raise TryAgainError("platform_bad_answer", detail, counts=False)
    unpaid = said.subscription_state in UNPAID
    found = []
    for line in said.line_items:
        order_id = "" if unpaid else line.latest_successful_order_id
        if not unpaid and not order_id:
            continue
        order = orders.get(order_id)
        revoked = refunded_share_of(order)
        price, currency = price_of(order, line.product_id)
        status = _status(said, line, phase, at)
        found.append(
            Verified(
                environment=_environment(said.test_purchase),
                app_id=app_id,
                transaction_id=payment_id(token, order_id),
                line=line.product_id,
                product=line.product_id,
                signed_at=at,
                state=_paid_state(unpaid, phase),
                kind=Kind.SUBSCRIPTION,
                original_id=id_of(token),
                purchased_at=order.create_time if order else said.start_time,
                account=_account(said.external_account_identifiers.obfuscated_external_account_id),
                revoked=revoked,
                revoked_at=refunded_at(order) if revoked and order else None,
                price_minor_units=price,
                price_currency=currency,
                country=said.region_code,
                token=token,
                must_tell=not unpaid and phase is not Phase.EXPIRED and not is_acknowledged(said),
                refunds_last=True,
                subscription=status,
            )
        )
    return found


def _paid_state(unpaid: bool, phase: Phase) -> State:
    if not unpaid:
        return State.PURCHASED
    return State.PENDING if phase is Phase.PENDING else State.CANCELLED


def _status(
    said: SubscriptionPurchase, line: SubscriptionLine, phase: Phase, at: datetime
) -> Subscription:
    expires_at = line.expiry_time
    if phase is Phase.ACTIVE:
        # The state is that of all lines together: one of them may have run out.
        if len(said.line_items) > 1 and expires_at is not None and expires_at <= at:
            phase = Phase.EXPIRED
        elif line.offer_phase.free_trial is not None:
            phase = Phase.TRIAL
    return Subscription(
        phase=phase,
        expires_at=expires_at,
        renews=line.auto_renewing_plan.auto_renew_enabled,
        renewal_product=line.deferred_item_replacement.product_id,
        # Google moves the expiry to the end of the grace period.
        grace_until=expires_at if phase is Phase.GRACE else None,
        replaces=id_of(said.linked_purchase_token) if said.linked_purchase_token else "",
    )


def earlier(line: Verified, order_id: str, order: Order) -> Verified:
    """The order before a subscription's latest one, of the same product."""
    price, currency = price_of(order, line.product)
    return replace(
        line,
        transaction_id=payment_id(line.token, order_id),
        # What the subscription is now goes with its latest order.
        subscription=None,
        purchased_at=order.create_time,
        revoked=refunded_share_of(order),
        revoked_at=refunded_at(order),
        price_minor_units=price,
        price_currency=currency,
        must_tell=False,
        refunds_last=True,
    )


def refunded_share_of(order: Order | None) -> int:
    """How much of a subscription's order was paid back: a refund may be prorated."""
    if order is None:
        return 0
    if order.state in ("REFUNDED", "CANCELED"):
        return WHOLE
    if order.state != "PARTIALLY_REFUNDED" or order.total.in_nanos <= 0:
        return 0
    refunded = sum(
        event.refund_details.total.in_nanos
        for event in order.order_history.partial_refund_events
        if event.state == "PROCESSED_SUCCESSFULLY"
    )
    return min(WHOLE * refunded // order.total.in_nanos, WHOLE)


def refunded_at(order: Order) -> datetime | None:
    history = order.order_history
    times = [history.refund_event.event_time, history.cancellation_event.event_time]
    times += [event.process_time for event in history.partial_refund_events]
    return max((time for time in times if time is not None), default=None)


def price_of(order: Order | None, product: str) -> tuple[int | None, str]:
    """What was paid for the product, with tax: minor units and currency; (None, "") if unknown."""
    for line in order.line_items if order else ():
        if line.product_id == product and line.total is not None and line.total.currency_code:
            money = line.total
            amount = minor_units(money.in_nanos, money.currency_code, per_unit=10**9)
            return amount, money.currency_code
    return None, ""


def _environment(test: object) -> Environment:
    return Environment.PRODUCTION if test is None else Environment.SANDBOX


def _account(text: str) -> UUID | None:
    """The account token that the client set; a game may have put something else there."""
    try:
        return UUID(text)
    except ValueError:
        return None
