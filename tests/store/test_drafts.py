"""Drafts: testers see them, nobody else does, and they go live together."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Player, StaffUser
from config.db import definitions
from config.db.definitions import version_in_database
from store import shapes
from store.models import Item, Offer, Storefront
from store.services import content
from tests.factories.store import CurrencyFactory, ItemFactory
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem
from tests.store.conftest import Shop, balance_of, stack_of
from tests.store.test_admin import OFFER, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def tester(other_player_client: PlayerClient, game_client: ApiClient) -> PlayerClient:
    """Another player, who has been made a tester."""
    client = other_player_client
    Player.objects.filter(pk=client.player_id).update(is_tester=True)
    answer = game_client.post("/v1/sessions/refresh", {"refresh": client.session["refresh"]})
    client.headers = {"Authorization": f"Bearer {answer.json()['access']}"}
    return client


def prices(client: PlayerClient, query: str = "") -> dict[str, Any]:
    rows = client.get(f"/v1/store/offers{query}").json()["results"]
    return {row["key"]: row["price"] for row in rows}


def draft(row: Any, *, is_active: bool = True, **changes: Any) -> Any:
    """A draft of what exists, with some fields of the file changed."""
    return content.save_draft(
        model=type(row),
        game_id=row.game_id,
        entry=shapes.merged(shapes.entry_of(row), changes),
        is_active=is_active,
    )


def offer_entry(key: str, **fields: Any) -> shapes.OfferFile:
    said: dict[str, Any] = {
        "key": key,
        "contents": shapes.ContentsFile(items={"koi": 1}),
        "price": {"petals": 5},
    }
    return shapes.OfferFile(**said | fields)


def new_draft(shop: Shop, entry: shapes.Entry, model: Any = Offer) -> Any:
    return content.save_draft(model=model, game_id=shop.game.pk, entry=entry, is_active=True)


def buy(client: PlayerClient, offer: str, **body: Any) -> Any:
    return client.post(
        "/v1/store/purchases", {"offer": offer, **body}, idempotency_key=uuid.uuid4().hex
    )


def test_draft__seen_and_bought_by_testers_alone(
    shop: Shop, player_client: PlayerClient, tester: PlayerClient
) -> None:
    draft(shop.koi_offer, price={"petals": 7})
    new_draft(shop, offer_entry("pond"))
    draft(shop.seeds_offer, is_active=False)

    assert prices(player_client) == {"koi": {"petals": 50}, "seeds": {"petals": 10}}
    assert prices(tester) == {"koi": {"petals": 7}, "pond": {"petals": 5}}
    assert_problem(buy(player_client, "pond"), 409, "offer_not_available")
    assert buy(tester, "pond", expected_price={"petals": 5}).status_code == 201
    assert buy(tester, "koi", expected_price={"petals": 7}).status_code == 201
    assert balance_of(tester.player_id, "petals") == (0, 88)


def test_publish__all_at_once_in_one_version(
    shop: Shop, player_client: PlayerClient, tester: PlayerClient
) -> None:
    draft(shop.koi_offer, price={"petals": 7}, titles={"en": "Koi"})
    starter = shapes.ItemFile(
        key="starter",
        name="Starter",
        kind=Item.Kind.BUNDLE,
        contents=shapes.ContentsFile(items={"koi": 1, "seeds": 2}),
    )
    new_draft(shop, starter, Item)
    new_draft(shop, offer_entry("pond", contents=shapes.ContentsFile(items={"starter": 1})))
    listing = shapes.StoreOfferFile(offer="pond", price={"petals": 1})
    new_draft(shop, shapes.StoreFile(key="winter", offers=[listing]), Storefront)
    assert prices(tester, "?store=winter") == {"pond": {"petals": 1}}
    assert player_client.get("/v1/store/offers?store=winter").status_code == 404
    before = version_in_database(shop.game.pk)

    found = content.differences(game_id=shop.game.pk)
    assert {(one.kind, one.key, one.field) for one in found} >= {
        ("offer", "koi", "price"),
        ("offer", "koi", "titles"),
        ("item", "starter", "contents"),
        ("offer", "pond", "is_active"),
        ("store", "winter", "offers"),
    }
    [price] = [one for one in found if (one.key, one.field) == ("koi", "price")]
    assert (price.before, price.after) == ({"petals": 50}, {"petals": 7})

    assert content.publish(game_id=shop.game.pk) == 4
    assert version_in_database(shop.game.pk) == before + 1
    assert content.differences(game_id=shop.game.pk) == []
    assert content.publish(game_id=shop.game.pk) == 0
    assert prices(player_client) == prices(tester)
    assert prices(player_client)["koi"] == {"petals": 7}
    assert buy(player_client, "pond", store="winter").status_code == 201
    assert stack_of(player_client.player_id, "seeds") == 2


def test_draft__only_what_it_changes_is_published(shop: Shop) -> None:
    draft(shop.koi_offer, price={"petals": 7})
    content.write(
        model=Offer,
        game_id=shop.game.pk,
        writes={"koi": {"limit_per_player": 3}, "seeds": {"price": {"petals": 9}}},
    )
    content.publish(game_id=shop.game.pk)
    row = Offer.objects.get(pk=shop.koi_offer.pk)
    assert (row.price, row.limit_per_player, row.draft) == ({"petals": 7}, 3, None)


def test_draft__of_a_field_that_is_taken_away__published_as_its_default(shop: Shop) -> None:
    entry = shapes.merged(shapes.entry_of(shop.koi_offer), {"limit_per_player": None})
    row = new_draft(shop, entry)
    assert row.draft == {"limit_per_player": None}
    content.publish(game_id=shop.game.pk)
    assert Offer.objects.get(pk=row.pk).limit_per_player is None


def test_draft__that_changes_nothing__is_none(shop: Shop) -> None:
    assert draft(shop.koi_offer).draft is None


def test_publish__a_draft_that_does_not_fit__nothing_is_published(shop: Shop) -> None:
    draft(shop.koi_offer, price={"petals": 7})
    new_draft(shop, offer_entry("pond", price={"shells": 1}))
    with pytest.raises(content.DraftMistaken, match="no currency shells"):
        content.publish(game_id=shop.game.pk)
    assert Offer.objects.get(pk=shop.koi_offer.pk).price == {"petals": 50}
    CurrencyFactory(game=shop.game, key="shells")
    assert content.publish(game_id=shop.game.pk) == 2


def test_draft__no_longer_readable__testers_see_what_is_live(
    shop: Shop, tester: PlayerClient
) -> None:
    Offer.objects.filter(pk=shop.koi_offer.pk).update(draft={"price": "free"})
    definitions.changed(shop.game.pk)
    assert prices(tester)["koi"] == {"petals": 50}
    with pytest.raises(content.DraftMistaken):
        content.publish(game_id=shop.game.pk)


def test_discard__forgets_drafts(shop: Shop, tester: PlayerClient) -> None:
    draft(shop.koi_offer, price={"petals": 7})
    assert content.discard(rows=Offer.objects.filter(game=shop.game)) == 1
    assert prices(tester)["koi"] == {"petals": 50}


# In the back office


@pytest.fixture
def designer() -> Client:
    return signed_in(StaffUser.Role.DESIGNER)


def test_admin__kept_as_a_draft__shown_again_and_published_with_the_others(
    shop: Shop, designer: Client, player_client: PlayerClient, tester: PlayerClient
) -> None:
    url = reverse("admin:store_offer_change", args=[shop.koi_offer.pk])
    answer = designer.post(url, OFFER | {"price": "petals: 8", "keep_as_draft": "on"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    new = {"game": str(shop.game.pk), "key": "pond", "keep_as_draft": "on"}
    assert designer.post(reverse("admin:store_offer_add"), OFFER | new).status_code == 302
    assert prices(player_client) == {"koi": {"petals": 50}, "seeds": {"petals": 10}}
    assert prices(tester)["koi"] == {"petals": 8}

    form = designer.get(url).context["adminform"].form
    assert (form["price"].value(), form["keep_as_draft"].value()) == ("petals: 8", True)
    drafts = reverse("admin:store_offer_drafts")
    page = designer.get(drafts).content.decode()
    assert "petals" in page
    assert "pond" in page
    assert designer.post(drafts, {"game": str(shop.game.pk)}).status_code == 302
    assert prices(player_client) == prices(tester)
    assert prices(player_client)["pond"] == {"petals": 5}
    assert "There are no drafts" in designer.get(drafts).content.decode()


def test_admin__saved_without__the_draft_goes_live(shop: Shop, designer: Client) -> None:
    draft(shop.koi_offer, price={"petals": 7})
    url = reverse("admin:store_offer_change", args=[shop.koi_offer.pk])
    assert designer.post(url, OFFER).status_code == 302
    row = Offer.objects.get(pk=shop.koi_offer.pk)
    assert (row.price, row.draft) == ({"petals": 5}, None)


def test_admin__drafts_that_do_not_fit__said_and_not_published(
    shop: Shop, designer: Client
) -> None:
    draft(shop.koi_offer, price={"shells": 7})
    drafts = reverse("admin:store_offer_drafts")
    answer = designer.post(drafts, {"game": str(shop.game.pk)}, follow=True)
    assert "no currency shells" in answer.content.decode()
    assert Offer.objects.get(pk=shop.koi_offer.pk).draft == {"price": {"shells": 7}}


def test_admin__discard__by_the_list(shop: Shop, designer: Client) -> None:
    draft(shop.koi_offer, price={"petals": 7})
    url = reverse("admin:store_offer_changelist")
    data = {"action": "discard_drafts", "_selected_action": [str(shop.koi_offer.pk)]}
    assert designer.post(url, data).status_code == 302
    assert Offer.objects.get(pk=shop.koi_offer.pk).draft is None


@pytest.mark.parametrize("role", [StaffUser.Role.SUPPORT, StaffUser.Role.ANALYST])
def test_admin__drafts__for_makers_alone(shop: Shop, role: StaffUser.Role) -> None:
    assert signed_in(role).get(reverse("admin:store_offer_drafts")).status_code == 403


def test_admin__every_field_of_an_offer__there_and_back(shop: Shop, designer: Client) -> None:
    fields = OFFER | {
        "other_prices": "- gems: 5",
        "schedule_cron": "0 18 * * 5",
        "schedule_duration_seconds": "7200",
        "limit_per_player": "3",
        "limit_reset": "0 0 * * *",
        "cooldown_seconds": "60",
        "sale_percent": "20",
        "sale_starts_at_0": "2026-01-01",
        "sale_starts_at_1": "00:00:00",
        "requires_stats": "level: 3",
        "requires_offers": "seeds",
        "requires_countries": "de, fr",
        "requires_app_version": "2.1",
        "requires_segments": "new_player",
        "titles": "de: Ein Koi\nen: A koi",
        "properties": '{"rarity": "rare"}',
        "only_in_stores": "on",
        "is_giftable": "on",
    }
    url = reverse("admin:store_offer_change", args=[shop.koi_offer.pk])
    answer = designer.post(url, fields)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    entry = shapes.plain(shapes.entry_of(Offer.objects.get(pk=shop.koi_offer.pk)))
    assert entry == {
        "key": "koi",
        "contents": {"items": {"koi": 1}},
        "prices": [{"petals": 5}, {"gems": 5}],
        "limit_per_player": 3,
        "limit_reset": "0 0 * * *",
        "cooldown_seconds": 60,
        "schedule": {"cron": "0 18 * * 5", "duration_seconds": 7200},
        "requires": {
            "stats": {"level": 3},
            "offers": ["seeds"],
            "countries": ["DE", "FR"],
            "app_version": "2.1",
            "segments": ["new_player"],
        },
        "sale": {"percent": 20, "starts_at": "2026-01-01T00:00:00Z"},
        "titles": {"en": "A koi", "de": "Ein Koi"},
        "properties": {"rarity": "rare"},
        "listed": False,
        "giftable": True,
    }
    form = designer.get(url).context["adminform"].form
    shown = {name: form[name].value() for name in fields if name in form.fields}
    posted = {name: value for name, value in fields.items() if name in shown}
    for name in ("other_prices", "schedule_cron", "requires_offers", "titles", "limit_reset"):
        assert shown[name] == posted[name]
    assert shown["requires_countries"] == "DE, FR"
    assert shown["only_in_stores"] is True
    assert shown["is_giftable"] is True


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"schedule_cron": "hourly", "schedule_duration_seconds": "60"}, "schedule_cron"),
        ({"limit_reset": "0 0 * * *"}, "limit_reset"),
        ({"requires_offers": "nothing"}, "requires_offers"),
        ({"sale_price": "petals: 50"}, "sale_price"),
        ({"other_prices": "- petals: 1"}, "other_prices"),
        ({"properties": "a: &a [1]\nb: *a"}, "properties"),
        ({"contents": "- {"}, "contents"),
    ],
)
def test_admin__with_a_mistake__said_beside_the_field(
    shop: Shop, designer: Client, fields: dict[str, str], name: str
) -> None:
    new = {"game": str(shop.game.pk), "key": "pond"}
    answer = designer.post(reverse("admin:store_offer_add"), OFFER | new | fields)
    assert answer.status_code == 200
    assert name in answer.context["adminform"].form.errors


def test_admin__bundle_in_itself__refused(shop: Shop, designer: Client) -> None:
    common = {"game": str(shop.game.pk), "name": "A", "max_stack": "5", "is_active": "on"}
    ItemFactory(game=shop.game, key="b", kind=Item.Kind.BUNDLE, contents={"items": {"koi": 1}})
    row = ItemFactory(game=shop.game, key="a", kind=Item.Kind.BUNDLE, contents={"items": {"b": 1}})
    url = reverse("admin:store_item_change", args=[row.pk])
    fields = common | {"kind": "bundle", "contents": "items: {a: 1}"}
    answer = designer.post(url, fields)
    assert "none is in itself" in str(answer.context["adminform"].form.errors["contents"])


def test_admin__store__made_and_listed(
    shop: Shop, designer: Client, player_client: PlayerClient
) -> None:
    fields = {
        "game": str(shop.game.pk),
        "key": "winter",
        "offers": "- offer: koi\n  price: {petals: 40}\n- offer: seeds",
        "is_active": "on",
    }
    answer = designer.post(reverse("admin:store_storefront_add"), fields)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert prices(player_client, "?store=winter") == {
        "koi": {"petals": 40},
        "seeds": {"petals": 10},
    }
    assert designer.get(reverse("admin:store_storefront_changelist")).status_code == 200


def test_admin__preview__what_a_player_has_and_why_not(
    shop: Shop, player_client: PlayerClient
) -> None:
    new_draft(shop, offer_entry("pond", requires=shapes.RequiresFile(countries=["JP"])))
    assert buy(player_client, "koi").status_code == 201
    client = signed_in(StaffUser.Role.SUPPORT)
    url = reverse("admin:store_offer_preview")
    assert client.get(url).status_code == 200
    asked = {"player": str(player_client.player_id)}
    page = client.get(url, asked).content.decode()
    assert "sold out for this player" in page
    assert "can be bought" in page
    assert "pond" not in page
    page = client.get(url, asked | {"drafts": "on"}).content.decode()
    assert "requires: country" in page
    assert "No player" in client.get(url, {"player": "nobody"}).content.decode()
    assert "no such store" in client.get(url, asked | {"store": "x"}).content.decode()
