"""The parts of Google's answers and notifications that are read, and nothing else.

After the discovery document of androidpublisher v3, and Google's pages on real-time developer
notifications and on Pub/Sub's push messages. Enumerations stay text: Google adds to them.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from store.providers.base import TryAgainError

T = TypeVar("T")


class Wire(msgspec.Struct, frozen=True, rename="camel"):
    """Google's JSON: camelCase; what is absent has its default; what is unknown is skipped."""


def decode(kind: type[T], body: bytes) -> T:
    """A body of Google's as `kind`; 64-bit integers may be texts.

    Raises `TryAgainError` when it is something else: a proxy's page, a body cut short.
    """
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TryAgainError("platform_bad_answer", f"Not {kind.__name__}") from error


# Purchases of products


class OfferDetails(Wire, frozen=True):
    quantity: int = 1
    refundable_quantity: int | None = None
    consumption_state: str = ""


class ProductLine(Wire, frozen=True):
    product_id: str
    product_offer_details: OfferDetails = OfferDetails()


class StateContext(Wire, frozen=True):
    purchase_state: str = ""


class Product(Wire, frozen=True):
    """`ProductPurchaseV2`. A test purchase has a `test_purchase_context`, even an empty one."""

    product_line_item: tuple[ProductLine, ...] = ()
    purchase_state_context: StateContext = StateContext()
    test_purchase_context: Mapping[str, Any] | None = None
    order_id: str = ""
    obfuscated_external_account_id: str = ""
    purchase_completion_time: datetime | None = None
    acknowledgement_state: str = ""
    region_code: str = ""


# Subscriptions


class AutoRenewingPlan(Wire, frozen=True):
    auto_renew_enabled: bool = False


class Replacement(Wire, frozen=True):
    product_id: str = ""


class OfferPhase(Wire, frozen=True):
    free_trial: Mapping[str, Any] | None = None


class SubscriptionLine(Wire, frozen=True):
    product_id: str
    latest_successful_order_id: str = ""
    expiry_time: datetime | None = None
    auto_renewing_plan: AutoRenewingPlan = AutoRenewingPlan()
    deferred_item_replacement: Replacement = Replacement()
    offer_phase: OfferPhase = OfferPhase()


class Accounts(Wire, frozen=True):
    obfuscated_external_account_id: str = ""


class SubscriptionPurchase(Wire, frozen=True):
    """`SubscriptionPurchaseV2`."""

    line_items: tuple[SubscriptionLine, ...] = ()
    subscription_state: str = ""
    linked_purchase_token: str = ""
    start_time: datetime | None = None
    test_purchase: Mapping[str, Any] | None = None
    acknowledgement_state: str = ""
    external_account_identifiers: Accounts = Accounts()
    region_code: str = ""


# Orders and voided purchases


class Money(Wire, frozen=True):
    """`units` whole units and `nanos` thousand-millionths of one."""

    currency_code: str = ""
    units: int = 0
    nanos: int = 0

    @property
    def in_nanos(self) -> int:
        return self.units * 10**9 + self.nanos


class RefundDetails(Wire, frozen=True):
    total: Money = Money()


class RefundEvent(Wire, frozen=True):
    event_time: datetime | None = None
    refund_details: RefundDetails = RefundDetails()


class CancellationEvent(Wire, frozen=True):
    event_time: datetime | None = None


class PartialRefundEvent(Wire, frozen=True):
    process_time: datetime | None = None
    state: str = ""
    refund_details: RefundDetails = RefundDetails()


class OrderHistory(Wire, frozen=True):
    refund_event: RefundEvent = RefundEvent()
    cancellation_event: CancellationEvent = CancellationEvent()
    partial_refund_events: tuple[PartialRefundEvent, ...] = ()


class OrderLine(Wire, frozen=True):
    product_id: str = ""
    total: Money | None = None


class Order(Wire, frozen=True):
    order_id: str = ""
    state: str = ""
    create_time: datetime | None = None
    line_items: tuple[OrderLine, ...] = ()
    total: Money = Money()
    order_history: OrderHistory = OrderHistory()


class Orders(Wire, frozen=True):
    """`BatchGetOrdersResponse`."""

    orders: tuple[Order, ...] = ()


class Voided(Wire, frozen=True):
    """`voided_quantity` is there only where a part of the quantity was refunded."""

    purchase_token: str
    order_id: str = ""
    voided_time_millis: int = 0
    voided_quantity: int | None = None


class Pages(Wire, frozen=True):
    next_page_token: str = ""


class VoidedList(Wire, frozen=True):
    """`VoidedPurchasesListResponse`."""

    voided_purchases: tuple[Voided, ...] = ()
    token_pagination: Pages = Pages()


# Errors


class ErrorItem(Wire, frozen=True):
    reason: str = ""


class ErrorBody(Wire, frozen=True):
    errors: tuple[ErrorItem, ...] = ()
    details: tuple[ErrorItem, ...] = ()
    status: str = ""


class Failure(Wire, frozen=True):
    error: ErrorBody = ErrorBody()


class TokenFailure(Wire, frozen=True):
    error: str = ""


# Notifications


class PushMessage(Wire, frozen=True):
    data: bytes  # base64 on the wire
    message_id: str


class Push(Wire, frozen=True):
    """What Pub/Sub posts."""

    message: PushMessage


class ProductNotice(Wire, frozen=True):
    purchase_token: str
    notification_type: int = 0
    sku: str = ""


class SubscriptionNotice(Wire, frozen=True):
    purchase_token: str
    notification_type: int = 0
    subscription_id: str = ""


class VoidedNotice(Wire, frozen=True):
    """`product_type`: 1 a subscription, 2 a product. `refund_type`: 1 all of it, 2 a quantity."""

    purchase_token: str
    order_id: str = ""
    product_type: int = 0
    refund_type: int = 0


class DeveloperNotification(Wire, frozen=True):
    package_name: str
    event_time_millis: int
    one_time_product_notification: ProductNotice | None = None
    subscription_notification: SubscriptionNotice | None = None
    voided_purchase_notification: VoidedNotice | None = None
    test_notification: Mapping[str, Any] | None = None
