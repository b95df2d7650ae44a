"""Own profiles, other players, search, and players as servers see them."""

from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from accounts import names
from accounts.models import Game, Player
from accounts.selectors import find_players, player_get, public_players
from accounts.services import players
from config.api.preconditions import Precondition
from config.api.problems import NotFound
from config.db.ids import uuid7
from tests.factories.accounts import IdentityFactory, PlayerFactory
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of

pytestmark = pytest.mark.django_db
ME = "/v1/players/me"


def change(client: ApiClient, body: dict[str, Any], if_match: str = "*") -> Any:
    return client.patch(ME, body, if_match=if_match)


def test_me__shows_the_profile(player_client: PlayerClient) -> None:
    answer = player_client.get(ME)
    assert answer.status_code == 200
    assert answer["ETag"] == '"1"'
    assert answer["Cache-Control"] == "no-store"
    profile = answer.json()
    consents = {"marketing_consent": False, "analytics_consent": False}
    assert profile == player_client.session["player"] | consents


def test_me__takes_one_statement(player_client: PlayerClient) -> None:
    player_client.get(ME)
    with CaptureQueriesContext(connection) as queries:
        player_client.get(ME)
    assert len(queries) == 1


def test_me__not_modified(player_client: PlayerClient) -> None:
    answer = player_client.get(ME, if_none_match='"1"')
    assert answer.status_code == 304
    assert answer.content == b""
    assert player_client.get(ME, if_none_match='"0"').status_code == 200


def test_me__of_a_player_that_is_gone__is_not_found(player_client: PlayerClient) -> None:
    Player.objects.all().delete()
    assert_problem(player_client.get(ME), 404, "not_found")
    assert_problem(change(player_client, {"avatar": "koi"}), 404, "not_found")


def test_change__sets_what_was_sent(player_client: PlayerClient) -> None:
    body = {
        "display_name": "Quiet Otter",
        "avatar": "koi_3",
        "locale": "fr-CA",
        "country": "CA",
        "timezone": "America/Toronto",
        "marketing_consent": True,
        "analytics_consent": True,
    }
    answer = change(player_client, body, '"1"')
    assert answer.status_code == 200, answer.content
    assert answer["ETag"] == '"2"'
    assert body.items() <= answer.json().items()
    assert player_client.get(ME).json() == answer.json()


def test_change__of_one_field__leaves_the_others(player_client: PlayerClient) -> None:
    before = player_client.get(ME).json()
    assert change(player_client, {"country": "NZ"}).json() == before | {"country": "NZ"}


def test_change__without_if_match__needs_one(player_client: PlayerClient) -> None:
    assert_problem(player_client.patch(ME, {"country": "NZ"}), 428, "precondition_required")


def test_change__stale__says_what_is_current(player_client: PlayerClient) -> None:
    change(player_client, {"country": "NZ"}, '"1"')
    problem = assert_problem(
        change(player_client, {"country": "FI"}, '"1"'), 412, "version_conflict"
    )
    assert problem["current"] == {"version": 2}
    assert player_client.get(ME).json()["country"] == "NZ"


def test_change__only_if_it_does_not_exist__conflicts(player_client: PlayerClient) -> None:
    answer = player_client.patch(ME, {"country": "NZ"}, if_none_match="*")
    assert_problem(answer, 412, "version_conflict")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"display_name": ""}, "/display_name"),
        ({"display_name": "   "}, "/display_name"),
        ({"display_name": "x" * 31}, "/display_name"),
        ({"display_name": None}, "/display_name"),
        ({"country": "XYZ"}, "/country"),
        ({"timezone": "Nowhere"}, "/timezone"),
        ({"timezone": "../etc/passwd"}, "/timezone"),
        ({"avatar": "x" * 101}, "/avatar"),
        ({"marketing_consent": 1}, "/marketing_consent"),
    ],
)
def test_change__malformed__is_refused(
    player_client: PlayerClient, body: dict[str, Any], pointer: str
) -> None:
    problem = assert_problem(change(player_client, body), 400, "validation_failed")
    assert problem["errors"][0]["pointer"] == pointer


def test_change__of_what_players_may_not_set__is_refused(player_client: PlayerClient) -> None:
    assert_problem(change(player_client, {"is_tester": True}), 400, "unknown_field")


def test_rename__keeps_the_tag_where_it_is_free(game: Game, player_client: PlayerClient) -> None:
    tag = player_client.session["player"]["tag"]
    assert change(player_client, {"display_name": "Otter"}).json()["tag"] == tag
    PlayerFactory.create(game=game, display_name="Heron", tag=int(tag))
    renamed = change(player_client, {"display_name": "heron"}).json()
    assert renamed["display_name"] == "heron"
    assert renamed["tag"] != tag


def test_rename__all_tags_taken__is_a_problem(
    game: Game, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    Player.objects.bulk_create(
        [
            Player(game=game, display_name="Heron", name_key="heron", tag=tag)
            for tag in range(names.TAGS)
        ]
    )
    answer = change(player_client, {"display_name": "Heron"})
    assert_problem(answer, 409, "display_name_exhausted")


def test_rename__taken_again_and_again__gives_up(
    game: Game, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = int(player_client.session["player"]["tag"])
    PlayerFactory.create(game=game, display_name="Heron", tag=tag)
    monkeypatch.setattr("accounts.services.players._free_tag", lambda *_: tag)
    answer = change(player_client, {"display_name": "Heron"})
    assert_problem(answer, 409, "display_name_exhausted")


def test_public__shows_little(
    player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    answer = player_client.get(f"/v1/players/{other_player_client.player_id}")
    assert answer.status_code == 200
    player = other_player_client.session["player"]
    assert answer.json() == {name: player[name] for name in ("id", "display_name", "tag", "avatar")}


def test_public__of_another_game__is_not_found(
    player_client: PlayerClient, foreign_player_client: PlayerClient, server_client: ApiClient
) -> None:
    path = f"/v1/players/{foreign_player_client.player_id}"
    assert_problem(player_client.get(path), 404, "not_found")
    assert_problem(server_client.get(path), 404, "not_found")
    assert_problem(server_client.patch(path, {"is_tester": True}), 404, "not_found")
    assert_problem(player_client.get(f"/v1/players/{uuid7()}"), 404, "not_found")


def test_search__finds_names_that_begin_so(game: Game, player_client: PlayerClient) -> None:
    for name in ("Otter", "otterly calm", "ＯＴＴＥＲ", "Heron", "Ot"):
        PlayerFactory.create(game=game, display_name=name)
    found = player_client.get("/v1/players?display_name=OTTER").json()["results"]
    assert {row["display_name"] for row in found} == {"Otter", "otterly calm", "ＯＴＴＥＲ"}
    assert set(found[0]) == {"id", "display_name", "tag", "avatar"}


def test_search__by_tag__finds_one(game: Game, player_client: PlayerClient) -> None:
    wanted = PlayerFactory.create(game=game, display_name="Otter", tag=42)
    PlayerFactory.create(game=game, display_name="Otter", tag=43)
    found = player_client.get("/v1/players?display_name=otter%230042").json()["results"]
    assert [row["id"] for row in found] == [str(wanted.pk)]
    assert found[0]["tag"] == "0042"


def test_search__is_paged(game: Game, player_client: PlayerClient) -> None:
    PlayerFactory.create_batch(5, game=game, display_name="Otter")
    seen: list[str] = []
    path = "/v1/players?display_name=otter&limit=2"
    cursor = ""
    while True:
        page = player_client.get(path + cursor).json()
        seen += [row["id"] for row in page["results"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == 5


def test_search__of_another_game__finds_nothing(
    other_game: Game, player_client: PlayerClient
) -> None:
    PlayerFactory.create(game=other_game, display_name="Otter")
    assert player_client.get("/v1/players?display_name=otter").json()["results"] == []


@pytest.mark.parametrize("query", ["", "?display_name=", "?display_name=" + "x" * 101, "?name=x"])
def test_search__malformed__is_refused(player_client: PlayerClient, query: str) -> None:
    assert player_client.get(f"/v1/players{query}").status_code == 400


@pytest.mark.parametrize("wild", ["%25", "_", "\\", "%20"])
def test_search__has_no_wildcards(game: Game, player_client: PlayerClient, wild: str) -> None:
    PlayerFactory.create(game=game, display_name="Otter")
    assert player_client.get(f"/v1/players?display_name={wild}").json()["results"] == []


def test_server__sees_everything(game: Game, server_client: ApiClient) -> None:
    identity = IdentityFactory.create(player__game=game, method="email", subject="r@example.com")
    answer = server_client.get(f"/v1/players/{identity.player_id}")
    assert answer.status_code == 200, answer.content
    player = answer.json()
    assert [i["subject"] for i in player["identities"]] == ["r@example.com"]
    assert player["sanctions"] == []
    assert player["blocked_until"] is None
    assert "secret" not in str(player)


def test_server__without_the_scope__sees_nothing(game: Game) -> None:
    player = PlayerFactory.create(game=game)
    client = server_client_of(game, "scores:write")
    assert_problem(client.get(f"/v1/players/{player.pk}"), 403, "scope_missing")
    answer = client.patch(f"/v1/players/{player.pk}", {"is_tester": True})
    assert_problem(answer, 403, "scope_missing")


def test_server__marks_testers(
    game: Game, server_client: ApiClient, player_client: PlayerClient
) -> None:
    path = f"/v1/players/{player_client.player_id}"
    assert server_client.patch(path, {"is_tester": True}).json()["is_tester"] is True
    assert server_client.patch(path, {"is_tester": True}).status_code == 200
    answer = player_client.get(ME)
    assert answer.json()["is_tester"] is True
    assert answer["ETag"] == '"2"'


# --- selectors -------------------------------------------------------------------------------


def test_player_get__keeps_games_apart(other_game: Game) -> None:
    player = PlayerFactory.create()
    assert player_get(game_id=player.game_id, player_id=player.pk) == player
    with pytest.raises(NotFound):
        player_get(game_id=other_game.pk, player_id=player.pk)


def test_public_players__are_of_this_game_only(other_game: Game) -> None:
    player = PlayerFactory.create(display_name="Otter", tag=3, avatar="koi")
    foreign = PlayerFactory.create(game=other_game)
    found = public_players(player.game_id, [player.pk, foreign.pk, uuid7()])
    assert list(found) == [player.pk]
    assert (found[player.pk].display_name, found[player.pk].tag) == ("Otter", "0003")
    assert public_players(player.game_id, []) == {}


def test_find_players__by_id_name_tag_and_address() -> None:
    player = PlayerFactory.create(display_name="Quiet Otter", tag=7)
    PlayerFactory.create(display_name="Heron", tag=7)
    IdentityFactory.create(player=player, method="email", subject="r@example.com")
    for term in (str(player.pk), "quiet o", "Quiet Otter#0007", "R@Example.com"):
        assert find_players(term) == [player.pk], term
    for term in ("otter", "Quiet Otter#0008", "x@example.com", str(uuid7()), "\u200b", " "):
        assert find_players(term) == [], term


def test_set_tester__unknown_player() -> None:
    player = PlayerFactory.create()
    with pytest.raises(NotFound):
        players.set_tester(game_id=uuid7(), player_id=player.pk, is_tester=True)


def test_update_profile__another_constraint_that_fails__is_not_hidden(game: Game) -> None:
    player = PlayerFactory.create(game=game)
    with pytest.raises(IntegrityError, match="accounts_player_tag"):
        players.update_profile(
            game_id=game.pk,
            player_id=player.pk,
            changes={"tag": names.TAGS},
            expected=Precondition(any_version=True),
        )


def test_update_profile__any_version(game: Game) -> None:
    player = PlayerFactory.create(game=game)
    changed = players.update_profile(
        game_id=game.pk,
        player_id=player.pk,
        changes={"avatar": "koi"},
        expected=Precondition(any_version=True),
    )
    assert (changed.avatar, changed.version) == ("koi", 2)
