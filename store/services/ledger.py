"""The ledger: the only way in which value moves.

`post` calls the database function `store_post` (migration 0008) once. It locks the player,
checks, and writes all of a transaction or none of it; docs/ledger.md has the invariants that
triggers hold beneath it. The player is the first row that the ledger locks and only rows that the
player's lock guards come after it, so callers take their own locks before they post.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts.errors import PlayerMerged
from config.api.problems import IdempotencyKeyReused, NotFound
from config.db.ids import uuid7
from store.catalogue import Currency, Item, catalogue
from store.errors import BalanceLimit, InsufficientFunds, InsufficientItems, StackLimit
from store.metrics import REFUSALS
from store.models import Account, Transaction

Mode = Literal["earned", "paid", "spend", "refund"]
Overflow = Literal["refuse", "clip"]

POST_SQL = """
    SELECT status, subject, posted_id, posted_at, wallet_currencies, wallet_paid, wallet_earned,
           amounts, quantities, stacks
    FROM store_post(
        %s::uuid, %s::uuid, %s::uuid, %s::text, %s::text, %s::bytea, %s::text, %s::text,
        %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::int, %s::boolean)
"""


@dataclass(frozen=True, slots=True)
class Line:
    """An amount (above 0) between a player's wallet and an account of the game.

    mode   "earned", "paid": into the wallet, as that kind of money (a debt is repaid first);
           "spend": out of it, earned before paid (docs/adr/0024);
           "refund": out of it, paid before earned, below zero if it must be
    """

    currency: Currency
    amount: int
    mode: Mode
    account: Account


@dataclass(frozen=True, slots=True)
class StackLine:
    """A quantity into (above 0) or out of (below 0) a player's stack."""

    item: Item
    quantity: int


@dataclass(frozen=True, slots=True)
class Money:
    """What a wallet holds of one currency."""

    currency_id: int
    paid: int
    earned: int

    @property
    def balance(self) -> int:
        return self.paid + self.earned


@dataclass(frozen=True, slots=True)
class Posting:
    """The outcome of `post`.

    id, at       the transaction's; of the first one where `replayed`
    wallet       the player's whole wallet now
    amounts      by line, what was moved (less than asked for where it was clipped);
                 empty where `replayed`
    quantities   the same by stack line; `stacks` is what each stack holds now
    """

    id: UUID
    at: datetime
    replayed: bool
    wallet: tuple[Money, ...]
    amounts: Sequence[int]
    quantities: Sequence[int]
    stacks: Sequence[int]


def post(
    *,
    game_id: UUID,
    player_id: UUID,
    kind: Transaction.Kind,
    key: str,
    reason: str,
    reference: str = "",
    lines: Sequence[Line] = (),
    stack_lines: Sequence[StackLine] = (),
    fingerprint: bytes | None = None,
    overflow: Overflow = "refuse",
    transaction_id: UUID | None = None,
) -> Posting:
    """Move value once: one statement, in the caller's transaction or one of its own.

    `key` names this movement in its game for ever (at most 300 characters). The same key again
    is `replayed`, and with another `fingerprint` refused with `IdempotencyKeyReused`.

    Nothing is written when it raises `InsufficientFunds`, `BalanceLimit`, `InsufficientItems`,
    `StackLimit`, `NotFound` (no such player in this game) or `PlayerMerged`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            POST_SQL,
            post_parameters(
                game_id=game_id,
                player_id=player_id,
                kind=kind,
                key=key,
                reason=reason,
                reference=reference,
                lines=lines,
                stack_lines=stack_lines,
                fingerprint=fingerprint,
                overflow=overflow,
                transaction_id=transaction_id,
            ),
        )
        row = cursor.fetchone()
    return read_posting(game_id, row)


def post_parameters(
    *,
    game_id: UUID,
    player_id: UUID,
    kind: Transaction.Kind,
    key: str,
    reason: str,
    reference: str,
    lines: Sequence[Line],
    stack_lines: Sequence[StackLine],
    fingerprint: bytes | None,
    overflow: Overflow = "refuse",
    transaction_id: UUID | None = None,
) -> list[Any]:
    """The parameters of `store_post`, for statements that call it inside another function."""
    most_stacks: int = settings.STORE_MAX_STACKS
    return [
        transaction_id or uuid7(),
        game_id,
        player_id,
        kind.value,
        key,
        fingerprint,
        reason,
        reference,
        _array(line.currency.id for line in lines),
        _array(line.amount for line in lines),
        _array(line.mode for line in lines),
        _array(line.account.value for line in lines),
        _array(line.currency.max for line in lines),
        _array(line.item.id for line in stack_lines),
        _array(line.quantity for line in stack_lines),
        _array(line.item.max_stack for line in stack_lines),
        # Where a game can't have more items than that, nobody can have too many stacks.
        most_stacks if most_stacks < settings.STORE_MAX_ITEMS else None,
        overflow == "clip",
    ]


def _array(values: Iterable[int | str]) -> str:
    """An array as PostgreSQL writes it, of numbers and of words of ours, which need no quotes.

    The driver looks at every list's elements for their type: a purchase's eight cost it 40 µs.
    """
    return f"{{{','.join(map(str, values))}}}"


def read_posting(game_id: UUID, row: Sequence[Any]) -> Posting:
    """What `store_post` answered, or the problem that it names."""
    status, subject, posted_id, posted_at, currencies, paid, earned, amounts, quantities, stacks = (
        row
    )
    if status == "merged":
        raise PlayerMerged(merged_into=str(posted_id))
    if status not in ("posted", "replayed"):
        refuse(game_id, status, subject)
    return Posting(
        id=posted_id,
        at=posted_at,
        replayed=status == "replayed",
        wallet=tuple(map(Money, currencies, paid, earned)),
        amounts=amounts,
        quantities=quantities,
        stacks=stacks,
    )


def wallet(player_id: UUID) -> tuple[Money, ...]:
    """What the player has of each currency that was ever moved."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT currency_id, paid, earned FROM store_balance
               WHERE player_id = %s ORDER BY currency_id""",
            [player_id],
        )
        return tuple(Money(*row) for row in cursor.fetchall())


def open_wallet(*, game_id: UUID, player_id: UUID) -> tuple[Money, ...]:
    """The player's wallet, with the balances that a player begins with given, once each."""
    held = wallet(player_id)
    missing = catalogue(game_id).opening - {money.currency_id for money in held}
    if not missing:
        return held
    with transaction.atomic(), connection.cursor() as cursor:
        for currency_id in sorted(missing):
            cursor.execute(
                "SELECT store_open(%s::uuid, %s::uuid, %s::bigint)",
                [game_id, player_id, currency_id],
            )
    return wallet(player_id)


def refuse(game_id: UUID, status: str, subject: int | None) -> NoReturn:
    """Raise the problem that a status of `store_post` stands for."""
    REFUSALS.labels(status).inc()
    content = catalogue(game_id)
    if status in ("insufficient_funds", "balance_limit"):
        currency = content.currency_keys.get(subject or 0, "")
        if status == "insufficient_funds":
            raise InsufficientFunds(f"The wallet has too little of {currency}", currency=currency)
        raise BalanceLimit(f"The wallet can't hold that much of {currency}", currency=currency)
    if status in ("insufficient_items", "stack_limit"):
        item = content.item_keys.get(subject or 0, "")
        if status == "insufficient_items":
            raise InsufficientItems(f"The player has too few of {item}", item=item)
        raise StackLimit(f"The stack can't hold that many of {item}", item=item)
    if status == "key_reused":
        raise IdempotencyKeyReused
    if status == "no_player":
        raise NotFound("There is no such player")
    raise AssertionError(f"store_post answered {status}")
