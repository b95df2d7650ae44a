"""Giving value: rewards of the game, grants by game servers and by staff."""

from collections.abc import Mapping
from uuid import UUID

from django.db import transaction

from config import events
from store.catalogue import Catalogue, Currency, Item, catalogue
from store.errors import UnknownContent
from store.metrics import GRANTS
from store.models import Account, Grant, Transaction
from store.services import ledger


def grant(
    *,
    game_id: UUID,
    player_id: UUID,
    currencies: Mapping[str, int],
    items: Mapping[str, int],
    key: str,
    reason: str,
    reference: str = "",
    source: Grant.Source = Grant.Source.GAME,
    actor: str = "",
    fingerprint: bytes | None = None,
    overflow: ledger.Overflow = "clip",
) -> Grant:
    """Give `currencies` {key: amount} and `items` {key: quantity} (above 0) to a player, once.

    `key` is unique in the game for ever: the same key again gives nothing and returns the first
    `Grant` (`is_replay` is then true). Begin it with what it is about, such as
    `achievement:{player}:{key}`. Joins the caller's transaction; take other locks before, and
    grant to one player in a transaction, or to several in the order of their ids. In place of a
    bundle, what is in it is given.

    What would exceed a currency's or stack's maximum is left out (`Grant.clipped`), so that a
    full purse does not undo an achievement; with `overflow="refuse"` it raises `BalanceLimit` or
    `StackLimit`. Raises `UnknownContent` for keys that the game does not have,
    `IdempotencyKeyReused` where the key was used with another `fingerprint`, `NotFound`.
    """
    content = catalogue(game_id)
    currencies, items = content.open_bundles(currencies, items)
    lines = [
        ledger.Line(_currency(content, name), amount, "earned", Account.SOURCE_GRANT)
        for name, amount in currencies.items()
    ]
    stack_lines = [
        ledger.StackLine(_item(content, name), quantity) for name, quantity in items.items()
    ]
    with transaction.atomic():
        posting = ledger.post(
            game_id=game_id,
            player_id=player_id,
            kind=Transaction.Kind.GRANT,
            key=key,
            reason=reason,
            reference=reference,
            lines=lines,
            stack_lines=stack_lines,
            fingerprint=fingerprint,
            overflow=overflow,
        )
        if posting.replayed:
            first = Grant.objects.get(pk=posting.id)
            first.is_replay = True
            return first
        given = dict(zip(currencies, posting.amounts, strict=True))
        added = dict(zip(items, posting.quantities, strict=True))
        row = Grant.objects.create(
            id=posting.id,
            game_id=game_id,
            player_id=player_id,
            source=source,
            actor=actor,
            reason=reason,
            reference=reference,
            currencies={name: amount for name, amount in given.items() if amount},
            items={name: quantity for name, quantity in added.items() if quantity},
            clipped=given != dict(currencies) or added != dict(items),
            created_at=posting.at,
        )
        _record(row)
    GRANTS.labels(source).inc()
    return row


def _currency(content: Catalogue, key: str) -> Currency:
    found = content.currencies.get(key)
    if found is None:
        raise UnknownContent(f"The game has no currency {key}", currency=key)
    return found


def _item(content: Catalogue, key: str) -> Item:
    found = content.items.get(key)
    if found is None:
        raise UnknownContent(f"The game has no item {key}", item=key)
    return found


def _record(row: Grant) -> None:
    common = {"reason": row.source, "reference": row.reference}
    events.record(
        game_id=row.game_id,
        player_id=row.player_id,
        name="grant",
        props={"id": str(row.id), "currencies": row.currencies, "items": row.items, **common},
    )
    for currency, amount in row.currencies.items():
        events.record(
            game_id=row.game_id,
            player_id=row.player_id,
            name="currency_source",
            props={"currency": currency, "amount": amount, "account": "source:grant", **common},
        )
