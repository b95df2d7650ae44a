"""What merged players have of currencies and items, and moving it through the ledger."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec
from django.db import connection

from accounts.models import Player
from store.catalogue import Catalogue
from store.models import (
    INT64_MAX,
    Account,
    Entry,
    PlatformPurchase,
    Stack,
    StackMovement,
    Transaction,
)
from store.services import ledger

# What a player has of a currency, (paid, earned), or of an item. Paid below 0 is a debt.
Money = dict[str, tuple[int, int]]
Items = dict[str, int]


def wallet_of(content: Catalogue, player_id: UUID) -> Money:
    return {
        content.currency_keys[held.currency_id]: (held.paid, held.earned)
        for held in ledger.wallet(player_id)
    }


def stacks_of(player: Player) -> Items:
    rows = Stack.objects.filter(player=player, quantity__gt=0)
    return dict(rows.values_list("item__key", "quantity"))


def beginnings(content: Catalogue, player: Player) -> Items:
    """What is left of the balances that the player began with, which are spent first."""
    keys = [f"initial:{player.pk}:{currency}" for currency in content.currency_keys]
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT begun.currency_id, begun.earned - coalesce(spent.earned, 0)
               FROM store_transaction t
               JOIN store_entry begun ON begun.created_at = t.created_at
                                     AND begun.transaction_id = t.id AND begun.account = 'wallet'
               LEFT JOIN (
                   SELECT e.currency_id, -sum(e.earned) AS earned
                   FROM store_entry e JOIN store_transaction s ON s.id = e.transaction_id
                   WHERE e.player_id = %(player)s AND e.earned < 0 AND s.kind <> 'merge'
                   GROUP BY e.currency_id
               ) spent USING (currency_id)
               WHERE t.game_id = %(game)s AND t.key = ANY(%(keys)s)""",
            {"player": player.pk, "game": player.game_id, "keys": keys},
        )
        return {
            content.currency_keys[currency]: max(0, int(left))
            for currency, left in cursor.fetchall()
        }


def refunded(
    content: Catalogue, player: Player, purchases: Iterable[PlatformPurchase]
) -> tuple[Items, Items]:
    """What refunds of these purchases have taken from this player: currencies, and items."""
    keys = [
        f"purchase:{row.pk}:{way}:{number}"
        for row in purchases
        for way in ("revoke", "regrant")
        for number in range(1, row.reversals + 1)
    ]
    posted = Transaction.objects.filter(game_id=player.game_id, player=player, key__in=keys)
    moved = list(posted.values_list("created_at", "id"))
    at, ids = [created_at for created_at, _ in moved], [pk for _, pk in moved]
    of_them: dict[str, Sequence[object]] = {"created_at__in": at, "transaction_id__in": ids}
    currencies: Items = {}
    for entry in Entry.objects.filter(player=player, **of_them):
        key = content.currency_keys[entry.currency_id]
        currencies[key] = currencies.get(key, 0) - entry.paid - entry.earned
    items: Items = {}
    for movement in StackMovement.objects.filter(player=player, **of_them):
        key = content.item_keys[movement.item_id]
        items[key] = items.get(key, 0) - movement.quantity
    return currencies, items


def paid_for_debts(content: Catalogue, player: Player, key: str) -> Money:
    """What a transfer has taken from its taker, who came by a debt, of paid and of earned."""
    posted = Transaction.objects.filter(game_id=player.game_id, key=f"{key}:in").first()
    if posted is None:
        return {}
    entries = Entry.objects.filter(
        created_at=posted.created_at, transaction_id=posted.pk, player=player
    )
    return {
        content.currency_keys[entry.currency_id]: (-entry.paid, -entry.earned)
        for entry in entries
        if entry.paid + entry.earned < 0
    }


def transfer(
    content: Catalogue,
    *,
    giver: Player,
    taker: Player,
    key: str,
    money: Money,
    items: Items,
    debts: Money | None = None,
) -> tuple[Money, Items]:
    """Post what one player gives and the other takes; what was moved.

    The taker first: what a maximum leaves out is not taken from the giver. A maximum does not stop
    what was paid for (docs/adr/0061). Whoever gives a debt away gets for it what `debts` says,
    paid and earned; else it is repaid.
    """
    wanted = [(name, *amounts) for name, amounts in sorted(money.items()) if any(amounts)]
    counts = [(name, count) for name, count in sorted(items.items()) if count]
    if not wanted and not counts:
        return {}, {}
    posting = _post(content, taker, f"{key}:in", _credits(content, wanted), counts)
    amounts = iter(posting.amounts)
    moved = {
        name: (
            (next(amounts) if paid > 0 else -next(amounts)) if paid else 0,
            next(amounts) if earned else 0,
        )
        for name, paid, earned in wanted
    }
    given = {
        name: quantity
        for (name, _), quantity in zip(counts, posting.quantities, strict=True)
        if quantity
    }
    debits = _debits(content, moved, debts or {})
    _post(content, giver, f"{key}:out", debits, [(name, -count) for name, count in given.items()])
    return moved, given


def _post(
    content: Catalogue,
    player: Player,
    key: str,
    lines: list[ledger.Line],
    counts: Iterable[tuple[str, int]],
) -> ledger.Posting:
    return ledger.post(
        game_id=player.game_id,
        player_id=player.pk,
        kind=Transaction.Kind.MERGE,
        key=key,
        reason="merge",
        reference=key.split(":")[1],
        lines=lines,
        stack_lines=[ledger.StackLine(content.items[name], count) for name, count in counts],
        overflow="clip",
    )


def _credits(content: Catalogue, wanted: Iterable[tuple[str, int, int]]) -> list[ledger.Line]:
    lines = []
    for name, paid, earned in wanted:
        currency = content.currencies[name]
        endless = msgspec.structs.replace(currency, max=INT64_MAX)
        if paid:
            mode: ledger.Mode = "paid" if paid > 0 else "refund"
            lines.append(ledger.Line(endless, abs(paid), mode, Account.TRANSFER_MERGE))
        if earned:
            lines.append(ledger.Line(currency, earned, "earned", Account.TRANSFER_MERGE))
    return lines


def _debits(content: Catalogue, moved: Money, debts: Money) -> list[ledger.Line]:
    """`refund` takes paid and `spend` earned first, and the giver has that much of each. `earned`
    repays a debt first."""
    lines: list[ledger.Line] = []
    for name, (paid, earned) in moved.items():
        currency = msgspec.structs.replace(content.currencies[name], max=INT64_MAX)
        back = debts.get(name, (0, -paid)) if paid < 0 else (0, 0)
        amounts: list[tuple[int, ledger.Mode]] = [
            (max(0, paid), "refund"),
            (back[0], "paid"),
            (back[1], "earned"),
            (earned, "spend"),
        ]
        lines += [
            ledger.Line(currency, amount, mode, Account.TRANSFER_MERGE)
            for amount, mode in amounts
            if amount
        ]
    return lines
