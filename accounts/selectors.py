"""Every read of accounts, shaped for its caller."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.utils.timezone import now

from accounts import names
from accounts.errors import PlayerMerged
from accounts.models import Game, Identity, Merge, Player, Sanction, Session
from config.api.problems import NotFound
from config.api.wire import Output, utc
from config.db.together import Together


class PublicPlayer(Output):
    """What other players see of a player. `tag` is four digits."""

    id: UUID
    display_name: str
    tag: str
    avatar: str

    @classmethod
    def of_player(cls, player: Player) -> "PublicPlayer":
        return cls(
            id=player.pk,
            display_name=player.display_name,
            tag=f"{player.tag:04d}",
            avatar=player.avatar,
        )


class PlayerProfile(Output):
    """What players see of themselves."""

    id: UUID
    display_name: str
    tag: str
    avatar: str
    locale: str
    country: str
    timezone: str
    is_guest: bool
    is_tester: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Sequence[Any]) -> "PlayerProfile":
        """From a row with these columns in this order; of statements with `PROFILE_SQL`."""
        return cls(
            id=row[0],
            display_name=row[1],
            tag=f"{row[2]:04d}",
            avatar=row[3],
            locale=row[4],
            country=row[5],
            timezone=row[6],
            is_guest=row[7],
            is_tester=row[8],
            created_at=row[9].replace(tzinfo=UTC),
        )

    @classmethod
    def of_player(cls, player: Player) -> "PlayerProfile":
        return cls.of([getattr(player, name) for name in PROFILE_COLUMNS.split(", ")])


PROFILE_COLUMNS = (
    "id, display_name, tag, avatar, locale, country, timezone, is_guest, is_tester, created_at"
)
# Without its zone the time is read by the driver; with it, by Django in Python.
PROFILE_SQL = f"{PROFILE_COLUMNS} AT TIME ZONE 'UTC'"


def player_get(*, game_id: UUID, player_id: UUID) -> Player:
    """A player of this game. Raises `NotFound`, `PlayerMerged`."""
    player = Player.objects.filter(game_id=game_id, id=player_id).first()
    if player is None:
        raise NotFound("There is no such player")
    if player.merged_into_id is not None:
        raise PlayerMerged(merged_into=str(player.merged_into_id))
    return player


def public_player(*, game_id: UUID, player_id: UUID) -> PublicPlayer:
    """A player of this game as others see it. Raises `NotFound`, also for who was merged: whom
    into is nobody else's affair."""
    player = Player.objects.filter(game_id=game_id, id=player_id, merged_into__isnull=True).first()
    if player is None:
        raise NotFound("There is no such player")
    return PublicPlayer.of_player(player)


def public_players(game_id: UUID, ids: Iterable[UUID]) -> dict[UUID, PublicPlayer]:
    """Those of `ids` that are players of this game, as others see them."""
    wanted = list(ids)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id, display_name, lpad(tag::text, 4, '0'), avatar
               FROM accounts_player WHERE id = ANY(%s::uuid[]) AND game_id = %s""",
            [wanted, game_id],
        )
        return {
            row[0]: PublicPlayer(id=row[0], display_name=row[1], tag=row[2], avatar=row[3])
            for row in cursor.fetchall()
        }


def session_is_live(*, session_id: UUID) -> bool:
    """Whether a session was not revoked; asked by the gate when Redis can't say."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM accounts_session WHERE id = %s AND revoked_at IS NULL", [session_id]
        )
        return cursor.fetchone() is not None


def find_players(term: str, *, limit: int = 200) -> list[UUID]:
    """Ids of players of any game, for staff: by id, e-mail address, name#tag, or a name's start.

    Every look-up is served by an index, also at 100 million players.
    """
    try:
        return list(Player.objects.filter(pk=UUID(term)).values_list("pk", flat=True))
    except ValueError:
        pass
    games = list(Game.objects.values_list("pk", flat=True))
    if "@" in term:
        return list(
            Identity.objects.filter(
                game_id__in=games, method=Identity.Method.EMAIL, subject=names.email_key(term)
            ).values_list("player_id", flat=True)[:limit]
        )
    name, tag = names.split_tag(term)
    key = names.name_key(name)
    if not key:
        return []
    found = Player.objects.filter(
        game_id__in=games, name_key__gte=key, name_key__lt=key + names.AFTER_ALL
    )
    if tag is not None:
        found = found.filter(name_key=key, tag=tag)
    return list(found.values_list("pk", flat=True)[:limit])


BLOCKING = (Sanction.Kind.BAN, Sanction.Kind.SUSPENSION)


def sanctions_in_force(player_id: UUID, at: datetime) -> "QuerySet[Sanction]":
    """A player's sanctions that were not lifted and have not ended, the longest first."""
    return (
        Sanction.objects.filter(player_id=player_id, lifted_at__isnull=True)
        .filter(Q(ends_at__isnull=True) | Q(ends_at__gt=at))
        .order_by(F("ends_at").desc(nulls_first=True), "-created_at")
    )


def banned_detail(*, player_id: UUID) -> tuple[str, dict[str, Any]]:
    """What a banned player is told: a sentence, and the members `reason` and `ends_at`."""
    sanction = sanctions_in_force(player_id, now()).filter(kind__in=BLOCKING).first()
    if sanction is None:
        return "This player may not sign in", {"reason": "", "ends_at": None}
    ends_at = utc(sanction.ends_at) if sanction.ends_at else None
    until = f"until {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "for good"
    return f"This player is banned {until}", {"reason": sanction.reason, "ends_at": ends_at}


OWN_PLAYERS = f"""SELECT {PROFILE_SQL}, marketing_consent, analytics_consent, version, game_id
    FROM accounts_player WHERE id = ANY(%s::uuid[])"""  # noqa: S608 (a constant)


def _own_players(asked: Sequence[tuple[UUID, UUID]]) -> list[Sequence[Any] | None]:
    """The rows of players, (game, player) each; None where there is none."""
    with connection.cursor() as cursor:
        # An array as PostgreSQL writes it: the driver would look at every id for its type.
        cursor.execute(OWN_PLAYERS, [f"{{{','.join(str(player_id) for _, player_id in asked)}}}"])
        found = {(row[-1], row[0]): row[:-1] for row in cursor.fetchall()}
    return [found.get(who) for who in asked]


_own = Together(_own_players)


def own_player(*, game_id: UUID, player_id: UUID) -> Sequence[Any]:
    """The columns of `PROFILE_COLUMNS`, both consents, and the version. Raises `NotFound`."""
    row = _own.ask((game_id, player_id))
    if row is None:
        raise NotFound("There is no such player")
    return row


def players_named(*, game_id: UUID, display_name: str) -> "QuerySet[Player]":
    """Players of a game whose name begins like this, or the one with this name#tag."""
    name, tag = names.split_tag(display_name)
    key = names.name_key(name)
    found = Player.objects.filter(game_id=game_id, merged_into__isnull=True)
    if not key:
        return found.none()
    if tag is not None:
        return found.filter(name_key=key, tag=tag)
    return found.filter(name_key__gte=key, name_key__lt=key + names.AFTER_ALL)


def live_sessions(player_id: UUID) -> "QuerySet[Session]":
    """A player's sessions that were not ended and have not expired."""
    return Session.objects.filter(
        player_id=player_id, revoked_at__isnull=True, expires_at__gt=now()
    )


def identities_of(player_id: UUID) -> "QuerySet[Identity]":
    """A player's ways to sign in, oldest first; they are few (identities.MAX_IDENTITIES)."""
    return Identity.objects.filter(player_id=player_id).order_by("id")


def sanctions_of(player_id: UUID, *, limit: int = 50) -> list[Sanction]:
    """A player's latest sanctions."""
    return list(Sanction.objects.filter(player_id=player_id).order_by("-id")[:limit])


def merges_of(player_id: UUID, *, limit: int = 50) -> list[Merge]:
    """The latest merges into a player, and of the player into another."""
    rows = Merge.objects.select_related("survivor", "absorbed").order_by("-id")
    found = [
        *rows.filter(survivor_id=player_id)[:limit],
        *rows.filter(absorbed_id=player_id)[:limit],
    ]
    return sorted(found, key=lambda row: row.pk, reverse=True)[:limit]
