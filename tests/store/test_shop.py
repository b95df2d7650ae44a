"""What offers can say: alternatives, sales, schedules, limits, requirements, texts, stores."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import Player, Session
from config.db import definitions
from progress.models import StatValue
from store.catalogue import catalogue
from store.models import Item, Offer, OfferUse, Storefront
from store.services import shoppers, verification
from store.shop import text_for
from tests.factories.progress import StatFactory
from tests.factories.store import ItemFactory, OfferFactory, give
from tests.fixtures.api import PlayerClient, assert_problem
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db
COMMITTED = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)


def buy(client: PlayerClient, offer: str, key: str = "", app: str = "", **body: Any) -> Any:
    headers = {"x_app_version": app} if app else {}
    return client.post(
        "/v1/store/purchases",
        {"offer": offer, **body},
        idempotency_key=key or uuid.uuid4().hex,
        **headers,
    )


def listed(client: PlayerClient, query: str = "", **headers: str) -> dict[str, Any]:
    answer = client.get(f"/v1/store/offers{query}", **headers)
    assert answer.status_code == 200, answer.content
    return {row["key"]: row for row in answer.json()["results"]}


def change(row: Any, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    definitions.changed(row.game_id)


def pond(shop: Shop, **fields: Any) -> Any:
    """An offer of a koi for 50 petals, with what the test is about."""
    told = {"key": "pond", "contents": {"items": {"koi": 1}}, "price": {"petals": 50}}
    return OfferFactory(game=shop.game, **told | fields)


# Prices


def test_alternatives__the_player_chooses_by_currency(
    shop: Shop, player_client: PlayerClient
) -> None:
    pond(shop, other_prices=[{"gems": 5}, {"petals": 10, "gems": 2}])
    give(player_client.player_id, {"gems": 7})
    row = listed(player_client)["pond"]
    assert row["price"] == {"petals": 50}
    assert row["prices"] == [{"petals": 50}, {"gems": 5}, {"petals": 10, "gems": 2}]

    paid = [
        buy(player_client, "pond", **body).json()["price"]
        for body in (
            {"expected_price": {"petals": 50}},
            {"pay_with": ["gems"], "expected_price": {"gems": 5}},
            {"pay_with": ["gems", "petals"]},
        )
    ]
    assert paid == [{"petals": 50}, {"gems": 5}, {"petals": 10, "gems": 2}]
    assert balance_of(player_client.player_id, "petals") == (0, 40)
    assert balance_of(player_client.player_id, "gems") == (0, 0)


def test_alternatives__none_in_these_currencies__price_changed(
    shop: Shop, player_client: PlayerClient
) -> None:
    pond(shop, other_prices=[{"gems": 5}])
    problem = assert_problem(
        buy(player_client, "pond", pay_with=["petals", "gems"]), 409, "price_changed"
    )
    assert problem["prices"] == [{"petals": 50}, {"gems": 5}]
    wrong = buy(player_client, "pond", pay_with=["gems"], expected_price={"petals": 50})
    assert assert_problem(wrong, 409, "price_changed")["price"] == {"gems": 5}


def test_sale__percent__lower_prices_beside_the_regular_ones(
    shop: Shop, player_client: PlayerClient
) -> None:
    now = datetime.now(UTC)
    ends_at = (now + DAY).isoformat()
    pond(shop, other_prices=[{"gems": 5}], sale={"percent": 30, "ends_at": ends_at})
    row = listed(player_client)["pond"]
    assert (row["price"], row["regular_price"]) == ({"petals": 35}, {"petals": 50})
    # 3.5 gems are 4: a sale rounds in the game's favour.
    assert row["prices"] == [{"petals": 35}, {"gems": 4}]
    assert row["regular_prices"] == [{"petals": 50}, {"gems": 5}]
    assert row["sale_ends_at"].endswith("Z")

    stale = buy(player_client, "pond", expected_price={"petals": 50})
    assert assert_problem(stale, 409, "price_changed")["price"] == {"petals": 35}
    bought = buy(player_client, "pond", expected_price={"petals": 35})
    assert bought.json()["price"] == {"petals": 35}


@pytest.mark.parametrize(("starts", "ends"), [(1, 2), (-2, -1)])
def test_sale__not_on__the_regular_price(
    shop: Shop, player_client: PlayerClient, starts: int, ends: int
) -> None:
    now = datetime.now(UTC)
    window = {
        "starts_at": (now + starts * DAY).isoformat(),
        "ends_at": (now + ends * DAY).isoformat(),
    }
    pond(shop, sale={"price": {"petals": 10}, **window})
    row = listed(player_client)["pond"]
    assert row["price"] == {"petals": 50}
    assert "regular_price" not in row


def test_price_during_a_sale__repeated_after_it__first_outcome(
    shop: Shop, player_client: PlayerClient
) -> None:
    row = pond(shop, sale={"price": {"petals": 10}})
    first = buy(player_client, "pond", key="k", expected_price={"petals": 10})
    change(row, sale=None)
    again = buy(player_client, "pond", key="k", expected_price={"petals": 10})
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()


# Schedules


def test_schedule__opens_again_and_again_in_the_games_time(shop: Shop) -> None:
    shop.game.timezone = "Europe/Berlin"
    shop.game.save()
    pond(shop)
    opening = opening_at(shop, "0 20 * * 5", 7200, "2026-07-03T18:00:00")
    assert opening == ("2026-07-03T18:00:00+00:00", "2026-07-03T20:00:00+00:00")
    assert opening_at(shop, "0 20 * * 5", 7200, "2026-07-03T17:59:59") is None
    assert opening_at(shop, "0 20 * * 5", 7200, "2026-07-03T20:00:00") is None
    # In winter 20:00 in Berlin is 19:00 UTC.
    assert opening_at(shop, "0 20 * * 5", 7200, "2026-12-04T18:30:00") is None
    winter = opening_at(shop, "0 20 * * 5", 7200, "2026-12-04T19:30:00")
    assert winter == ("2026-12-04T19:00:00+00:00", "2026-12-04T21:00:00+00:00")


def opening_at(shop: Shop, cron: str, seconds: int, moment: str) -> tuple[str, str] | None:
    """When the pond opened and closes, asked at `moment` (UTC)."""
    change(
        Offer.objects.get(game=shop.game, key="pond"),
        schedule={"cron": cron, "duration_seconds": seconds},
    )
    offer = catalogue(shop.game.pk).offers["pond"]
    opening = offer.opening(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    if opening is None:
        return None
    starts_at, ends_at = opening
    assert starts_at is not None
    assert ends_at is not None
    return starts_at.isoformat(), ends_at.isoformat()


def test_schedule__closed__neither_listed_nor_sold(shop: Shop, player_client: PlayerClient) -> None:
    far = datetime.now(UTC) + timedelta(days=40)
    pond(shop, schedule={"cron": f"0 0 {far.day} {far.month} *", "duration_seconds": 60})
    assert "pond" not in listed(player_client)
    assert_problem(buy(player_client, "pond"), 409, "offer_not_available")


def test_schedule__open__the_window_is_that_of_this_opening(
    shop: Shop, player_client: PlayerClient
) -> None:
    ends_at = datetime.now(UTC) + timedelta(seconds=20)
    pond(shop, ends_at=ends_at, schedule={"cron": "* * * * *", "duration_seconds": 86400})
    row = listed(player_client)["pond"]
    assert row["starts_at"] is not None
    assert row["ends_at"] == ends_at.isoformat().replace("+00:00", "Z")
    assert buy(player_client, "pond").status_code == 201


# Limits


def test_limit_with_reset__counts_anew_in_each_period(
    shop: Shop, player_client: PlayerClient
) -> None:
    row = pond(shop, price={"petals": 1}, limit_per_player=2, limit_reset="0 0 * * *")
    assert buy(player_client, "pond", quantity=2).status_code == 201
    shown = listed(player_client)["pond"]
    assert shown["left"] == 0
    assert datetime.fromisoformat(shown["resets_at"]) > datetime.now(UTC)
    assert assert_problem(buy(player_client, "pond"), 409, "limit_reached")["left"] == 0

    # As if it had been yesterday.
    OfferUse.objects.filter(offer=row).update(last_at=datetime.now(UTC) - DAY)
    assert listed(player_client)["pond"]["left"] == 2
    assert buy(player_client, "pond").status_code == 201
    assert assert_problem(buy(player_client, "pond", quantity=2), 409, "limit_reached")["left"] == 1
    use = OfferUse.objects.get(offer=row)
    assert (use.quantity, use.period_quantity) == (3, 1)
    assert list(verification.verify()) == []


def test_reset_taken_away__all_that_was_ever_bought_counts(
    shop: Shop, player_client: PlayerClient
) -> None:
    row = pond(shop, price={"petals": 1}, limit_per_player=2, limit_reset="0 0 * * *")
    buy(player_client, "pond")
    OfferUse.objects.filter(offer=row).update(last_at=datetime.now(UTC) - DAY)
    buy(player_client, "pond")
    change(row, limit_reset="")
    assert listed(player_client)["pond"]["left"] == 0
    assert_problem(buy(player_client, "pond"), 409, "limit_reached")


def test_cooldown__says_when_and_counts_from_the_last_purchase(
    shop: Shop, player_client: PlayerClient
) -> None:
    row = pond(shop, price={"petals": 1}, cooldown_seconds=3600)
    assert "available_at" not in listed(player_client)["pond"]
    first = buy(player_client, "pond", key="k")
    assert first.status_code == 201
    answer = buy(player_client, "pond")
    problem = assert_problem(answer, 409, "cooling_down")
    assert 3590 <= int(answer["Retry-After"]) <= 3600
    assert problem["available_at"].endswith("Z")
    assert listed(player_client)["pond"]["available_at"].endswith("Z")
    assert buy(player_client, "pond", key="k").json() == first.json()

    OfferUse.objects.filter(offer=row).update(last_at=datetime.now(UTC) - timedelta(hours=1))
    assert "available_at" not in listed(player_client)["pond"]
    assert buy(player_client, "pond").status_code == 201


# Requirements


def refused(client: PlayerClient, requirement: str, **headers: Any) -> None:
    assert "pond" not in listed(client)
    problem = assert_problem(buy(client, "pond", **headers), 409, "requirement_not_met")
    assert problem["requirement"] == requirement


def accepted(client: PlayerClient) -> None:
    assert "pond" in listed(client)
    assert buy(client, "pond").status_code == 201


def test_requires_stat__as_high_as_that(shop: Shop, player_client: PlayerClient) -> None:
    stat = StatFactory(game=shop.game, key="level")
    definitions.changed(shop.game.pk)
    pond(shop, requires={"stats": {"level": 10}})
    refused(player_client, "stat")
    now = datetime.now(UTC)
    value = StatValue.objects.create(
        player_id=player_client.player_id, stat=stat, value=9, spent_at=now, updated_at=now
    )
    refused(player_client, "stat")
    StatValue.objects.filter(player_id=value.player_id).update(value=10)
    accepted(player_client)


def test_requires_offer__bought_before(shop: Shop, player_client: PlayerClient) -> None:
    pond(shop, price={"petals": 1}, requires={"offers": ["koi"]})
    refused(player_client, "offer")
    assert buy(player_client, "koi").status_code == 201
    accepted(player_client)


@pytest.mark.parametrize(
    ("country", "requires", "met"),
    [
        ("DE", {"countries": ["DE", "FR"]}, True),
        ("JP", {"countries": ["DE", "FR"]}, False),
        ("", {"countries": ["DE", "FR"]}, False),
        ("DE", {"countries_except": ["DE"]}, False),
        ("JP", {"countries_except": ["DE"]}, True),
        ("", {"countries_except": ["DE"]}, True),
    ],
)
def test_requires_country__of_the_profile(
    shop: Shop, player_client: PlayerClient, country: str, requires: Any, met: bool
) -> None:
    Player.objects.filter(pk=player_client.player_id).update(country=country)
    pond(shop, requires=requires)
    if met:
        accepted(player_client)
    else:
        refused(player_client, "country")


@pytest.mark.parametrize(
    ("sent", "met"),
    [
        ("2.10.0", True),
        ("2.10", True),
        ("3", True),
        ("2.10.1-beta+5", True),
        ("2.9.9", False),
        ("soon", False),
    ],
)
def test_requires_app_version__the_clients(
    shop: Shop, player_client: PlayerClient, sent: str, met: bool
) -> None:
    pond(shop, requires={"app_version": "2.10"})
    assert ("pond" in listed(player_client, x_app_version=sent)) is met
    assert (buy(player_client, "pond", app=sent).status_code == 201) is met


def test_requires_app_version__not_sent__that_of_the_sign_in(
    shop: Shop, player_client: PlayerClient
) -> None:
    pond(shop, requires={"app_version": "2.10"})
    refused(player_client, "app_version")
    Session.objects.filter(player_id=player_client.player_id).update(app_version="2.11.0")
    accepted(player_client)


def test_requires_segment__computed_and_registered_ones(
    shop: Shop, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = pond(shop, price={"petals": 1}, requires={"segments": ["new_player"]})
    accepted(player_client)
    Player.objects.filter(pk=player_client.player_id).update(
        created_at=datetime.now(UTC) - 30 * DAY
    )
    refused(player_client, "segment")
    change(row, requires={"segments": ["payer"]})
    refused(player_client, "segment")
    change(row, requires={"segments": ["gardeners"]})
    refused(player_client, "segment")
    monkeypatch.setitem(shoppers._registry.segments, "gardeners", lambda shopper: True)
    accepted(player_client)


# Bundles


def test_bundle__what_is_in_it_is_granted(shop: Shop, player_client: PlayerClient) -> None:
    bundle = Item.Kind.BUNDLE
    ItemFactory(game=shop.game, key="packet", kind=bundle, contents={"items": {"seeds": 2}})
    ItemFactory(
        game=shop.game,
        key="starter",
        kind=bundle,
        contents={"items": {"packet": 3, "koi": 1, "seeds": 1}, "currencies": {"gems": 4}},
    )
    pond(shop, contents={"items": {"starter": 2}})
    inside = {"currencies": {"gems": 8}, "items": {"seeds": 14, "koi": 2}}
    assert listed(player_client)["pond"]["contents"] == inside
    assert buy(player_client, "pond").json()["granted"] == inside
    assert stack_of(player_client.player_id, "seeds") == 14

    given = give(player_client.player_id, items={"packet": 2})
    assert given.items == {"seeds": 4}
    assert not given.clipped
    assert not stack_of(player_client.player_id, "packet")
    assert list(verification.verify()) == []


def test_bundles_in_each_other__their_offers_are_left_out(
    shop: Shop, player_client: PlayerClient
) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        ItemFactory(game=shop.game, key=one, kind=Item.Kind.BUNDLE, contents={"items": {other: 1}})
    pond(shop, contents={"items": {"a": 1}})
    assert set(listed(player_client)) == {"koi", "seeds"}


# Texts


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("pt-BR", "brasileiro"),
        ("pt_BR", "brasileiro"),
        ("pt", "brasileiro"),
        ("de-AT", "deutsch"),
        ("de", "deutsch"),
        ("fr", "english"),
        ("", "english"),
    ],
)
def test_text_for__the_nearest_language(locale: str, text: str) -> None:
    texts = {"en": "english", "de": "deutsch", "pt-BR": "brasileiro"}
    assert text_for(texts, locale) == text


def test_text_for__no_english__some_language_rather_than_none() -> None:
    assert text_for({"ja": "鯉", "de": "Koi"}, "fr") == "Koi"
    assert text_for({}, "fr") is None


def test_titles__in_the_players_language_and_the_tag_with_them(
    shop: Shop, player_client: PlayerClient
) -> None:
    pond(
        shop,
        titles={"en": "A pond", "de": "Ein Teich"},
        descriptions={"en": "With a koi"},
        properties={"rarity": "rare", "stars": 3},
    )
    first = player_client.get("/v1/store/offers")
    row = first.json()["results"][-1]
    assert (row["title"], row["description"]) == ("A pond", "With a koi")
    assert row["properties"] == {"rarity": "rare", "stars": 3}

    Player.objects.filter(pk=player_client.player_id).update(locale="de-DE")
    second = player_client.get("/v1/store/offers", if_none_match=first["ETag"])
    assert second.status_code == 200
    assert second.json()["results"][-1]["title"] == "Ein Teich"
    again = player_client.get("/v1/store/offers", if_none_match=second["ETag"])
    assert again.status_code == 304


def test_items__with_texts_properties_and_what_is_in_bundles(
    shop: Shop, player_client: PlayerClient
) -> None:
    ItemFactory(game=shop.game, key="gone", is_active=False)
    ItemFactory(
        game=shop.game,
        key="starter",
        kind=Item.Kind.BUNDLE,
        contents={"items": {"koi": 1}},
        titles={"en": "Starter"},
        properties={"new": True},
    )
    answer = player_client.get("/v1/store/items")
    koi, seeds, starter = answer.json()["results"]
    assert koi == {"key": "koi", "kind": "durable", "title": "Item", "max_stack": 10**12}
    assert seeds["kind"] == "consumable"
    assert starter == {
        "key": "starter",
        "kind": "bundle",
        "title": "Starter",
        "max_stack": 10**12,
        "contents": {"currencies": {}, "items": {"koi": 1}},
        "properties": {"new": True},
    }
    assert player_client.get("/v1/store/items", if_none_match=answer["ETag"]).status_code == 304
    one = player_client.get("/v1/store/items?limit=2").json()
    two = player_client.get(f"/v1/store/items?limit=2&cursor={one['next']}").json()
    assert [row["key"] for row in two["results"]] == ["starter"]
    back = player_client.get(f"/v1/store/items?limit=2&cursor={two['previous']}").json()
    assert back["results"] == one["results"]


# Stores


@pytest.fixture
def winter(shop: Shop) -> Storefront:
    pond(shop, key="sledge", is_listed=False)
    row = Storefront.objects.create(
        game=shop.game,
        key="winter",
        offers=[
            {"offer": "sledge"},
            {"offer": "koi", "price": {"gems": 2}},
            {"offer": "seeds", "prices": [{"petals": 8}, {"gems": 1}]},
        ],
    )
    definitions.changed(shop.game.pk)
    return row


def test_store__its_offers_in_its_order_at_its_prices(
    winter: Storefront, player_client: PlayerClient
) -> None:
    rows = listed(player_client, "?store=winter")
    assert [(key, row["price"]) for key, row in rows.items()] == [
        ("sledge", {"petals": 50}),
        ("koi", {"gems": 2}),
        ("seeds", {"petals": 8}),
    ]
    assert rows["koi"]["left"] == 1
    assert rows["seeds"]["prices"] == [{"petals": 8}, {"gems": 1}]
    assert set(listed(player_client)) == {"koi", "seeds"}
    assert_problem(player_client.get("/v1/store/offers?store=summer"), 404, "not_found")

    one = player_client.get("/v1/store/offers?store=winter&limit=2").json()
    two = player_client.get(f"/v1/store/offers?store=winter&limit=2&cursor={one['next']}").json()
    assert [row["key"] for row in two["results"]] == ["seeds"]
    back = f"/v1/store/offers?store=winter&limit=2&cursor={two['previous']}"
    assert player_client.get(back).json()["results"] == one["results"]


def test_store__purchase_names_it__its_price_and_the_same_limit(
    winter: Storefront, player_client: PlayerClient
) -> None:
    give(player_client.player_id, {"gems": 5})
    bought = buy(player_client, "koi", store="winter", expected_price={"gems": 2})
    assert bought.json()["price"] == {"gems": 2}
    assert_problem(buy(player_client, "koi"), 409, "limit_reached")
    for offer, store in (("sledge", None), ("koi", "summer"), ("nothing", "winter")):
        answer = buy(player_client, offer, store=store)
        assert_problem(answer, 409, "offer_not_available")
    assert buy(player_client, "sledge", store="winter").status_code == 201


def test_sale_in_a_store__a_percent_counts_and_another_price_does_not(
    shop: Shop, winter: Storefront, player_client: PlayerClient
) -> None:
    change(shop.koi_offer, sale={"percent": 50})
    row = listed(player_client, "?store=winter")["koi"]
    assert (row["price"], row["regular_price"]) == ({"gems": 1}, {"gems": 2})
    change(shop.koi_offer, sale={"price": {"petals": 20}})
    row = listed(player_client, "?store=winter")["koi"]
    assert row["price"] == {"gems": 2}
    assert "regular_price" not in row
    assert listed(player_client)["koi"]["price"] == {"petals": 20}


# What it costs


@COMMITTED
@pytest.mark.parametrize("count", [1, 20])
def test_all_that_offers_ask__queries_do_not_grow(
    shop: Shop, player_client: PlayerClient, count: int, django_assert_num_queries: Any
) -> None:
    StatFactory(game=shop.game, key="level")
    for _ in range(count):
        OfferFactory(
            game=shop.game,
            contents={"items": {"koi": 1}},
            price={"petals": 1},
            titles={"en": "Offer"},
            limit_per_player=5,
            limit_reset="0 0 * * *",
            requires={"countries_except": ["DE"], "segments": ["new_player"]},
        )
        OfferFactory(game=shop.game, price={"petals": 1}, requires={"stats": {"level": 1}})
    player_client.get("/v1/store/offers")
    with django_assert_num_queries(2):  # the player with their purchases, and the stats
        player_client.get("/v1/store/offers")
    player_client.get("/v1/store/items")
    with django_assert_num_queries(0):
        player_client.get("/v1/store/items")


@COMMITTED
def test_purchase__one_statement_whatever_the_database_can_check(
    shop: Shop, player_client: PlayerClient, django_assert_num_queries: Any
) -> None:
    pond(
        shop,
        price={"petals": 1},
        other_prices=[{"gems": 1}],
        limit_per_player=9,
        limit_reset="0 0 * * *",
        schedule={"cron": "* * * * *", "duration_seconds": 3600},
        requires={"offers": ["koi"], "app_version": "1"},
        sale={"percent": 10},
    )
    buy(player_client, "koi")
    with django_assert_num_queries(1):
        assert buy(player_client, "pond", app="1.0").status_code == 201
