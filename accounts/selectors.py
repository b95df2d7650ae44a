"""Every read of accounts, shaped for its caller."""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection

from accounts import names
from accounts.models import Game, Identity, Player
from config.api.problems import NotFound
from config.api.wire import Output


class PublicPlayer(Output):
    """What other players see of a player. `tag` is four digits."""

    id: UUID
    display_name: str
    tag: str
    avatar: str


def player_get(*, game_id: UUID, player_id: UUID) -> Player:
    """A player of this game. Raises `NotFound`."""
    player = Player.objects.filter(game_id=game_id, id=player_id).first()
    if player is None:
        raise NotFound("There is no such player")
    return player


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
