"""Gifts between friends."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Player, Session
from accounts.services import sanctions
from analytics.models import Event
from config import hooks
from config.db import definitions
from config.db.ids import uuid7
from config.hooks import HookRefused
from store import panels
from store.catalogue import catalogue
from store.models import Account, Gift, Offer, OfferUse, Purchase, Transaction
from store.services import content, gifts, ledger, purchases, verification
from store.shapes import entry_of, merged
from tests.factories.accounts import (
    PlayerFactory,
    SessionFactory,
    StaffUserFactory,
    access_token,
    befriend,
)
from tests.factories.merging import merge, undo
from tests.factories.store import OfferFactory, give
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem
from tests.store.conftest import Shop, balance_of, stack_of

pytestmark = pytest.mark.django_db
GIFTS = "/v1/store/gifts"


@pytest.fixture
def basket(shop: Shop) -> Offer:
    """Five seeds and a gem for ten petals, for oneself or for a friend."""
    row: Offer = OfferFactory(
        game=shop.game,
        key="basket",
        contents={"items": {"seeds": 5}, "currencies": {"gems": 1}},
        price={"petals": 10},
        is_giftable=True,
    )
    return row


@pytest.fixture
def ada(basket: Offer, player_client: PlayerClient) -> PlayerClient:
    return player_client


@pytest.fixture
def ben(ada: PlayerClient, other_player_client: PlayerClient) -> PlayerClient:
    """A friend of hers."""
    befriend(row_of(ada), row_of(other_player_client))
    return other_player_client


def row_of(client: PlayerClient) -> Player:
    return Player.objects.get(pk=client.player_id)


def send(
    client: ApiClient, to: PlayerClient, offer: str = "basket", key: str = "", **body: Any
) -> Any:
    return client.post(
        "/v1/store/purchases",
        {"offer": offer, "gift_to": str(to.player_id)} | body,
        idempotency_key=key or uuid.uuid4().hex,
    )


def change(row: Any, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    definitions.changed(row.game_id)


def assert_nothing_moved(ada: PlayerClient) -> None:
    assert not Purchase.objects.exists()
    assert not Gift.objects.exists()
    assert not Transaction.objects.filter(kind__in=("purchase", "gift")).exists()
    assert not OfferUse.objects.exists()
    assert balance_of(ada.player_id, "petals") in (None, (0, 100))
    assert list(verification.verify()) == []


def listed(client: ApiClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"{GIFTS}{query}")
    assert answer.status_code == 200, answer.content
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def test_gift__buyer_pays_and_friend_gets(ada: PlayerClient, ben: PlayerClient) -> None:
    give(ada.player_id, {"gems": 3})
    answer = send(ada, ben, quantity=2)

    assert answer.status_code == 201, answer.content
    bought = answer.json()
    contents = {"currencies": {"gems": 2}, "items": {"seeds": 10}}
    assert bought["price"] == {"petals": 20}
    assert bought["granted"] == {"currencies": {}, "items": {}}
    assert bought["gift"]["player"] == str(ben.player_id)
    assert bought["gift"]["contents"] == contents
    assert balance_of(ada.player_id, "petals") == (0, 80)
    assert balance_of(ada.player_id, "gems") == (0, 3)
    assert stack_of(ada.player_id, "seeds") == 0
    assert balance_of(ben.player_id, "gems") == (0, 2)
    assert stack_of(ben.player_id, "seeds") == 10
    assert list(verification.verify()) == []

    (received,) = listed(ben)
    assert received == {
        "id": bought["gift"]["id"],
        "direction": "received",
        "player": ada.get(f"/v1/players/{ada.player_id}").json(),
        "offer": "basket",
        "quantity": 2,
        "contents": contents,
        "created_at": received["created_at"],
    }
    (sent,) = listed(ada, "?direction=sent")
    assert (sent["direction"], sent["player"]["id"]) == ("sent", str(ben.player_id))
    assert listed(ada) == listed(ben, "?direction=sent") == []


def test_gift__movements_say_so(ada: PlayerClient, ben: PlayerClient) -> None:
    send(ada, ben)

    def latest(client: PlayerClient) -> tuple[Any, ...]:
        row = client.get("/v1/store/wallet/transactions").json()["results"][0]
        return row["currency"], row["amount"], row["reason"], row["reference"]

    assert latest(ada) == ("petals", -10, "gift", "basket")
    assert latest(ben) == ("gems", 1, "gift", "basket")
    kinds = Transaction.objects.filter(reason="gift").values_list("kind", "player_id")
    assert set(kinds) == {("purchase", ada.player_id), ("gift", ben.player_id)}


def test_gift__what_was_paid_for__is_earned_by_the_friend(
    ada: PlayerClient, ben: PlayerClient
) -> None:
    """Paid money does not travel as such: what is bought with it is earned, as always."""
    assert send(ada, ben).status_code == 201
    assert balance_of(ben.player_id, "gems") == (0, 1)


def test_gift__same_key__once_and_the_same_answer(ada: PlayerClient, ben: PlayerClient) -> None:
    first = send(ada, ben, key="once")
    again = send(ada, ben, key="once")

    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert Gift.objects.count() == Purchase.objects.count() == 1


def test_gift__same_key__also_when_it_could_not_be_given_any_more(
    ada: PlayerClient, ben: PlayerClient, basket: Offer
) -> None:
    first = send(ada, ben, key="once")
    change(basket, is_giftable=False)
    ada.delete(f"/v1/friends/{ben.player_id}")
    assert send(ada, ben, key="once").json() == first.json()
    change(basket, is_active=False)
    Player.objects.filter(pk=ben.player_id).update(merged_into=ada.player_id)
    assert send(ada, ben, key="once").json() == first.json()


def test_gift__same_key__for_another_or_oneself__is_refused(
    ada: PlayerClient, ben: PlayerClient, make_player: Any
) -> None:
    other = make_player()
    befriend(row_of(ada), row_of(other))
    send(ada, ben, key="once")

    assert_problem(send(ada, other, key="once"), 422, "idempotency_key_reused")
    mine = ada.post("/v1/store/purchases", {"offer": "basket"}, idempotency_key="once")
    assert_problem(mine, 422, "idempotency_key_reused")


def test_gift__price_that_changed__is_refused(ada: PlayerClient, ben: PlayerClient) -> None:
    assert_problem(send(ada, ben, expected_price={"petals": 9}), 409, "price_changed")
    assert_nothing_moved(ada)


def test_gift__counts_for_the_buyers_limit(
    ada: PlayerClient, ben: PlayerClient, basket: Offer
) -> None:
    change(basket, limit_per_player=1)
    assert send(ada, ben).status_code == 201

    assert_problem(send(ada, ben), 409, "limit_reached")
    mine = ben.post("/v1/store/purchases", {"offer": "basket"}, idempotency_key="mine")
    assert mine.status_code == 201
    assert OfferUse.objects.count() == 2


def test_gift__too_little_in_the_buyers_wallet(
    ada: PlayerClient, ben: PlayerClient, settings: Any
) -> None:
    settings.STORE_GIFTS_A_DAY = 11
    give(ben.player_id, {"petals": 800})

    assert_problem(send(ada, ben, quantity=11), 409, "insufficient_funds")
    assert_nothing_moved(ada)


def test_gift__of_an_offer_that_is_not_for_it(ada: PlayerClient, ben: PlayerClient) -> None:
    assert_problem(send(ada, ben, offer="seeds"), 409, "not_giftable")
    assert_nothing_moved(ada)


def test_gift__to_somebody_else__is_refused(
    ada: PlayerClient, make_player: Any, foreign_player_client: PlayerClient
) -> None:
    nobody = PlayerClient(player_id=uuid7())
    for other in (make_player(), foreign_player_client, ada, nobody):
        assert_problem(send(ada, other), 409, "not_friends")
    assert_nothing_moved(ada)


@pytest.mark.parametrize("blocker", ["ada", "ben"])
def test_gift__after_a_block__is_refused(
    ada: PlayerClient, ben: PlayerClient, blocker: str
) -> None:
    client, other = (ada, ben) if blocker == "ada" else (ben, ada)
    client.post("/v1/blocks", {"player": str(other.player_id)})

    assert_problem(send(ada, ben), 409, "not_friends")
    assert_nothing_moved(ada)


@pytest.mark.parametrize("what", ["stack", "balance", "durable"])
def test_gift__without_room_at_the_friends__is_refused_without_a_word(
    shop: Shop, ada: PlayerClient, ben: PlayerClient, basket: Offer, what: str
) -> None:
    match what:
        case "stack":
            give(ben.player_id, {}, {"seeds": 16})
        case "balance":
            change(shop.gems, max=5)
            give(ben.player_id, {"gems": 5})
        case _:
            change(shop.koi_offer, is_giftable=True)
            give(ben.player_id, {}, {"koi": 1})
    offer = "koi" if what == "durable" else "basket"

    problem = assert_problem(send(ada, ben, offer=offer), 409, "gift_not_possible")
    assert set(problem) == {"type", "title", "status", "detail", "instance", "code"}
    assert problem["detail"] == problem["title"]
    assert_nothing_moved(ada)


def test_gift__durable_that_the_buyer_owns__is_the_friends_first(
    shop: Shop, ada: PlayerClient, ben: PlayerClient
) -> None:
    change(shop.koi_offer, is_giftable=True)
    give(ada.player_id, {}, {"koi": 1})

    assert send(ada, ben, offer="koi").status_code == 201
    assert (stack_of(ada.player_id, "koi"), stack_of(ben.player_id, "koi")) == (1, 1)


@pytest.mark.parametrize("who", ["sender", "recipient", "token"])
def test_gift__testers_and_others_do_not_mix(
    ada: PlayerClient, ben: PlayerClient, who: str
) -> None:
    """Neither by what they are, nor by what an older access token says."""
    tester = row_of(ben if who == "recipient" else ada)
    tester.is_tester = True
    tester.save()
    client: ApiClient = ada
    if who != "recipient":
        token = access_token(SessionFactory(player=tester))
        client = ApiClient({"Authorization": f"Bearer {token}"})
    if who == "token":
        Player.objects.filter(pk=tester.pk).update(is_tester=False)

    assert_problem(send(client, ben), 409, "gift_not_possible")
    assert_nothing_moved(ada)


def test_gift__among_testers__on_the_terms_of_drafts(
    shop: Shop, ada: PlayerClient, ben: PlayerClient
) -> None:
    draft = merged(entry_of(shop.seeds_offer), {"giftable": True})
    content.save_draft(model=Offer, game_id=shop.game.pk, entry=draft, is_active=True)
    assert_problem(send(ada, ben, offer="seeds"), 409, "not_giftable")
    Player.objects.update(is_tester=True)
    session = Session.objects.get(player_id=ada.player_id)
    tester = ApiClient({"Authorization": f"Bearer {access_token(session)}"})

    assert send(tester, ben, offer="seeds").status_code == 201
    rows = {row["key"]: row for row in tester.get("/v1/store/offers").json()["results"]}
    assert rows["seeds"]["giftable"] is True
    assert "giftable" not in rows["koi"]


def test_gift__too_many_within_a_day(ada: PlayerClient, ben: PlayerClient, settings: Any) -> None:
    settings.STORE_GIFTS_A_DAY = 2
    assert [send(ada, ben).status_code for _ in range(2)] == [201, 201]
    assert_problem(send(ada, ben), 409, "gifts_used_up")
    assert Gift.objects.count() == 2

    Gift.objects.update(created_at=timezone.now() - gifts.DAY)
    Purchase.objects.update(created_at=timezone.now() - gifts.DAY)
    assert send(ada, ben).status_code == 201


def test_gift__of_several__counts_as_several(
    shop: Shop, ada: PlayerClient, ben: PlayerClient, settings: Any
) -> None:
    gem = {"contents": {"currencies": {"gems": 1}}, "price": {"petals": 1}, "is_giftable": True}
    OfferFactory(game=shop.game, key="gem", **gem)
    settings.STORE_GIFTS_A_DAY = 5
    assert_problem(send(ada, ben, offer="gem", quantity=90), 409, "gifts_used_up")
    assert_nothing_moved(ada)
    assert send(ada, ben, offer="gem", quantity=3).status_code == 201
    assert_problem(send(ada, ben, offer="gem", quantity=3), 409, "gifts_used_up")
    assert send(ada, ben, offer="gem", quantity=2).status_code == 201


def test_gift__what_absorbed_players_have_given__counts(
    ada: PlayerClient, ben: PlayerClient, make_player: Any, settings: Any
) -> None:
    settings.STORE_GIFTS_A_DAY = 2
    other = make_player()
    befriend(row_of(other), row_of(ben))
    assert send(other, ben, quantity=2).status_code == 201
    made = merge(row_of(ada), row_of(other))

    assert_problem(send(ada, ben), 409, "gifts_used_up")
    undo(made)
    assert send(ada, ben).status_code == 201


@pytest.mark.parametrize("is_merged", [False, True])
def test_gift__too_many_received_within_a_day__is_refused_without_a_word(
    ada: PlayerClient, ben: PlayerClient, make_player: Any, settings: Any, is_merged: bool
) -> None:
    settings.STORE_GIFTS_RECEIVED_A_DAY = 2
    other, third = make_player(), make_player() if is_merged else ben
    befriend(row_of(other), row_of(third))
    assert send(other, third, quantity=2).status_code == 201
    if is_merged:
        merge(row_of(ben), row_of(third))

    problem = assert_problem(send(ada, ben), 409, "gift_not_possible")
    assert problem["detail"] == problem["title"]

    Gift.objects.update(created_at=timezone.now() - gifts.DAY)
    Purchase.objects.update(created_at=timezone.now() - gifts.DAY)
    assert send(ada, ben).status_code == 201


@pytest.mark.parametrize(
    ("kind", "status"), [("warning", 201), ("shadow_ban", 409), ("lifted", 201)]
)
def test_gift__by_who_is_sanctioned__is_refused_without_a_word(
    ada: PlayerClient, ben: PlayerClient, kind: str, status: int
) -> None:
    game_id = row_of(ada).game_id
    sanction = sanctions.impose(
        game_id=game_id,
        player_id=ada.player_id,
        kind="shadow_ban" if kind == "lifted" else kind,
        reason="Trades",
        author="ann",
    )
    if kind == "lifted":
        sanctions.lift(game_id=game_id, player_id=ada.player_id, sanction_id=sanction.pk)

    answer = send(ada, ben)

    assert answer.status_code == status
    if status == 409:
        problem = assert_problem(answer, 409, "gift_not_possible")
        assert problem["detail"] == problem["title"]
        assert_nothing_moved(ada)
        # Who is sanctioned can be given something all the same: a refusal would tell of it.
        assert send(ben, ada).status_code == 201


def test_gift__by_who_owes_gems__is_refused(
    shop: Shop, ada: PlayerClient, ben: PlayerClient
) -> None:
    give(ada.player_id, {"petals": 1})
    ledger.post(
        game_id=shop.game.pk,
        player_id=ada.player_id,
        kind=Transaction.Kind.REFUND,
        key="refund",
        reason="refund",
        lines=[
            ledger.Line(
                catalogue(shop.game.pk).currencies["gems"], 5, "refund", Account.SINK_REFUND
            )
        ],
    )

    assert_problem(send(ada, ben), 409, "gift_not_possible")
    mine = ada.post("/v1/store/purchases", {"offer": "basket"}, idempotency_key="mine")
    assert mine.status_code == 201, mine.content
    assert not Gift.objects.exists()


def test_gift__server_events_are_each_ones_own(ada: PlayerClient, ben: PlayerClient) -> None:
    ben.patch("/v1/players/me", {"analytics_consent": True}, if_match="*")
    send(ada, ben)

    found = {
        (name, props.get("account")): (player, props)
        for name, player, props in Event.objects.values_list("name", "player_id", "props")
        if name in ("purchase", "gift", "currency_sink", "currency_source")
        and props.get("account") != "source:initial"
    }
    assert {name for name, _ in found} == {"purchase", "gift", "currency_sink", "currency_source"}
    # She has not agreed: nothing names her, or what she has bought.
    buyer, props = found["purchase", None]
    assert buyer is None
    assert props["granted"] == {"currencies": {}, "items": {}}
    assert "id" not in props
    assert found["gift", None][0] == ben.player_id
    assert str(ada.player_id) not in str(found)
    taker, source = found["currency_source", "source:purchase"]
    assert taker == ben.player_id
    assert source == {
        "currency": "gems",
        "amount": 1,
        "account": "source:purchase",
        "offer": "basket",
    }


def test_gift__to_a_friend_who_has_not_agreed__names_nothing(
    ada: PlayerClient, ben: PlayerClient
) -> None:
    send(ada, ben)

    rows = list(Event.objects.filter(name="gift").values_list("player_id", "props"))
    assert rows == [(None, {"offer": "basket", "quantity": 1})]


def test_gift__hooks_of_purchases__refuse_and_are_told(
    ada: PlayerClient, ben: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def refuse(*, quantity: int, **_: Any) -> None:
        if quantity > 1:
            raise HookRefused("One at a time")

    monkeypatch.setitem(hooks._before, "purchase", [refuse])
    monkeypatch.setitem(hooks._after, "purchase", {"tell": lambda **payload: told.append(payload)})

    assert_problem(send(ada, ben, quantity=2), 422, "refused_by_game")
    assert_nothing_moved(ada)
    bought = send(ada, ben).json()
    assert hooks.run_due() == 1
    assert told[0]["purchase_id"] == bought["id"]
    assert told[0]["player_id"] == str(ada.player_id)


@pytest.mark.parametrize("direction", ["received", "sent"])
def test_list__costs_the_same_with_1_and_20__and_has_pages(
    shop: Shop, ada: PlayerClient, settings: Any, direction: str
) -> None:
    settings.STORE_GIFTS_A_DAY = settings.STORE_GIFTS_RECEIVED_A_DAY = 100
    player = row_of(ada)
    OfferFactory(
        game=shop.game,
        key="gem",
        contents={"currencies": {"gems": 1}},
        price={"petals": 1},
        is_giftable=True,
    )
    query = f"?direction={direction}"
    ada.get(f"{GIFTS}{query}")

    def gift(number: int) -> None:
        other = PlayerFactory(game=shop.game)
        befriend(player, other)
        pair = (other, player) if direction == "received" else (player, other)
        purchases.purchase(
            game_id=shop.game.pk,
            player_id=pair[0].pk,
            offer="gem",
            quantity=1,
            key=str(number),
            gift_to=pair[1].pk,
        )

    counts: list[int] = []
    found: list[dict[str, Any]] = []
    for numbers in (range(1), range(1, 20)):
        for number in numbers:
            gift(number)
        with CaptureQueriesContext(connection) as queries:
            found = listed(ada, query)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert len(found) == 20

    pages: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = ada.get(f"{GIFTS}{query}&limit=7{cursor}").json()
        pages += page["results"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert pages == found


# The back office


def test_admin__shows_gifts(ada: PlayerClient, ben: PlayerClient) -> None:
    send(ada, ben)
    gift = Gift.objects.get()
    staff = Client()
    staff.force_login(
        StaffUserFactory.create(role="support"), "django.contrib.auth.backends.ModelBackend"
    )
    for name, pk in (
        ("store_gift", gift.pk),
        ("store_purchase", gift.purchase_id),
        ("store_transaction", gift.pk),
        ("accounts_player", ben.player_id),
    ):
        page = staff.get(reverse(f"admin:{name}_change", args=[pk]))
        assert page.status_code == 200
        assert reverse("admin:store_gift_change", args=[gift.pk]) in page.content.decode() or (
            name == "store_gift"
        )
    for term in (gift.pk, gift.purchase_id, ada.player_id, ben.player_id):
        page = staff.get(reverse("admin:store_gift_changelist"), {"q": str(term)})
        assert str(gift.pk) in page.content.decode(), term


def test_panel__has_both_directions(ada: PlayerClient, ben: PlayerClient) -> None:
    send(ada, ben)

    assert [row[1] for row in panels.purchases(row_of(ada)).rows] == ["basket, as a gift"]
    assert [row[2] for row in panels.gifts(row_of(ada)).rows] == ["to"]
    assert [row[2] for row in panels.gifts(row_of(ben)).rows] == ["from"]
    own = purchases.purchase(
        game_id=row_of(ada).game_id,
        player_id=ada.player_id,
        offer="basket",
        quantity=1,
        key="own",
    )
    assert panels.gift_of(Purchase.objects.get(pk=own.id)) is None
