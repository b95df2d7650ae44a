"""Asking Google: what a token was paid for, what became of an order, and what was refunded.

All raise `RefusedError` for what Google does not know (any more), `TryAgainError` and
`MisconfiguredError`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from store.providers.base import Kind, MisconfiguredError, TryAgainError, Verified
from store.providers.google_client import Connection, Query, RefusedError, quoted
from store.providers.google_purchases import (
    earlier,
    id_of,
    is_acknowledged,
    is_consumed,
    payment_id,
    read_products,
    read_subscription,
)
from store.providers.google_wire import (
    Order,
    Orders,
    Product,
    SubscriptionPurchase,
    Voided,
    VoidedList,
    decode,
)

log = structlog.get_logger(__name__)
# Seconds that a purchase may be held up for its price.
PRICE_TIMEOUT = 3.0
# How far back Google lists voided purchases, less the time that a request may take.
VOIDED_FOR = timedelta(days=30) - timedelta(minutes=10)
CLOCKS_DIFFER = timedelta(minutes=5)


def purchase(connection: Connection, token: str, *, subscription_first: bool) -> list[Verified]:
    """A purchase of whatever it is: tokens don't say. Google has a place for each kind, which
    answers 400 or 404 for the other's."""
    first, second = products, subscriptions
    if subscription_first:
        first, second = second, first
    try:
        return first(connection, token)
    except RefusedError as refusal:
        try:
            return second(connection, token)
        except RefusedError as other:
            # "Gone" (410) says more than "not found" (404), and that more than "invalid".
            raise max(refusal, other, key=lambda error: error.status) from None


def products(connection: Connection, token: str) -> list[Verified]:
    """A purchase of products. A price that can't be had does not hold it up."""
    at = datetime.now(UTC)
    said = decode(Product, connection.get(_product_path(token)))
    found = {}
    if said.order_id:
        try:
            found = orders(connection, [said.order_id])
        except TryAgainError as error:
            log.warning("google_price_unknown", code=error.code, detail=error.detail)
    return read_products(connection.package, token, said, at, found.get(said.order_id))


def subscriptions(connection: Connection, token: str) -> list[Verified]:
    """A subscription as it is now."""
    return _subscription(connection, token)[0]


def subscription_and(connection: Connection, known: Verified) -> list[Verified]:
    """The subscription as it is now, and its order that was known, if that is an earlier one."""
    lines = subscriptions(connection, known.token)
    if not lines or any(line.transaction_id == known.transaction_id for line in lines):
        return lines
    order_id = known.transaction_id
    if order_id == id_of(known.token):  # the first one, whose renewals bear its id
        order_id = lines[0].transaction_id.partition("..")[0]
    found = orders(connection, [order_id])
    if order_id not in found:
        return lines
    before = replace(known, signed_at=lines[0].signed_at)
    return [earlier(before, order_id, found[order_id]), *lines]


def _subscription(
    connection: Connection, token: str, order_id: str = ""
) -> tuple[list[Verified], dict[str, Order]]:
    """The subscription's lines, and the orders of it that Google shows; also that of `order_id`.

    Not without the orders: they alone tell of refunds."""
    at = datetime.now(UTC)
    said = decode(SubscriptionPurchase, connection.get(_subscription_path(token)))
    ids = {line.latest_successful_order_id for line in said.line_items} | {order_id}
    found = orders(connection, sorted(ids - {""}))
    return read_subscription(connection.package, token, said, at, found), found


def orders(connection: Connection, ids: Sequence[str]) -> dict[str, Order]:
    """The orders that Google shows, by id; none where the account may not see financial data."""
    if not ids:
        return {}
    query = [("orderIds", order_id) for order_id in ids]
    try:
        body = connection.get("orders:batchGet", query, read_timeout=PRICE_TIMEOUT)
    except RefusedError:
        # One unknown id fails all of them.
        found: dict[str, Order] = {}
        for order_id in ids if len(ids) > 1 else ():
            found |= orders(connection, [order_id])
        return found
    except MisconfiguredError as error:
        # The purchase itself could be read.
        log.warning("google_orders_forbidden", detail=error.detail)
        return {}
    return {order.order_id: order for order in decode(Orders, body).orders}


def voided(
    connection: Connection, token: str, order_id: str, *, is_subscription: bool
) -> list[Verified]:
    """What a voided order was about, as Google's answers show it now. `is_subscription` says
    whether it surely is one."""
    if not is_subscription:
        try:
            return products(connection, token)
        except RefusedError as refusal:
            try:
                return _voided_subscription(connection, token, order_id)
            except RefusedError:
                raise refusal from None
    return _voided_subscription(connection, token, order_id)


def _voided_subscription(connection: Connection, token: str, order_id: str) -> list[Verified]:
    lines, found = _subscription(connection, token, order_id)
    latest = [line for line in lines if line.transaction_id == payment_id(token, order_id)]
    if latest:
        return latest
    order = found.get(order_id, Order())
    bought = {line.product_id for line in order.line_items}
    of_order = [line for line in lines if line.product in bought]
    return [earlier(line, order_id, order) for line in of_order or lines[:1]]


def voided_list(connection: Connection, since: datetime, until: datetime) -> Iterator[Voided]:
    """What Google recorded as voided in that time: of products and subscriptions, all of it or a
    part of the quantity."""
    now = datetime.now(UTC)
    query = [
        ("type", "1"),
        ("includeQuantityBasedPartialRefund", "true"),
        ("maxResults", "1000"),
        ("startTime", _millis(max(since, now - VOIDED_FOR))),
    ]
    if until < now - CLOCKS_DIFFER:  # Google refuses what its clock calls the future.
        query.append(("endTime", _millis(until)))
    page: Query = []
    while True:
        body = connection.get("purchases/voidedpurchases", [*query, *page])
        found = decode(VoidedList, body)
        yield from found.voided_purchases
        if not found.token_pagination.next_page_token:
            return
        page = [("token", found.token_pagination.next_page_token)]


def tell(connection: Connection, known: Verified, *, consume: bool) -> None:
    """Acknowledge it, or consume it, which acknowledges too."""
    is_subscription = known.kind is Kind.SUBSCRIPTION
    kind = "subscriptions" if is_subscription else "products"
    path = f"purchases/{kind}/{quoted(known.product)}/tokens/{quoted(known.token)}"
    if consume and not is_subscription:
        connection.post(f"{path}:consume")
    else:
        connection.post(f"{path}:acknowledge", b"{}")


def is_settled(connection: Connection, known: Verified, *, consume: bool) -> bool:
    """Whether there is nothing left to tell: it was told already, or was taken back meanwhile."""
    if known.kind is Kind.SUBSCRIPTION:
        said = decode(SubscriptionPurchase, connection.get(_subscription_path(known.token)))
        return is_acknowledged(said) or said.subscription_state == "SUBSCRIPTION_STATE_EXPIRED"
    product = decode(Product, connection.get(_product_path(known.token)))
    if product.purchase_state_context.purchase_state == "CANCELLED":
        return True
    if not consume:
        return is_acknowledged(product)
    return any(
        is_consumed(line) for line in product.product_line_item if line.product_id == known.product
    )


def _product_path(token: str) -> str:
    return f"purchases/productsv2/tokens/{quoted(token)}"


def _subscription_path(token: str) -> str:
    return f"purchases/subscriptionsv2/tokens/{quoted(token)}"


def _millis(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))
