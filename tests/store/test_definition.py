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
from store.catalogue import catalogue
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


# All that content can say, as it is exported: defaults left out.
RICH: dict[str, Any] = {
    "game": GARDEN["game"] | {"timezone": "Europe/Berlin"},
    "currencies": GARDEN["currencies"],
    "items": [
        {"key": "koi", "name": "Koi", "titles": {"de": "Koi"}, "properties": {"rarity": "rare"}},
        {
            "key": "starter",
            "name": "Starter",
            "kind": "bundle",
            "contents": {"currencies": {"gems": 5}, "items": {"koi": 2}},
            "descriptions": {"en": "To begin with"},
        },
    ],
    "offers": [
        {"key": "koi", "contents": {"items": {"koi": 1}}, "price": {"petals": 50}},
        {
            "key": "starter",
            "contents": {"items": {"starter": 1}},
            "prices": [{"petals": 500}, {"gems": 50}, {"petals": 100, "gems": 10}],
            "limit_per_player": 3,
            "limit_reset": "0 0 * * 1",
            "cooldown_seconds": 3600,
            "schedule": {"cron": "0 18 * * *", "duration_seconds": 7200},
            "requires": {
                "stats": {"level": 10},
                "offers": ["koi"],
                "countries_except": ["JP"],
                "app_version": "2.1",
                "segments": ["new_player"],
            },
            "sale": {"percent": 25, "ends_at": "2027-01-01T00:00:00Z"},
            "titles": {"de": "Paket", "en": "Pack"},
            "descriptions": {"en": "All of it"},
            "properties": {"badge": "new", "order": 1.5, "shown": True},
            "listed": False,
            "giftable": True,
        },
    ],
    "stores": [
        {
            "key": "winter",
            "offers": [{"offer": "starter", "price": {"gems": 40}}, {"offer": "koi"}],
        }
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
            definition.StoresSection(),
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


def test_export__all_that_content_can_say__is_what_was_applied(db: None) -> None:
    assert apply(RICH).created == 8
    out = exported()
    assert {name: out[name] for name in ("items", "offers", "stores")} == {
        name: RICH[name] for name in ("items", "offers", "stores")
    }
    again = game_files.apply(text=game_files.export(slug="lantern-garden"))
    assert (again.created, again.changed) == (0, 0)


def with_pond(**fields: Any) -> dict[str, Any]:
    pond = {"key": "pond", "contents": {"items": {"koi": 1}}, "price": {"petals": 5}} | fields
    return RICH | {"offers": [*RICH["offers"], pond]}


def with_item(**fields: Any) -> dict[str, Any]:
    return RICH | {"items": [*RICH["items"], {"key": "more", "name": "More"} | fields]}


def with_store(*offers: dict[str, Any]) -> dict[str, Any]:
    return RICH | {"stores": [{"key": "winter", "offers": list(offers)}]}


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (with_pond(prices=[{"gems": 1}]), "/offers/2/prices"),
        (with_pond(price={}, prices=[{"gems": 1}, {}]), "/offers/2/prices"),
        (with_pond(price={}, prices=[{"gems": 1}, {"gems": 2}]), "/offers/2/prices"),
        (with_pond(price={}, prices=[{"gold": 1}]), "/offers/2/prices/0/gold"),
        (with_pond(limit_reset="0 0 * * *"), "/offers/2/limit_reset"),
        (with_pond(limit_per_player=1, limit_reset="daily"), "/offers/2/limit_reset"),
        (with_pond(cooldown_seconds=0), "/offers/2/cooldown_seconds"),
        (with_pond(schedule={"cron": "0 18 * * *"}), "/offers/2/schedule/duration_seconds"),
        (with_pond(schedule={"cron": "x", "duration_seconds": 1}), "/offers/2/schedule/cron"),
        (with_pond(sale={}), "/offers/2/sale"),
        (with_pond(sale={"percent": 5, "price": {"petals": 1}}), "/offers/2/sale"),
        (with_pond(sale={"percent": 100}), "/offers/2/sale/percent"),
        (with_pond(sale={"price": {"petals": 5}}), "/offers/2/sale/price"),
        (with_pond(sale={"price": {"gems": 1}}), "/offers/2/sale/price"),
        (
            with_pond(price={}, prices=[{"petals": 5}, {"gems": 1}], sale={"price": {"gems": 1}}),
            "/offers/2/sale/price",
        ),
        (
            with_pond(
                sale={
                    "percent": 5,
                    "starts_at": "2027-01-01T00:00:00Z",
                    "ends_at": "2026-01-01T00:00:00Z",
                }
            ),
            "/offers/2/sale/ends_at",
        ),
        (with_pond(requires={"offers": ["cat"]}), "/offers/2/requires/offers/cat"),
        (with_pond(requires={"offers": ["pond"]}), "/offers/2/requires/offers"),
        (with_pond(requires={"segments": ["whales"]}), "/offers/2/requires/segments/whales"),
        (with_pond(requires={"app_version": "two"}), "/offers/2/requires/app_version"),
        (
            with_pond(requires={"countries": ["DE"], "countries_except": ["JP"]}),
            "/offers/2/requires/countries_except",
        ),
        (with_pond(titles={"English": "Pond"}), "/offers/2/titles"),
        (with_pond(properties={f"p{n}": n for n in range(21)}), "/offers/2/properties"),
        (with_pond(properties={"list": [1]}), "/offers/2/properties/..."),
        (
            with_pond(properties={f"p{n}": "x" * 200 for n in range(20)}),
            "/offers/2/properties",
        ),
        (with_pond(properties={"nan": float("nan")}), "/offers/2/properties"),
        (with_pond(contents={"items": {"starter": 1_000_000}}), None),
        (with_item(contents={"items": {"koi": 1}}), "/items/2/contents"),
        (with_item(kind="bundle"), "/items/2/contents"),
        (with_item(kind="bundle", contents={"items": {"cat": 1}}), "/items/2/contents/items/cat"),
        (with_item(kind="bundle", contents={"items": {"more": 1}}), "/items/2/contents/items"),
        (with_store({"offer": "cat"}), "/stores/0/offers/0/offer"),
        (with_store({"offer": "koi"}, {"offer": "koi"}), "/stores/0/offers/1/offer"),
        (with_store({"offer": "koi", "price": {"gold": 1}}), "/stores/0/offers/0/price/gold"),
    ],
)
def test_apply__rich_content_with_a_mistake__says_where(
    data: dict[str, Any], pointer: str | None
) -> None:
    if pointer is None:
        assert apply(data).created
        return
    with pytest.raises(game_files.DefinitionError) as refused:
        apply(data)
    assert [finding.pointer for finding in refused.value.findings][:1] == [pointer]
    assert not Offer.objects.exists()


def test_apply__bundles_too_deep__refused_and_as_deep_as_may_be_taken(db: None) -> None:
    def nested(depth: int) -> dict[str, Any]:
        bundles = [
            {
                "key": f"b{level}",
                "name": "B",
                "kind": "bundle",
                "contents": {"items": {f"b{level + 1}" if level < depth else "koi": 2}},
            }
            for level in range(1, depth + 1)
        ]
        offer = {"key": "deep", "contents": {"items": {"b1": 1}}, "price": {"petals": 1}}
        return RICH | {
            "items": [*RICH["items"], *bundles],
            "offers": [*RICH["offers"], offer],
        }

    with pytest.raises(game_files.DefinitionError):
        apply(nested(5))
    apply(nested(4))
    game = Game.objects.get(slug="lantern-garden")
    assert catalogue(game.pk).offers["deep"].items == {"koi": 16}


def test_apply__drafts_of_designers__stay_drafts(db: None) -> None:
    apply(RICH)
    Offer.objects.filter(key="koi").update(draft={"price": {"petals": 1}})
    apply(RICH | {"offers": [RICH["offers"][0] | {"limit_per_player": 1}, RICH["offers"][1]]})
    row = Offer.objects.get(key="koi")
    assert (row.limit_per_player, row.draft) == (1, {"price": {"petals": 1}})
    assert "draft" not in yaml.safe_load(game_files.export(slug="lantern-garden"))["offers"][0]


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
        definition.StoresSection(),
    ):
        section.plan(game, data, Report())
