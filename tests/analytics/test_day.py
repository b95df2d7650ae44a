"""A day of a game over HTTP, and what analytics says of it: equal to what the domains say."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models import Sum

from accounts.models import Game
from accounts.services import game_files
from analytics import tasks
from analytics.models import Event
from store.models import Balance
from tests.fixtures.api import (
    ApiClient,
    PlayerClient,
    game_client_of,
    new_player,
    server_client_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def garden(db: None) -> Game:
    text = (Path(settings.BASE_DIR) / "examples" / "lantern_garden.yaml").read_text("utf-8")
    game_files.apply(text=text, dry_run=False, new_server_key=False)
    return Game.objects.get(slug="lantern-garden")


def metric(reader: ApiClient, name: str, by: str = "day") -> dict[str, int]:
    today = datetime.now(UTC).date()
    answer = reader.get(f"/v1/analytics/metrics?metric={name}&from={today}&to={today}&by={by}")
    assert answer.status_code == 200, answer.content
    return {"" if by == "day" else row[by]: row["value"] for row in answer.json()["results"]}


def play(player: PlayerClient, number: int) -> None:
    bought = player.post(
        "/v1/store/purchases", {"offer": "koi", "quantity": 1}, idempotency_key=f"koi-{number}"
    )
    assert bought.status_code == 201, bought.content
    grown = player.post("/v1/stats", {"updates": [{"stat": "flowers_grown", "value": 3}]})
    assert grown.status_code == 200, grown.content
    scored = player.post("/v1/leaderboards/harvest/scores", {"score": 10 + number})
    assert scored.status_code == 201, scored.content


def test_day__figures_say_what_happened(garden: Game) -> None:
    reader = server_client_of(garden)
    players = [new_player(garden) for _ in range(3)]
    for number, player in enumerate(players[:2]):
        play(player, number)
    grant = {"reason": "event_prize", "currencies": {"gems": 40}}
    given = reader.post(f"/v1/players/{players[0].player_id}/grants", grant, idempotency_key="g")
    assert given.status_code == 201, given.content
    again = game_client_of(garden).post(
        "/v1/sessions/refresh", {"refresh": players[2].session["refresh"]}
    )
    assert again.status_code in (200, 201), again.content

    tasks.roll_up()

    assert metric(reader, "dau") == {"": 3}
    assert metric(reader, "new_players") == {"": 3}
    assert metric(reader, "sessions") == {"": 3}
    assert metric(reader, "purchases") == {"": 2}
    names = metric(reader, "events", "name")
    assert names["purchase"] == names["score"] == names["achievement_unlocked"] == 2


def test_day__currency_that_came_and_went_is_what_wallets_hold(garden: Game) -> None:
    reader = server_client_of(garden)
    players = [new_player(garden) for _ in range(3)]
    for number, player in enumerate(players):
        play(player, number)
    grant = {"reason": "event_prize", "currencies": {"gems": 40, "petals": 7}}
    reader.post(f"/v1/players/{players[0].player_id}/grants", grant, idempotency_key="g")

    tasks.roll_up()

    source = Counter(metric(reader, "currency_source", "currency"))
    source.subtract(metric(reader, "currency_sink", "currency"))
    held = (
        Balance.objects.filter(player__game=garden)
        .values_list("currency__key")
        .annotate(held=Sum("paid") + Sum("earned"))
    )
    assert dict(source) == dict(held)


def test_day__a_new_guest_comes_from_where_the_device_says(garden: Game) -> None:
    signed_in: Any = game_client_of(garden).post(
        "/v1/sessions",
        {
            "method": "device",
            "device_id": "a-device",
            "device_secret": "x" * 43,
            "create": True,
            "platform": "android",
            "app_version": "3.1",
            "country": "SE",
        },
    )
    assert signed_in.status_code == 201, signed_in.content

    for event in Event.objects.filter(name__in=("player_created", "session_start")):
        assert (event.platform, event.app_version, event.country) == ("android", "3.1", "SE")
