"""The store's back office: what staff find, what they may do, and that nothing is counted."""

import uuid
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.test import Client
from django.urls import reverse

from accounts.models import Player, StaffUser
from store.models import Currency, Grant, Offer, Transaction
from store.services import purchases
from tests.factories.accounts import PlayerFactory, StaffUserFactory
from tests.factories.store import give
from tests.store.conftest import Shop, balance_of

pytestmark = pytest.mark.django_db


def signed_in(role: StaffUser.Role = StaffUser.Role.ADMIN) -> Client:
    client = Client()
    client.force_login(
        StaffUserFactory(role=role), backend="django.contrib.auth.backends.ModelBackend"
    )
    return client


@pytest.fixture
def customer(shop: Shop, player: Player) -> Player:
    give(player, {"gems": 7}, {"seeds": 3}, reason="sorry for the outage")
    purchases.purchase(game_id=shop.game.pk, player_id=player.pk, offer="koi", quantity=1, key="k")
    return player


LISTS = ["currency", "item", "offer", "wallet", "transaction", "purchase", "grant"]


@pytest.mark.parametrize("model", LISTS)
@pytest.mark.parametrize("role", list(StaffUser.Role))
def test_lists__every_role__may_look(customer: Player, model: str, role: StaffUser.Role) -> None:
    answer = signed_in(role).get(reverse(f"admin:store_{model}_changelist"))
    assert answer.status_code == 200


@pytest.mark.parametrize("model", ["wallet", "transaction", "purchase", "grant"])
def test_lists__search_by_player__finds_theirs_alone(
    customer: Player, shop: Shop, model: str
) -> None:
    give(PlayerFactory(game=shop.game, display_name="Somebody"), {"gems": 1})
    client = signed_in()
    url = reverse(f"admin:store_{model}_changelist")
    for term in (str(customer.pk), str(customer)):
        answer = client.get(url, {"q": term})
        rows = answer.context["cl"].result_list
        assert rows
        assert {getattr(row, "player_id", row.pk) for row in rows} == {customer.pk}
    assert not client.get(url, {"q": str(uuid.uuid4())}).context["cl"].result_list


@pytest.mark.parametrize(
    ("model", "kind"), [("transaction", "purchase"), ("purchase", "purchase"), ("grant", "grant")]
)
def test_lists__search_by_transaction_id__finds_it(customer: Player, model: str, kind: str) -> None:
    row = Transaction.objects.get(kind=kind)
    answer = signed_in().get(reverse(f"admin:store_{model}_changelist"), {"q": str(row.pk)})
    assert [found.pk for found in answer.context["cl"].result_list] == [row.pk]


def test_transactions__search_by_key__finds_it(customer: Player) -> None:
    key = f"purchase:{customer.pk}:k"
    answer = signed_in().get(reverse("admin:store_transaction_changelist"), {"q": key})
    assert [row.key for row in answer.context["cl"].result_list] == [key]


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("model", ["wallet", "transaction", "purchase", "grant"])
def test_lists__queries_do_not_grow(
    customer: Player, shop: Shop, model: str, count: int, django_assert_max_num_queries: Any
) -> None:
    for _ in range(count):
        row = PlayerFactory(game=shop.game)
        give(row, {"gems": 1})
        purchases.purchase(game_id=shop.game.pk, player_id=row.pk, offer="koi", quantity=1, key="k")
    client = signed_in()
    with django_assert_max_num_queries(12):
        client.get(reverse(f"admin:store_{model}_changelist"))


def test_wallet_page__explains_each_balance(customer: Player) -> None:
    page = (
        signed_in(StaffUser.Role.SUPPORT)
        .get(reverse("admin:store_wallet_change", args=[customer.pk]))
        .content.decode()
    )
    for text in ("equals its entries", "-50", "purchase · koi", "sorry for the outage", "seeds"):
        assert text in page


def test_transaction_page__has_both_sides(customer: Player) -> None:
    row = Transaction.objects.get(kind="purchase")
    page = signed_in().get(reverse("admin:store_transaction_change", args=[row.pk]))
    text = page.content.decode()
    assert "what players paid" in text
    assert "a player&#x27;s wallet" in text
    assert "koi" in text


@pytest.mark.parametrize("model", ["purchase", "grant"])
def test_fact_pages__open(customer: Player, model: str) -> None:
    row = Transaction.objects.get(kind=model)
    answer = signed_in().get(reverse(f"admin:store_{model}_change", args=[row.pk]))
    assert answer.status_code == 200


def test_player_page__shows_wallet_items_purchases_and_grants(customer: Player) -> None:
    page = signed_in().get(reverse("admin:accounts_player_change", args=[customer.pk]))
    text = page.content.decode()
    for part in ("Wallet", "Inventory", "Purchases", "Grants", "50 petals", "7 gems, 3 seeds"):
        assert part in text


def grant_page(client: Client, player: Player, **fields: Any) -> Any:
    url = reverse("admin:store_wallet_grant", args=[player.pk])
    asked = client.get(url)
    if not fields or asked.status_code != 200:
        return asked
    token = asked.context["form"]["token"].value()
    given = {"reason": "sorry", "token": token} | fields
    return [client.post(url, given) for _ in range(2)]


def test_grant__by_support__given_once_with_reason_and_audit(customer: Player) -> None:
    client = signed_in(StaffUser.Role.SUPPORT)
    answers = grant_page(client, customer, currency="gems", amount="5", item="koi", quantity="2")

    assert [answer.status_code for answer in answers] == [302, 302]
    row = Grant.objects.get(source="staff")
    assert (row.currencies, row.items, row.reason) == ({"gems": 5}, {"koi": 2}, "sorry")
    assert row.actor == StaffUser.objects.get().username
    assert balance_of(customer.pk, "gems") == (0, 12)
    entry = LogEntry.objects.get(changes__has_key="granted")
    assert entry.changes["reason"] == ["", "sorry"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"currency": "gems"},
        {"amount": "5"},
        {"currency": "gold", "amount": "5"},
        {"currency": "gems", "amount": "0"},
        {"currency": "gems", "amount": str(2**63)},
        {"currency": "gems", "amount": "5", "reason": ""},
        {"currency": "petals", "amount": "5000"},
    ],
)
def test_grant__incomplete_or_too_much__asked_again(
    customer: Player, fields: dict[str, str]
) -> None:
    for answer in grant_page(signed_in(), customer, **{"reason": "sorry"} | fields):
        assert answer.status_code == 200
        assert answer.context["form"].errors
    assert not Grant.objects.filter(source="staff").exists()


@pytest.mark.parametrize("role", [StaffUser.Role.DESIGNER, StaffUser.Role.ANALYST])
def test_grant__by_others__forbidden(customer: Player, role: StaffUser.Role) -> None:
    assert grant_page(signed_in(role), customer).status_code == 403


def test_facts__nobody_edits_them(customer: Player) -> None:
    client = signed_in()
    row = Transaction.objects.get(kind="grant")
    for model in ("transaction", "purchase", "grant"):
        assert client.get(reverse(f"admin:store_{model}_add")).status_code == 403
        assert client.post(
            reverse(f"admin:store_{model}_delete", args=[row.pk]), {"post": "yes"}
        ).status_code in (302, 403)
    assert Transaction.objects.filter(pk=row.pk).exists()


OFFER = {
    "contents": '{"items": {"koi": 1}}',
    "price": '{"petals": 5}',
    "products": "{}",
    "reference_minor_units": "",
    "reference_currency": "",
    "limit_per_player": "",
    "starts_at_0": "",
    "starts_at_1": "",
    "ends_at_0": "",
    "ends_at_1": "",
    "is_active": "on",
}


@pytest.mark.django_db(transaction=True)
def test_offer__made_by_a_designer__on_sale_with_the_next_request(
    shop: Shop, player_client: Any
) -> None:
    player_client.get("/v1/store/offers")
    client = signed_in(StaffUser.Role.DESIGNER)
    answer = client.post(
        reverse("admin:store_offer_add"), OFFER | {"game": str(shop.game.pk), "key": "pond"}
    )
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    keys = [row["key"] for row in player_client.get("/v1/store/offers").json()["results"]]
    assert keys == ["koi", "seeds", "pond"]
    assert LogEntry.objects.get_for_objects(Offer.objects.filter(key="pond")).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contents": '{"items": {"cat": 1}}'}, "The game has no item cat"),
        ({"price": '{"gold": 1}'}, "The game has no currency gold"),
        ({"price": '{"petals": 0}'}, "&gt;= 1"),
        ({"price": "[]"}, "price or products"),
        ({"contents": "{}"}, "This field is required"),
        ({"contents": '{"items": {}}'}, "nothing in this offer"),
        ({"reference_currency": "USD"}, "minor_units"),
        ({"key": "Not a key"}, "key"),
    ],
)
def test_offer__with_a_mistake__says_which(
    shop: Shop, change: dict[str, str], message: str
) -> None:
    answer = signed_in().post(
        reverse("admin:store_offer_add"),
        OFFER | {"game": str(shop.game.pk), "key": "pond"} | change,
    )
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not Offer.objects.filter(key="pond").exists()


def test_content__by_support__can_be_seen_and_not_changed(shop: Shop) -> None:
    client = signed_in(StaffUser.Role.SUPPORT)
    url = reverse("admin:store_currency_change", args=[shop.petals.pk])
    assert client.get(url).status_code == 200
    assert client.post(url, {"name": "Other"}).status_code == 403
    assert Currency.objects.get(pk=shop.petals.pk).name == "Currency"


def test_content__key_and_game_of_what_exists__are_fixed(shop: Shop) -> None:
    url = reverse("admin:store_offer_change", args=[shop.koi_offer.pk])
    answer = signed_in().post(url, OFFER | {"key": "other"})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    row = Offer.objects.get(pk=shop.koi_offer.pk)
    assert (row.key, row.price) == ("koi", {"petals": 5})


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("currency", {"name": "X", "initial": "0", "max": "5", "is_active": "on"}),
        ("item", {"name": "X", "kind": "durable", "max_stack": "5", "is_active": "on"}),
        ("offer", OFFER),
    ],
)
def test_content__as_much_as_a_game_may_have__no_more(
    shop: Shop, settings: Any, model: str, fields: dict[str, str]
) -> None:
    client, url = signed_in(), reverse(f"admin:store_{model}_add")
    for number, status in ((3, 302), (3, 200)):
        for name in ("STORE_MAX_CURRENCIES", "STORE_MAX_ITEMS", "STORE_MAX_OFFERS"):
            setattr(settings, name, number)
        answer = client.post(url, fields | {"game": str(shop.game.pk), "key": f"new{status}"})
        assert answer.status_code == status
        refused = "at most 3, archived ones included" in answer.content.decode()
        assert refused is (status == 200)
