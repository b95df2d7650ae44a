"""The store's endpoints, as game clients and game servers use them."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config import hooks
from config.db import definitions
from config.hooks import HookRefused
from store.models import Entry, Grant, Purchase, Transaction
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory, give
from tests.fixtures.api import PlayerClient, assert_problem, forget_redis, server_client_of
from tests.fixtures.faults import redis_down
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db
# Processes hear of changed content when it is committed.
COMMITTED = pytest.mark.django_db(transaction=True)
INT64_MAX = 2**63 - 1


def buy(client: PlayerClient, offer: str = "koi", key: str = "", **body: Any) -> Any:
    return client.post(
        "/v1/store/purchases", {"offer": offer, **body}, idempotency_key=key or uuid.uuid4().hex
    )


# Offers


def test_offers__open_ones__listed_with_all_that_a_shop_shows(
    shop: Shop, player_client: PlayerClient
) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    OfferFactory(
        game=shop.game,
        key="gems_small",
        contents={"currencies": {"gems": 100}},
        products={"apple": "com.gems", "google": "gems"},
        reference_currency="USD",
        reference_minor_units=99,
        starts_at=now - hour,
        ends_at=now + hour,
    )
    OfferFactory(game=shop.game, key="past", price={"petals": 1}, ends_at=now - hour)
    OfferFactory(game=shop.game, key="coming", price={"petals": 1}, starts_at=now + hour)
    OfferFactory(game=shop.game, key="archived", price={"petals": 1}, is_active=False)

    answer = player_client.get("/v1/store/offers")

    assert answer.status_code == 200
    koi, seeds, gems = answer.json()["results"]
    assert koi == {
        "key": "koi",
        "contents": {"currencies": {}, "items": {"koi": 1}},
        "price": {"petals": 50},
        "products": {},
        "reference_price": None,
        "limit_per_player": 1,
        "left": 1,
        "starts_at": None,
        "ends_at": None,
    }
    assert (seeds["key"], seeds["left"]) == ("seeds", None)
    assert gems["products"] == {"apple": "com.gems", "google": "gems"}
    assert gems["reference_price"] == {"currency": "USD", "minor_units": 99}
    assert gems["ends_at"].endswith("Z")


def test_offers__many__paged_both_ways(shop: Shop, player_client: PlayerClient) -> None:
    for number in range(3):
        OfferFactory(game=shop.game, key=f"more_{number}", price={"petals": 1})
    url = "/v1/store/offers?limit=2"
    whole = player_client.get("/v1/store/offers").json()
    assert (len(whole["results"]), whole["next"], whole["previous"]) == (5, None, None)

    one = player_client.get(url).json()
    two = player_client.get(f"{url}&cursor={one['next']}").json()
    three = player_client.get(f"{url}&cursor={two['next']}").json()
    assert [row for page in (one, two, three) for row in page["results"]] == whole["results"]
    assert (one["previous"], three["next"]) == (None, None)
    back = player_client.get(f"{url}&cursor={three['previous']}").json()
    assert (back["results"], back["next"]) == (two["results"], two["next"])
    first = player_client.get(f"{url}&cursor={back['previous']}").json()
    assert (first["results"], first["previous"]) == (one["results"], None)
    assert_problem(player_client.get(f"{url}&cursor=x"), 400, "invalid_cursor")


def test_offers__unchanged__304_until_something_is_bought(
    shop: Shop, player_client: PlayerClient
) -> None:
    first = player_client.get("/v1/store/offers")
    assert first["Cache-Control"] == "private, no-cache"
    again = player_client.get("/v1/store/offers", if_none_match=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]

    assert buy(player_client).status_code == 201
    after = player_client.get("/v1/store/offers", if_none_match=first["ETag"])
    assert after.status_code == 200
    assert after.json()["results"][0]["left"] == 0


@COMMITTED
def test_offers__limit_lowered_below_what_was_bought__none_left(
    shop: Shop, player_client: PlayerClient
) -> None:
    assert buy(player_client, "seeds", quantity=2).status_code == 201
    shop.seeds_offer.limit_per_player = 1
    shop.seeds_offer.save()
    definitions.changed(shop.game.pk)

    assert player_client.get("/v1/store/offers").json()["results"][1]["left"] == 0
    problem = assert_problem(buy(player_client, "seeds"), 409, "limit_reached")
    assert problem["left"] == 0


@COMMITTED
@pytest.mark.parametrize("count", [1, 20])
def test_offers__queries_do_not_grow(
    shop: Shop, player_client: PlayerClient, count: int, django_assert_num_queries: Any
) -> None:
    for number in range(count):
        OfferFactory(game=shop.game, price={"petals": number + 1}, limit_per_player=1)
    player_client.get("/v1/store/offers")
    with django_assert_num_queries(1):
        player_client.get("/v1/store/offers")


# Wallet


@COMMITTED
def test_wallet__first_read__has_what_players_begin_with(
    shop: Shop, player_client: PlayerClient, django_assert_num_queries: Any
) -> None:
    CurrencyFactory(game=shop.game, key="old", is_active=False, initial=5)
    expected = {
        "balances": [
            {"currency": "petals", "balance": 100, "paid": 0, "earned": 100},
            {"currency": "gems", "balance": 0, "paid": 0, "earned": 0},
        ]
    }
    for _ in range(2):
        answer = player_client.get("/v1/store/wallet")
        assert (answer.status_code, answer.json()) == (200, expected)
        assert answer["Cache-Control"] == "no-store"
    with django_assert_num_queries(1):
        player_client.get("/v1/store/wallet")


@COMMITTED
def test_wallet__archived_currency__shown_while_the_player_has_some(
    shop: Shop, player_client: PlayerClient
) -> None:
    give(player_client.player_id, {"gems": 1})
    shop.gems.is_active = False
    shop.gems.save()
    definitions.changed(shop.game.pk)
    shown = [row["currency"] for row in player_client.get("/v1/store/wallet").json()["balances"]]
    assert shown == ["petals", "gems"]


def test_transactions__newest_first_and_paged_without_loss(
    shop: Shop, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    give(other_player_client.player_id, {"gems": 7})
    for number in range(5):
        give(player_client.player_id, {"gems": number + 1}, reason=f"day {number}", reference="r")
    whole = player_client.get("/v1/store/wallet/transactions").json()
    assert [row["amount"] for row in whole["results"]] == [5, 4, 3, 2, 1]
    assert whole["results"][0] | {"id": "", "created_at": ""} == {
        "id": "",
        "currency": "gems",
        "amount": 5,
        "balance_after": 15,
        "reason": "day 4",
        "reference": "r",
        "created_at": "",
    }
    assert (whole["next"], whole["previous"]) == (None, None)

    seen, cursor, pages = [], "", []
    while True:
        page = player_client.get(f"/v1/store/wallet/transactions?limit=2{cursor}").json()
        seen += [row["id"] for row in page["results"]]
        pages.append(page)
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [row["id"] for row in whole["results"]]
    back = player_client.get(
        f"/v1/store/wallet/transactions?limit=2&cursor={pages[2]['previous']}"
    ).json()
    assert back["results"] == pages[1]["results"]
    first = player_client.get(
        f"/v1/store/wallet/transactions?limit=2&cursor={back['previous']}"
    ).json()
    assert (first["results"], first["previous"]) == (pages[0]["results"], None)
    assert_problem(
        player_client.get("/v1/store/wallet/transactions?cursor=x"), 400, "invalid_cursor"
    )


@COMMITTED
@pytest.mark.parametrize("count", [1, 20])
def test_transactions__queries_do_not_grow(
    shop: Shop, player_client: PlayerClient, count: int, django_assert_num_queries: Any
) -> None:
    for _ in range(count):
        give(player_client.player_id, {"gems": 1})
    player_client.get("/v1/store/wallet/transactions")
    with django_assert_num_queries(1):
        assert len(player_client.get("/v1/store/wallet/transactions").json()["results"]) == count


# Inventory


@COMMITTED
def test_inventory__stacks_paged_in_order(
    shop: Shop, player_client: PlayerClient, django_assert_num_queries: Any
) -> None:
    items = [ItemFactory(game=shop.game, key=f"shell_{n}").key for n in range(5)]
    give(player_client.player_id, items=dict.fromkeys(reversed(items), 2))
    give(player_client.player_id, items={"seeds": 1})
    player_client.post("/v1/store/inventory/seeds/consume", {"quantity": 1})

    with django_assert_num_queries(1):
        whole = player_client.get("/v1/store/inventory").json()
    assert [row["item"] for row in whole["results"]] == items
    assert whole["results"][0]["quantity"] == 2
    assert whole["results"][0]["updated_at"].endswith("Z")

    one = player_client.get("/v1/store/inventory?limit=2").json()
    two = player_client.get(f"/v1/store/inventory?limit=2&cursor={one['next']}").json()
    three = player_client.get(f"/v1/store/inventory?limit=2&cursor={two['next']}").json()
    assert [row["item"] for page in (one, two, three) for row in page["results"]] == items
    assert (one["previous"], three["next"]) == (None, None)
    back = player_client.get(f"/v1/store/inventory?limit=2&cursor={two['previous']}").json()
    assert (back["results"], back["previous"]) == (one["results"], None)


def test_consume__some__answers_what_is_left(shop: Shop, player_client: PlayerClient) -> None:
    give(player_client.player_id, items={"seeds": 5})
    answer = player_client.post("/v1/store/inventory/seeds/consume", {"quantity": 2})
    assert answer.status_code == 200
    assert answer.json() | {"updated_at": ""} == {"item": "seeds", "quantity": 3, "updated_at": ""}
    assert player_client.post("/v1/store/inventory/seeds/consume", {}).json()["quantity"] == 2


def test_consume__same_key__uses_up_once(shop: Shop, player_client: PlayerClient) -> None:
    give(player_client.player_id, items={"seeds": 5})
    url = "/v1/store/inventory/seeds/consume"
    first = player_client.post(url, {"quantity": 2}, idempotency_key="k")
    player_client.post(url, {"quantity": 1})
    again = player_client.post(url, {"quantity": 2}, idempotency_key="k")

    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert stack_of(player_client.player_id, "seeds") == 2
    assert_problem(
        player_client.post(url, {"quantity": 3}, idempotency_key="k"), 422, "idempotency_key_reused"
    )


def test_consume__what_can_not_be__refused(shop: Shop, player_client: PlayerClient) -> None:
    url = "/v1/store/inventory/{}/consume"
    assert_problem(player_client.post(url.format("koi"), {}), 409, "not_consumable")
    assert_problem(player_client.post(url.format("nothing"), {}), 404, "not_found")
    problem = assert_problem(player_client.post(url.format("seeds"), {}), 409, "insufficient_items")
    assert problem["item"] == "seeds"
    for quantity in (0, -1, 2**40):
        assert_problem(
            player_client.post(url.format("seeds"), {"quantity": quantity}),
            400,
            "validation_failed",
        )


# Purchases


def test_purchase__koi__debited_granted_and_told(shop: Shop, player_client: PlayerClient) -> None:
    answer = buy(player_client, quantity=1, expected_price={"petals": 50})

    assert answer.status_code == 201
    body = answer.json()
    assert body | {"id": ""} == {
        "id": "",
        "offer": "koi",
        "quantity": 1,
        "price": {"petals": 50},
        "granted": {"currencies": {}, "items": {"koi": 1}},
        "balances": [
            {"currency": "petals", "balance": 50, "paid": 0, "earned": 50},
            {"currency": "gems", "balance": 0, "paid": 0, "earned": 0},
        ],
    }
    assert uuid.UUID(body["id"]).version == 7
    row = Purchase.objects.get(pk=body["id"])
    assert (row.player_id, row.offer, row.price) == (
        player_client.player_id,
        shop.koi_offer,
        {"petals": 50},
    )
    movement = player_client.get("/v1/store/wallet/transactions").json()["results"][0]
    assert (movement["amount"], movement["reason"], movement["reference"]) == (
        -50,
        "purchase",
        "koi",
    )


def test_purchase__several__totals(shop: Shop, player_client: PlayerClient) -> None:
    body = buy(player_client, "seeds", quantity=3, expected_price={"petals": 10}).json()
    assert body["price"] == {"petals": 30}
    assert body["granted"] == {"currencies": {"gems": 3}, "items": {"seeds": 15}}
    assert body["balances"][1] == {"currency": "gems", "balance": 3, "paid": 0, "earned": 3}


@COMMITTED
def test_purchase__same_key__same_outcome_though_all_has_changed(
    shop: Shop, player_client: PlayerClient
) -> None:
    first = buy(player_client, key="k")
    for change in ({"price": {"petals": 51}}, {"is_active": False}):
        for name, value in change.items():
            setattr(shop.koi_offer, name, value)
        shop.koi_offer.save()
        definitions.changed(shop.game.pk)
        again = buy(player_client, key="k")
        assert (again.status_code, again.json()) == (201, first.json())
        assert again["Idempotent-Replayed"] == "true"
        assert_problem(buy(player_client, key="k", quantity=2), 422, "idempotency_key_reused")
    assert "Idempotent-Replayed" not in first
    assert Purchase.objects.count() == 1


def test_purchase__same_key_at_the_limit__replayed(shop: Shop, player_client: PlayerClient) -> None:
    first = buy(player_client, key="k")
    again = buy(player_client, key="k")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert_problem(buy(player_client, key="k", quantity=3), 422, "idempotency_key_reused")
    assert_problem(buy(player_client, key="k2"), 409, "limit_reached")


def test_purchase__same_key_of_another_player__is_another_key(
    shop: Shop, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    one, two = buy(player_client, key="k"), buy(other_player_client, key="k")
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["id"] != two.json()["id"]


@COMMITTED
def test_purchase__refused_then_possible__same_key_succeeds(
    shop: Shop, player_client: PlayerClient
) -> None:
    assert_problem(buy(player_client, "seeds", "k", quantity=11), 409, "insufficient_funds")
    shop.seeds.max_stack = 100
    shop.seeds.save()
    definitions.changed(shop.game.pk)
    give(player_client.player_id, {"petals": 50})
    assert buy(player_client, "seeds", "k", quantity=11).status_code == 201


def test_purchase__what_can_not_be__refused_and_nothing_changed(
    shop: Shop, player_client: PlayerClient
) -> None:
    now = datetime.now(UTC)
    OfferFactory(game=shop.game, key="money", products={"apple": "x"})
    OfferFactory(game=shop.game, key="past", price={"petals": 1}, ends_at=now)
    OfferFactory(
        game=shop.game, key="gem", price={"gems": INT64_MAX}, contents={"items": {"koi": 1}}
    )
    OfferFactory(
        game=shop.game,
        key="hoard",
        price={"petals": 1},
        contents={"currencies": {"gems": INT64_MAX}},
    )
    player_client.get("/v1/store/wallet")
    before = Transaction.objects.count()

    for offer in ("money", "past", "nothing"):
        assert_problem(buy(player_client, offer), 409, "offer_not_available")
    changed = assert_problem(
        buy(player_client, expected_price={"petals": 49}), 409, "price_changed"
    )
    assert changed["price"] == {"petals": 50}
    assert_problem(buy(player_client, expected_price={}), 409, "price_changed")
    left = assert_problem(buy(player_client, quantity=2), 409, "limit_reached")
    assert left["left"] == 1
    poor = assert_problem(buy(player_client, "gem"), 409, "insufficient_funds")
    assert poor["currency"] == "gems"
    assert_problem(buy(player_client, "gem", quantity=2), 409, "insufficient_funds")
    assert_problem(buy(player_client, "hoard", quantity=2), 409, "balance_limit")
    full = assert_problem(buy(player_client, "seeds", quantity=5), 409, "stack_limit")
    assert full["item"] == "seeds"

    assert Transaction.objects.count() == before
    assert balance_of(player_client.player_id, "petals") == (0, 100)
    assert not Purchase.objects.exists()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "validation_failed"),
        ({"offer": "koi", "quantity": 0}, "validation_failed"),
        ({"offer": "koi", "quantity": True}, "validation_failed"),
        ({"offer": "koi", "quantity": 10**7}, "validation_failed"),
        ({"offer": "../koi"}, "validation_failed"),
        ({"offer": "koi", "expected_price": {"petals": -1}}, "validation_failed"),
        ({"offer": "koi", "expected_price": 50}, "validation_failed"),
        ({"offer": "koi", "price": 1}, "unknown_field"),
    ],
)
def test_purchase__malformed__400(
    shop: Shop, player_client: PlayerClient, body: dict[str, Any], code: str
) -> None:
    answer = player_client.post("/v1/store/purchases", body, idempotency_key="k")
    assert_problem(answer, 400, code)


def test_purchase__without_a_key__400(shop: Shop, player_client: PlayerClient) -> None:
    answer = player_client.post("/v1/store/purchases", {"offer": "koi"})
    assert_problem(answer, 400, "idempotency_key_required")
    answer = buy(player_client, key="k" * 201)
    assert_problem(answer, 400, "invalid_header")
    assert buy(player_client, key="k" * 200).status_code == 201


@COMMITTED
def test_purchase__one_statement(
    shop: Shop, player_client: PlayerClient, django_assert_num_queries: Any
) -> None:
    buy(player_client, "seeds")
    with django_assert_num_queries(1):
        assert buy(player_client, "seeds").status_code == 201


def test_purchase__server_events_are_written_with_it(
    shop: Shop, player_client: PlayerClient
) -> None:
    player_client.patch("/v1/players/me", {"analytics_consent": True})
    buy(player_client, "seeds", quantity=2)
    assert events() == {
        "purchase": {
            "offer": "seeds",
            "quantity": 2,
            "price": {"petals": 20},
            "granted": {"currencies": {"gems": 2}, "items": {"seeds": 10}},
        },
        "currency_sink": {
            "currency": "petals",
            "amount": 20,
            "account": "sink:purchase",
            "offer": "seeds",
        },
        "currency_source": {
            "currency": "gems",
            "amount": 2,
            "account": "source:purchase",
            "offer": "seeds",
        },
    }
    assert given_at_first() == [{"currency": "petals", "amount": 100, "account": "source:initial"}]
    give(player_client.player_id, {"gems": 3}, {"koi": 1}, reference="quest")
    player_client.post("/v1/store/inventory/seeds/consume", {})
    found = events()
    assert found["grant"]["currencies"] == {"gems": 3}
    assert found["currency_source"]["amount"] == 3
    assert found["consume"] == {"item": "seeds", "quantity": 1, "left": 9}


def given_at_first() -> list[dict[str, Any]]:
    from analytics.models import Event

    rows = Event.objects.filter(name="currency_source", props__account="source:initial")
    return list(rows.values_list("props", flat=True))


def events() -> dict[str, dict[str, Any]]:
    """The latest props of each of the store's server events, without ids."""
    from analytics.models import Event

    names = ("purchase", "currency_sink", "currency_source", "grant", "consume")
    rows = Event.objects.filter(name__in=names).order_by("at").values_list("name", "props")
    return {
        name: {key: value for key, value in props.items() if key not in ("id", "reference")}
        for name, props in rows
    }


def test_purchase__hooks__may_refuse_before_and_are_told_after(
    shop: Shop, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def refuse(*, quantity: int, **_: Any) -> None:
        if quantity > 1:
            raise HookRefused("One at a time")

    def tell(**payload: Any) -> None:
        told.append(payload)

    monkeypatch.setitem(hooks._before, "purchase", [refuse])
    monkeypatch.setitem(hooks._after, "purchase", {"tests.tell": tell})

    assert_problem(buy(player_client, "seeds", quantity=2), 422, "refused_by_game")
    assert not Purchase.objects.exists()
    first = buy(player_client, "seeds", "k")
    again = buy(player_client, "seeds", "k")
    assert again.json() == first.json()
    assert hooks.run_due() == 1
    assert told == [
        {
            "game_id": str(shop.game.pk),
            "player_id": str(player_client.player_id),
            "purchase_id": first.json()["id"],
            "offer": "seeds",
            "quantity": 1,
        }
    ]


# Grants


def test_grant__by_a_game_server__given_once(
    shop: Shop, player_client: PlayerClient, server_client: Any
) -> None:
    url = f"/v1/players/{player_client.player_id}/grants"
    body = {"reason": "event", "currencies": {"gems": 5}, "items": {"koi": 1}}
    first = server_client.post(url, body, idempotency_key="k")
    again = server_client.post(url, body, idempotency_key="k")

    assert first.status_code == 201
    assert first.json() | {"id": "", "created_at": ""} == {
        "id": "",
        "player": str(player_client.player_id),
        "reason": "event",
        "reference": "",
        "currencies": {"gems": 5},
        "items": {"koi": 1},
        "created_at": "",
    }
    assert (again.status_code, again.json()) == (201, first.json())
    assert again["Idempotent-Replayed"] == "true"
    assert balance_of(player_client.player_id, "gems") == (0, 5)
    row = Grant.objects.get()
    assert (row.source, str(row.pk)) == ("server", first.json()["id"])
    assert_problem(
        server_client.post(url, body | {"reason": "x"}, idempotency_key="k"),
        422,
        "idempotency_key_reused",
    )


def test_grant__same_key_for_another_player__refused(
    shop: Shop,
    player_client: PlayerClient,
    other_player_client: PlayerClient,
    server_client: Any,
) -> None:
    body = {"reason": "event", "currencies": {"gems": 5}}
    for client, status in ((player_client, 201), (other_player_client, 422)):
        url = f"/v1/players/{client.player_id}/grants"
        assert server_client.post(url, body, idempotency_key="k").status_code == status


def test_grant__what_can_not_be__refused(
    shop: Shop, player_client: PlayerClient, server_client: Any
) -> None:
    url = f"/v1/players/{player_client.player_id}/grants"

    def grant(body: dict[str, Any], target: str = url) -> Any:
        body = {"reason": "event"} | body
        return server_client.post(target, body, idempotency_key=uuid.uuid4().hex)

    assert_problem(grant({}), 400, "validation_failed")
    assert_problem(grant({"reason": "", "currencies": {"gems": 1}}), 400, "validation_failed")
    assert_problem(grant({"currencies": {"gems": 0}}), 400, "validation_failed")
    assert_problem(grant({"currencies": {"gems": 2**63}}), 400, "invalid_json")
    problem = assert_problem(grant({"currencies": {"gold": 1}}), 422, "unknown_content")
    assert problem["currency"] == "gold"
    problem = assert_problem(grant({"items": {"cat": 1}}), 422, "unknown_content")
    assert problem["item"] == "cat"
    assert_problem(grant({"currencies": {"petals": 1000}}), 409, "balance_limit")
    assert_problem(grant({"items": {"seeds": 21}}), 409, "stack_limit")
    assert_problem(
        grant({"items": {"koi": 1}}, f"/v1/players/{uuid.uuid4()}/grants"), 404, "not_found"
    )
    assert_problem(
        server_client.post(url, {"reason": "x", "items": {"koi": 1}}),
        400,
        "idempotency_key_required",
    )
    assert not Grant.objects.exists()
    assert not Entry.objects.exclude(account__contains="initial").filter(earned__lt=0).exists()


def test_grant__in_the_game__leaves_out_what_does_not_fit(
    shop: Shop, player_client: PlayerClient
) -> None:
    row = give(player_client.player_id, {"petals": 2000}, {"seeds": 30, "koi": 1})
    assert (row.currencies, row.items, row.clipped) == (
        {"petals": 900},
        {"seeds": 20, "koi": 1},
        True,
    )
    row = give(player_client.player_id, {"petals": 1}, {"seeds": 1})
    assert (row.currencies, row.items, row.clipped) == ({}, {}, True)
    assert give(player_client.player_id, {"gems": 1}).clipped is False


# Who may


PLAYER_CALLS = [
    ("GET", "/v1/store/offers", None),
    ("GET", "/v1/store/wallet", None),
    ("GET", "/v1/store/wallet/transactions", None),
    ("GET", "/v1/store/inventory", None),
    ("POST", "/v1/store/inventory/seeds/consume", {}),
    ("POST", "/v1/store/purchases", {"offer": "koi"}),
]


@pytest.mark.parametrize(("method", "path", "body"), PLAYER_CALLS)
def test_players_calls__other_credentials__refused(
    shop: Shop,
    method: str,
    path: str,
    body: Any,
    anonymous: Any,
    server_client: Any,
    game_client: Any,
) -> None:
    assert_problem(anonymous.call(method, path, body), 401, "not_authenticated")
    for client in (server_client, game_client):
        assert_problem(client.call(method, path, body), 403, "forbidden")


def test_another_player__sees_and_spends_only_their_own(
    shop: Shop, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    give(player_client.player_id, {"gems": 5}, {"seeds": 3})
    other = other_player_client
    assert other.get("/v1/store/wallet").json()["balances"][1]["balance"] == 0
    assert other.get("/v1/store/inventory").json()["results"] == []
    transactions = other.get("/v1/store/wallet/transactions").json()["results"]
    assert [row["reason"] for row in transactions] == ["initial"]
    assert_problem(other.post("/v1/store/inventory/seeds/consume", {}), 409, "insufficient_items")


def test_a_player_of_another_game__sees_nothing_of_this_one(
    shop: Shop, player_client: PlayerClient, foreign_player_client: PlayerClient
) -> None:
    stranger = foreign_player_client
    assert stranger.get("/v1/store/offers").json()["results"] == []
    assert stranger.get("/v1/store/wallet").json() == {"balances": []}
    assert_problem(buy(stranger), 409, "offer_not_available")
    assert_problem(stranger.post("/v1/store/inventory/seeds/consume", {}), 404, "not_found")


def test_grant__other_credentials__refused(
    shop: Shop, player_client: PlayerClient, anonymous: Any, other_game: Any
) -> None:
    CurrencyFactory(game=other_game, key="gems")
    url = f"/v1/players/{player_client.player_id}/grants"
    body = {"reason": "x", "currencies": {"gems": 1}}
    assert_problem(anonymous.post(url, body, idempotency_key="k"), 401, "not_authenticated")
    assert_problem(player_client.post(url, body, idempotency_key="k"), 403, "forbidden")
    weak = server_client_of(shop.game, "players:read")
    assert_problem(weak.post(url, body, idempotency_key="k"), 403, "scope_missing")
    foreign = server_client_of(other_game)
    assert_problem(foreign.post(url, body, idempotency_key="k"), 404, "not_found")
    assert balance_of(player_client.player_id, "gems") is None


# Without Redis


def test_shopping__while_redis_is_down_or_was_emptied__goes_on(
    shop: Shop, player_client: PlayerClient
) -> None:
    give(player_client.player_id, items={"seeds": 3})
    with redis_down():
        assert player_client.get("/v1/store/offers").status_code == 200
        assert player_client.get("/v1/store/wallet").json()["balances"][0]["balance"] == 100
        first = buy(player_client, key="k")
        assert first.status_code == 201
        consumed = player_client.post("/v1/store/inventory/seeds/consume", {})
        assert consumed.json()["quantity"] == 2
    forget_redis()
    again = buy(player_client, key="k")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again["Idempotent-Replayed"] == "true"
