"""Friends, friend requests, friend codes and blocks."""

from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import friend_selectors, panels
from accounts.friend_selectors import are_friends, friend_ids
from accounts.models import Block, FriendCode, FriendRequest, Friendship, Game, Player
from accounts.services import friend_codes
from config import hooks
from config.db.ids import uuid7
from tests.factories.accounts import PlayerFactory, befriend
from tests.factories.merging import merge
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem
from tests.plans import scans

pytestmark = pytest.mark.django_db
REQUESTS = "/v1/friends/requests"
FRIENDS = "/v1/friends"
BLOCKS = "/v1/blocks"
CODE = "/v1/friends/code"


@pytest.fixture
def ada(player_client: PlayerClient) -> PlayerClient:
    return player_client


@pytest.fixture
def ben(other_player_client: PlayerClient) -> PlayerClient:
    return other_player_client


def ask(client: ApiClient, other: PlayerClient) -> Any:
    return client.post(REQUESTS, {"player": str(other.player_id)})


def accept(client: ApiClient, other: PlayerClient) -> Any:
    return client.post(FRIENDS, {"player": str(other.player_id)})


def block(client: ApiClient, other: PlayerClient) -> Any:
    return client.post(BLOCKS, {"player": str(other.player_id)})


def make_friends(ada: PlayerClient, ben: PlayerClient) -> None:
    assert ask(ada, ben).status_code == 201
    assert accept(ben, ada).status_code == 201


def listed(client: ApiClient, path: str) -> list[str]:
    """The ids of the players of a list."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return [row["player"]["id"] for row in answer.json()["results"]]


def everything(client: ApiClient) -> list[list[str]]:
    """What a player can see of friends: friends, requests received and sent."""
    return [listed(client, path) for path in (FRIENDS, REQUESTS, f"{REQUESTS}?direction=sent")]


def row_of(client: PlayerClient) -> Player:
    return Player.objects.get(pk=client.player_id)


# Asking


def test_ask__is_seen_by_both(ada: PlayerClient, ben: PlayerClient) -> None:
    answer = ask(ada, ben)

    assert answer.status_code == 201
    asked = answer.json()
    assert (asked["status"], asked["direction"]) == ("requested", "sent")
    assert asked["player"]["id"] == str(ben.player_id)
    assert set(asked["player"]) == {"id", "display_name", "tag", "avatar"}
    assert everything(ada) == [[], [], [str(ben.player_id)]]
    assert everything(ben) == [[], [str(ada.player_id)], []]
    (received,) = ben.get(REQUESTS).json()["results"]
    assert received["direction"] == "received"
    assert received["created_at"] == asked["created_at"]


def test_ask__again__changes_nothing(ada: PlayerClient, ben: PlayerClient) -> None:
    first = ask(ada, ben)
    again = ask(ada, ben)

    assert again.status_code == 200
    assert again.json() == first.json()
    assert FriendRequest.objects.count() == 1


def test_ask__who_has_asked__makes_both_friends(ada: PlayerClient, ben: PlayerClient) -> None:
    ask(ada, ben)
    answer = ask(ben, ada)

    assert (answer.status_code, answer.json()["status"]) == (201, "friends")
    assert everything(ada) == [[str(ben.player_id)], [], []]
    assert everything(ben) == [[str(ada.player_id)], [], []]
    again = ask(ada, ben)
    assert (again.status_code, again.json()["status"]) == (200, "friends")
    assert again.json()["created_at"] == answer.json()["created_at"]


def test_ask__oneself__is_refused(ada: PlayerClient) -> None:
    assert_problem(ask(ada, ada), 422, "not_yourself")


def test_ask__nobody__is_not_found(ada: PlayerClient) -> None:
    assert_problem(ada.post(REQUESTS, {"player": str(uuid7())}), 404, "not_found")


def test_ask__a_player_of_another_game__is_not_found(
    ada: PlayerClient, foreign_player_client: PlayerClient
) -> None:
    assert_problem(ask(ada, foreign_player_client), 404, "not_found")
    assert_problem(accept(ada, foreign_player_client), 404, "not_found")
    assert_problem(block(ada, foreign_player_client), 404, "not_found")


@pytest.mark.parametrize(
    "body", [{}, {"player": str(uuid7()), "code": "KKKK-KKKK"}, {"player": None}]
)
def test_ask__neither_or_both__is_refused(ada: PlayerClient, body: dict[str, Any]) -> None:
    assert_problem(ada.post(REQUESTS, body), 400, "validation_failed")


def test_ask__too_often__is_limited(ada: PlayerClient, ben: PlayerClient, settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"friend_requests": (1, 3600)}

    assert ask(ada, ben).status_code == 201
    assert_problem(ask(ada, ben), 429, "rate_limited")


def test_ask__too_many_wait__is_refused(
    ada: PlayerClient, ben: PlayerClient, settings: Any
) -> None:
    settings.MAX_FRIEND_REQUESTS_SENT = 1
    other = PlayerFactory(game=row_of(ada).game)
    FriendRequest.objects.create(sender=row_of(ada), recipient=other)

    assert assert_problem(ask(ada, ben), 409, "friend_requests_full")["whose"] == "own"


def test_ask__too_many_wait_for_the_other__is_refused(
    ada: PlayerClient, ben: PlayerClient, settings: Any
) -> None:
    settings.MAX_FRIEND_REQUESTS_RECEIVED = 1
    other = PlayerFactory(game=row_of(ada).game)
    FriendRequest.objects.create(sender=other, recipient=row_of(ben))

    assert assert_problem(ask(ada, ben), 409, "friend_requests_full")["whose"] == "theirs"


# Answering


def test_accept__makes_both_friends(ada: PlayerClient, ben: PlayerClient) -> None:
    ask(ada, ben)
    answer = accept(ben, ada)

    assert answer.status_code == 201
    assert set(answer.json()) == {"player", "since"}
    assert answer.json()["player"]["id"] == str(ada.player_id)
    assert everything(ada) == [[str(ben.player_id)], [], []]
    assert everything(ben) == [[str(ada.player_id)], [], []]
    assert are_friends(ada.player_id, ben.player_id)
    assert friend_ids(ben.player_id) == [ada.player_id]
    again = accept(ben, ada)
    assert (again.status_code, again.json()) == (200, answer.json())


def test_accept__without_a_request__is_refused(ada: PlayerClient, ben: PlayerClient) -> None:
    ask(ada, ben)

    assert_problem(accept(ada, ben), 404, "no_friend_request")
    assert not Friendship.objects.exists()


@pytest.mark.parametrize("whose", ["own", "theirs"])
def test_accept__a_list_that_is_full__is_refused(
    ada: PlayerClient, ben: PlayerClient, settings: Any, whose: str
) -> None:
    settings.MAX_FRIENDS = 1
    ask(ada, ben)
    full = row_of(ben if whose == "own" else ada)
    befriend(full, PlayerFactory(game=full.game))

    assert assert_problem(accept(ben, ada), 409, "friends_full")["whose"] == whose
    assert listed(ben, REQUESTS) == [str(ada.player_id)]


def test_accept__tells_hooks(
    ada: PlayerClient, ben: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(hooks, "run_after", lambda point, **known: told.append((point, known)))
    make_friends(ada, ben)
    accept(ben, ada)

    (made,) = [known for point, known in told if point == "friendship_made"]
    assert made["player_id"] == str(ben.player_id)
    assert made["friend_id"] == str(ada.player_id)


@pytest.mark.parametrize("who", ["sender", "recipient"])
def test_drop_request__declines_or_withdraws(
    ada: PlayerClient, ben: PlayerClient, who: str
) -> None:
    ask(ada, ben)
    client, other = (ada, ben) if who == "sender" else (ben, ada)

    assert client.delete(f"{REQUESTS}/{other.player_id}").status_code == 204
    assert everything(ada) == everything(ben) == [[], [], []]
    gone = client.delete(f"{REQUESTS}/{other.player_id}")
    assert_problem(gone, 404, "no_friend_request")
    assert_problem(accept(ben, ada), 404, "no_friend_request")


@pytest.mark.parametrize("who", ["ada", "ben"])
def test_unfriend__ends_it_for_both(ada: PlayerClient, ben: PlayerClient, who: str) -> None:
    make_friends(ada, ben)
    client, other = (ada, ben) if who == "ada" else (ben, ada)

    assert client.delete(f"{FRIENDS}/{other.player_id}").status_code == 204
    assert everything(ada) == everything(ben) == [[], [], []]
    assert not are_friends(ada.player_id, ben.player_id)
    assert_problem(client.delete(f"{FRIENDS}/{other.player_id}"), 404, "not_found")


def test_unfriend__is_not_for_third_players(
    ada: PlayerClient, ben: PlayerClient, make_player: Any
) -> None:
    make_friends(ada, ben)
    stranger = make_player()
    ask(stranger, ben)

    assert_problem(stranger.delete(f"{FRIENDS}/{ada.player_id}"), 404, "not_found")
    assert_problem(ada.delete(f"{REQUESTS}/{stranger.player_id}"), 404, "no_friend_request")
    assert listed(ben, FRIENDS) == [str(ada.player_id)]
    assert listed(ben, REQUESTS) == [str(stranger.player_id)]


# Friend codes


def test_code__finds_its_owner_however_it_is_typed(ada: PlayerClient, ben: PlayerClient) -> None:
    answer = ada.get(CODE)
    assert answer.status_code == 200
    code = answer.json()["code"]
    assert ada.get(CODE).json() == answer.json()

    typed = f" {code.replace('-', ' ').lower()} "
    asked = ben.post(REQUESTS, {"code": typed})
    assert asked.status_code == 201, asked.content
    assert asked.json()["player"]["id"] == str(ada.player_id)
    assert listed(ada, REQUESTS) == [str(ben.player_id)]


def test_code__thrown_away__finds_nobody(ada: PlayerClient, ben: PlayerClient) -> None:
    code = ada.get(CODE).json()["code"]

    assert ada.delete(CODE).status_code == 204
    assert ada.delete(CODE).status_code == 204
    assert_problem(ben.post(REQUESTS, {"code": code}), 404, "friend_code_unknown")
    assert ada.get(CODE).json()["code"] != code


@pytest.mark.parametrize("typed", ["ABCD-EFGH", "K", "KKKKKKKKK", "ÄÖÜ", "🐟🐟🐟🐟🐟🐟🐟🐟"])
def test_code__of_nobody__is_unknown(ada: PlayerClient, typed: str) -> None:
    assert_problem(ada.post(REQUESTS, {"code": typed}), 404, "friend_code_unknown")


def test_code__of_another_game__is_unknown(
    ada: PlayerClient, foreign_player_client: PlayerClient
) -> None:
    code = foreign_player_client.get(CODE).json()["code"]

    assert_problem(ada.post(REQUESTS, {"code": code}), 404, "friend_code_unknown")


def test_code__ones_own__is_refused(ada: PlayerClient) -> None:
    code = ada.get(CODE).json()["code"]

    assert_problem(ada.post(REQUESTS, {"code": code}), 422, "not_yourself")


def test_code__of_a_merged_player__is_unknown_and_counts(
    ada: PlayerClient, ben: PlayerClient, make_player: Any, settings: Any
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"friend_code_misses": (1, 3600)}
    code = ben.get(CODE).json()["code"]
    merge(row_of(make_player()), row_of(ben))

    assert_problem(ada.post(REQUESTS, {"code": code}), 404, "friend_code_unknown")
    assert_problem(ada.post(REQUESTS, {"code": code}), 429, "rate_limited")


@pytest.mark.parametrize("limit", ["friend_code_misses", "friend_code_misses_address"])
def test_code__guessing__is_limited_and_right_ones_are_not(
    ada: PlayerClient, ben: PlayerClient, settings: Any, limit: str
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {limit: (2, 3600)}
    code = ben.get(CODE).json()["code"]
    for _ in range(4):
        assert ada.post(REQUESTS, {"code": code}).status_code in (200, 201)
    for _ in range(2):
        assert_problem(ada.post(REQUESTS, {"code": "KKKK-KKKK"}), 404, "friend_code_unknown")

    assert_problem(ada.post(REQUESTS, {"code": code}), 429, "rate_limited")


def test_code__taken__another_is_made(
    ada: PlayerClient, ben: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = iter(["KKKKKKKK", "KKKKKKKK", "WWWWWWWW"])
    monkeypatch.setattr(friend_codes, "new_code", lambda: next(made))

    assert [client.get(CODE).json()["code"] for client in (ada, ben)] == ["KKKK-KKKK", "WWWW-WWWW"]


def test_code__is_of_its_game_alone(
    ada: PlayerClient, foreign_player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(friend_codes, "new_code", lambda: "KKKKKKKK")

    assert ada.get(CODE).json()["code"] == foreign_player_client.get(CODE).json()["code"]
    assert FriendCode.objects.count() == 2


# Blocks


def test_block__ends_everything_between_them(ada: PlayerClient, ben: PlayerClient) -> None:
    make_friends(ada, ben)

    answer = block(ada, ben)
    assert answer.status_code == 201
    assert answer.json()["player"]["id"] == str(ben.player_id)
    assert everything(ada) == everything(ben) == [[], [], []]
    assert not are_friends(ada.player_id, ben.player_id)
    assert not are_friends(ben.player_id, ada.player_id)
    assert listed(ada, BLOCKS) == [str(ben.player_id)]
    assert listed(ben, BLOCKS) == []
    again = block(ada, ben)
    assert (again.status_code, again.json()) == (200, answer.json())


@pytest.mark.parametrize("asker", ["ada", "ben"])
def test_block__drops_requests(ada: PlayerClient, ben: PlayerClient, asker: str) -> None:
    ask(*((ada, ben) if asker == "ada" else (ben, ada)))
    block(ada, ben)

    assert everything(ada) == everything(ben) == [[], [], []]
    assert not FriendRequest.objects.exists()


def test_block__who_is_blocked__cannot_find_out(
    ada: PlayerClient, ben: PlayerClient, make_player: Any, settings: Any
) -> None:
    """All that a blocked player can do is answered as to a player who is not."""
    stranger = make_player()
    block(ada, ben)
    code = ada.get(CODE).json()["code"]

    def trail(client: PlayerClient) -> list[Any]:
        """Status and body of all calls, without times."""
        path = f"{REQUESTS}/{ada.player_id}"
        answers = [
            accept(client, ada),
            client.delete(f"{FRIENDS}/{ada.player_id}"),
            client.delete(path),
            ask(client, ada),
            ask(client, ada),
            client.post(REQUESTS, {"code": code}),
            client.get(f"{REQUESTS}?direction=sent"),
            accept(client, ada),
            client.get(f"/v1/players/{ada.player_id}"),
            client.delete(path),
            client.get(f"{REQUESTS}?direction=sent"),
            ask(client, ada),
        ]
        return [
            (
                answer.status_code,
                {
                    name: value
                    for name, value in (answer.json() if answer.content else {}).items()
                    if name not in ("created_at", "instance", "results")
                },
                [row["player"] for row in answer.json().get("results", [])]
                if answer.content
                else [],
            )
            for answer in answers
        ]

    assert trail(ben) == trail(stranger)
    assert listed(ada, REQUESTS) == [str(stranger.player_id)]

    # Also at the bound: requests that are not seen count.
    settings.MAX_FRIEND_REQUESTS_RECEIVED = 2
    assert_problem(ask(make_player(), ada), 409, "friend_requests_full")


def test_block__request_of_a_blocked_player__cannot_be_answered(
    ada: PlayerClient, ben: PlayerClient
) -> None:
    block(ada, ben)
    ask(ben, ada)

    assert_problem(accept(ada, ben), 404, "no_friend_request")
    assert_problem(ada.delete(f"{REQUESTS}/{ben.player_id}"), 404, "no_friend_request")
    assert_problem(ask(ada, ben), 409, "player_blocked")
    assert listed(ben, f"{REQUESTS}?direction=sent") == [str(ada.player_id)]


def test_unblock__what_was_asked_meanwhile_is_not_seen(
    ada: PlayerClient, ben: PlayerClient
) -> None:
    block(ada, ben)
    ask(ben, ada)

    assert ada.delete(f"{BLOCKS}/{ben.player_id}").status_code == 204
    assert everything(ada) == [[], [], []]
    assert_problem(ada.delete(f"{BLOCKS}/{ben.player_id}"), 404, "not_found")
    assert ask(ben, ada).status_code == 201
    assert listed(ada, REQUESTS) == [str(ben.player_id)]


def test_unblock__leaves_the_others_block(ada: PlayerClient, ben: PlayerClient) -> None:
    block(ada, ben)
    block(ben, ada)

    assert_problem(ask(ada, ben), 409, "player_blocked")
    ada.delete(f"{BLOCKS}/{ben.player_id}")
    assert ask(ada, ben).json()["status"] == "requested"
    assert everything(ben) == [[], [], []]


def test_block__too_many__is_refused(ada: PlayerClient, ben: PlayerClient, settings: Any) -> None:
    settings.MAX_BLOCKS = 1
    Block.objects.create(player=row_of(ada), blocked=PlayerFactory(game=row_of(ada).game))

    assert_problem(block(ada, ben), 409, "blocks_full")


def test_yourself__is_refused_everywhere(ada: PlayerClient) -> None:
    for answer in (
        accept(ada, ada),
        block(ada, ada),
        ada.delete(f"{FRIENDS}/{ada.player_id}"),
        ada.delete(f"{REQUESTS}/{ada.player_id}"),
        ada.delete(f"{BLOCKS}/{ada.player_id}"),
    ):
        assert_problem(answer, 422, "not_yourself")


# Lists


def fill(player: Player, path: str, count: int) -> None:
    for other in PlayerFactory.create_batch(count, game=player.game):
        match path:
            case "/v1/friends":
                befriend(player, other)
            case "/v1/blocks":
                Block.objects.create(player=player, blocked=other)
            case "/v1/friends/requests":
                FriendRequest.objects.create(sender=other, recipient=player)
            case _:
                FriendRequest.objects.create(sender=player, recipient=other)


@pytest.mark.parametrize("path", [FRIENDS, BLOCKS, REQUESTS, f"{REQUESTS}?direction=sent"])
def test_list__costs_the_same_with_1_and_20__and_has_pages(ada: PlayerClient, path: str) -> None:
    ada.get(path)
    counts = []
    found: list[str] = []
    for count in (1, 19):
        fill(row_of(ada), path, count)
        with CaptureQueriesContext(connection) as queries:
            found = listed(ada, path)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert len(found) == 20

    pages: list[str] = []
    cursor = ""
    while True:
        page = ada.get(f"{path}{'&' if '?' in path else '?'}limit=7{cursor}").json()
        pages += [row["player"]["id"] for row in page["results"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert pages == found


def test_lists__are_ranges_of_an_index(game: Game) -> None:
    players = Player.objects.bulk_create(PlayerFactory.build_batch(3_000, game=game))
    pairs = list(pairwise(players))
    FriendRequest.objects.bulk_create(FriendRequest(sender=a, recipient=b) for a, b in pairs)
    Block.objects.bulk_create(Block(player=a, blocked=b) for a, b in pairs)
    Friendship.objects.bulk_create(Friendship(player=a, friend=b) for a, b in pairs)
    tables = "accounts_friendrequest, accounts_block, accounts_friendship, accounts_player"
    player = players[1_500].pk

    for rows, index in (
        (friend_selectors.friendships_of(player), "accounts_friendship_pkey"),
        (friend_selectors.requests_received(player), "accounts_friendrequest_to"),
        (friend_selectors.requests_sent(player), "accounts_friendrequest_once"),
        (friend_selectors.blocks_of(player), "accounts_block_once"),
    ):
        plan = scans(*rows.query.sql_with_params(), analyzed=tables)
        assert index in {used for _, _, used in plan}, plan
        assert "Seq Scan" not in {kind for kind, _, _ in plan}, plan


def test_panel__shows_what_there_is(ada: PlayerClient, ben: PlayerClient) -> None:
    player = row_of(ada)
    for path in (FRIENDS, BLOCKS, REQUESTS, f"{REQUESTS}?direction=sent"):
        fill(player, path, 1)

    panel = panels.friends(player)
    assert [row[1] for row in panel.rows] == ["friend", "has asked", "was asked", "blocked"]
    assert panel.note == "1 friends, 1 requests received, 1 requests sent, 1 blocked."
