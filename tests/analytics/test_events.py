"""POST /v1/events: what is stored, what is refused, and what is known as sent before."""

import gzip
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Game
from analytics.models import ActivePlayer, Event, EventId
from analytics.services.batches import OTHER_IDS, bucket_of
from config.db.ids import uuid7
from tests.factories.accounts import PlayerFactory
from tests.factories.analytics import client_of, consenting, event
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem, server_client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def player(game: Game) -> PlayerClient:
    """A player with consent, on an iPhone in Germany."""
    return client_of(consenting(game, country="DE"), platform="ios", app_version="1.2.3")


def send(client: ApiClient, *events: Any, **more: Any) -> Any:
    answer = client.post("/v1/events", {"events": list(events), **more})
    assert answer.status_code == 202, answer.content
    return answer.json()


def test_events__from_a_player__are_stored_with_who_and_where(player: PlayerClient) -> None:
    first = event(props={"level": 3, "tags": ["a", {"b": None}], "ok": True}, session="play-1")
    second = event("shop_opened")

    result = send(player, first, second)

    assert result == {"accepted": 2, "duplicates": 0, "rejected": []}
    row = Event.objects.get(id=first["id"])
    assert (row.player_id, row.platform, row.country, row.app_version) == (
        player.player_id,
        "ios",
        "DE",
        "1.2.3",
    )
    assert (row.name, row.source, row.session) == ("level_complete", 0, "play-1")
    assert row.props == {"level": 3, "tags": ["a", {"b": None}], "ok": True}
    assert row.at == datetime.fromisoformat(first["at"])


def test_events__sent_again__are_duplicates_in_any_grouping(player: PlayerClient) -> None:
    a, b, c = event(), event(), event()

    assert send(player, a, b)["accepted"] == 2
    assert send(player, a, b) == {"accepted": 0, "duplicates": 2, "rejected": []}
    assert send(player, c, b, c) == {"accepted": 1, "duplicates": 2, "rejected": []}
    assert Event.objects.count() == 3


@pytest.mark.parametrize("make_id", [uuid7, uuid.uuid4, lambda: uuid.UUID(int=7 << 76)])
def test_events__sent_again_with_another_time_or_content__are_duplicates(
    player: PlayerClient, make_id: Any
) -> None:
    """Exactly by (game, id): whatever kind of UUID it is, and whatever day it now says."""
    one = event() | {"id": str(make_id())}
    again = one | {"at": (datetime.now(UTC) - timedelta(days=3)).isoformat(), "name": "other"}

    assert send(player, one)["accepted"] == 1
    assert send(player, again)["duplicates"] == 1


def test_events__same_id_in_another_game__is_another_event(
    player: PlayerClient, other_game: Game
) -> None:
    one = event()

    send(player, one)

    assert send(client_of(consenting(other_game)), one)["accepted"] == 1


def test_events__one_bad_event__does_not_sink_its_batch(player: PlayerClient) -> None:
    bad: list[tuple[Any, str]] = [
        ("text", "invalid_type"),
        (None, "invalid_type"),
        ({"name": "x"}, "required"),
        (event() | {"id": "17"}, "invalid_value"),
        (event(name="has spaces"), "invalid_value"),
        (event(name=""), "invalid_value"),
        (event(name="x" * 65), "invalid_value"),
        (event(colour="red"), "unknown_field"),
        (event() | {"at": "yesterday"}, "invalid_value"),
        (event() | {"at": "2026-11-21T10:00:00"}, "invalid_value"),
        (event() | {"at": 1_700_000_000}, "invalid_type"),
        (event(ago=timedelta(days=7, minutes=1)), "too_old"),
        (event() | {"at": "0001-01-01T00:00:00+14:00"}, "too_old"),
        (event(ago=-timedelta(minutes=6)), "too_far_ahead"),
        (event(props={f"p{n}": n for n in range(51)}), "too_many_props"),
        (event(props={"x" * 65: 1}), "invalid_value"),
        (event(props=[1]), "invalid_type"),
        (event(props={"text": "x" * 8200}), "event_too_large"),
        (event(session=""), "invalid_value"),
    ]
    good = event(ago=timedelta(days=6, hours=23))

    result = send(player, *(value for value, _ in bad), good)

    assert result["accepted"] == 1
    assert [(r["index"], r["code"]) for r in result["rejected"]] == [
        (index, code) for index, (_, code) in enumerate(bad)
    ]
    assert all(r["detail"] for r in result["rejected"])
    assert Event.objects.get().id == uuid.UUID(good["id"])


def test_events__limits_themselves__are_accepted(player: PlayerClient) -> None:
    full = event(name="x" * 64, props={f"p{n}": n for n in range(50)})
    large = event(props={"text": "é" * 3900})
    ahead = event(ago=-timedelta(minutes=4))

    assert send(player, full, large, ahead)["accepted"] == 3


def test_events__batch_bounds(player: PlayerClient) -> None:
    assert send(player)["accepted"] == 0
    assert send(player, *(event() for _ in range(500)))["accepted"] == 500
    too_many = player.post("/v1/events", {"events": [event() for _ in range(501)]})
    assert_problem(too_many, 400, "validation_failed")
    large = {"events": [event(props={"t": "x" * 7000}) for _ in range(160)]}
    assert_problem(player.post("/v1/events", large), 413, "body_too_large")
    assert Event.objects.count() == 500


def test_events__more_than_an_ordinary_body__still_fits(player: PlayerClient) -> None:
    batch = [event(props={"t": "x" * 5000}) for _ in range(150)]
    body = gzip.compress(json.dumps({"events": batch}).encode())

    answer = player.post(
        "/v1/events", body, content_type="application/json", content_encoding="gzip"
    )

    assert answer.json()["accepted"] == 150


def test_events__clock_is_off__times_are_corrected_from_sent_at(player: PlayerClient) -> None:
    behind = timedelta(days=400)
    now = datetime.now(UTC)
    one = event(ago=behind + timedelta(hours=1))

    result = send(player, one, sent_at=(now - behind).isoformat())

    assert result["accepted"] == 1
    assert abs(Event.objects.get().at - (now - timedelta(hours=1))) < timedelta(seconds=10)
    assert send(player, event(), sent_at="0001-01-01T00:00:00+14:00")["rejected"][0]["code"] in (
        "too_far_ahead",
        "too_old",
    )


def test_events__clock_is_right__network_time_is_no_error(player: PlayerClient) -> None:
    one = event()

    send(player, one, sent_at=(datetime.now(UTC) - timedelta(seconds=5)).isoformat())

    assert Event.objects.get().at == datetime.fromisoformat(one["at"])


def test_events__without_consent__leave_nothing_that_can_be_tied_to_the_player(game: Game) -> None:
    player = client_of(PlayerFactory(game=game, country="FR"), platform="android")
    one = event(
        session="s-1",
        props={
            "level": 3,
            "won": True,
            "friend": "Ada",
            "user_id": 7,
            "deep": {"x": 1},
            "ada@example.com": 1,
        },
    )

    result = send(player, one, event())

    assert result["accepted"] == 2
    for row in Event.objects.all():
        assert row.player_id is None
        assert row.session == ""
        assert row.at.second == row.at.microsecond == 0
        assert row.received_at.second == row.received_at.microsecond == 0
        assert str(row.id) != one["id"]
        assert (row.platform, row.country) == ("android", "FR")
    assert {"level": 3, "won": True} in Event.objects.values_list("props", flat=True)
    assert str(player.player_id) not in str(list(ActivePlayer.objects.values_list()))
    assert send(player, one)["duplicates"] == 1


def test_events__of_a_tester__are_stored_and_marked(game: Game) -> None:
    player = client_of(consenting(game, is_tester=True))

    send(player, event())

    assert Event.objects.get().is_tester
    assert not ActivePlayer.objects.exists()


def test_events__make_the_player_active_on_the_days_of_the_game(game: Game) -> None:
    game.timezone = "Pacific/Auckland"
    game.save()
    player = client_of(consenting(game))
    instants = [timedelta(days=2), timedelta(days=2), timedelta()]

    send(player, *(event(ago=ago) for ago in instants))
    send(player, event())

    rows = ActivePlayer.objects.order_by("day")
    expected = {
        (datetime.now(UTC) - ago).astimezone(ZoneInfo("Pacific/Auckland")).date()
        for ago in instants
    }
    assert {row.day for row in rows} == expected
    assert {row.who for row in rows} == {player.player_id}
    assert len(rows) == len(expected)


def test_events__from_a_game_server(game: Game, other_game: Game) -> None:
    server = server_client_of(game, "events:write")
    theirs = consenting(game)

    assert send(server, event("match_end"))["accepted"] == 1
    assert send(server, event("match_won"), player=str(theirs.pk))["accepted"] == 1
    assert Event.objects.get(name="match_end").player_id is None
    assert Event.objects.get(name="match_won").player_id == theirs.pk
    foreign = {"events": [event()], "player": str(consenting(other_game).pk)}
    assert_problem(server.post("/v1/events", foreign), 404, "not_found")
    unscoped = server_client_of(game, "scores:write").post("/v1/events", {"events": []})
    assert_problem(unscoped, 403, "scope_missing")


def test_events__a_player_for_another(player: PlayerClient, game: Game) -> None:
    body = {"events": [event()], "player": str(consenting(game).pk)}

    assert_problem(player.post("/v1/events", body), 400, "validation_failed")
    assert not Event.objects.exists()


def test_events__cost_one_statement(player: PlayerClient) -> None:
    send(player, event())
    for count in (1, 20):
        with CaptureQueriesContext(connection) as queries:
            send(player, *(event() for _ in range(count)))
        assert len(queries) == 1, [query["sql"] for query in queries]


def test_bucket__is_made_from_the_id_alone() -> None:
    assert bucket_of(uuid.UUID("019aa8f0-5b5c-7c3e-8a55-0d6f2a1b3c4d")).isoformat() == "2025-11-01"
    for other in (
        uuid.uuid4(),
        uuid.UUID(int=0),
        uuid.UUID("00000000-0000-7000-8000-000000000000"),
        uuid.UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"),
    ):
        assert bucket_of(other) == OTHER_IDS


def test_event_ids__of_a_month_without_a_partition__are_known(player: PlayerClient) -> None:
    early = event() | {"id": "019bffff-0000-7c3e-8a55-0d6f2a1b3c4d"}

    assert send(player, early)["accepted"] == 1
    assert send(player, early)["duplicates"] == 1
    assert EventId.objects.get().bucket.isoformat() == "2026-01-01"
