"""What the store brings to a merge: value moves through the ledger, and what has one owner gets
another.

Value that does not come over stays in the absorbed player's wallet, which nobody can use but
an undo: what is left of the balance that every player begins with (or new players would be worth
merging for it), and what exceeds a maximum. docs/ledger.md has the postings.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.utils import timezone

from accounts.merging import Json, Moved, Pair
from accounts.models import Player
from store.catalogue import Catalogue, catalogue
from store.models import (
    INT64_MAX,
    Account,
    GrantRequest,
    OfferUse,
    Order,
    OwnerConflict,
    PlatformPurchase,
    Redemption,
    Stack,
    Subscription,
    Transaction,
)
from store.services import ledger

name, order = "store", 20
SHOWN = 100
# What a player has of a currency, (paid, earned), or of an item. Paid below 0 is a debt.
Money = dict[str, tuple[int, int]]
Items = dict[str, int]
# What belongs to a player and holds no value itself, with what must not be there twice.
OWNED: Mapping[type[Any], tuple[str, ...]] = {
    PlatformPurchase: (),
    Subscription: (),
    Order: ("provider", "digest"),
    Redemption: ("code_id",),
    GrantRequest: (),
}


def holds(player: Player) -> Json:
    """What the player would bring along, and how much of it was paid for."""
    held = _wallet(catalogue(player.game_id), player.pk)
    return {
        "balances": [
            {"currency": key, "balance": paid + earned, "paid": paid, "earned": earned}
            for key, (paid, earned) in held.items()
        ],
        "items": dict(sorted(_stacks(player).items())[:SHOWN]),
        "purchases": PlatformPurchase.objects.filter(player=player).count(),
        "subscriptions": Subscription.objects.filter(player=player).count(),
    }


def lock(player_ids: Sequence[UUID]) -> None:
    """Purchases, then subscriptions: before the players, as everywhere (docs/store.md)."""
    for model in (PlatformPurchase, Subscription):
        rows = model.objects.filter(player_id__in=player_ids).order_by("pk")
        list(rows.select_for_update(of=("self",)).values_list("pk", flat=True))


def merge(pair: Pair, choices: Mapping[str, Any]) -> Moved:
    content = catalogue(pair.game_id)
    had = _wallet(content, pair.absorbed.pk)
    begun = _beginnings(content, pair.absorbed)
    brought = {
        key: (paid, max(0, earned - begun.get(key, 0))) for key, (paid, earned) in had.items()
    }
    stacks = _stacks(pair.absorbed)
    money, items = _transfer(
        content,
        giver=pair.absorbed,
        taker=pair.survivor,
        key=f"merge:{pair.merge_id}",
        money=brought,
        items=stacks,
    )
    journal: Json = {
        "money": money,
        "items": items,
        "uses": _count_uses(content, pair),
        "rows": _own({}, pair),
    }
    stays = {
        "currencies": _totals(had, less=money),
        "items": {key: rest for key, held in stacks.items() if (rest := held - items.get(key, 0))},
    }
    moved = {"currencies": _totals(money), "items": items}
    return Moved(journal, {"moved": moved, "stays": stays})


def settle(pair: Pair, journal: Json) -> Json:
    """Receipts that were being taken in. Nothing is posted to a player who was merged."""
    journal["rows"] = _own(journal["rows"], pair)
    return journal


def undo(pair: Pair, journal: Json) -> Json:
    """Give back what the survivor still has of it, paid of paid and earned of earned."""
    content = catalogue(pair.game_id)
    moved: Money = {key: (paid, earned) for key, (paid, earned) in journal["money"].items()}
    held, stacks = _wallet(content, pair.survivor.pk), _stacks(pair.survivor)
    left = {key: _at_most(amounts, held.get(key, (0, 0))) for key, amounts in moved.items()}
    money, items = _transfer(
        content,
        giver=pair.survivor,
        taker=pair.absorbed,
        key=f"merge:{pair.merge_id}:undo",
        money=left,
        items={key: min(count, stacks.get(key, 0)) for key, count in journal["items"].items()},
    )
    _uncount_uses(pair, journal["uses"])
    for model in OWNED:
        rows = model.objects.filter(pk__in=journal["rows"].get(model.__name__, []))
        rows.filter(player=pair.survivor).update(player=pair.absorbed)
    short = {
        "currencies": _totals(moved, less=money),
        "items": {
            key: rest for key, had in journal["items"].items() if (rest := had - items.get(key, 0))
        },
    }
    return {"returned": {"currencies": _totals(money), "items": items}, "short": short}


def _at_most(moved: tuple[int, int], held: tuple[int, int]) -> tuple[int, int]:
    """What can be given back of `moved`; a debt that came along goes back whole."""
    paid, earned = moved
    if held[0] < 0:
        return min(paid, 0), 0
    return min(paid, held[0]), min(earned, held[1])


def _totals(money: Money, *, less: Money | None = None) -> Items:
    """By currency, paid and earned together; what is left of it without `less`."""
    rest = {key: sum(amounts) - sum((less or {}).get(key, ())) for key, amounts in money.items()}
    return {key: amount for key, amount in rest.items() if amount}


def _wallet(content: Catalogue, player_id: UUID) -> Money:
    return {
        content.currency_keys[held.currency_id]: (held.paid, held.earned)
        for held in ledger.wallet(player_id)
    }


def _stacks(player: Player) -> Items:
    rows = Stack.objects.filter(player=player, quantity__gt=0)
    return dict(rows.values_list("item__key", "quantity"))


def _beginnings(content: Catalogue, player: Player) -> Items:
    """What is left of the balances that the player began with, which are spent first."""
    keys = [f"initial:{player.pk}:{currency}" for currency in content.currency_keys]
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT begun.currency_id, begun.earned - coalesce(spent.earned, 0)
               FROM store_transaction t
               JOIN store_entry begun ON begun.created_at = t.created_at
                                     AND begun.transaction_id = t.id AND begun.account = 'wallet'
               LEFT JOIN (
                   SELECT currency_id, -sum(earned) AS earned FROM store_entry
                   WHERE player_id = %(player)s AND earned < 0 GROUP BY currency_id
               ) spent USING (currency_id)
               WHERE t.game_id = %(game)s AND t.key = ANY(%(keys)s)""",
            {"player": player.pk, "game": player.game_id, "keys": keys},
        )
        return {
            content.currency_keys[currency]: max(0, int(left))
            for currency, left in cursor.fetchall()
        }


def _transfer(
    content: Catalogue, *, giver: Player, taker: Player, key: str, money: Money, items: Items
) -> tuple[Money, Items]:
    """Post what one player gives and the other takes; what was moved.

    The taker first: what a maximum leaves out is not taken from the giver. A maximum does not stop
    what was paid for (docs/adr/0061).
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
    debits = _debits(content, [(name, *sums) for name, sums in moved.items()])
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


def _debits(content: Catalogue, moved: Iterable[tuple[str, int, int]]) -> list[ledger.Line]:
    """`refund` takes paid and `spend` earned first, and the giver has that much of each. A debt is
    taken over by repaying it, which `earned` does first."""
    lines = []
    for name, paid, earned in moved:
        endless = msgspec.structs.replace(content.currencies[name], max=INT64_MAX)
        if paid:
            mode: ledger.Mode = "refund" if paid > 0 else "earned"
            lines.append(ledger.Line(endless, abs(paid), mode, Account.TRANSFER_MERGE))
        if earned:
            lines.append(ledger.Line(endless, earned, "spend", Account.TRANSFER_MERGE))
    return lines


def _count_uses(content: Catalogue, pair: Pair) -> list[Json]:
    """What both have bought of an offer counts for its limit together."""
    now = timezone.now()
    offers = {offer.id: offer for offer in content.offers.values()}
    brought = list(OfferUse.objects.filter(player=pair.absorbed).select_for_update())
    own = {use.offer_id: use for use in OfferUse.objects.filter(player=pair.survivor)}
    for use in brought:
        mine = own.get(use.offer_id) or OfferUse(
            player=pair.survivor, offer_id=use.offer_id, quantity=0
        )
        offer = offers.get(use.offer_id)
        period = offer.period(now) if offer else None
        since = period[0] if period else None
        running = [each for each in (mine, use) if _is_since(each.last_at, since)]
        mine.period_quantity = sum(each.period_quantity for each in running)
        mine.quantity += use.quantity
        mine.last_at = max(filter(None, (mine.last_at, use.last_at)), default=None)
        if use.offer_id in own:
            OfferUse.objects.filter(pk=(pair.survivor.pk, use.offer_id)).update(
                quantity=mine.quantity, period_quantity=mine.period_quantity, last_at=mine.last_at
            )
        else:
            mine.save(force_insert=True)
    OfferUse.objects.filter(player=pair.absorbed).delete()
    return [
        {
            "offer_id": str(use.offer_id),
            "quantity": use.quantity,
            "period_quantity": use.period_quantity,
            "last_at": use.last_at and use.last_at.isoformat(),
        }
        for use in brought
    ]


def _is_since(at: datetime | None, since: datetime | None) -> bool:
    return at is not None and (since is None or at >= since)


def _uncount_uses(pair: Pair, uses: Iterable[Json]) -> None:
    for use in uses:
        OfferUse.objects.create(player=pair.absorbed, **use)
        mine = OfferUse.objects.get(player=pair.survivor, offer_id=use["offer_id"])
        rest = mine.quantity - use["quantity"]
        found = OfferUse.objects.filter(player=pair.survivor, offer_id=use["offer_id"])
        if rest:
            period_quantity = max(0, mine.period_quantity - use["period_quantity"])
            found.update(quantity=rest, period_quantity=min(rest, period_quantity))
        else:
            found.delete()


def _own(journal: Mapping[str, list[str]], pair: Pair) -> dict[str, list[str]]:
    """Make the survivor the owner of what is still the absorbed player's; `journal` with it. What
    the survivor has as well stays where it is."""
    rows = {}
    for model, unique in OWNED.items():
        found = model.objects.filter(player=pair.absorbed)
        if unique:
            own = set(model.objects.filter(player=pair.survivor).values_list(*unique))
            ids = [pk for pk, *what in found.values_list("pk", *unique) if tuple(what) not in own]
        else:
            ids = list(found.values_list("pk", flat=True))
        model.objects.filter(pk__in=ids).update(player=pair.survivor)
        rows[model.__name__] = [*journal.get(model.__name__, []), *map(str, ids)]
    _close_conflicts(pair)
    return rows


def _close_conflicts(pair: Pair) -> None:
    """Claims of the absorbed player are the survivor's; who claims what is theirs has it."""
    claims = OwnerConflict.objects.filter(state=OwnerConflict.State.OPEN)
    own = claims.filter(claimant=pair.survivor).values("purchase_id")
    claims.filter(claimant=pair.absorbed).exclude(purchase_id__in=own).update(
        claimant=pair.survivor
    )
    settled = claims.filter(claimant__in=[pair.survivor, pair.absorbed])
    for claim in settled.select_related("purchase"):
        if claim.claimant_id == pair.absorbed.pk or claim.purchase.player_id == claim.claimant_id:
            claim.state = OwnerConflict.State.KEPT
            claim.decided_by, claim.decided_at = "merge", timezone.now()
            claim.save(update_fields=["state", "decided_by", "decided_at"])
