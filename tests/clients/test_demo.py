"""The demo, small, against the real application: its day has to end well."""

import random
from typing import Any

import pytest

from accounts.models import Game
from clients.python.demo import __main__ as demo
from clients.python.demo import checks
from clients.python.demo.people import make_people
from clients.python.demo.tally import Tally
from progress.models import Save, StatValue
from tests.factories.accounts import publishable_key, secret_key


@pytest.fixture
def play(garden: Game, live_server: Any, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Any:
    """Plays the demo with these arguments; returns its exit status."""
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, (100_000, 60))
    monkeypatch.setenv("EVENKEEL_GAME_KEY", publishable_key(garden))
    monkeypatch.setenv("EVENKEEL_SERVER_KEY", secret_key(garden))

    def run(*arguments: str) -> int:
        return demo.main(["--url", live_server.url, "--threads", "4", *arguments])

    return run


def test_demo__a_small_day__ends_well(play: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert play("--players", "25") == 0
    said = capsys.readouterr().out
    assert "Everything that the server confirmed is there, and the ranks are exact." in said
    assert "Cheats refused: score_out_of_bounds" in said
    assert Save.objects.count() > 10


def test_demo__control__a_lost_write_is_noticed(
    play: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_and_look(life: Any) -> list[str]:
        StatValue.objects.filter(player_id=life.phone.player_id).delete()
        return checks.missing_facts(life)

    monkeypatch.setattr(demo, "missing_facts", lose_and_look)
    assert play("--players", "3") == 1
    assert "flowers, the server has None" in capsys.readouterr().out


def test_demo__no_server__says_so(capsys: pytest.CaptureFixture[str]) -> None:
    status = demo.main(["--url", "http://127.0.0.1:9"])
    assert status == 2


def test_people__same_seed__same_day() -> None:
    first, second = (make_people(60, random.Random(3)) for _ in range(2))
    assert first == second
    assert {person.kind for person in first} == {"casual", "regular", "devoted", "cheater"}


def test_tally__counts() -> None:
    tally = Tally()
    tally.count("saves", 2)
    tally.refuse("limit_reached")
    tally.retry("unreachable")
    assert (tally.done["saves"], tally.refused["limit_reached"]) == (2, 1)
