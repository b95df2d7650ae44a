"""Campaigns and thresholds in the game file."""

import json
from typing import Any

import pytest
import yaml

from accounts.models import Game
from accounts.services import game_files
from store.models import Campaign, GrantThreshold
from store.services import campaigns
from tests.factories.store import CampaignFactory

pytestmark = pytest.mark.django_db

GARDEN: dict[str, Any] = {
    "game": {"slug": "lantern-garden", "name": "Lantern Garden", "timezone": "UTC"},
    "currencies": [{"key": "gems", "name": "Gems"}],
    "items": [{"key": "koi", "name": "Koi"}],
    "campaigns": [
        {
            "key": "spring",
            "title": "Spring",
            "contents": {"currencies": {"gems": 10}, "items": {"koi": 1}},
            "words": ["SPRING2026", "lotus"],
            "max_redemptions": 1000,
            "limit_per_player": 2,
            "countries": ["DE"],
            "new_player_days": 7,
            "starts_at": "2026-01-01T00:00:00Z",
            "ends_at": "2027-01-01T00:00:00+01:00",
        },
        {"key": "fair", "title": "Fair", "contents": {"items": {"koi": 1}}},
    ],
    "grant_thresholds": [{"currency": "gems", "amount": 100}, {"item": "koi", "amount": 0}],
}


def changed(**sections: Any) -> dict[str, Any]:
    return GARDEN | sections


def apply(data: dict[str, Any], *, dry_run: bool = False) -> game_files.Applied:
    # JSON is YAML, without the aliases that PyYAML makes of what it meets twice.
    return game_files.apply(text=json.dumps(data), dry_run=dry_run)


def test_apply__twice__second_time_changes_nothing() -> None:
    assert apply(GARDEN).created > 0
    again = apply(GARDEN)
    assert (again.created, again.changed, again.changes) == (0, 0, [])
    row = Campaign.objects.get(key="spring")
    assert campaigns.words_of(campaign=row) == ["SPRING2026", "lotus"]
    assert (row.max_redemptions, row.countries, row.new_player_days) == (1000, ["DE"], 7)
    assert [(row.what, row.amount) for row in GrantThreshold.objects.order_by("id")] == [
        (("currencies", "gems"), 100),
        (("items", "koi"), 0),
    ]


def test_export__applied__changes_nothing() -> None:
    apply(GARDEN)
    text = game_files.export(slug="lantern-garden")
    data = yaml.safe_load(text)
    assert data["campaigns"][1] == GARDEN["campaigns"][1]
    assert data["grant_thresholds"] == GARDEN["grant_thresholds"]
    assert game_files.apply(text=text).changes == []


def test_apply__changed__words_thresholds_and_archived() -> None:
    apply(GARDEN)
    spring = GARDEN["campaigns"][0] | {"words": ["lotus", "IRIS"], "max_redemptions": None}
    report = apply(
        changed(campaigns=[spring], grant_thresholds=[{"currency": "gems", "amount": 5}])
    )
    assert {(change.kind, change.section, change.key) for change in report.changes} == {
        ("changed", "campaigns", "spring"),
        ("removed", "campaigns", "fair"),
        ("changed", "grant_thresholds", "gems"),
        ("removed", "grant_thresholds", "koi"),
    }
    row = Campaign.objects.get(key="spring")
    assert campaigns.words_of(campaign=row) == ["lotus", "IRIS"]
    assert not Campaign.objects.get(key="fair").is_active
    assert GrantThreshold.objects.get().amount == 5


def test_apply__dry_run__leaves_nothing() -> None:
    assert apply(GARDEN, dry_run=True).created > 0
    assert not Game.objects.exists()
    assert not Campaign.objects.exists()


SPRING = GARDEN["campaigns"][0]


@pytest.mark.parametrize(
    ("sections", "pointer"),
    [
        ({"campaigns": [SPRING | {"contents": {"items": {"cat": 1}}}]}, "contents/items/cat"),
        ({"campaigns": [SPRING | {"contents": {}}]}, "/campaigns/0/contents"),
        ({"campaigns": [SPRING | {"words": ["what?"]}]}, "/campaigns/0/words"),
        ({"campaigns": [SPRING | {"words": ["abc"]}]}, "/campaigns/0/words/0"),
        ({"campaigns": [SPRING, SPRING | {"key": "two"}]}, "/campaigns/1/words"),
        ({"campaigns": [SPRING | {"countries": ["de"]}]}, "/campaigns/0/countries/0"),
        ({"campaigns": [SPRING | {"ends_at": "2020-01-01T00:00:00Z"}]}, "/campaigns/0/ends_at"),
        ({"campaigns": [SPRING | {"limit_per_player": 0}]}, "limit_per_player"),
        ({"grant_thresholds": [{"amount": 1}]}, "/grant_thresholds/0"),
        ({"grant_thresholds": [{"amount": 1, "item": "cat"}]}, "/grant_thresholds/0"),
        (
            {"grant_thresholds": [{"amount": 1, "item": "koi", "currency": "gems"}]},
            "/grant_thresholds/0",
        ),
        ({"grant_thresholds": [{"amount": 1, "item": "koi"}] * 2}, "/grant_thresholds/1"),
        ({"grant_thresholds": [{"amount": -1, "item": "koi"}]}, "/grant_thresholds/0/amount"),
    ],
)
def test_apply__mistakes__pointed_at(sections: dict[str, Any], pointer: str) -> None:
    with pytest.raises(game_files.DefinitionError) as refused:
        apply(changed(**sections))
    assert any(pointer in finding.pointer for finding in refused.value.findings)


def test_apply__word_of_another_campaign_in_the_database__pointed_at() -> None:
    apply(GARDEN)
    other = CampaignFactory(game=Game.objects.get(), key="old", is_active=False)
    campaigns.set_words(campaign=other, words=["OLDWORD"])
    with pytest.raises(game_files.DefinitionError) as refused:
        apply(changed(campaigns=[SPRING | {"words": ["old-word"]}]))
    assert refused.value.findings[0].pointer == "/campaigns/0/words"
