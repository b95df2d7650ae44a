"""Making players, and changing their profiles."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from psycopg import errors as postgres

from accounts import names
from accounts.errors import NameExhausted
from accounts.metrics import PLAYERS_CREATED
from accounts.models import Player
from accounts.selectors import PlayerProfile, player_get
from accounts.services.opening import NEW_SESSION, SESSION_COLUMNS, Client, NewSession
from config import hooks
from config.api.preconditions import Precondition
from config.api.problems import NotFound, VersionConflict
from config.db.ids import uuid7
from config.db.together import Together

T = TypeVar("T")
NAME_ONCE = "accounts_player_name_once"
ATTEMPTS = 10


class Created(NamedTuple):
    player: PlayerProfile
    session_id: UUID


class _Newcomer(NewSession, frozen=True, kw_only=True):
    """A player to be made, with the session that is opened for them."""

    player: UUID
    identity: UUID
    name: str
    name_key: str
    tag: int
    locale: str
    country: str
    timezone: str
    is_guest: bool


# One statement makes identity, player and session of all who come at the same moment, in the order
# of their identities, so that two such statements wait in one order. The identity comes first:
# where it is taken, nothing else is written. Its foreign key is checked at the commit.
CREATE = f"""
WITH asked AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(newcomers)s::json) AS a (
        {NEW_SESSION}, player uuid, identity uuid, name text, name_key text, tag smallint,
        locale text, country text, timezone text, is_guest boolean)
), claimed AS (
    INSERT INTO accounts_identity (id, game_id, player_id, method, subject, secret, created_at)
    SELECT identity, game, player, method, subject, secret, now FROM asked
    ON CONFLICT (game_id, method, subject) DO NOTHING
    RETURNING player_id AS player
), newcomer AS MATERIALIZED (
    SELECT asked.* FROM asked JOIN claimed USING (player)
), made AS (
    INSERT INTO accounts_player (id, game_id, display_name, name_key, tag, avatar, locale, country,
        timezone, marketing_consent, analytics_consent, is_tester, is_guest, version, created_at,
        last_seen_at)
    SELECT player, game, name, name_key, tag, '', locale, country, timezone, false, false, false,
           is_guest, 1, now, now
    FROM newcomer
), opened AS (
    INSERT INTO accounts_session ({SESSION_COLUMNS})
    SELECT session, game, player, method, 1, now, expires, '', device, place, platform,
           app_version, now, now
    FROM newcomer
)
SELECT player,
       analytics_record_for(game, player, false, false, platform, country, app_version,
           'player_created',
           jsonb_build_object('method', method, 'platform', platform,
                              'app_version', app_version, 'country', country),
           NULL, now),
       analytics_record_for(game, player, false, false, platform, country, app_version,
           'session_start',
           jsonb_build_object('method', method, 'platform', platform, 'app_version', app_version),
           session, now)
FROM newcomer
"""  # noqa: S608 (constants of this package)


def _make_all(newcomers: Sequence[_Newcomer]) -> list[bool]:
    """Which of them were made; the others' identities belong to somebody."""
    ordered = sorted(newcomers, key=_identity)
    with connection.cursor() as cursor:
        cursor.execute(CREATE, {"newcomers": msgspec.json.encode(ordered).decode()})
        made = {row[0] for row in cursor.fetchall()}
    return [newcomer.player in made for newcomer in newcomers]


def _identity(newcomer: _Newcomer) -> tuple[int, str, str]:
    return newcomer.game.int, newcomer.method, newcomer.subject


_together = Together(_make_all, once=_identity)


def create_guest(
    *, parameters: Mapping[str, Any], device_id: str, secret: str, client: Client
) -> Created | None:
    """A new guest with a generated name, signed in; None where the device is known already.

    `parameters` are those of the session (accounts.services.opening);
    `secret` is the hash to store.
    """
    return _create(parameters, device_id, secret, None, client)


def create_registered(
    *,
    parameters: Mapping[str, Any],
    subject: str,
    secret: str,
    display_name: str | None,
    client: Client,
) -> Created | None:
    """A new player with an e-mail identity, signed in; None where the address is taken.

    Raises `NameExhausted`.
    """
    return _create(parameters, subject, secret, display_name, client)


def _create(
    parameters: Mapping[str, Any],
    subject: str,
    secret: str,
    display_name: str | None,
    client: Client,
) -> Created | None:
    method = str(parameters["method"])
    game_id: Any = parameters["game"]
    fixed = {
        **parameters,
        "identity": uuid7(),
        "player": uuid7(),
        "subject": subject,
        "secret": secret,
        "locale": client.locale,
        "country": client.country,
        "timezone": client.timezone,
        "is_guest": method == "device",
    }

    def write(name: str, tag: int) -> bool:
        made = _together.ask(_Newcomer(**fixed, name=name, name_key=names.name_key(name), tag=tag))
        if made and hooks.has_after("player_created"):
            hooks.run_after("player_created", game_id=str(game_id), player_id=str(fixed["player"]))
        return made

    listened = hooks.has_after("player_created")
    name, tag, made = _with_free_tag(game_id, display_name, write, atomic=listened)
    if not made:
        return None
    PLAYERS_CREATED.labels(method).inc()
    now: Any = parameters["now"]
    player_id: Any = fixed["player"]
    session_id: Any = parameters["session"]
    profile = PlayerProfile(
        id=player_id,
        display_name=name,
        tag=f"{tag:04d}",
        avatar="",
        locale=client.locale,
        country=client.country,
        timezone=client.timezone,
        is_guest=method == "device",
        is_tester=False,
        created_at=now,
    )
    return Created(profile, session_id)


def _with_free_tag(
    game_id: UUID, name: str | None, write: Callable[[str, int], T], *, atomic: bool
) -> tuple[str, int, T]:
    """`write(name, tag)` with a tag that is free, and what was used.

    A random tag is nearly always free. Where it is not, a given name gets one that is looked up;
    without a name, another one is made up. Raises `NameExhausted`.
    """
    chosen, tag = name or names.guest_name(), names.random_tag()
    for _ in range(ATTEMPTS):
        try:
            with _savepoint(always=atomic):
                return chosen, tag, write(chosen, tag)
        except IntegrityError as error:
            if not _is_taken_name(error):
                raise
        if name is None:
            chosen, tag = names.guest_name(), names.random_tag()
        else:
            tag = _free_tag(game_id, names.name_key(name))
    raise NameExhausted


def _savepoint(*, always: bool) -> AbstractContextManager[Any]:
    """A failed statement spoils a transaction, so inside one it needs a savepoint; a statement
    that commits alone does not."""
    return transaction.atomic() if always or connection.in_atomic_block else nullcontext()


def _is_taken_name(error: IntegrityError) -> bool:
    cause = error.__cause__
    return isinstance(cause, postgres.UniqueViolation) and cause.diag.constraint_name == NAME_ONCE


def _free_tag(game_id: UUID, key: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT tag FROM generate_series(0, 9999) AS tag
               WHERE tag NOT IN (SELECT p.tag FROM accounts_player p
                                 WHERE p.game_id = %s AND p.name_key = %s)
               ORDER BY random() LIMIT 1""",
            [game_id, key],
        )
        row = cursor.fetchone()
    if row is None:
        raise NameExhausted
    return int(row[0])


def checked_name(game_id: UUID, player_id: UUID | None, display_name: str) -> str:
    """The name as it will be stored. Raises `ValidationFailed`, or what the game's word filter
    refuses with (`@before("validate_display_name")`)."""
    name = names.clean_display_name(display_name)
    hooks.run_before(
        "validate_display_name", game_id=game_id, player_id=player_id, display_name=name
    )
    return name


def update_profile(
    *, game_id: UUID, player_id: UUID, changes: Mapping[str, Any], expected: Precondition
) -> Player:
    """The player with `changes` (fields of the profile), and its version raised.

    A new name keeps its tag where that is free. Raises `VersionConflict`, `NotFound`,
    `ValidationFailed`, `NameExhausted`.
    """
    values = dict(changes)
    if "display_name" in values:
        values["display_name"] = checked_name(game_id, player_id, values["display_name"])
        values["name_key"] = names.name_key(values["display_name"])
    with transaction.atomic():
        player = (
            Player.objects.select_for_update(no_key=True)
            .filter(game_id=game_id, id=player_id)
            .first()
        )
        if player is None:
            raise NotFound("There is no such player")
        if not expected.any_version and expected.match != str(player.version):
            raise VersionConflict(
                "The profile has changed; read it again", current={"version": player.version}
            )
        for name, value in values.items():
            setattr(player, name, value)
        player.version += 1
        _save_with_free_tag(player, [*values, "version"])
    return player


def _save_with_free_tag(player: Player, fields: list[str]) -> None:
    """Save, with another tag where the new name's is taken."""
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                player.save(update_fields=[*fields, "tag"])
                return
        except IntegrityError as error:
            if not _is_taken_name(error):
                raise
        player.tag = _free_tag(player.game_id, player.name_key)
    raise NameExhausted


def set_tester(*, game_id: UUID, player_id: UUID, is_tester: bool) -> None:
    """Mark a player as a tester, or not. Access tokens say so from their next refresh on.

    Raises `NotFound`, `PlayerMerged`.
    """
    with transaction.atomic():
        changed = (
            Player.objects.filter(game_id=game_id, id=player_id, merged_into__isnull=True)
            .exclude(is_tester=is_tester)
            .update(is_tester=is_tester, version=F("version") + 1)
        )
        if changed:
            hooks.run_after(
                "tester_changed",
                game_id=str(game_id),
                player_id=str(player_id),
                is_tester=is_tester,
            )
    if not changed:
        player_get(game_id=game_id, player_id=player_id)
