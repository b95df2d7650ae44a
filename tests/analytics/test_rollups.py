"""Server events, the figures of a day, and GET /v1/analytics/metrics."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Game, Player
from analytics import tasks
from analytics.definitions import METRICS
from analytics.models import ActivePlayer, DailyFigure, DaySalt, Event, RollupDay, RollupProgress
from analytics.services import rollups
from config import events
from config.db.ids import uuid7
from tests.factories.accounts import PlayerFactory, SessionFactory
from tests.factories.analytics import client_of, consenting, event
from tests.fixtures.api import ApiClient, assert_problem, server_client_of

pytestmark = pytest.mark.django_db


def today() -> date:
    return datetime.now(UTC).date()


def record(player: Player, name: str, *, ago: timedelta = timedelta(), **props: Any) -> None:
    events.record(
        game_id=player.game_id,
        player_id=player.pk,
        name=name,
        props=props,
        at=datetime.now(UTC) - ago,
    )


def figures(game: Game, metric: str, split: str = "", day: date | None = None) -> dict[str, int]:
    rows = DailyFigure.objects.filter(
        game=game, metric=metric, split=split, day=day or today()
    ).values_list("label", "value")
    return dict(rows)


@pytest.fixture
def reader(game: Game) -> ApiClient:
    return server_client_of(game, "analytics:read")


def get_metric(reader: ApiClient, metric: str, **query: Any) -> Any:
    query = {"from": today(), "to": today()} | {k.rstrip("_"): v for k, v in query.items()}
    path = "&".join(f"{name}={value}" for name, value in query.items())
    return reader.get(f"/v1/analytics/metrics?metric={metric}&{path}")


# --- server events -------------------------------------------------------------------------


def test_record__with_consent__keeps_who_and_where(game: Game) -> None:
    player = consenting(game, country="SE")
    session = SessionFactory(player=player, platform="android", app_version="2.0")

    events.record(
        game_id=game.pk,
        player_id=player.pk,
        name="purchase",
        props={"offer": "koi", "purchase_id": "p1"},
        session_id=session.pk,
    )

    row = Event.objects.get()
    assert (row.player_id, row.session, row.source) == (player.pk, str(session.pk), 1)
    assert (row.platform, row.country, row.app_version) == ("android", "SE", "2.0")
    assert row.props == {"offer": "koi", "purchase_id": "p1"}


def test_record__without_consent__keeps_the_fact_alone(game: Game) -> None:
    player = PlayerFactory(game=game)

    record(player, "purchase", offer="koi", purchase_id="p1", id="x", reference="r")

    row = Event.objects.get()
    assert row.player_id is None
    assert row.props == {"offer": "koi"}
    for moment in (row.at, row.received_at):
        assert moment.second == moment.microsecond == 0
    assert row.session == ""


def test_record__of_nobody__keeps_its_props(game: Game) -> None:
    events.record(game_id=game.pk, player_id=None, name="season_end", props={"season_id": 4})

    assert Event.objects.get().props == {"season_id": 4}


def test_record__in_a_transaction_that_fails__is_not_there(game: Game) -> None:
    def fails() -> None:
        with transaction.atomic():
            record(PlayerFactory(game=game), "purchase")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()

    assert not Event.objects.exists()


def test_record__for_a_player_of_another_game__ties_nothing(game: Game, other_game: Game) -> None:
    stranger = consenting(other_game)

    events.record(game_id=game.pk, player_id=stranger.pk, name="score", props={})

    assert Event.objects.get().player_id is None


def test_record__by_a_statement_that_is_writing_the_player(game: Game) -> None:
    """A sign-in writes player, session and event in one statement; props say where."""
    player_id = uuid7()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT analytics_record(%s::uuid, %s::uuid, 'session_start', %s::jsonb)",
            [game.pk, player_id, '{"platform": "ios", "country": "PT", "app_version": "1.0"}'],
        )

    row = Event.objects.get()
    assert (row.player_id, row.platform, row.country, row.app_version) == (None, "ios", "PT", "1.0")
    assert ActivePlayer.objects.count() == 1


def test_refresh__makes_active_and_stores_no_event(game: Game) -> None:
    record(consenting(game), "session_refresh")

    assert not Event.objects.exists()
    assert ActivePlayer.objects.count() == 1


def test_pseudonyms__hold_within_a_day_only(game: Game) -> None:
    player = PlayerFactory(game=game)

    record(player, "session_start")
    record(player, "session_start")
    record(player, "session_start", ago=timedelta(days=1))

    (first, second) = ActivePlayer.objects.values_list("who", flat=True)
    assert first != second
    assert player.pk not in (first, second)
    for row in ActivePlayer.objects.all():
        assert row.seen_at.isoformat() == f"{row.day}T00:00:00+00:00"
    assert DaySalt.objects.count() == 2


def test_pseudonyms__of_a_day_without_salt__are_not_made_again(game: Game) -> None:
    player = PlayerFactory(game=game)

    record(player, "session_start", ago=timedelta(days=10))

    assert not ActivePlayer.objects.exists()
    assert Event.objects.count() == 1


# --- the figures of a day ------------------------------------------------------------------


def test_day__counts_players_with_and_without_consent_once_each(game: Game) -> None:
    players: list[Player] = [
        consenting(game, country="DE"),
        PlayerFactory(game=game, country="FR"),
    ]
    tester = consenting(game, is_tester=True)
    for player in [*players, tester]:
        record(player, "player_created")
        for platform in ("ios", "web"):
            record(player, "session_start", platform=platform)
        record(player, "session_refresh")

    rollups.compute_day(game_id=game.pk, day=today())

    assert figures(game, "dau") == {"": 2}
    assert figures(game, "dau", "country") == {"DE": 1, "FR": 1}
    # Each counts where the day's first activity came from.
    assert figures(game, "dau", "platform") == {"ios": 2}
    assert figures(game, "new_players") == {"": 2}
    assert figures(game, "sessions") == {"": 4}
    assert figures(game, "sessions", "platform") == {"ios": 2, "web": 2}


@pytest.mark.parametrize("agrees_first", [True, False])
def test_day__player_agrees_or_withdraws_in_its_course__is_counted_once(
    game: Game, agrees_first: bool
) -> None:
    player = PlayerFactory(game=game, analytics_consent=agrees_first)
    for consent in (agrees_first, not agrees_first, agrees_first):
        Player.objects.filter(pk=player.pk).update(analytics_consent=consent)
        record(player, "session_start")

    rollups.compute_day(game_id=game.pk, day=today())

    assert figures(game, "dau") == {"": 1}


def test_day__a_game_can_not_claim_server_facts(game: Game) -> None:
    player = client_of(consenting(game))
    claims = [
        event(name, props={"amount": 10**9, "currency": "gems"})
        for name in ("purchase", "player_created", "session_start", "currency_source")
    ]
    assert player.post("/v1/events", {"events": claims}).json()["accepted"] == 4

    rollups.compute_day(game_id=game.pk, day=today())

    for metric in ("purchases", "new_players", "sessions", "currency_source"):
        assert figures(game, metric) == {"": 0}, metric
    assert figures(game, "events") == {"": 4}
    assert figures(game, "dau") == {"": 1}


def test_day__sums_currency_and_counts_names(game: Game) -> None:
    player = consenting(game)
    record(player, "currency_source", currency="gems", amount=7)
    record(player, "currency_source", currency="petals", amount=2**62)
    record(player, "currency_source", currency="petals", amount=2**62)
    record(player, "currency_sink", currency="gems", amount=3)
    record(player, "currency_sink", currency="gems", amount="many")

    rollups.compute_day(game_id=game.pk, day=today())

    assert figures(game, "currency_source", "currency") == {"gems": 7, "petals": 2**63 - 1}
    assert figures(game, "currency_sink") == {"": 3}
    assert figures(game, "events", "name") == {"currency_source": 3, "currency_sink": 2}


def test_day__again__replaces_and_removes(game: Game) -> None:
    player = consenting(game)
    record(player, "score")
    rollups.compute_day(game_id=game.pk, day=today())
    Event.objects.all()._raw_delete("default")
    record(player, "purchase")

    rollups.compute_day(game_id=game.pk, day=today())
    rollups.compute_day(game_id=game.pk, day=today())

    assert figures(game, "events", "name") == {"purchase": 1}
    assert RollupDay.objects.count() == 1


def test_day__many_names__the_smallest_are_added_up(
    game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MAX_LABELS", 2)
    player = consenting(game)
    for name, count in (("a", 3), ("b", 2), ("c", 1), ("d", 1)):
        for _ in range(count):
            record(player, name)

    rollups.compute_day(game_id=game.pk, day=today())

    assert figures(game, "events", "name") == {"a": 3, "b": 2, "other": 2}
    assert figures(game, "events") == {"": 7}


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", date(2026, 3, 29), 24),
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Pacific/Kiritimati", date(2026, 1, 1), 24),
    ],
)
def test_day_bounds__are_the_local_midnights(zone: str, day: date, hours: int) -> None:
    begin, end = rollups.day_bounds(day, zone)

    assert (end - begin).total_seconds() == hours * 3600


def test_day__is_the_game_s_own(game: Game) -> None:
    game.timezone = "Pacific/Auckland"
    game.save()
    player = consenting(game)
    # 12:30 on the 10th in UTC is half past midnight, or later, on the 11th in Auckland.
    at = datetime(2026, 6, 10, 12, 30, tzinfo=UTC)
    events.record(game_id=game.pk, player_id=player.pk, name="session_start", props={}, at=at)

    rollups.recompute(game_id=game.pk, first=date(2026, 6, 10), last=date(2026, 6, 11))

    assert figures(game, "sessions", day=date(2026, 6, 10)) == {"": 0}
    assert figures(game, "sessions", day=date(2026, 6, 11)) == {"": 1}
    assert figures(game, "dau", day=date(2026, 6, 11)) == {"": 1}


# --- what is computed when -----------------------------------------------------------------


def test_update__computes_today_and_the_days_of_late_events(game: Game) -> None:
    player = client_of(consenting(game))
    rollups.update(game_id=game.pk)
    RollupDay.objects.update(took_ms=0)
    player.post("/v1/events", {"events": [event(ago=timedelta(days=5)), event()]})

    computed = rollups.update(game_id=game.pk)

    late = today() - timedelta(days=5)
    assert {late, today()} <= set(computed)
    assert figures(game, "events", day=late) == {"": 1}
    assert figures(game, "dau", day=late) == {"": 1}


def test_update__a_slow_day_rests__and_is_not_forgotten(game: Game) -> None:
    player = client_of(consenting(game))
    rollups.update(game_id=game.pk)
    seen = RollupProgress.objects.get().seen_until
    RollupDay.objects.update(took_ms=60_000)
    player.post("/v1/events", {"events": [event()]})

    assert today() not in rollups.update(game_id=game.pk)
    assert RollupProgress.objects.get().seen_until == seen
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11)):
        assert today() in rollups.update(game_id=game.pk)

    assert figures(game, "events") == {"": 1}
    assert RollupProgress.objects.get().seen_until > seen


def test_task__covers_active_games(game: Game, other_game: Game) -> None:
    other_game.is_active = False
    other_game.save()

    assert tasks.roll_up() >= 1

    assert set(RollupDay.objects.values_list("game_id", flat=True)) == {game.pk}


def test_task__one_game_fails__the_others_go_on(game: Game, other_game: Game) -> None:
    game.timezone = "Nowhere/At_all"
    game.save()

    assert tasks.roll_up() >= 1

    assert set(RollupDay.objects.values_list("game_id", flat=True)) == {other_game.pk}


# --- the endpoint --------------------------------------------------------------------------


def test_metrics__every_metric__has_today(game: Game, reader: ApiClient) -> None:
    record(consenting(game), "session_start")
    rollups.update(game_id=game.pk)

    for metric in METRICS:
        answer = get_metric(reader, metric)
        assert answer.status_code == 200, answer.content
        (row,) = answer.json()["results"]
        expected = 1 if metric in ("dau", "sessions", "events") else 0
        assert row == {"day": today().isoformat(), "value": expected, "provisional": True}


def test_metrics__gaps_are_zero_and_the_future_is_left_out(game: Game, reader: ApiClient) -> None:
    answer = get_metric(
        reader, "dau", from_=today() - timedelta(days=9), to=today() + timedelta(days=5)
    )

    rows = answer.json()["results"]
    assert [row["value"] for row in rows] == [0] * 10
    assert rows[-1]["day"] == today().isoformat()


def test_metrics__split__names_what_it_is_split_by(game: Game, reader: ApiClient) -> None:
    record(consenting(game), "session_start", platform="ios")
    record(consenting(game), "session_start")
    rollups.update(game_id=game.pk)

    rows = get_metric(reader, "dau", by="platform").json()["results"]

    assert [(row["platform"], row["value"]) for row in rows] == [("unknown", 1), ("ios", 1)]


def test_metrics__provisional__until_late_events_are_over_and_counted(
    game: Game, reader: ApiClient
) -> None:
    day = today() - timedelta(days=9)
    path = {"from_": day, "to": day}
    assert get_metric(reader, "dau", **path).json()["results"][0]["provisional"] is True

    rollups.update(game_id=game.pk)

    assert get_metric(reader, "dau", **path).json()["results"][0]["provisional"] is False
    recent = get_metric(reader, "dau", from_=today() - timedelta(days=7))
    assert all(row["provisional"] for row in recent.json()["results"])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("metric=nope&from=2026-01-01&to=2026-01-02", "unknown_metric"),
        ("metric=dau&from=2026-01-01&to=2026-01-02&by=name", "invalid_split"),
        ("metric=dau&from=2026-01-02&to=2026-01-01", "invalid_period"),
        ("metric=dau&from=2024-01-02&to=2026-01-01", "invalid_period"),
        ("metric=dau&from=yesterday&to=2026-01-01", "validation_failed"),
        ("metric=dau&from=2026-01-01", "validation_failed"),
        ("metric=dau&from=2026-01-01&to=2026-01-01&colour=red", "unknown_parameter"),
    ],
)
def test_metrics__wrong_question(reader: ApiClient, query: str, code: str) -> None:
    assert_problem(reader.get(f"/v1/analytics/metrics?{query}"), 400, code)


def test_metrics__only_with_the_scope_and_of_the_own_game(
    game: Game, other_game: Game, reader: ApiClient
) -> None:
    record(consenting(game), "session_start")
    rollups.update(game_id=game.pk)

    foreign = get_metric(server_client_of(other_game, "analytics:read"), "dau")
    assert foreign.json()["results"][0]["value"] == 0
    unscoped = get_metric(server_client_of(game, "events:write"), "dau")
    assert_problem(unscoped, 403, "scope_missing")
    assert_problem(get_metric(client_of(consenting(game)), "dau"), 403, "forbidden")


def test_metrics__cost_the_same_for_one_and_for_many_days(game: Game, reader: ApiClient) -> None:
    rollups.recompute(game_id=game.pk, first=today() - timedelta(days=19), last=today())
    get_metric(reader, "dau")
    counts = []
    for days in (0, 19):
        with CaptureQueriesContext(connection) as queries:
            answer = get_metric(reader, "dau", from_=today() - timedelta(days=days))
        assert len(answer.json()["results"]) == days + 1
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 4


# --- the command ---------------------------------------------------------------------------


def test_command__computes_what_is_new_or_the_days_asked_for(
    game: Game, other_game: Game, capsys: pytest.CaptureFixture[str]
) -> None:
    record(consenting(game), "score", ago=timedelta(days=40))
    first = today() - timedelta(days=41)

    call_command("roll_up")
    assert capsys.readouterr().out.count(" days") == 2
    call_command("roll_up", game=game.slug, first=first)

    assert f"{game.slug}: 42 days" in capsys.readouterr().out
    assert figures(game, "events", day=today() - timedelta(days=40)) == {"": 1}
    with pytest.raises(CommandError, match="no game"):
        call_command("roll_up", game="nope")
