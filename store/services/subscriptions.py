"""Subscriptions: what the platforms say of them, kept up to date without the client.

All news comes through `granting.apply`, in the transaction that grants the period. The
subscription's row is locked after the purchase's and before the player's. The newest news of the
latest period counts, whatever came before or comes after it (docs/adr/0075).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils import timezone

from store.entitlement import ENTITLING, ends_at
from store.models import PlatformPurchase
from store.models import Subscription as Row
from store.providers.base import WHOLE, Kind, State, Subscription, Verified
from store.providers.base import Phase as Said
from store.services import subscription_events, telling

Phase = Row.Phase
BEGINNING = datetime.min.replace(tzinfo=UTC)
# How often is asked: about what is on hold, paused or has no end; and about what has run out.
DAILY, AGAIN = timedelta(days=1), timedelta(minutes=10)
# Of a weekly subscription, those of two years.
MANY_PERIODS = 104
News = tuple[datetime, datetime, bool, bool, datetime, str, datetime, bool, str, str]


def locked(purchase: PlatformPurchase, line: Verified) -> tuple[Row | None, bool]:
    """The subscription that a line is about, locked until the transaction ends, and whether it is
    new. None where the line is of none, or tells nothing of one that we know."""
    unique = {
        "provider": purchase.provider,
        "environment": purchase.environment,
        "app_id": purchase.app_id,
        "original_id": purchase.original_id,
        "line": purchase.line,
    }
    made = None
    if line.subscription is not None:
        made = Row(**unique, game_id=purchase.game_id, purchase=purchase, signed_at=line.signed_at)
        Row.objects.bulk_create([made], ignore_conflicts=True)
    elif purchase.kind != Kind.SUBSCRIPTION:
        return None, False
    # Without its purchase: a join finds nothing where that changed while we waited for the lock.
    found = Row.objects.select_for_update(of=("self",)).filter(**unique).first()
    if found is not None and found.purchase_id == purchase.pk:
        found.purchase = purchase
    return found, made is not None and found is not None and found.pk == made.pk


def owner(purchase: PlatformPurchase, row: Row | None, line: Verified) -> UUID | None:
    """Whose a new period is: the owner's of the subscription that it continues or replaces, where
    both name the same account. So what staff have moved stays where it is."""
    if row is not None and row.player_id is not None:
        return row.player_id if row.account == purchase.account else None
    if line.subscription is None or not line.subscription.replaces:
        return None
    before = Row.objects.filter(
        provider=purchase.provider,
        environment=purchase.environment,
        app_id=purchase.app_id,
        original_id=line.subscription.replaces,
        player__isnull=False,
    ).first()
    if before is None or purchase.account not in (None, before.account):
        return None
    return before.player_id


def unclaimed(claimed: Iterable[PlatformPurchase]) -> list[Verified]:
    """The paid periods that nobody owns, of the subscriptions that these purchases belong to."""
    series = {
        (row.provider, row.environment, row.app_id, row.original_id)
        for row in claimed
        if row.kind == Kind.SUBSCRIPTION and row.original_id
    }
    found: list[Verified] = []
    for provider, environment, app_id, original_id in sorted(series):
        rows = PlatformPurchase.objects.filter(
            provider=provider,
            environment=environment,
            app_id=app_id,
            original_id=original_id,
            player__isnull=True,
            state=PlatformPurchase.State.VERIFIED,
        )
        found += map(telling.known, rows.order_by("id")[:MANY_PERIODS])
    return found


def note(row: Row, purchase: PlatformPurchase, line: Verified, *, is_new: bool) -> None:
    """Take note of a line, which was granted already where it could be. Both rows are locked."""
    was = None if is_new or row.player_id is None else (row.phase, row.purchase_id)
    said = line.subscription
    if said is not None:
        if is_new or _news(said, line) > _known(row):
            _learn(row, purchase, said, line)
        if said.replaces and line.state is State.PURCHASED:
            # Until it is paid for, the other one stays.
            row.replaces = said.replaces
    is_latest = row.purchase_id == purchase.pk
    if purchase.player_id and (
        row.player_id is None or (is_latest and row.account != purchase.account)
    ):
        row.player_id, row.account = purchase.player_id, purchase.account
    row.updated_at = timezone.now()
    row.save()
    if row.player_id is not None:
        subscription_events.tell(row, was)


def _learn(row: Row, purchase: PlatformPurchase, said: Subscription, line: Verified) -> None:
    row.purchase = purchase
    row.phase = _phase(said, line)
    row.entitled_until = said.expires_at
    row.grace_until = said.grace_until
    row.renews = said.renews
    row.renewal_product = said.renewal_product[:200]
    row.period_since = said.since
    row.signed_at = line.signed_at
    row.attempts = 0
    row.last_error = ""
    row.next_attempt_at = ask_at(row)


def _phase(said: Subscription, line: Verified) -> Phase:
    if line.revoked >= WHOLE or (line.revoked and said.phase is Said.EXPIRED):
        return Phase.REVOKED
    return Phase(said.phase.value)


def _news(said: Subscription, line: Verified) -> News:
    """How new a line is. All of it decides, so that the order in which two come never does."""
    return _rank(
        said.since,
        line.signed_at,
        _phase(said, line),
        said.expires_at,
        said.grace_until,
        renews=said.renews,
        product=said.renewal_product[:200],
        transaction_id=line.transaction_id,
    )


def _known(row: Row) -> News:
    return _rank(
        row.period_since,
        row.signed_at,
        row.phase,
        row.entitled_until,
        row.grace_until,
        renews=row.renews,
        product=row.renewal_product,
        transaction_id=row.purchase.transaction_id,
    )


def _rank(
    since: datetime | None,
    signed_at: datetime,
    phase: str,
    expires_at: datetime | None,
    grace_until: datetime | None,
    *,
    renews: bool,
    product: str,
    transaction_id: str,
) -> News:
    # Of two that were said in one moment, the end counts: it does not go away by repetition.
    return (
        since or BEGINNING,
        signed_at,
        phase == Phase.REVOKED,
        phase == Phase.EXPIRED,
        expires_at or BEGINNING,
        phase,
        grace_until or BEGINNING,
        renews,
        product,
        transaction_id,
    )


def ask_at(row: Row) -> datetime:
    """When the platform is to be asked, if it does not tell more by itself."""
    now = timezone.now()
    end = ends_at(row.phase, row.entitled_until, row.grace_until)
    if row.phase not in ENTITLING or end is None:
        return now + DAILY
    return end if end > now else now + AGAIN
