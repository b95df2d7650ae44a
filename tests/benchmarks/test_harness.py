"""The benchmark's parts that can be tried without loading anything."""

import os
from pathlib import Path

import pytest

from accounts.services import game_files
from benchmarks import load, meter, report
from benchmarks.scenarios import FLOOR, SCENARIOS, Scenario
from benchmarks.seed import GAME
from benchmarks.stack import Server

pytestmark = pytest.mark.once


def a_run(requests: int, **errors: int) -> load.Run:
    return load.Run(
        requests=requests,
        seconds=2.0,
        p50_ms=1.0,
        p90_ms=2.0,
        p99_ms=3.0,
        max_ms=9.0,
        errors={"connect": 0, "status": 0, **errors},
        cpu_us={"web": 100.0, "database": 50.0, "redis": 10.0},
    )


def test_every_scenario__has_a_script() -> None:
    names = {path.stem for path in load.LUA.glob("*.lua")} - {"common"}
    assert names == {scenario.name for scenario in (FLOOR, *SCENARIOS)}


@pytest.mark.django_db
def test_game__is_taken() -> None:
    game_files.apply(text=GAME.read_text(), dry_run=False, new_server_key=False)


def test_result__is_the_median_and_counts_every_error() -> None:
    result = report.Result(
        Scenario("x", "x", factor=100),
        "granian",
        [a_run(200), a_run(400, status=1), a_run(300)],
        [a_run(1000), a_run(1200, connect=2), a_run(1100)],
    )
    assert result.rate == 15_000
    assert result.share_of_floor == pytest.approx(300 / 1100)
    assert result.errors == 3
    assert result.value("web") == 100.0
    assert result.value("p99_ms") == 3.0
    table = report.table([result], {"cores": 2})
    assert "| granian | x | 15,000 | 27.3% |" in table


def test_result__is_written_for_people_and_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    about = report.conditions({"PostgreSQL": "15"}, {"load": "little"})
    path = report.write([report.Result(FLOOR, "gunicorn", [a_run(1)], [a_run(1)])], about, "tried")
    assert "PostgreSQL" in path.read_text()
    assert '"rate": 0.5' in path.with_suffix(".json").read_text()


def test_meter__sees_what_a_process_uses() -> None:
    own = os.getpid()
    before = meter.read({"own": own})
    total = sum(number * number for number in range(2_000_000))
    used = meter.read({"own": own}).since(before)
    assert total > 0
    assert used.groups["own"] > 0
    assert meter.memory_megabytes(own) > 1
    assert meter.cpu_seconds(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("granian", "granian"), ("gunicorn", "gthread"), ("gunicorn-sync", "sync")],
)
def test_server__is_started_with_its_settings(kind: str, expected: str) -> None:
    command = Server(kind, "benchmarks.floor:application", 2, 8, {}).command()
    assert expected in command
    assert command[-1] == "benchmarks.floor:application"
