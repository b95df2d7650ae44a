"""Server events: facts recorded with the statement or transaction that made them.

Most code calls `config.events.record`, which ends here. A hot path that does all its work in one
statement calls the SQL function in that statement instead:

    WITH written AS (INSERT INTO … RETURNING player_id, score)
    SELECT written.score,
           analytics_record(%(game)s::uuid, written.player_id, 'score',
                            jsonb_build_object('score', written.score), NULL::uuid, NULL)
    FROM written

    analytics_record(game uuid, player uuid or null, name text, props jsonb,
                     session uuid default null, at timestamptz default null) → void

The function (analytics/migrations/0002_functions.py) looks up what the player agreed to. Without
`analytics_consent` the row has no player, session or exact time, and props whose name is `id`,
`reference` or ends in `_id` are left out: what remains can't be tied to anyone
(docs/adr/0051-consent.md). Never put a name, an address or other words of a player into props.

Two names say that the player is there, and count for the active players of the day:
`session_start` (stored) and `session_refresh` (not stored: a game refreshes several times an
hour). Their props `platform`, `country` and `app_version`, where given, go before what the rows
of the session and the player say, which a single statement may not have written yet.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

RECORD_SQL = (
    "SELECT analytics_record(%s::uuid, %s::uuid, %s::text, %s::jsonb, %s::uuid, %s::timestamptz)"
)
SESSION_START = "session_start"
SESSION_REFRESH = "session_refresh"


def params(
    *,
    game_id: UUID,
    player_id: UUID | None,
    name: str,
    props: Mapping[str, object],
    session_id: UUID | None = None,
    at: datetime | None = None,
) -> list[Any]:
    """The parameters of `RECORD_SQL`."""
    return [game_id, player_id, name, msgspec.json.encode(props).decode(), session_id, at]


def record(
    *,
    game_id: UUID,
    player_id: UUID | None,
    name: str,
    props: Mapping[str, object],
    session_id: UUID | None,
    at: datetime | None,
) -> None:
    """Store one server event, in the current transaction. The sink of `config.events`."""
    with connection.cursor() as cursor:
        cursor.execute(
            RECORD_SQL,
            params(
                game_id=game_id,
                player_id=player_id,
                name=name,
                props=props,
                session_id=session_id,
                at=at,
            ),
        )
