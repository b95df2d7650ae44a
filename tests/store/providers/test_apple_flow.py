"""The App Store from end to end: what a client and Apple send over HTTP, and what becomes of it."""

import json
from typing import Any
from uuid import UUID

import pytest

from accounts.models import Game
from config.db import definitions
from store.models import Order, PlatformApp, PlatformNotice, PlatformPurchase, Watermark
from store.services import notices, orders, reconciliation
from tests.factories.store import CurrencyFactory, OfferFactory
from tests.fakes.app_store import AppStore
from tests.fakes.faults import TOO_MANY
from tests.fakes.platform import EPOCH
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem
from tests.store.conftest import balance_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sold(game: Game, app_store: AppStore, settings: Any) -> None:
    """The game sells 100 gems in the App Store."""
    settings.PLATFORM_KEYS = {"apple": app_store.secret}
    PlatformApp.objects.create(
        game=game,
        provider="apple",
        app_id=app_store.bundle_id,
        key_name="apple",
        options=app_store.options,
    )
    CurrencyFactory(game=game, key="gems")
    contents, products = {"currencies": {"gems": 100}}, {"apple": "gems_100"}
    OfferFactory(game=game, key="gems", contents=contents, products=products)
    definitions.changed(game.pk)


def send(client: PlayerClient, receipt: Any) -> dict[str, Any]:
    """What became of the order, after a worker had it."""
    answer = client.post("/v1/store/receipts", {"provider": "apple", "receipt": receipt})
    assert answer.status_code == 202, answer.content
    Order.objects.update(next_attempt_at=EPOCH)
    orders.process(order_id=UUID(answer.json()["id"]))
    return dict(client.get(answer["Location"]).json())


def notify(payload: str) -> Any:
    """Apple sends it, and a worker has it."""
    client = ApiClient()
    answer = client.post("/v1/store/notifications/apple", {"signedPayload": payload})
    while notices.process():
        pass
    return answer


def gems(client: PlayerClient) -> int:
    return sum(balance_of(client.player_id, "gems") or ())


def test_bought_refunded_and_given_back(app_store: AppStore, player_client: PlayerClient) -> None:
    number = app_store.buy(quantity=2)
    order = send(player_client, {"jws": app_store.jws(number)})
    assert (order["status"], gems(player_client)) == ("granted", 200)
    refund = app_store.refund(number)
    assert notify(refund).status_code == 200
    assert notify(refund).status_code == 200
    assert gems(player_client) == 0
    assert notify(app_store.reverse_refund(number)).status_code == 200
    assert gems(player_client) == 200
    # The notification of the refund, once more and late: Apple has said something newer since.
    PlatformNotice.objects.all().delete()
    assert notify(refund).status_code == 200
    assert gems(player_client) == 200


def test_refunded_before_it_was_sent(app_store: AppStore, player_client: PlayerClient) -> None:
    number = app_store.buy()
    jws = app_store.jws(number)
    notify(app_store.refund(number))
    assert send(player_client, {"jws": jws})["status"] == "refunded"
    assert gems(player_client) == 0


def test_a_third_of_it_refunded(app_store: AppStore, player_client: PlayerClient) -> None:
    number = app_store.buy(quantity=3)
    send(player_client, {"jws": app_store.jws(number)})
    notify(app_store.refund(number, percentage=33_333))
    assert 199 <= gems(player_client) <= 201


def test_a_refund_that_nobody_told_is_found_in_the_history(
    app_store: AppStore, player_client: PlayerClient
) -> None:
    number = app_store.buy()
    send(player_client, {"jws": app_store.jws(number)})
    app_store.refund(number)
    reconciliation.watch()
    Watermark.objects.update(next_attempt_at=EPOCH)
    assert reconciliation.look_back()
    while notices.process():
        pass
    assert (PlatformPurchase.objects.get().state, gems(player_client)) == ("revoked", 0)


def test_unitys_receipt_while_the_app_store_is_busy(
    app_store: AppStore, player_client: PlayerClient
) -> None:
    receipt = {"Store": "AppleAppStore", "TransactionID": app_store.buy(), "Payload": "AAAA"}
    app_store.fail(TOO_MANY)
    assert send(player_client, receipt)["status"] == "verifying"
    assert send(player_client, receipt)["status"] == "granted"
    assert gems(player_client) == 100


def test_two_players_with_one_receipt(
    app_store: AppStore, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    number = app_store.buy()
    assert send(player_client, {"jws": app_store.jws(number)})["status"] == "granted"
    assert send(other_player_client, {"jws": app_store.jws(number)})["status"] == "rejected"
    assert (gems(player_client), gems(other_player_client)) == (100, 0)


def test_the_sandbox_grants_nothing_unless_allowed(
    app_store: AppStore, game: Game, player_client: PlayerClient
) -> None:
    number = app_store.buy(sandbox=True)
    assert send(player_client, {"jws": app_store.jws(number)})["status"] == "rejected"
    PlatformApp.objects.update(sandbox="all")
    definitions.changed(game.pk)
    another = app_store.buy(sandbox=True)
    assert send(player_client, {"jws": app_store.jws(another)})["status"] == "granted"


def test_what_apple_did_not_sign_is_refused_at_the_door(app_store: AppStore) -> None:
    payload = app_store.notify("TEST")
    head, body, signature = payload.split(".")
    forged = f"{head}.{body}.{signature[:-4]}AAAA"
    assert_problem(notify(forged), 401, "notification_not_trusted")
    assert_problem(notify(json.dumps(payload)), 422, "notification_refused")
    assert notify(payload).status_code == 200
