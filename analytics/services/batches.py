"""Events that games send: stored once each, whatever is sent again, before the answer."""

from collections.abc import Sequence
from datetime import date, timedelta
from functools import lru_cache
from uuid import UUID

import msgspec
from django.db import connection

from analytics.metrics import EVENTS
from config.api.problems import NotFound

# Where ids go that are no UUIDv7 of a believable time (such as random ones).
OTHER_IDS = date(9000, 1, 1)
FIRST_BELIEVABLE = date(2025, 1, 1)
BELIEVABLE_DAYS = (date(2100, 1, 1) - date(1970, 1, 1)).days - 1
MS_A_DAY = 86_400_000


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A checked event. `at` is in UTC by the server's clock, as RFC 3339; `props` is raw JSON."""

    id: UUID
    bucket: date
    name: str
    at: str
    session: str = ""
    props: msgspec.Raw = msgspec.Raw(b"{}")


class Outcome(msgspec.Struct, frozen=True):
    """How many events were stored, and how many had been before."""

    accepted: int
    duplicates: int


def bucket_of(event_id: UUID) -> date:
    """The partition of an event id: the month inside a UUIDv7.

    It depends on the id alone, never on when it came or on what else was sent. So an id always
    meets itself in one partition, whose unique index then holds for the whole table.
    """
    number = event_id.int
    # Version 7, variant RFC 9562; the first 48 bits are milliseconds since 1970.
    if number >> 76 & 0xF == 7 and number >> 62 & 0b11 == 0b10:
        return _month(int(number >> 80) // MS_A_DAY)
    return OTHER_IDS


@lru_cache(maxsize=1024)
def _month(days: int) -> date:
    """The first day of the month of a day, counted from 1970; `OTHER_IDS` for far-off ones."""
    if days > BELIEVABLE_DAYS:
        return OTHER_IDS
    day = date(1970, 1, 1) + timedelta(days=days)
    return day.replace(day=1) if day >= FIRST_BELIEVABLE else OTHER_IDS


# One statement, so one round trip and one commit:
#   who     what the player agreed to, and where the session runs
#   fresh   the ids that nobody sent before. A concurrent statement with the same ids is waited for;
#           both insert in the order of ids, so they can't wait for each other.
#   days    the days (the game's) on which the player did something new, for the active players
# A player without consent leaves no id, session, exact time or text: see docs/adr/0051.
STORE_SQL = """
WITH who AS MATERIALIZED (
    SELECT g.timezone, p.id AS player_id,
           coalesce(p.analytics_consent, false) AS consent,
           p.id IS NOT NULL AND NOT p.analytics_consent AS anonymous,
           coalesce(p.is_tester, false) AS is_tester,
           coalesce(p.country, '') AS country,
           coalesce(s.platform, '') AS platform,
           coalesce(s.app_version, '') AS app_version
    FROM accounts_game g
    LEFT JOIN accounts_player p ON p.id = %(player)s::uuid AND p.game_id = g.id
    LEFT JOIN accounts_session s ON s.id = %(session)s::uuid AND s.player_id = p.id
    WHERE g.id = %(game)s::uuid
), batch AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(events)s::jsonb)
        AS event(id uuid, bucket date, name text, at timestamptz, session text, props jsonb)
), fresh AS (
    INSERT INTO analytics_eventid (game_id, id, bucket, received_on)
    SELECT %(game)s::uuid, id, bucket, (now() AT TIME ZONE 'UTC')::date
    FROM batch ORDER BY id
    ON CONFLICT DO NOTHING
    RETURNING id
), stored AS (
    INSERT INTO analytics_event (at, received_at, id, game_id, player_id, source, is_tester,
                                 name, session, platform, country, app_version, props)
    SELECT CASE WHEN anonymous THEN date_trunc('minute', at) ELSE at END,
           CASE WHEN anonymous THEN date_trunc('minute', clock_timestamp())
                ELSE clock_timestamp() END,
           CASE WHEN anonymous THEN gen_random_uuid() ELSE id END,
           %(game)s::uuid,
           CASE WHEN consent THEN player_id END,
           0, is_tester, name,
           CASE WHEN anonymous THEN '' ELSE session END,
           platform, country, app_version,
           CASE WHEN anonymous THEN (
               SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(props)
               WHERE jsonb_typeof(value) IN ('number', 'boolean')
                     AND key ~ '^[A-Za-z_][A-Za-z0-9_]{0,31}$' AND right(key, 2) <> 'id'
           ) ELSE props END
    FROM fresh JOIN batch USING (id) CROSS JOIN who
    RETURNING 1
), days AS (
    SELECT (at AT TIME ZONE timezone)::date AS day, min(at) AS at
    FROM fresh JOIN batch USING (id) CROSS JOIN who
    WHERE player_id IS NOT NULL AND NOT is_tester
    GROUP BY 1
)
SELECT (SELECT count(*) FROM stored),
       (SELECT count(analytics_mark_active(
                   %(game)s::uuid, day, player_id, consent, at, platform, country, app_version))
        FROM (SELECT * FROM days ORDER BY day) AS ordered CROSS JOIN who)
"""


def store(
    *, game_id: UUID, player_id: UUID | None, session_id: UUID | None, events: Sequence[NewEvent]
) -> Outcome:
    """Store events of one player (None: of the game's own server), each id once for ever.

    Durable when it returns. Sent again, in whatever grouping and however much at once, an event
    is a duplicate. Event ids within `events` must differ.
    """
    if not events:
        return Outcome(0, 0)
    with connection.cursor() as cursor:
        cursor.execute(
            STORE_SQL,
            {
                "game": game_id,
                "player": player_id,
                "session": session_id,
                "events": msgspec.json.encode(events).decode(),
            },
        )
        accepted, _ = cursor.fetchone()
    duplicates = len(events) - accepted
    EVENTS.labels("accepted").inc(accepted)
    EVENTS.labels("duplicate").inc(duplicates)
    return Outcome(accepted, duplicates)


def check_player(*, game_id: UUID, player_id: UUID) -> None:
    """That a game server's event is of a player of its game. Raises `NotFound`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM accounts_player WHERE id = %s AND game_id = %s", [player_id, game_id]
        )
        if cursor.fetchone() is None:
            raise NotFound("There is no such player")
