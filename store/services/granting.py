"""What a platform says of a purchase, made true here: once, to one player, in one transaction.

The purchase's row is inserted where it is new and locked before anything is decided; its
subscription's and the player's row (in the ledger) are locked after it, in this order, here and
everywhere (docs/store.md). Everything
that tells us of a purchase goes through `apply`: a receipt, a notification, a reconciliation.
"""

from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.errors import PlayerMerged
from accounts.models import Player
from store.errors import BalanceLimit, StackLimit
from store.metrics import OWNER_CONFLICTS, PLATFORM_PURCHASES
from store.models import (
    AccountToken,
    Offer,
    Order,
    PlatformApp,
    PlatformPurchase,
    Subscription,
)
from store.platforms import Platform
from store.providers.base import WHOLE, Environment, Kind, RejectedError, TryAgainError, Verified
from store.providers.base import State as PlatformState
from store.services import contents, ownership, reversals, steps, subscriptions
from store.services.steps import Cause

log = structlog.get_logger(__name__)
State = PlatformPurchase.State
Told = PlatformPurchase.Told
Decision = PlatformPurchase.Decision
HELD = (State.GRANTED, State.PARTIALLY_REVOKED)
# The player of a row, or who that has become.
HEIR = Coalesce("player__merged_into_id", "player_id")
# Staff looked at it and would not have it granted.
REFUSED = "refused_by_staff"
STATES = {
    PlatformState.PENDING: State.PENDING,
    PlatformState.CANCELLED: State.CANCELLED,
    PlatformState.PURCHASED: State.VERIFIED,
}
# Of what is said at one moment the last of these counts. What was paid for and is cancelled was
# taken back.
AT_ONE_MOMENT = (PlatformState.PENDING, PlatformState.CANCELLED, PlatformState.PURCHASED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a line. `code` says why nothing was granted, where staff or the player have
    to know: "" where all is well, also for what is pending or was refunded."""

    purchase: PlatformPurchase
    code: str = ""


def apply(
    *, platform: Platform, line: Verified, cause: Cause, order: Order | None = None
) -> Outcome:
    """Take note of what the platform says, and do what follows from it.

    `order` is whose receipt it was, for a purchase that somebody claims. May be called any number
    of times, with news in any order. Raises `RejectedError` where the line is not of this app,
    `TryAgainError` while the player has no room for what was bought.
    """
    if line.app_id != platform.app_id:
        raise RejectedError("wrong_app", "The transaction is of another app")
    if line.quantity < 1:
        raise RejectedError("malformed", "The quantity is not positive")
    try:
        with transaction.atomic():
            row = _locked(platform, line)
            series, is_new = subscriptions.locked(row, line)
            before, revoked = row.state, row.revoked
            is_news = _learn(row, line)
            conflict = _own(row, order, line, series)
            detail = _settle(row, platform, line)
            if row.revoked != revoked:
                detail |= _noted_refund(row)
            _mark_for_telling(row, line, is_news=is_news)
            row.save()
            if series is not None:
                subscriptions.note(series, row, line, is_new=is_new)
            if row.state != before or detail:
                steps.of_purchase(row, before, cause, detail)
                if row.order_id is not None:
                    Order.objects.filter(pk=row.order_id).update(updated_at=timezone.now())
    except (BalanceLimit, StackLimit) as error:
        # The money was taken: it waits for room, and for staff after a day.
        raise TryAgainError(error.code, error.detail, counts=False) from None
    except PlayerMerged as error:
        # The receipt was the absorbed player's when this began; it is about to be another's.
        raise TryAgainError(error.code, error.detail) from None
    if not is_news:
        log.info("platform_news_is_old", purchase=str(row.pk), cause=cause.kind)
    if row.state != before:
        PLATFORM_PURCHASES.labels(row.provider, row.environment, row.state).inc()
    if conflict:
        OWNER_CONFLICTS.inc()
        return Outcome(row, ownership.OWNED_BY_ANOTHER)
    return Outcome(row, "cancelled" if row.state == State.CANCELLED else row.code)


def _locked(platform: Platform, line: Verified) -> PlatformPurchase:
    """The line's row, inserted if need be, and locked until the transaction ends."""
    unique = {
        "provider": platform.provider,
        "environment": line.environment.value,
        "app_id": line.app_id,
        "transaction_id": line.transaction_id,
        "line": line.line,
    }
    new = PlatformPurchase(
        **unique,
        game_id=platform.game_id,
        original_id=line.original_id,
        product=line.product,
        kind=line.kind.value,
        quantity=line.quantity,
        signed_at=line.signed_at,
        purchased_at=line.purchased_at,
        account=line.account,
    )
    PlatformPurchase.objects.bulk_create([new], ignore_conflicts=True)
    return PlatformPurchase.objects.select_for_update(of=("self",)).get(**unique)


def _learn(row: PlatformPurchase, line: Verified) -> bool:
    """Bring the row up to what the platform says; False where we know better already."""
    is_cancelled = line.state is PlatformState.CANCELLED
    revoked = WHOLE if is_cancelled and row.granted_at else line.revoked
    if line.signed_at < row.signed_at:
        if line.refunds_last and revoked > row.revoked:
            # Another answer, which did not show it yet, was quicker.
            _revoke(row, line, revoked)
        return False
    state = line.state
    if line.refunds_last or line.signed_at == row.signed_at:
        # The same moment told twice: what was taken back does not come back by repetition.
        revoked = max(revoked, row.revoked)
    if line.signed_at == row.signed_at:
        # Nor does it matter which of two different words came first.
        said = {line.state, _payment(row)}
        state = max(said, key=AT_ONE_MOMENT.index)
        if said >= {PlatformState.PURCHASED, PlatformState.CANCELLED}:
            revoked = WHOLE
    row.signed_at = line.signed_at
    _revoke(row, line, revoked)
    if row.granted_at is None:
        row.state = STATES[state]
        row.code = ""
        row.account = line.account or row.account
    row.token = line.token or row.token
    row.purchased_at = line.purchased_at or row.purchased_at
    row.country = line.country or row.country
    if line.price_minor_units is not None:
        row.price_minor_units = line.price_minor_units
        row.price_currency = line.price_currency
    return True


def _payment(row: PlatformPurchase) -> PlatformState:
    """What its platform said last of the payment."""
    found = {there: told for told, there in STATES.items()}
    return found.get(State(row.state), PlatformState.PURCHASED)


def _revoke(row: PlatformPurchase, line: Verified, revoked: int) -> None:
    """Take note of how much was taken back by now, and when the last of it was."""
    if not revoked:
        row.revoked_at = None
    elif revoked > row.revoked:
        at = line.revoked_at or line.signed_at
        if row.revoked_at is not None and at <= row.revoked_at:
            # Of a further refund the platform may tell the first one's date.
            at = max(line.signed_at, row.revoked_at)
        row.revoked_at = at
    row.revoked = revoked


def _noted_refund(row: PlatformPurchase) -> dict[str, object]:
    """What store/finance.py finds the single refunds of a purchase by."""
    at = row.revoked_at and row.revoked_at.isoformat()
    return {"revoked": row.revoked, "revoked_at": at}


def _own(
    row: PlatformPurchase, order: Order | None, line: Verified, series: Subscription | None
) -> bool:
    """Find the owner where there is none yet; whether somebody else claims the purchase.

    The owner of the subscription that it continues is its owner, too, where both name the same
    account. Else the account token that the client bound to it decides; then the owner of the
    series; then whoever sends the receipt first, which is flagged. An owner stays: restoring on
    another account moves nothing.
    """
    if order is not None:
        # Merged, perhaps, while the platform was asked.
        order.player_id = _sender(order)
    if row.player_id is None:
        row.player_id = subscriptions.owner(row, series, line) or _bound(row) or _of_series(row)
        if row.player_id is None and order is not None:
            row.player_id = order.player_id
            row.is_unbound = True
    if order is None:
        return False
    if row.player_id == order.player_id:
        row.order_id = row.order_id or order.pk
        return False
    ownership.claim(row=row, order=order)
    return True


def _sender(order: Order) -> UUID:
    """Whose receipt it is by now."""
    player_id: UUID = Order.objects.filter(pk=order.pk).values_list(HEIR, flat=True).get()
    return player_id


def _bound(row: PlatformPurchase) -> UUID | None:
    """The player of this game whose account token the purchase names."""
    if row.account is None:
        return None
    found = AccountToken.objects.filter(token=row.account, player__game_id=row.game_id)
    return found.values_list(HEIR, flat=True).first()


def _of_series(row: PlatformPurchase) -> UUID | None:
    """The owner of the earlier periods of a subscription."""
    if row.kind != Kind.SUBSCRIPTION or not row.original_id:
        return None
    earlier = PlatformPurchase.objects.filter(
        provider=row.provider,
        app_id=row.app_id,
        original_id=row.original_id,
        environment=row.environment,
        player__isnull=False,
    )
    return earlier.order_by("-id").values_list("player_id", flat=True).first()


def _settle(row: PlatformPurchase, platform: Platform, line: Verified) -> dict[str, object]:
    """Do what follows from the row's facts; what to note beside the new state."""
    detail: dict[str, object] = {}
    if row.granted_at is None:
        if row.state in (State.PENDING, State.CANCELLED):
            return detail
        if row.revoked >= WHOLE:
            # A tombstone: whoever sends the receipt now, or later, gets nothing.
            row.state = State.REVOKED
            return detail
        row.state = State.VERIFIED
        if row.player_id is None:
            return detail
        offer = contents.offer_of(row.game_id, row.provider, row.product)
        if offer is None:
            row.code = "unknown_product"
            return detail
        bought = contents.of_offer(row.game_id, offer, row.quantity)
        if row.kind == Kind.UNKNOWN:
            row.kind = bought.kind.value
        row.code = _obstacle(row, platform, line, bought)
        if row.code:
            row.state = State.QUARANTINED
            return detail
        if line.is_family_shared:
            bought = contents.lasting(row.game_id, bought)
        give(row, offer, bought)
    return detail | reversals.settle(row)


def give(row: PlatformPurchase, offer: Offer, bought: contents.Contents) -> None:
    """Give the owner of a locked row, which nobody was given anything for yet, what was bought."""
    row.offer_id = offer.pk
    contents.grant(row, offer.key, bought)
    row.state = State.GRANTED
    row.code = ""


def _mark_for_telling(row: PlatformPurchase, line: Verified, *, is_news: bool) -> None:
    """Only what was granted is told: of what was not, Google gives the money back."""
    if not line.must_tell or row.state not in HELD or row.told == Told.DUE:
        return
    if is_news or row.told == Told.NONE:
        row.told = Told.DUE
        row.attempts = 0
        row.next_attempt_at = timezone.now()


def _obstacle(
    row: PlatformPurchase, platform: Platform, line: Verified, bought: contents.Contents
) -> str:
    """Why this must not be granted, as a code; "" where nothing is in the way."""
    if row.decision == Decision.REFUSE:
        return REFUSED
    if row.environment == Environment.SANDBOX and not _sandbox_allowed(row, platform):
        return "sandbox_not_allowed"
    if line.is_family_shared and row.kind == Kind.CONSUMABLE:
        return "family_shared"
    if not bought.fits:
        return "quantity_out_of_bounds"
    return ""


def _sandbox_allowed(row: PlatformPurchase, platform: Platform) -> bool:
    if platform.sandbox == PlatformApp.Sandbox.TESTERS:
        return Player.objects.filter(pk=contents.owner(row), is_tester=True).exists()
    return platform.sandbox == PlatformApp.Sandbox.ALL
