"""Refunds, whole and in part, and refunds that were taken back: in whatever order they come.

The platform says how much of a purchase it has taken back in all (`revoked`). `settle` compares
that with what the ledger has taken back so far (`taken`) and posts the difference, so that it
does not matter how often, or how many at a time, the news comes in.
"""

from django.db import connection

from config import events
from store.models import Account, PlatformPurchase, Stack, Transaction
from store.providers.base import WHOLE
from store.services import contents, ledger

State = PlatformPurchase.State
Amounts = dict[str, int]


def settle(row: PlatformPurchase, *, revoked: int | None = None) -> dict[str, object]:
    """Bring what a granted purchase holds down, or back up, to what the platform left of it.

    The row is locked by the caller. Currencies are taken whole, into debt if it must be; of items
    only what the player still has, the rest is noted as short. Returns what was moved, for the
    log: empty where nothing had to be. `revoked` is what the platform says unless told, and all
    of it where staff took the purchase back (docs/adr/0077).
    """
    by_staff = row.decision == PlatformPurchase.Decision.REFUND
    share = (WHOLE if by_staff else row.revoked) if revoked is None else revoked
    row.state = state_of(share)
    wanted_currencies = _part(row.granted["currencies"], share)
    wanted_items = _part(row.granted["items"], share)
    taken: Amounts = row.taken.get("currencies", {})
    taken_items: Amounts = row.taken.get("items", {})
    short: Amounts = row.taken.get("short", {})
    currencies = {key: amount - taken.get(key, 0) for key, amount in wanted_currencies.items()}
    items = {
        key: quantity - taken_items.get(key, 0) - short.get(key, 0)
        for key, quantity in wanted_items.items()
    }
    if not any(currencies.values()) and not any(items.values()):
        return {}
    held = _held(row, [key for key, quantity in items.items() if quantity > 0])
    moved: Amounts = {}
    for key, quantity in items.items():
        if quantity > 0:
            moved[key] = min(quantity, held.get(key, 0))
            short = short | {key: short.get(key, 0) + quantity - moved[key]}
        elif quantity < 0:
            # What could not be taken is not given back.
            forgiven = min(-quantity, short.get(key, 0))
            moved[key] = quantity + forgiven
            short = short | {key: short.get(key, 0) - forgiven}
    # All shares are rounded alike, so that all of it goes one way.
    is_refund = any(amount > 0 for amount in (*currencies.values(), *items.values()))
    _post(row, _absolute(currencies), _absolute(moved), is_refund=is_refund)
    row.taken = {
        "currencies": wanted_currencies,
        "items": {key: taken_items.get(key, 0) + moved.get(key, 0) for key in wanted_items},
        "short": {key: quantity for key, quantity in short.items() if quantity},
    }
    return {
        "taken" if is_refund else "given": _absolute(currencies) | _absolute(moved),
        "short": row.taken["short"],
    }


def state_of(revoked: int) -> PlatformPurchase.State:
    """The state of a granted purchase of which that much was taken back."""
    if revoked >= WHOLE:
        return State.REVOKED
    return State.PARTIALLY_REVOKED if revoked else State.GRANTED


def _part(granted: Amounts, share: int) -> Amounts:
    """Thousandths of a percent of each amount, rounded down: in the player's favour."""
    return {key: amount * share // WHOLE for key, amount in granted.items()}


def _held(row: PlatformPurchase, keys: list[str]) -> Amounts:
    """What the owner has of these items; it stays so, for the owner is locked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM accounts_player WHERE id = %s FOR NO KEY UPDATE", [row.player_id]
        )
    stacks = Stack.objects.filter(
        player_id=contents.owner(row), item__game_id=row.game_id, item__key__in=keys
    )
    return dict(stacks.values_list("item__key", "quantity"))


def _post(row: PlatformPurchase, currencies: Amounts, items: Amounts, *, is_refund: bool) -> None:
    """Post amounts as taken back, or as given again."""
    offer = row.offer.key if row.offer else ""
    account = Account.SINK_REFUND if is_refund else Account.SOURCE_PURCHASE
    row.reversals += 1
    ledger.post(
        game_id=row.game_id,
        player_id=contents.owner(row),
        kind=Transaction.Kind.REFUND if is_refund else Transaction.Kind.PURCHASE,
        key=f"purchase:{row.pk}:{'revoke' if is_refund else 'regrant'}:{row.reversals}",
        reason="refund" if is_refund else "refund_reversed",
        reference=offer,
        lines=contents.currency_lines(row, currencies, "refund" if is_refund else "paid", account),
        stack_lines=contents.stack_lines(
            row, {key: -quantity if is_refund else quantity for key, quantity in items.items()}
        ),
    )
    events.record(
        game_id=row.game_id,
        player_id=row.player_id,
        name="platform_refund" if is_refund else "platform_refund_reversed",
        props=contents.money_props(row, offer) | {"revoked": row.revoked},
    )
    contents.record_currencies(
        row, "currency_sink" if is_refund else "currency_source", currencies, account, offer
    )


def _absolute(amounts: Amounts) -> Amounts:
    return {key: abs(amount) for key, amount in amounts.items() if amount}
