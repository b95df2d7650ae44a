"""Who is shopping: what offers ask of a player, read when one asks and not before.

Stats belong to `progress`, which brings a reader. Segments are callables by name: three are here,
others are registered in an app's `ready()`:

    shoppers.register_segment("whales", lambda shopper: …)
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection

_VERSION = re.compile(r"\s*v?(\d{1,9}(?:\.\d{1,9}){0,3})")
StatsReader = Callable[[UUID, UUID, Collection[str]], Mapping[str, int]]

# The player beside all that they have bought: one row each, one with nulls where there is nothing.
READ_SQL = """
    SELECT p.locale, p.country, p.created_at, u.offer_id, u.quantity, u.period_quantity, u.last_at
    FROM accounts_player p LEFT JOIN store_offeruse u ON u.player_id = p.id
    WHERE p.id = %s::uuid
"""
PLATFORM_SQL = """
    SELECT DISTINCT offer_id FROM store_platformpurchase
    WHERE player_id = %s::uuid AND state IN ('granted', 'partially_revoked')
"""


class Use(NamedTuple):
    """What a player has bought of an offer."""

    quantity: int
    period_quantity: int
    last_at: datetime | None


class Profile(NamedTuple):
    locale: str
    country: str
    created_at: datetime


@dataclass
class Shopper:
    """A player in a shop. `app_version` is what the client says that it is, `now` the time of all
    answers."""

    game_id: UUID
    player_id: UUID
    now: datetime
    is_tester: bool = False
    app_version: str = ""
    session_id: UUID | None = None
    _stats: dict[str, int | None] = field(default_factory=dict)
    _segments: dict[str, bool] = field(default_factory=dict)

    @cached_property
    def _read(self) -> tuple[Profile, dict[UUID, Use]]:
        with connection.cursor() as cursor:
            cursor.execute(READ_SQL, [self.player_id])
            rows = cursor.fetchall()
        profile = Profile(*rows[0][:3]) if rows else Profile("", "", self.now)
        return profile, {row[3]: Use(*row[4:]) for row in rows if row[3] is not None}

    @property
    def profile(self) -> Profile:
        return self._read[0]

    @property
    def uses(self) -> dict[UUID, Use]:
        """By offer, what was bought with virtual currency."""
        return self._read[1]

    @cached_property
    def from_platforms(self) -> frozenset[UUID]:
        """The offers bought through platforms' stores."""
        with connection.cursor() as cursor:
            cursor.execute(PLATFORM_SQL, [self.player_id])
            return frozenset(offer_id for (offer_id,) in cursor.fetchall())

    def stats(self, keys: Collection[str]) -> dict[str, int | None]:
        """The player's values; None where there is none. What was read is kept."""
        missing = [key for key in keys if key not in self._stats]
        if missing:
            found = (
                _registry.stats(self.game_id, self.player_id, missing) if _registry.stats else {}
            )
            self._stats |= {key: found.get(key) for key in missing}
        return {key: self._stats[key] for key in keys}

    def is_in(self, segment: str) -> bool:
        """Whether the player is in the segment; nobody is in one that is not known."""
        if segment not in self._segments:
            test = _registry.segments.get(segment)
            self._segments[segment] = bool(test and test(self))
        return self._segments[segment]

    @cached_property
    def version(self) -> tuple[int, ...]:
        """The app's version as numbers: the client's, or else the sign-in's. () where unknown."""
        text = self.app_version
        if not text and self.session_id is not None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT app_version FROM accounts_session WHERE id = %s::uuid",
                    [self.session_id],
                )
                text = (cursor.fetchone() or ("",))[0]
        return version_of(text)


def version_of(text: str) -> tuple[int, ...]:
    """`2.10.0-beta` → (2, 10): zeros at the end say nothing; () where there is no number."""
    found = _VERSION.match(text)
    numbers = [int(part) for part in found[1].split(".")] if found else []
    while numbers[1:] and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


Segment = Callable[[Shopper], bool]


@dataclass
class _Registry:
    stats: StatsReader | None = None
    segments: dict[str, Segment] = field(default_factory=dict)


_registry = _Registry()


def register_stats(reader: StatsReader) -> None:
    """Bring what reads a player's stats: (game, player, keys) → the values there are."""
    _registry.stats = reader


def register_segment(name: str, test: Segment) -> None:
    """Bring a segment. Registering its name again replaces it."""
    _registry.segments[name] = test


def segment_names() -> frozenset[str]:
    return frozenset(_registry.segments)


def _is_new(shopper: Shopper) -> bool:
    age = shopper.now - shopper.profile.created_at
    return age < timedelta(days=settings.STORE_NEW_PLAYER_DAYS)


register_segment("tester", lambda shopper: shopper.is_tester)
register_segment("new_player", _is_new)
register_segment("payer", lambda shopper: bool(shopper.from_platforms))
