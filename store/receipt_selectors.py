"""What players see of their receipts."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db.models import Count

from config.api.pagination import Page, PageQuery, keyset_page
from config.api.problems import NotFound
from config.api.wire import utc
from store.models import Order, PlatformPurchase
from store.receipt_serializers import OrderOut, Status
from store.serializers import Contents

State = PlatformPurchase.State
# From here on staff see it: what they make of it is theirs.
MANY_REFUNDS = 3
ENDED: dict[str, Status] = {
    Order.State.RECEIVED: "received",
    Order.State.VERIFYING: "verifying",
    Order.State.RETRY: "verifying",
    Order.State.REJECTED: "rejected",
    Order.State.DEAD: "dead",
}


def order(*, player_id: UUID, order_id: UUID) -> OrderOut:
    """One of the player's orders. Raises `NotFound`."""
    row = Order.objects.filter(pk=order_id, player_id=player_id).first()
    if row is None:
        raise NotFound("The player has no such order")
    return order_out(row)


def orders(*, player_id: UUID, query: PageQuery) -> Page[OrderOut]:
    """The player's orders, newest first: two queries."""
    rows, after, before = keyset_page(
        Order.objects.filter(player_id=player_id).defer("data"),
        order=["-id"],
        kinds=[UUID],
        query=query,
    )
    out = orders_out(rows)
    return Page(results=[out[row.pk] for row in rows], next=after, previous=before)


def order_out(row: Order) -> OrderOut:
    """An order with its purchases."""
    return orders_out([row])[row.pk]


def orders_out(rows: Sequence[Order]) -> dict[UUID, OrderOut]:
    """Orders with their purchases, by the order's id: one query."""
    known = purchases({UUID(text) for row in rows for text in row.purchases})
    return {row.pk: _order(row, known) for row in rows}


def purchases(ids: set[UUID]) -> dict[UUID, PlatformPurchase]:
    rows = PlatformPurchase.objects.filter(pk__in=ids).select_related("offer") if ids else ()
    return {row.pk: row for row in rows}


def refunds_of(*, player_id: UUID) -> int:
    """How many purchases of a player the platforms took back, wholly or in part."""
    return PlatformPurchase.objects.filter(player_id=player_id, revoked__gt=0).count()


def repeated_refunders(*, game_id: UUID, at_least: int = MANY_REFUNDS) -> list[tuple[UUID, int]]:
    """(player, refunds) of those with many, most first, at most 200. For people to look at: nobody
    is banned by a machine."""
    rows = (
        PlatformPurchase.objects.filter(game_id=game_id, player__isnull=False, revoked__gt=0)
        .values_list("player_id")
        .annotate(refunds=Count("pk"))
        .filter(refunds__gte=at_least)
        .order_by("-refunds")
    )
    return [(player, refunds) for player, refunds in rows[:200] if player is not None]


def _order(row: Order, known: Mapping[UUID, PlatformPurchase]) -> OrderOut:
    bought = [known[UUID(text)] for text in row.purchases]
    # What another player owns is not shown, whoever sent the receipt.
    own = [purchase for purchase in bought if purchase.player_id == row.player_id]
    status, code = _status(row, own)
    out = OrderOut(
        id=row.pk,
        provider=row.provider,
        status=status,
        product=row.product or (own[0].product if own else ""),
        created_at=utc(row.created_at),
        updated_at=utc(row.updated_at),
    )
    if code:
        out.code = code
    offers = [purchase.offer.key for purchase in own if purchase.offer]
    if offers:
        out.offer = offers[0]
    if any(purchase.granted_at for purchase in own):
        out.granted = Contents(currencies=_left(own, "currencies"), items=_left(own, "items"))
    return out


def _status(row: Order, own: list[PlatformPurchase]) -> tuple[Status, str]:
    if row.state != Order.State.ACCEPTED:
        return ENDED[row.state], row.code
    states = {purchase.state for purchase in own}
    if not own:
        return "rejected", "owned_by_another"
    if State.PENDING in states:
        return "deferred", ""
    if states & {State.GRANTED, State.PARTIALLY_REVOKED}:
        return "granted", ""
    if State.REVOKED in states:
        return "refunded", ""
    if states == {State.CANCELLED}:
        return "rejected", "cancelled"
    # Bought, but something is in the way, which the platform told us of later.
    return "rejected", next((purchase.code for purchase in own if purchase.code), "")


def _left(own: list[PlatformPurchase], what: str) -> dict[str, int]:
    """What was granted and not taken back."""
    total: dict[str, int] = {}
    for purchase in own:
        taken = purchase.taken.get(what, {})
        for key, amount in purchase.granted.get(what, {}).items():
            total[key] = total.get(key, 0) + amount - taken.get(key, 0)
    return {key: amount for key, amount in total.items() if amount}
