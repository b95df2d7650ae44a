"""The store's sections of the game file."""

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.definition import Report
from accounts.models import Game
from accounts.services import game_files
from store import definition
from store.models import Currency, Item, Offer

pytestmark = pytest.mark.django_db

GARDEN: dict[str, Any] = {
    "game": {"slug": "lantern-garden", "name": "Lantern Garden", "timezone": "UTC"},
    "currencies": [
        {"key": "petals", "name": "Petals", "initial": 100, "max": 1000000000},
        {"key": "gems", "name": "Gems"},
    ],
    "items": [
        {"key": "koi", "name": "Koi", "kind": "durable"},
        {"key": "seed_pack", "name": "Seed pack", "kind": "consumable", "max_stack": 999},
    ],
    "offers": [
        {
            "key": "koi",
            "contents": {"items": {"koi": 1}},
            "price": {"petals": 50},
            "limit_per_player": 1,
        },
        {
            "key": "gems_small",
            "contents": {"currencies": {"gems": 100}},
            "products": {"apple": "com.v7games.garden.gems_small", "google": "gems_small"},
            "reference_price": {"currency": "USD", "minor_units": 99},
            "starts_at": "2026-01-01T00:00:00Z",
            "ends_at": "2027-01-01T00:00:00+01:00",
        },
    ],
}


def apply(data: dict[str, Any]) -> game_files.Applied:
    return game_files.apply(text=yaml.safe_dump(data))


def exported() -> dict[str, Any]:
    game = Game.objects.get(slug="lantern-garden")
    return {
        section.name: section.export(game)
        for section in (
            definition.CurrenciesSection(),
            definition.ItemsSection(),
            definition.OffersSection(),
        )
    }


def test_apply__new_game__all_is_made(db: None) -> None:
    applied = apply(GARDEN)
    assert applied.created == 7  # the game, two currencies, two items, two offers
    petals, gems = Currency.objects.order_by("id")
    assert (petals.initial, petals.max, gems.initial, gems.max) == (100, 10**9, 0, 2**63 - 1)
    koi, seeds = Item.objects.order_by("id")
    assert (koi.kind, seeds.kind, seeds.max_stack) == ("durable", "consumable", 999)
    offer = Offer.objects.get(key="gems_small")
    assert offer.products["google"] == "gems_small"
    assert (offer.reference_minor_units, offer.reference_currency) == (99, "USD")


def test_apply__what_was_exported__changes_nothing(db: None) -> None:
    apply(GARDEN)
    again = apply({"game": GARDEN["game"], **exported()})
    assert (again.created, again.changed, again.changes) == (0, 0, [])


def test_export__leaves_defaults_out(db: None) -> None:
    apply(GARDEN)
    out = exported()
    assert out["currencies"][1] == {"key": "gems", "name": "Gems"}
    assert out["items"][0] == {"key": "koi", "name": "Koi"}
    assert out["offers"][0] == GARDEN["offers"][0]
    assert out["offers"][1]["ends_at"] == "2026-12-31T23:00:00Z"


def test_apply__changed_and_missing__changed_and_archived(db: None) -> None:
    apply(GARDEN)
    changed = {
        "game": GARDEN["game"],
        "offers": [GARDEN["offers"][0] | {"price": {"petals": 60}}],
    }
    applied = apply(changed)
    assert [(c.kind, c.section, c.key) for c in applied.changes] == [
        ("changed", "offers", "koi"),
        ("removed", "offers", "gems_small"),
    ]
    assert Offer.objects.get(key="koi").price == {"petals": 60}
    assert not Offer.objects.get(key="gems_small").is_active
    assert Currency.objects.filter(is_active=True).count() == 2

    back = apply({"game": GARDEN["game"], "offers": GARDEN["offers"]})
    assert back.changed == 2
    assert Offer.objects.get(key="gems_small").is_active


@pytest.mark.parametrize(
    ("section", "entry", "pointer"),
    [
        ("currencies", {"key": "a", "name": "A", "initial": 5, "max": 4}, "/initial"),
        ("currencies", {"key": "a", "name": "A", "initial": -1}, "/initial"),
        ("currencies", {"key": "a", "name": "A", "initial": True}, "/initial"),
        ("currencies", {"key": "a", "name": "A", "max": 2**63}, "/max"),
        ("currencies", {"key": "A b", "name": "A"}, "/key"),
        ("currencies", {"key": "a"}, "/name"),
        ("currencies", {"key": "a", "name": "A", "colour": "red"}, "/colour"),
        ("items", {"key": "a", "name": "A", "kind": "eternal"}, "/kind"),
        ("items", {"key": "a", "name": "A", "max_stack": 0}, "/max_stack"),
        ("offers", {"key": "a", "price": {"petals": 1}}, "/contents"),
        ("offers", {"key": "a", "contents": {}, "price": {"petals": 1}}, "/contents"),
        ("offers", {"key": "a", "contents": {"items": {"koi": 1}}}, ""),
        (
            "offers",
            {"key": "a", "contents": {"items": {"cat": 1}}, "price": {"petals": 1}},
            "/contents/items/cat",
        ),
        (
            "offers",
            {"key": "a", "contents": {"currencies": {"gold": 1}}, "price": {"petals": 1}},
            "/contents/currencies/gold",
        ),
        (
            "offers",
            {"key": "a", "contents": {"items": {"koi": 1}}, "price": {"gold": 1}},
            "/price/gold",
        ),
        (
            "offers",
            {
                "key": "a",
                "contents": {"items": {"koi": 1}},
                "products": {f"p{n}": "x" for n in range(21)},
            },
            "/products",
        ),
        (
            "offers",
            {
                "key": "a",
                "contents": {"items": {"koi": 1}},
                "price": {"petals": 1},
                "starts_at": "2027-01-01T00:00:00Z",
                "ends_at": "2026-01-01T00:00:00Z",
            },
            "/ends_at",
        ),
        (
            "offers",
            {
                "key": "a",
                "contents": {"items": {"koi": 1}},
                "price": {"petals": 1},
                "starts_at": "2027-01-01T00:00:00",
            },
            "/starts_at",
        ),
    ],
)
def test_apply__with_a_mistake__says_where_and_changes_nothing(
    section: str, entry: dict[str, Any], pointer: str
) -> None:
    data = GARDEN | {section: [*GARDEN[section], entry]}
    with pytest.raises(game_files.DefinitionError) as refused:
        apply(data)
    assert [finding.pointer for finding in refused.value.findings] == [f"/{section}/2{pointer}"]
    assert not Currency.objects.exists()


def test_apply__more_than_a_game_may_have__refused(settings: Any) -> None:
    settings.STORE_MAX_CURRENCIES = 1
    settings.STORE_MAX_CONTENTS = 0
    with pytest.raises(game_files.DefinitionError) as refused:
        apply(GARDEN)
    pointers = {finding.pointer for finding in refused.value.findings}
    assert {"/currencies", "/offers/0/contents/items"} <= pointers


def test_apply__offers_alone__may_name_what_the_database_has(db: None) -> None:
    apply(GARDEN)
    Item.objects.filter(key="koi").update(is_active=False)
    with pytest.raises(game_files.DefinitionError) as refused:
        apply({"game": GARDEN["game"], "offers": GARDEN["offers"]})
    assert refused.value.findings[0].message == "The game has no item koi"


def test_content_write__nothing_to_write__version_stays(game: Game) -> None:
    from store.services import content

    content.write(model=Currency, game_id=game.pk, writes={})
    game.refresh_from_db()
    assert game.definition_version == 1


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "name", "contents", "price", "items", "petals", "products"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(ANYTHING, max_size=3))
def test_plan__whatever_the_file_says__reports_and_never_fails(game: Game, data: list[Any]) -> None:
    for section in (
        definition.CurrenciesSection(),
        definition.ItemsSection(),
        definition.OffersSection(),
    ):
        section.plan(game, data, Report())
