"""One search for everything that a player, a platform or a log may quote.

Each look-up is served by an index, also where the tables are large: tests hold it by EXPLAIN.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model, Q

from accounts.models import Game, Player
from accounts.selectors import find_players
from store.models import (
    AccountToken,
    Order,
    OwnerConflict,
    PlatformNotice,
    PlatformPurchase,
    Subscription,
    Transaction,
)
from store.providers import registry
from store.providers.google_purchases import id_of

AT_MOST = 50
LONGEST = 5_000

# The unique index begins with provider, environment and app: there are few of them, and this steps
# from one to the next without reading the rows between (PostgreSQL has no skip scan before 18).
# Finds a platform's number of one payment, and of a series (GPA.…, the original transaction).
BY_PLATFORMS_ID = """
    WITH RECURSIVE apps AS (
        (SELECT provider, environment, app_id FROM store_platformpurchase
         ORDER BY provider, environment, app_id LIMIT 1)
        UNION ALL
        SELECT next.provider, next.environment, next.app_id FROM apps, LATERAL (
            SELECT p.provider, p.environment, p.app_id FROM store_platformpurchase p
            WHERE (p.provider, p.environment, p.app_id)
                  > (apps.provider, apps.environment, apps.app_id)
            ORDER BY p.provider, p.environment, p.app_id LIMIT 1
        ) next
    )
    SELECT found.id FROM apps, LATERAL (
        (SELECT p.id FROM store_platformpurchase p
         WHERE p.provider = apps.provider AND p.environment = apps.environment
           AND p.app_id = apps.app_id AND p.transaction_id = %(term)s LIMIT %(limit)s)
        UNION
        (SELECT p.id FROM store_platformpurchase p
         WHERE p.provider = apps.provider AND p.app_id = apps.app_id
           AND p.original_id = %(term)s ORDER BY p.id DESC LIMIT %(limit)s)
    ) found
    ORDER BY found.id DESC LIMIT %(limit)s
"""
BY_UUID: tuple[tuple[type[Model], str, str], ...] = (
    (PlatformPurchase, "Purchase with real money", "store_platformpurchase"),
    (Order, "Order (receipt)", "store_order"),
    (Transaction, "Ledger transaction", "store_transaction"),
    (Player, "Player", "accounts_player"),
    (Subscription, "Subscription", "store_subscription"),
    (OwnerConflict, "Owner conflict", "store_ownerconflict"),
    (PlatformNotice, "Platform notification", "store_platformnotice"),
)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: what it is, its page (`admin:{page}_change`), its row."""

    what: str
    page: str
    row: Any


def find(term: str) -> list[Hit]:
    """All that `term` names: an id of ours, a platform's transaction or notification, a ledger
    key, an account token, or a player (id, name, name#1234, e-mail); at most `AT_MOST` of each.

    A purchase with real money comes before the ledger transaction that has its id.
    """
    wanted = term.strip().replace("\0", "")
    if not wanted or len(wanted) > LONGEST:
        return []
    try:
        found = list(_by_uuid(UUID(wanted)))
    except ValueError:
        found = []
    return found or [*_by_platform(wanted), *_by_key(wanted), *_players(wanted)]


def _by_uuid(key: UUID) -> Iterator[Hit]:
    for model, what, page in BY_UUID:
        row = model._default_manager.filter(pk=key).first()
        if row is not None:
            yield Hit(what, page, row)
            return
    token = AccountToken.objects.filter(token=key).select_related("player").first()
    if token is not None:
        yield Hit("Player, by account token", "accounts_player", token.player)


def platforms_ids(term: str) -> list[UUID]:
    """Ids of the purchases that a platform knows by this number or token."""
    with connection.cursor() as cursor:
        cursor.execute(BY_PLATFORMS_ID, {"term": id_of(term), "limit": AT_MOST})
        return [row[0] for row in cursor.fetchall()]


def series_of(term: str) -> Q | None:
    """Which subscriptions a platform knows by this number or token, by their unique key; None
    where it is no number of a platform."""
    bought = PlatformPurchase.objects.filter(pk__in=platforms_ids(term) if term else [])
    keys = set(
        bought.exclude(original_id="").values_list(
            "provider", "environment", "app_id", "original_id"
        )
    )
    names = ("provider", "environment", "app_id", "original_id")
    return reduce(or_, (Q(**dict(zip(names, key, strict=True))) for key in keys)) if keys else None


def _by_platform(term: str) -> Iterator[Hit]:
    rows = PlatformPurchase.objects.filter(pk__in=platforms_ids(term)).select_related("player")
    for row in rows.order_by("-pk"):
        yield Hit("Purchase with real money", "store_platformpurchase", row)
    for notice in PlatformNotice.objects.filter(
        provider__in=list(registry.PROVIDERS), notice_id=term
    ):
        yield Hit("Platform notification", "store_platformnotice", notice)


def _by_key(term: str) -> Iterator[Hit]:
    games = list(Game.objects.values_list("pk", flat=True))
    for row in Transaction.objects.filter(game_id__in=games, key=term)[:AT_MOST]:
        yield Hit("Ledger transaction", "store_transaction", row)


def _players(term: str) -> Iterator[Hit]:
    for player in Player.objects.filter(pk__in=find_players(term, limit=AT_MOST)).order_by("pk"):
        yield Hit("Player", "accounts_player", player)
