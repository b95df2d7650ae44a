"""The sections `stats` and `achievements` of a game's file."""

from typing import Any

import pytest

from accounts.definition import Report
from progress.definition import AchievementsSection, StatsSection
from progress.models import Achievement, Stat
from progress.selectors import content

pytestmark = pytest.mark.django_db
STATS: list[Any] = [
    {
        "key": "flowers",
        "name": "Flowers",
        "aggregation": "sum",
        "min": 0,
        "max": 1000,
        "max_step": 10,
        "rate": {"amount": 100, "seconds": 3600},
        "writer": "server",
    },
    {"key": "record", "aggregation": "max"},
]
ACHIEVEMENTS: list[Any] = [
    {
        "key": "bloom",
        "name": "Bloom",
        "description": "One flower",
        "stat": "flowers",
        "threshold": 1,
        "reward": {"currencies": {"petals": 10}, "items": {"koi": 1}},
    },
    {"key": "tea", "name": "Tea", "threshold": 4, "hidden": True, "reportable": True},
]


def plan(game: Any, section: Any, data: list[Any], *, apply: bool = True, **keys: Any) -> Report:
    report = Report(keys={"currencies": {"petals"}, "items": {"koi"}, **keys})
    act = section.plan(game, data, report)
    if apply and not report.errors:
        act()
    return report


def changes(report: Report) -> list[tuple[str, str]]:
    return [(change.kind, change.key) for change in report.changes]


def test_apply__both_sections__are_there_and_export_the_same(game: Any) -> None:
    report = plan(game, StatsSection(), STATS)
    assert changes(report) == [("created", "flowers"), ("created", "record")]
    assert report.keys["stats"] == {"flowers", "record"}
    report = plan(game, AchievementsSection(), ACHIEVEMENTS, stats={"flowers", "record"})
    assert changes(report) == [("created", "bloom"), ("created", "tea")]

    loaded = content.get(game.pk)
    assert loaded.stats["flowers"].rate_amount == 100
    assert [rule.key for rule in loaded.by_stat[loaded.stats["flowers"].id]] == ["bloom"]
    assert StatsSection().export(game) == STATS
    exported = AchievementsSection().export(game)
    assert exported == [
        {key: value for key, value in ACHIEVEMENTS[0].items() if key != "threshold"},
        ACHIEVEMENTS[1],
    ]
    assert not plan(game, StatsSection(), STATS).changes
    keys = StatsSection().known_keys(game)
    assert not plan(game, AchievementsSection(), exported, stats=keys).changes
    assert AchievementsSection().known_keys(game) == {"bloom", "tea"}


def test_apply__changed_and_left_out__changed_and_archived(game: Any) -> None:
    plan(game, StatsSection(), STATS)
    version = type(game).objects.get(pk=game.pk).definition_version
    report = plan(game, StatsSection(), [{**STATS[0], "max": 2000}])
    assert changes(report) == [("changed", "flowers"), ("removed", "record")]
    assert report.changes[0].detail == "maximum"
    assert not Stat.objects.get(key="record").is_active
    assert type(game).objects.get(pk=game.pk).definition_version == version + 1
    report = plan(game, StatsSection(), STATS)
    assert changes(report) == [("changed", "flowers"), ("changed", "record")]
    assert Stat.objects.get(key="record").is_active


def test_apply__achievements_in_another_order__are_moved(game: Any) -> None:
    stats = {"flowers", "record"}
    plan(game, StatsSection(), STATS)
    plan(game, AchievementsSection(), ACHIEVEMENTS, stats=stats)
    report = plan(game, AchievementsSection(), ACHIEVEMENTS[::-1], stats=stats)
    assert {change.detail for change in report.changes} == {"position"}
    assert list(Achievement.objects.values_list("key", flat=True)) == ["tea", "bloom"]


def test_plan__without_applying__changes_nothing(game: Any) -> None:
    assert plan(game, StatsSection(), STATS, apply=False).changes
    assert not Stat.objects.exists()


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"key": "a"}, "/stats/0/aggregation"),
        ({"key": "a", "aggregation": "avg"}, "/stats/0/aggregation"),
        ({"key": "A!", "aggregation": "sum"}, "/stats/0/key"),
        ({"key": "a", "aggregation": "sum", "color": 1}, "/stats/0/color"),
        ({"key": "a", "aggregation": "max", "min": 5, "max": 4}, "/stats/0/min"),
        ({"key": "a", "aggregation": "sum", "min": 1}, "/stats/0/min"),
        ({"key": "a", "aggregation": "sum", "max_step": 0}, "/stats/0/max_step"),
        ({"key": "a", "aggregation": "sum", "rate": {"amount": 1}}, "/stats/0/rate/seconds"),
        ({"key": "a", "aggregation": "sum", "max": 2**63}, "/stats/0/max"),
        ("a", "/stats/0"),
    ],
)
def test_plan__mistaken_stat__is_pointed_to(game: Any, entry: Any, pointer: str) -> None:
    report = plan(game, StatsSection(), [entry])
    assert [finding.pointer for finding in report.errors] == [pointer]


def test_plan__key_twice_or_too_many__are_mistakes(game: Any) -> None:
    report = plan(game, StatsSection(), [STATS[1], STATS[1]])
    assert [finding.pointer for finding in report.errors] == ["/stats/1/key"]
    many = [{"key": f"s{number}", "aggregation": "sum"} for number in range(501)]
    assert [finding.pointer for finding in plan(game, StatsSection(), many).errors] == ["/stats"]


def test_plan__other_aggregation_than_before__is_a_mistake(game: Any) -> None:
    plan(game, StatsSection(), STATS)
    report = plan(game, StatsSection(), [{"key": "record", "aggregation": "min"}])
    assert [finding.pointer for finding in report.errors] == ["/stats/0/aggregation"]


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"key": "a"}, "/achievements/0/name"),
        ({"stat": "nothing"}, "/achievements/0/stat"),
        ({"stat": "flowers", "reportable": True}, "/achievements/0/reportable"),
        ({"threshold": 0}, "/achievements/0/threshold"),
        (
            {"reward": {"currencies": {"gold": 1}}},
            "/achievements/0/reward/currencies/gold",
        ),
        ({"reward": {"items": {"sword": 1}}}, "/achievements/0/reward/items/sword"),
        ({"reward": {"items": {"koi": 0}}}, "/achievements/0/reward/items/..."),
    ],
)
def test_plan__mistaken_achievement__is_pointed_to(game: Any, entry: Any, pointer: str) -> None:
    entry = entry if entry == {"key": "a"} else {"key": "a", "name": "A", **entry}
    report = plan(game, AchievementsSection(), [entry], stats={"flowers"})
    assert [finding.pointer for finding in report.errors] == [pointer]
