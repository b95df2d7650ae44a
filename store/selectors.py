"""What players see of the store."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from accounts.selectors import PublicPlayer
from config.api.pagination import Page, PageQuery, decode_cursor, encode_cursor, keyset_page
from config.api.wire import utc
from store.catalogue import catalogue
from store.models import Gift, Stack
from store.serializers import (
    Balance,
    Contents,
    GiftOut,
    GiftQuery,
    Movement,
    StackOut,
    Wallet,
)
from store.services.ledger import Money, open_wallet

MOVEMENTS_SQL = """
    SELECT e.created_at, e.id, e.currency_id, e.paid + e.earned, e.paid_after + e.earned_after,
           t.reason, t.reference
    FROM store_entry e JOIN store_transaction t ON t.id = e.transaction_id
    WHERE e.player_id = %s::uuid {beyond}
    ORDER BY e.created_at {way}, e.id {way} LIMIT %s
"""


def balances(game_id: UUID, wallet: tuple[Money, ...]) -> list[Balance]:
    """All currencies of the game, in the order in which they were made; archived ones only as
    long as the player has some."""
    held = {money.currency_id: money for money in wallet}
    found = []
    for currency in catalogue(game_id).currencies.values():
        money = held.get(currency.id, Money(currency.id, 0, 0))
        if currency.is_active or money.balance:
            found.append(
                Balance(
                    currency=currency.key,
                    balance=money.balance,
                    paid=money.paid,
                    earned=money.earned,
                )
            )
    return found


def wallet(*, game_id: UUID, player_id: UUID) -> Wallet:
    """The player's balances: one query, once the beginning balances have been given."""
    return Wallet(balances=balances(game_id, open_wallet(game_id=game_id, player_id=player_id)))


def movements(*, game_id: UUID, player_id: UUID, query: PageQuery) -> Page[Movement]:
    """The player's side of the ledger, newest first."""
    backward, beyond = False, ""
    values: list[Any] = []
    if query.cursor is not None:
        backward, values = decode_cursor(query.cursor, (datetime, UUID))
        comparison = ">" if backward else "<"
        beyond = f"AND (e.created_at, e.id) {comparison} (%s::timestamptz, %s::uuid)"
    sql = MOVEMENTS_SQL.format(beyond=beyond, way="ASC" if backward else "DESC")
    with connection.cursor() as cursor:
        cursor.execute(sql, [player_id, *values, query.limit + 1])
        rows = cursor.fetchall()
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    if backward:
        rows.reverse()
    keys = catalogue(game_id).currency_keys
    page = Page(
        results=[
            Movement(
                id=movement_id,
                currency=keys.get(currency_id, ""),
                amount=int(amount),
                balance_after=int(after),
                reason=reason,
                reference=reference,
                created_at=utc(created_at),
            )
            for created_at, movement_id, currency_id, amount, after, reason, reference in rows
        ]
    )
    if rows and (backward or more):
        page.next = encode_cursor(rows[-1][:2])
    if rows and (more if backward else query.cursor is not None):
        page.previous = encode_cursor(rows[0][:2], backward=True)
    return page


def inventory(*, game_id: UUID, player_id: UUID, query: PageQuery) -> Page[StackOut]:
    """The player's stacks that are not empty, in the order in which the items were made."""
    rows = Stack.objects.filter(player_id=player_id, quantity__gt=0)
    backward = False
    if query.cursor is not None:
        backward, (item_id,) = decode_cursor(query.cursor, (int,))
        rows = rows.filter(item_id__lt=item_id) if backward else rows.filter(item_id__gt=item_id)
    found = list(
        rows.order_by("-item_id" if backward else "item_id").values_list(
            "item_id", "quantity", "updated_at"
        )[: query.limit + 1]
    )
    more = len(found) > query.limit
    found = found[: query.limit]
    if backward:
        found.reverse()
    keys = catalogue(game_id).item_keys
    page = Page(
        results=[
            StackOut(item=keys.get(item_id, ""), quantity=quantity, updated_at=utc(updated_at))
            for item_id, quantity, updated_at in found
        ]
    )
    if found and (backward or more):
        page.next = encode_cursor([found[-1][0]])
    if found and (more if backward else query.cursor is not None):
        page.previous = encode_cursor([found[0][0]], backward=True)
    return page


def gifts(*, player_id: UUID, query: GiftQuery) -> Page[GiftOut]:
    """What the player has received, or given, newest first."""
    if query.direction == "received":
        found, other = Gift.objects.filter(recipient_id=player_id), "sender"
    else:
        found, other = Gift.objects.filter(sender_id=player_id), "recipient"
    rows, after, before = keyset_page(
        found.select_related(other, "offer"),
        order=("-created_at", "-id"),
        kinds=(datetime, UUID),
        query=query,
    )
    results = [
        GiftOut(
            id=row.pk,
            direction=query.direction,
            player=PublicPlayer.of_player(getattr(row, other)),
            offer=row.offer.key,
            quantity=row.quantity,
            contents=Contents(currencies=row.currencies, items=row.items),
            created_at=utc(row.created_at),
        )
        for row in rows
    ]
    return Page(results=results, next=after, previous=before)
