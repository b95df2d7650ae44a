"""What a platform's product is here, and giving it."""

from dataclasses import dataclass
from uuid import UUID

import msgspec
from django.utils import timezone

from config import events, hooks
from store.catalogue import catalogue
from store.metrics import SANDBOX_GRANTS
from store.models import INT64_MAX, MAX_STACK, Account, Offer, PlatformPurchase, Transaction
from store.providers.base import Environment, Kind
from store.services import ledger


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a quantity of an offer, and whether the books can hold it at all."""

    currencies: dict[str, int]
    items: dict[str, int]
    kind: Kind

    @property
    def fits(self) -> bool:
        return all(amount <= INT64_MAX for amount in self.currencies.values()) and all(
            quantity <= MAX_STACK for quantity in self.items.values()
        )


def offer_of(game_id: UUID, provider: str, product: str) -> Offer | None:
    """The offer that is sold as `product`. One that is archived or whose window is over counts
    too: the money was taken, and who was slow to tell us gets what was sold."""
    found = Offer.objects.filter(game_id=game_id, **{f"products__{provider}": product})
    return found.order_by("-is_active", "-id").first()


def of_offer(game_id: UUID, offer: Offer, quantity: int) -> Contents:
    """What `quantity` of the offer holds, bundles opened. Only durable items make a durable
    purchase."""
    content = catalogue(game_id)
    one_currencies, one_items = content.open_bundles(
        offer.contents.get("currencies", {}), offer.contents.get("items", {})
    )
    currencies = {key: amount * quantity for key, amount in one_currencies.items()}
    items = {key: amount * quantity for key, amount in one_items.items()}
    durable = not currencies and not any(content.items[key].is_consumable for key in items)
    return Contents(currencies, items, Kind.DURABLE if durable else Kind.CONSUMABLE)


def lasting(game_id: UUID, bought: Contents) -> Contents:
    """The durable items of it: nothing else is shared in a family."""
    known = catalogue(game_id).items
    items = {key: count for key, count in bought.items.items() if not known[key].is_consumable}
    return Contents({}, items, Kind.DURABLE)


def grant(row: PlatformPurchase, offer: str, bought: Contents) -> None:
    """Give what was bought, and note it on the row, inside the caller's transaction.

    The row is locked and has no grant yet; the ledger's key is the second guard. A maximum of a
    currency or item does not stop what was paid for (docs/adr/0061).
    """
    posting = ledger.post(
        game_id=row.game_id,
        player_id=owner(row),
        kind=Transaction.Kind.PURCHASE,
        key=f"purchase:{row.pk}:grant",
        reason="platform_purchase",
        reference=offer,
        lines=currency_lines(row, bought.currencies, "paid", Account.SOURCE_PURCHASE),
        stack_lines=stack_lines(row, bought.items),
        transaction_id=row.pk,
    )
    row.granted = {"currencies": bought.currencies, "items": bought.items}
    row.granted_at = posting.at
    _record(row, offer)
    hooks.run_after(
        "platform_purchase",
        game_id=str(row.game_id),
        player_id=str(row.player_id),
        purchase_id=str(row.pk),
        offer=offer,
        quantity=row.quantity,
    )
    if row.environment == Environment.SANDBOX:
        SANDBOX_GRANTS.labels(row.provider).inc()


def currency_lines(
    row: PlatformPurchase, amounts: dict[str, int], mode: ledger.Mode, account: Account
) -> list[ledger.Line]:
    """Lines of the ledger without the currencies' maxima."""
    known = catalogue(row.game_id).currencies
    return [
        ledger.Line(msgspec.structs.replace(known[key], max=INT64_MAX), amount, mode, account)
        for key, amount in amounts.items()
        if amount
    ]


def stack_lines(row: PlatformPurchase, quantities: dict[str, int]) -> list[ledger.StackLine]:
    """Lines of the ledger without the items' maxima; quantities below 0 take away."""
    known = catalogue(row.game_id).items
    return [
        ledger.StackLine(msgspec.structs.replace(known[key], max_stack=MAX_STACK), quantity)
        for key, quantity in quantities.items()
        if quantity
    ]


def record_currencies(
    row: PlatformPurchase, name: str, amounts: dict[str, int], account: Account, offer: str
) -> None:
    """Server events `currency_source` or `currency_sink`, as every movement has them."""
    for currency, amount in amounts.items():
        events.record(
            game_id=row.game_id,
            player_id=row.player_id,
            name=name,
            props={
                "currency": currency,
                "amount": amount,
                "account": account.value,
                "offer": offer,
            },
        )


def money_props(row: PlatformPurchase, offer: str) -> dict[str, object]:
    """What a server event says of a purchase with real money."""
    props: dict[str, object] = {
        "id": str(row.pk),
        "offer": offer,
        "product": row.product,
        "quantity": row.quantity,
        "provider": row.provider,
        "environment": row.environment,
    }
    if row.price_minor_units is not None:
        props |= {"price_minor_units": row.price_minor_units, "price_currency": row.price_currency}
    if len(row.country) == 2:  # as players have it; Apple's storefronts have three letters
        props["country"] = row.country
    return props


def _record(row: PlatformPurchase, offer: str) -> None:
    events.record(
        game_id=row.game_id,
        player_id=row.player_id,
        name="platform_purchase",
        props=money_props(row, offer) | {"granted": row.granted},
        at=timezone.now(),
    )
    record_currencies(
        row, "currency_source", row.granted["currencies"], Account.SOURCE_PURCHASE, offer
    )


def owner(row: PlatformPurchase) -> UUID:
    """The player to whom a purchase belongs that was, or is about to be, granted."""
    if row.player_id is None:
        raise AssertionError("Nobody owns this purchase")
    return row.player_id
