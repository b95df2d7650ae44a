"""What the store brings to a merge: value moves through the ledger, and what has one owner gets
another.

Value that does not come over stays in the absorbed player's wallet, which nobody can use but
an undo: what is left of the balance that every player begins with (or new players would be worth
merging for it), and what exceeds a maximum. docs/ledger.md has the postings.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from accounts.merging import Json, Moved, Pair
from accounts.models import Player
from store.catalogue import catalogue
from store.models import GrantRequest, PlatformPurchase, Subscription
from store.services import merge_owned, merge_value
from store.services.merge_value import Items, Money

name, order = "store", 20
SHOWN = 100


def holds(player: Player) -> Json:
    """What the player would bring along, and how much of it was paid for."""
    held = merge_value.wallet_of(catalogue(player.game_id), player.pk)
    return {
        "balances": [
            {"currency": key, "balance": paid + earned, "paid": paid, "earned": earned}
            for key, (paid, earned) in held.items()
        ],
        "items": dict(sorted(merge_value.stacks_of(player).items())[:SHOWN]),
        "purchases": PlatformPurchase.objects.filter(player=player).count(),
        "subscriptions": Subscription.objects.filter(player=player).count(),
    }


def lock(player_ids: Sequence[UUID]) -> None:
    """Purchases, then subscriptions: before the players, as everywhere (docs/store.md); and grants
    that wait, whose row staff lock first as well."""
    for model in (PlatformPurchase, Subscription, GrantRequest):
        rows = model.objects.filter(player_id__in=player_ids).order_by("pk")
        list(rows.select_for_update(of=("self",)).values_list("pk", flat=True))


def merge(pair: Pair, choices: Mapping[str, Any]) -> Moved:
    content = catalogue(pair.game_id)
    had = merge_value.wallet_of(content, pair.absorbed.pk)
    begun = merge_value.beginnings(content, pair.absorbed)
    brought = {
        key: (paid, max(0, earned - begun.get(key, 0))) for key, (paid, earned) in had.items()
    }
    stacks = merge_value.stacks_of(pair.absorbed)
    money, items = merge_value.transfer(
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
        "uses": merge_owned.count_uses(content, pair),
        "rows": merge_owned.own({}, pair),
    }
    stays = {
        "currencies": _totals(had, less=money),
        "items": {key: rest for key, held in stacks.items() if (rest := held - items.get(key, 0))},
    }
    moved = {"currencies": _totals(money), "items": items}
    return Moved(journal, {"moved": moved, "stays": stays})


def settle(pair: Pair, journal: Json) -> Json:
    """Receipts that were being taken in. Nothing is posted to a player who was merged."""
    journal["rows"] = merge_owned.own(journal["rows"], pair)
    return journal


def undo(pair: Pair, journal: Json) -> Json:
    """Give back what the survivor still has of it, paid of paid and earned of earned. What refunds
    have taken of what came along is gone for both."""
    content = catalogue(pair.game_id)
    moved: Money = {key: (paid, earned) for key, (paid, earned) in journal["money"].items()}
    brought: Items = journal["items"]
    purchases = merge_owned.purchases(journal["rows"])
    taken, taken_items = merge_value.refunded(content, pair.survivor, purchases)
    held = merge_value.wallet_of(content, pair.survivor.pk)
    stacks = merge_value.stacks_of(pair.survivor)
    money, items = merge_value.transfer(
        content,
        giver=pair.survivor,
        taker=pair.absorbed,
        key=f"merge:{pair.merge_id}:undo",
        money={
            key: _at_most(amounts, taken.get(key, 0), held.get(key, (0, 0)))
            for key, amounts in moved.items()
        },
        items={
            key: max(0, min(count - taken_items.get(key, 0), count, stacks.get(key, 0)))
            for key, count in brought.items()
        },
        debts=merge_value.paid_for_debts(content, pair.survivor, f"merge:{pair.merge_id}"),
    )
    merge_owned.uncount_uses(pair, journal["uses"])
    merge_owned.give_back(pair, journal["rows"], purchases)
    short = {
        "currencies": _totals(moved, less=money),
        "items": {key: rest for key, had in brought.items() if (rest := had - items.get(key, 0))},
    }
    return {"returned": {"currencies": _totals(money), "items": items}, "short": short}


def _at_most(moved: tuple[int, int], taken: int, held: tuple[int, int]) -> tuple[int, int]:
    """What can be given back of `moved`, of which refunds have `taken` some, paid before earned. A
    debt that came along goes back whole."""
    paid, earned = moved
    of_paid = min(max(taken, 0), max(paid, 0))
    paid, earned = paid - of_paid, max(0, earned - max(taken, 0) + of_paid)
    if held[0] < 0:
        return min(paid, 0), 0
    return min(paid, held[0]), min(earned, held[1])


def _totals(money: Money, *, less: Money | None = None) -> Items:
    """By currency, paid and earned together; what is left of it without `less`."""
    rest = {key: sum(amounts) - sum((less or {}).get(key, ())) for key, amounts in money.items()}
    return {key: amount for key, amount in rest.items() if amount}
