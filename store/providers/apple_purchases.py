"""Apple's transactions and renewal infos, as what the store wants to know.

The signature says that a transaction is Apple's and this app's. That it has an id and a product,
sells a sane quantity, and belongs to one who may have it is checked here: a transaction without any
of this verifies just the same.
"""

from datetime import UTC, datetime
from uuid import UUID

from appstoreserverlibrary.models.AutoRenewStatus import AutoRenewStatus
from appstoreserverlibrary.models.InAppOwnershipType import InAppOwnershipType
from appstoreserverlibrary.models.JWSRenewalInfoDecodedPayload import JWSRenewalInfoDecodedPayload
from appstoreserverlibrary.models.JWSTransactionDecodedPayload import JWSTransactionDecodedPayload
from appstoreserverlibrary.models.OfferDiscountType import OfferDiscountType
from appstoreserverlibrary.models.RevocationType import RevocationType
from appstoreserverlibrary.models.Status import Status
from appstoreserverlibrary.models.Type import Type

from store.providers.apple_receipts import TRANSACTION_ID
from store.providers.base import (
    WHOLE,
    App,
    Environment,
    Kind,
    Phase,
    RejectedError,
    Subscription,
    Verified,
)
from store.providers.money import ALPHA_2, minor_units

KINDS = {
    Type.CONSUMABLE: Kind.CONSUMABLE,
    Type.NON_CONSUMABLE: Kind.DURABLE,
    Type.AUTO_RENEWABLE_SUBSCRIPTION: Kind.SUBSCRIPTION,
    # Runs out when the game says so; Apple knows no end of it, and may sell it again.
    Type.NON_RENEWING_SUBSCRIPTION: Kind.CONSUMABLE,
}
PHASES = {
    Status.ACTIVE: Phase.ACTIVE,
    Status.BILLING_GRACE_PERIOD: Phase.GRACE,
    Status.BILLING_RETRY: Phase.HOLD,
    Status.EXPIRED: Phase.EXPIRED,
    Status.REVOKED: Phase.EXPIRED,
}
# StoreKit sells up to 10 at a time.
MAX_QUANTITY = 10
MAX_PRODUCT = 255
MILLIUNITS = 1000
NOBODY = UUID(int=0)


def verified(
    app: App,
    environment: Environment,
    said: JWSTransactionDecodedPayload,
    subscription: Subscription | None = None,
) -> Verified:
    """A transaction whose signature was checked. Raises `RejectedError`."""
    number = said.transactionId or ""
    if said.bundleId != app.app_id:
        raise RejectedError("wrong_app", "It was signed for another app")
    if not TRANSACTION_ID.fullmatch(number):
        raise RejectedError("malformed_receipt", "The transaction has no id")
    if not said.productId or len(said.productId) > MAX_PRODUCT:
        raise RejectedError("malformed_receipt", "The transaction has no product")
    if said.signedDate is None:
        raise RejectedError("malformed_receipt", "The transaction says not when it was signed")
    kind = KINDS.get(said.type, Kind.UNKNOWN) if said.type else Kind.UNKNOWN
    quantity = 1 if said.quantity is None else said.quantity
    if not 1 <= quantity <= (MAX_QUANTITY if kind in (Kind.CONSUMABLE, Kind.UNKNOWN) else 1):
        raise RejectedError("malformed_receipt", f"The quantity is {quantity}")
    # What is neither said nor known is not taken for the buyer's own.
    is_shared = (
        said.rawInAppOwnershipType is not None
        and said.inAppOwnershipType is not InAppOwnershipType.PURCHASED
    )
    if is_shared and kind is Kind.CONSUMABLE:
        raise RejectedError("family_shared", "A consumable is not shared in a family")
    return Verified(
        environment=environment,
        app_id=app.app_id,
        transaction_id=number,
        original_id=said.originalTransactionId or number,
        product=said.productId,
        signed_at=moment(said.signedDate),
        kind=kind,
        quantity=quantity,
        purchased_at=None if said.purchaseDate is None else moment(said.purchaseDate),
        account=_account(said.appAccountToken),
        revoked=_revoked(said),
        revoked_at=None if said.revocationDate is None else moment(said.revocationDate),
        price_minor_units=_price(said),
        price_currency=said.currency or "" if said.price is not None else "",
        country=ALPHA_2.get(said.storefront or "", ""),
        is_family_shared=is_shared,
        subscription=subscription,
    )


def subscription(
    said: JWSTransactionDecodedPayload,
    renewal: JWSRenewalInfoDecodedPayload | None,
    status: Status | None,
) -> Subscription:
    """What the subscription is in, of whose transactions `said` is the latest. What Apple calls its
    status counts; without one, the dates do."""
    ends = None if said.expiresDate is None else moment(said.expiresDate)
    renews = renewal is not None and renewal.autoRenewStatus is AutoRenewStatus.ON
    grace = renewal and renewal.gracePeriodExpiresDate
    is_over = (
        said.revocationDate is not None
        or bool(said.isUpgraded)
        or (status is None and ends is not None and ends <= datetime.now(UTC))
    )
    phase = Phase.EXPIRED if is_over else PHASES.get(status or Status.ACTIVE, Phase.EXPIRED)
    if phase is Phase.ACTIVE:
        if renewal is not None and not renews:
            phase = Phase.CANCELLED
        elif said.offerDiscountType is OfferDiscountType.FREE_TRIAL:
            phase = Phase.TRIAL
    return Subscription(
        phase=phase,
        expires_at=ends,
        renews=renews,
        renewal_product=(renewal.autoRenewProductId or "") if renewal else "",
        grace_until=moment(grace) if grace else None,
        # A refund's notification is of the refunded period, which may be an earlier one.
        since=None if said.purchaseDate is None else moment(said.purchaseDate),
    )


def moment(milliseconds: int) -> datetime:
    """Apple's time, milliseconds since 1970. Raises `RejectedError` where there is no such time."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        raise RejectedError("malformed_receipt", "It has a time that is none") from None


def _account(token: str | None) -> UUID | None:
    """The player's account token. Some libraries send zeros where the game gave none."""
    try:
        account = UUID(token or "")
    except ValueError:
        return None
    return None if account == NOBODY else account


def _revoked(said: JWSTransactionDecodedPayload) -> int:
    """How much was taken back. The date tells whether; the reason may be 0, and so says nothing."""
    if said.revocationDate is None:
        return 0
    if said.revocationPercentage is None or said.revocationType in (
        RevocationType.REFUND_FULL,
        RevocationType.FAMILY_REVOKE,
    ):
        return WHOLE
    # Apple rounds to thousandths of a percent: less than one is still a refund.
    return min(max(said.revocationPercentage, 1), WHOLE)


def _price(said: JWSTransactionDecodedPayload) -> int | None:
    """For the whole quantity. In milliunits, and may have more digits than the currency."""
    if said.price is None or not said.currency or said.price < 0:
        return None
    return minor_units(said.price, said.currency, per_unit=MILLIUNITS)
