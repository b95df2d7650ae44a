"""`manage.py simulate`: history through the services, on the days where it belongs."""

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import Game, Player
from accounts.services import game_files
from analytics.models import DailyFigure
from config.management.commands.simulate import chance_of_return
from tests.fixtures.api import new_player

pytestmark = pytest.mark.django_db(transaction=True)
EXAMPLE = Path(settings.BASE_DIR) / "examples" / "lantern_garden.yaml"


@pytest.fixture
def garden(settings: Any) -> Game:
    """The example game. The command lifts the limits of its process; the fixture puts them back."""
    settings.RATE_LIMITS = dict(settings.RATE_LIMITS)
    text = EXAMPLE.read_text(encoding="utf-8")
    game_files.apply(text=text, dry_run=False, new_server_key=False)
    return Game.objects.get(slug="lantern-garden")


def test_simulate__a_week__every_day_has_players_and_figures(garden: Game) -> None:
    new_player(garden)  # who is really here today, and stays here
    output = StringIO()
    call_command("simulate", weeks=1, players=2, stdout=output)
    lines = output.getvalue().splitlines()
    today = timezone.now().date()
    assert [line[:10] for line in lines[:7]] == [
        str(today - timedelta(days=ago)) for ago in range(6, -1, -1)
    ]
    figures = DailyFigure.objects.filter(game_id=garden.pk, split="")
    dau = dict(figures.filter(metric="dau").values_list("day", "value"))
    assert len(dau) == 7
    assert all(value >= 1 for value in dau.values())
    sessions = figures.filter(metric="sessions").values_list("value", flat=True)
    visits = sum(int(line.split(": ")[1].split()[0]) for line in lines[:7])
    assert sum(sessions) == visits + 1
    assert Player.objects.filter(created_at__date=today).count() > 1
    oldest = Player.objects.order_by("created_at").values_list("created_at", flat=True)[0]
    assert oldest.date() == today - timedelta(days=6)


def test_simulate__production__refused(garden: Game, settings: Any) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="development"):
        call_command("simulate", weeks=1)
    assert not Player.objects.exists()


def test_simulate__which_game__has_to_be_clear(garden: Game) -> None:
    Game.objects.create(slug="other", name="Other")
    for arguments, words in (
        ({}, "several games"),
        ({"game": "nothing"}, "no such game"),
        ({"game": "other", "weeks": 0}, "--weeks"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("simulate", **arguments)


def test_chance_of_return__falls_with_age() -> None:
    chances = [chance_of_return(age) for age in range(1, 500)]
    assert chances[:360] == sorted(chances[:360], reverse=True)
    assert chances[0] == 0.42
    assert chances[-1] == pytest.approx(0.04)
