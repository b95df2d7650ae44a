"""Buying offers with virtual currency."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from config import hooks
from config.api.problems import IdempotencyKeyReused
from store.catalogue import Catalogue, Offer, catalogue
from store.errors import (
    BalanceLimit,
    InsufficientFunds,
    LimitReached,
    OfferNotAvailable,
    PriceChanged,
)
from store.metrics import PURCHASES, REFUSALS
from store.models import INT64_MAX, MAX_STACK, Account, Purchase, Transaction
from store.services import ledger

BUY_SQL = """
    SELECT status, subject, posted_id, posted_at, wallet_currencies, wallet_paid, wallet_earned,
           amounts, quantities, stacks
    FROM store_buy(
        %s::uuid, %s::uuid, %s::uuid, %s::text, %s::text, %s::bytea, %s::text, %s::text,
        %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::int, %s::boolean,
        %s::uuid, %s::int, %s::int, %s::jsonb, %s::jsonb, %s::uuid)
"""


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase, made now or (`replayed`) before; `wallet` is what the player has now."""

    id: UUID
    offer: str
    quantity: int
    price: Mapping[str, int]
    granted: Mapping[str, Mapping[str, int]]
    wallet: tuple[ledger.Money, ...]
    replayed: bool


def purchase(
    *,
    game_id: UUID,
    player_id: UUID,
    offer: str,
    quantity: int,
    key: str,
    expected_price: Mapping[str, int] | None = None,
    fingerprint: bytes | None = None,
    session_id: UUID | None = None,
) -> Bought:
    """Buy `quantity` of an offer: debit, grant and count its limit, together, once for `key`.

    `expected_price` is the price of one, as the player saw it. One statement does it all; hooks
    around it, where there are any, make it a transaction.

    Raises `OfferNotAvailable`, `PriceChanged`, `LimitReached`, `InsufficientFunds`,
    `BalanceLimit`, `StackLimit`, `IdempotencyKeyReused`, `HookRefused`; then nothing has changed.
    """
    content = catalogue(game_id)
    ledger_key = f"purchase:{player_id}:{key}"
    hooked = hooks.has_before("purchase") or hooks.has_after("purchase")
    try:
        found = _available(content, offer, timezone.now(), expected_price)
        parameters = _parameters(content, found, quantity)
    except (OfferNotAvailable, PriceChanged, InsufficientFunds, BalanceLimit):
        # The first time it was there at that price: a repetition has the first outcome.
        if first := _first(game_id, player_id, ledger_key, fingerprint):
            return first
        raise
    lines, stack_lines, price, granted = parameters
    with transaction.atomic() if hooked else nullcontext():
        if hooked:
            if first := _first(game_id, player_id, ledger_key, fingerprint):
                return first
            hooks.run_before(
                "purchase", game_id=game_id, player_id=player_id, offer=offer, quantity=quantity
            )
        with connection.cursor() as cursor:
            cursor.execute(
                BUY_SQL,
                [
                    *ledger.post_parameters(
                        game_id=game_id,
                        player_id=player_id,
                        kind=Transaction.Kind.PURCHASE,
                        key=ledger_key,
                        reason="purchase",
                        reference=offer,
                        lines=lines,
                        stack_lines=stack_lines,
                        fingerprint=fingerprint,
                    ),
                    found.id,
                    quantity,
                    found.limit_per_player,
                    msgspec.json.encode(price).decode(),
                    msgspec.json.encode(granted).decode(),
                    session_id,
                ],
            )
            row = cursor.fetchone()
        if row[0] == "limit_reached":
            REFUSALS.labels("limit_reached").inc()
            raise LimitReached(f"{row[1]} of this offer are left to buy", left=row[1])
        posting = ledger.read_posting(game_id, row)
        if hooked and not posting.replayed:
            hooks.run_after(
                "purchase",
                game_id=str(game_id),
                player_id=str(player_id),
                purchase_id=str(posting.id),
                offer=offer,
                quantity=quantity,
            )
    if posting.replayed:
        return _bought(Purchase.objects.select_related("offer").get(pk=posting.id), posting.wallet)
    PURCHASES.inc()
    return Bought(posting.id, offer, quantity, price, granted, posting.wallet, replayed=False)


def _available(
    content: Catalogue, key: str, now: datetime, expected_price: Mapping[str, int] | None
) -> Offer:
    offer = content.offers.get(key)
    if offer is None or not offer.price or not offer.is_open(now):
        raise OfferNotAvailable
    if expected_price is not None and dict(expected_price) != offer.price:
        raise PriceChanged(price=offer.price)
    return offer


def _parameters(
    content: Catalogue, offer: Offer, quantity: int
) -> tuple[list[ledger.Line], list[ledger.StackLine], dict[str, int], dict[str, dict[str, int]]]:
    """The lines of `quantity` of the offer, what it costs, and what it grants.

    What was bought with virtual currency is earned, whatever it was paid with (docs/adr/0024).
    """
    price = {key: amount * quantity for key, amount in offer.price.items()}
    currencies = {key: amount * quantity for key, amount in offer.currencies.items()}
    items = {key: amount * quantity for key, amount in offer.items.items()}
    if any(amount > INT64_MAX for amount in price.values()):
        raise InsufficientFunds
    if any(amount > INT64_MAX for amount in currencies.values()) or any(
        amount > MAX_STACK for amount in items.values()
    ):
        raise BalanceLimit("Nobody can hold that much")
    lines = [
        ledger.Line(content.currencies[key], amount, "spend", Account.SINK_PURCHASE)
        for key, amount in price.items()
    ]
    lines += [
        ledger.Line(content.currencies[key], amount, "earned", Account.SOURCE_PURCHASE)
        for key, amount in currencies.items()
    ]
    stack_lines = [ledger.StackLine(content.items[key], amount) for key, amount in items.items()]
    return lines, stack_lines, price, {"currencies": currencies, "items": items}


def _first(
    game_id: UUID, player_id: UUID, ledger_key: str, fingerprint: bytes | None
) -> Bought | None:
    """The purchase that this key has made, if any."""
    found = Transaction.objects.filter(game_id=game_id, key=ledger_key).first()
    if found is None:
        return None
    given = None if found.fingerprint is None else bytes(found.fingerprint)
    if given != fingerprint:
        raise IdempotencyKeyReused
    row = Purchase.objects.select_related("offer").get(pk=found.pk)
    return _bought(row, ledger.wallet(player_id))


def _bought(row: Purchase, wallet: tuple[ledger.Money, ...]) -> Bought:
    return Bought(
        row.pk, row.offer.key, row.quantity, row.price, row.granted, wallet, replayed=True
    )
