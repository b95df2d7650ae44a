"""Analytics in the admin: the first page, the page of events, the panel of a player."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from psycopg.errors import QueryCanceled

from accounts.models import Game, StaffUser
from analytics import selectors
from analytics.event_pages import PAGE, player_panel
from analytics.services import rollups
from config import events
from tests.factories.accounts import GameFactory, PlayerFactory, StaffUserFactory
from tests.factories.analytics import client_of, consenting, event

pytestmark = pytest.mark.django_db
EVENTS = "/admin/analytics/dailyfigure/events/"


@pytest.fixture
def staff(db: None) -> Client:
    return signed_in(StaffUser.Role.ANALYST)


def signed_in(role: str) -> Client:
    client = Client()
    client.force_login(StaffUserFactory(role=role))
    return client


def page(staff: Client, path: str, **query: Any) -> str:
    answer = staff.get(f"{path}?{urlencode(query)}" if query else path)
    assert answer.status_code == 200, (answer.status_code, answer.headers)
    return answer.content.decode()


def play(game: Game, count: int = 1) -> None:
    for _ in range(count):
        player = consenting(game)
        events.record(game_id=game.pk, player_id=player.pk, name="player_created", props={})
        events.record(game_id=game.pk, player_id=player.pk, name="session_start", props={})
        for currency in ("gems", "petals"):
            events.record(
                game_id=game.pk,
                player_id=player.pk,
                name="currency_source",
                props={"currency": currency, "amount": 1234},
            )


@pytest.mark.parametrize("role", ["support", "designer", "analyst", "admin"])
def test_first_page__without_any_game__says_what_to_do(role: str) -> None:
    assert "apply_game" in page(signed_in(role), "/admin/")


def test_first_page__without_data__has_its_charts(staff: Client, game: Game) -> None:
    text = page(staff, "/admin/")

    assert game.name in text
    assert "Nothing has been counted yet" in text
    assert text.count('class="chart"') == 4


def test_first_page__shows_the_day(staff: Client, game: Game) -> None:
    play(game, 3)
    rollups.update(game_id=game.pk)

    text = page(staff, "/admin/")

    assert "Active players" in text
    assert "session_start" in text
    assert "petals" in text
    assert "What came in until" in text
    assert EVENTS in text


def test_first_page__several_games__shows_the_chosen_one(staff: Client) -> None:
    first, second = GameFactory(name="Aaa"), GameFactory(name="Bbb")
    play(second, 2)
    rollups.update(game_id=second.pk)

    shown = [
        staff.get("/admin/", {"game": slug}).context["game"] for slug in (second.slug, "nope", "")
    ]

    assert shown == [second, first, first]


def test_first_page__costs_the_same_for_one_and_many_days(staff: Client, game: Game) -> None:
    today = datetime.now(UTC).date()
    counts = []
    for days in (1, 20):
        play(game, days)
        rollups.recompute(game_id=game.pk, first=today - timedelta(days=days - 1), last=today)
        staff.get("/admin/")
        with CaptureQueriesContext(connection) as queries:
            staff.get("/admin/")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_first_page__needs_staff() -> None:
    assert Client().get("/admin/").status_code == 302


def test_figures__are_listed_and_never_edited(staff: Client, game: Game) -> None:
    play(game)
    rollups.update(game_id=game.pk)

    assert "new_players" in page(staff, "/admin/analytics/dailyfigure/")
    assert page(staff, "/admin/analytics/rollupday/")
    assert staff.get("/admin/analytics/dailyfigure/add/").status_code == 403


def test_events__by_player_name_and_day(staff: Client, game: Game) -> None:
    ada = consenting(game, display_name="Ada", tag=7)
    bob = consenting(game, display_name="Bob")
    client_of(ada).post("/v1/events", {"events": [event("ada_jumped", props={"at": "bridge"})]})
    client_of(bob).post("/v1/events", {"events": [event("bob_slept")]})

    everything = page(staff, EVENTS)
    assert "ada_jumped" in everything
    assert "bob_slept" in everything
    assert "bridge" in everything
    for term in (str(ada.pk), "Ada#0007", "ada"):
        found = page(staff, EVENTS, player=term)
        assert "ada_jumped" in found
        assert "bob_slept" not in found
    named = page(staff, EVENTS, name="bob_slept")
    assert "ada_jumped" not in named
    assert "No such player" in page(staff, EVENTS, player="nobody at all")
    assert "No such events" in page(staff, EVENTS, first="2026-01-01", last="2026-01-02")
    assert "31 days or fewer" in page(staff, EVENTS, first="2026-01-01", last="2026-03-02")
    assert "31 days or fewer" in page(staff, EVENTS, first="2026-01-02", last="2026-01-01")
    assert "ada_jumped" not in page(staff, EVENTS, game="not-a-game")


def test_events__without_a_game__is_a_page(staff: Client) -> None:
    assert page(staff, EVENTS)


def test_events__page_by_page__shows_each_once(staff: Client, game: Game) -> None:
    """Also where many have the same time."""
    player = consenting(game)
    at = datetime.now(UTC)
    for number in range(PAGE + 20):
        events.record(
            game_id=game.pk, player_id=player.pk, name=f"tied_{number:03}.", props={}, at=at
        )

    first = staff.get(EVENTS)
    second = staff.get(EVENTS + first.context["older"])

    text = first.content.decode() + second.content.decode()
    assert all(f"tied_{number:03}." in text for number in range(PAGE + 20))
    assert len(first.context["table"]["rows"]) == PAGE
    assert len(second.context["table"]["rows"]) == 20
    assert "older" not in second.context
    assert "search again" in page(staff, EVENTS, before="nonsense")


def test_events__taking_too_long__says_so(
    staff: Client, game: Game, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(**_: Any) -> None:
        raise OperationalError from QueryCanceled()

    monkeypatch.setattr(selectors, "events", cancelled)

    assert "took too long" in page(staff, EVENTS)


def test_player_panel__with_and_without_consent(game: Game) -> None:
    ada = consenting(game)
    client_of(ada).post("/v1/events", {"events": [event("seen_here")]})
    silent = PlayerFactory(game=game)
    client_of(silent).post("/v1/events", {"events": [event("not_seen")]})

    panel = player_panel(ada)
    assert panel.rows[0][1] == "seen_here"
    assert panel.note == ""
    assert str(ada.pk) in panel.more_url
    assert player_panel(silent).rows == []
    assert "consent" in player_panel(silent).note
