"""Buying offers with virtual currency."""

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from config import hooks
from config.api.problems import IdempotencyKeyReused, Problem
from config.api.wire import utc
from store.catalogue import Catalogue, Offer, Price, catalogue
from store.errors import (
    BalanceLimit,
    CoolingDown,
    InsufficientFunds,
    LimitReached,
    OfferNotAvailable,
    PriceChanged,
    RequirementNotMet,
)
from store.metrics import PURCHASES, REFUSALS
from store.models import INT64_MAX, MAX_STACK, Account, Gift, Purchase, Transaction
from store.services import availability, gifts, ledger
from store.services.shoppers import Shopper

BUY_SQL = """
    SELECT status, subject, posted_id, posted_at, wallet_currencies, wallet_paid, wallet_earned,
           amounts, quantities, stacks
    FROM store_post(
        %s::uuid, %s::uuid, %s::uuid, %s::text, %s::text, %s::bytea, %s::text, %s::text,
        %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::int, %s::boolean,
        %s::uuid, %s::int, %s::int, %s::timestamptz, %s::int, %s::uuid[], %s::jsonb, %s::jsonb,
        %s::uuid)
"""


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase, made now or (`replayed`) before; `wallet` is what the player has now. `gift` is
    what a friend got in the player's place."""

    id: UUID
    offer: str
    quantity: int
    price: Mapping[str, int]
    granted: Mapping[str, Mapping[str, int]]
    wallet: tuple[ledger.Money, ...]
    replayed: bool
    gift: Gift | None = None


NOTHING: Mapping[str, Mapping[str, int]] = {"currencies": {}, "items": {}}


def purchase(
    *,
    game_id: UUID,
    player_id: UUID,
    offer: str,
    quantity: int,
    key: str,
    store: str | None = None,
    pay_with: Collection[str] | None = None,
    expected_price: Mapping[str, int] | None = None,
    gift_to: UUID | None = None,
    fingerprint: bytes | None = None,
    session_id: UUID | None = None,
    is_tester: bool = False,
    app_version: str = "",
) -> Bought:
    """Buy `quantity` of an offer: debit, grant and count its limit, together, once for `key`.

    `store` names the store that it is bought in, `pay_with` the currencies of one of its prices
    (the first, unless told); `expected_price` is the price of one, as the player saw it. Testers
    buy on the terms of drafts. With `gift_to` a friend gets what is granted; all else counts for
    the player. One statement does it all; a gift, and hooks around it, where there are any, make
    it a transaction. What an offer requires of a player is read before.

    Raises `OfferNotAvailable`, `RequirementNotMet`, `PriceChanged`, `LimitReached`, `CoolingDown`,
    `InsufficientFunds`, `BalanceLimit`, `StackLimit`, `NotGiftable`, `NotFriends`,
    `GiftNotPossible`, `GiftsUsedUp`, `IdempotencyKeyReused`, `HookRefused`; then nothing has
    changed.
    """
    content = catalogue(game_id, preview=is_tester)
    ledger_key = f"purchase:{player_id}:{key}"
    hooked = hooks.has_before("purchase") or hooks.has_after("purchase")
    shopper = Shopper(
        game_id,
        player_id,
        timezone.now(),
        is_tester=is_tester,
        app_version=app_version,
        session_id=session_id,
    )
    try:
        found, one = _available(content, shopper, offer, store, pay_with, expected_price)
        parameters = _parameters(content, found, one, quantity)
    except (
        OfferNotAvailable,
        RequirementNotMet,
        PriceChanged,
        InsufficientFunds,
        BalanceLimit,
    ):
        # The first time it was there at that price: a repetition has the first outcome.
        if first := _first(game_id, player_id, ledger_key, fingerprint):
            return first
        raise
    costs, lines, stack_lines, price, granted = parameters
    given: Gift | None = None
    kept = NOTHING if gift_to else granted
    with transaction.atomic() if hooked or gift_to else nullcontext():
        players = gifts.lock(shopper=shopper, recipient_id=gift_to) if gift_to else []
        if (hooked or gift_to) and (first := _first(game_id, player_id, ledger_key, fingerprint)):
            return first
        if gift_to:
            gifts.check(
                content=content, shopper=shopper, offer=found, quantity=quantity, players=players
            )
        if hooked:
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
                        reason="gift" if gift_to else "purchase",
                        reference=offer,
                        lines=costs if gift_to else [*costs, *lines],
                        stack_lines=() if gift_to else stack_lines,
                        fingerprint=fingerprint,
                    ),
                    found.id,
                    quantity,
                    *_conditions(found, shopper),
                    msgspec.json.encode(price).decode(),
                    msgspec.json.encode(kept).decode(),
                    session_id,
                ],
            )
            row = cursor.fetchone()
        if row[0] in ("limit_reached", "cooling_down", "requirement_not_met"):
            REFUSALS.labels(row[0]).inc()
            raise _refusal(row[0], row[1])
        posting = ledger.read_posting(game_id, row)
        if gift_to:
            given = gifts.hand_over(
                purchase_id=posting.id,
                offer=found,
                quantity=quantity,
                players=players,
                lines=lines,
                stack_lines=stack_lines,
                granted=granted,
            )
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
    return Bought(
        posting.id, offer, quantity, price, kept, posting.wallet, replayed=False, gift=given
    )


def _available(
    content: Catalogue,
    shopper: Shopper,
    key: str,
    store: str | None,
    pay_with: Collection[str] | None,
    expected_price: Mapping[str, int] | None,
) -> tuple[Offer, Price]:
    """The offer and the price of one that this player pays for it now."""
    listed = availability.find(content, key, store)
    terms = availability.terms(listed, shopper.now) if listed else None
    if listed is None or terms is None or not terms.prices:
        raise OfferNotAvailable
    if requirement := availability.unmet(listed.offer, shopper, with_offers=False):
        raise RequirementNotMet(requirement=requirement)
    price = terms.prices[0]
    if pay_with is not None:
        for price in terms.prices:
            if price.keys() == set(pay_with):
                break
        else:
            raise PriceChanged(
                "It has no price in these currencies", price=terms.prices[0], prices=terms.prices
            )
    if expected_price is not None and dict(expected_price) != price:
        raise PriceChanged(price=price)
    return listed.offer, price


def _conditions(offer: Offer, shopper: Shopper) -> list[Any]:
    """What `store_may_buy` holds the player to: limit, its period, cooldown, offers before it."""
    period = offer.period(shopper.now)
    return [
        offer.limit_per_player,
        period[0] if period else None,
        int(offer.cooldown.total_seconds()) if offer.cooldown else None,
        f"{{{','.join(map(str, offer.required_offers))}}}",
    ]


def _refusal(status: str, subject: int) -> Problem:
    if status == "cooling_down":
        at = utc(timezone.now() + timedelta(seconds=subject))
        return CoolingDown(
            f"It can be bought again in {subject} s",
            available_at=at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            headers={"Retry-After": str(subject)},
        )
    if status == "limit_reached":
        return LimitReached(f"{subject} of this offer are left to buy", left=subject)
    return RequirementNotMet("Another offer has to be bought before", requirement="offer")


def _parameters(
    content: Catalogue, offer: Offer, one: Price, quantity: int
) -> tuple[
    list[ledger.Line],
    list[ledger.Line],
    list[ledger.StackLine],
    dict[str, int],
    dict[str, dict[str, int]],
]:
    """The lines of what `quantity` of the offer costs, those of what it grants, and both by key.

    What was bought with virtual currency is earned, whatever it was paid with (docs/adr/0024).
    """
    price = {key: amount * quantity for key, amount in one.items()}
    currencies = {key: amount * quantity for key, amount in offer.currencies.items()}
    items = {key: amount * quantity for key, amount in offer.items.items()}
    if any(amount > INT64_MAX for amount in price.values()):
        raise InsufficientFunds
    if any(amount > INT64_MAX for amount in currencies.values()) or any(
        amount > MAX_STACK for amount in items.values()
    ):
        raise BalanceLimit("Nobody can hold that much")
    costs = [
        ledger.Line(content.currencies[key], amount, "spend", Account.SINK_PURCHASE)
        for key, amount in price.items()
    ]
    lines = [
        ledger.Line(content.currencies[key], amount, "earned", Account.SOURCE_PURCHASE)
        for key, amount in currencies.items()
    ]
    stack_lines = [ledger.StackLine(content.items[key], amount) for key, amount in items.items()]
    return costs, lines, stack_lines, price, {"currencies": currencies, "items": items}


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
    gift = Gift.objects.filter(purchase=row).first()
    told = (row.pk, row.offer.key, row.quantity, row.price, row.granted)
    return Bought(*told, wallet, replayed=True, gift=gift)
