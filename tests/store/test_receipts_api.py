"""The endpoints of real money."""

import json
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.db import definitions
from store.models import Order, PlatformApp, PlatformNotice
from store.providers.registry import UNITY_STORES
from store.services import orders
from tests.fakes.platform import NAME, Shelf
from tests.fixtures.api import ApiClient, PlayerClient, assert_problem
from tests.store.conftest import balance_of
from tests.store.receipts import shelf

__all__ = ["shelf"]
pytestmark = pytest.mark.django_db


def send(client: PlayerClient, transaction_id: str = "t1", **headers: str) -> Any:
    body = {"provider": NAME, "receipt": {"id": transaction_id}}
    return client.post("/v1/store/receipts", body, **headers)


def test_receipt__kept_then_granted(shelf: Shelf, player_client: PlayerClient) -> None:
    shelf.say()

    answer = send(player_client)

    assert answer.status_code == 202
    order = answer.json()
    assert answer["Location"] == f"/v1/store/orders/{order['id']}"
    assert (order["status"], order["provider"], "code" in order) == ("received", NAME, False)
    orders.process(order_id=uuid.UUID(order["id"]))
    done = player_client.get(answer["Location"]).json()
    assert (done["status"], done["offer"], done["product"]) == ("granted", "gems", "gems")
    assert done["granted"] == {"currencies": {"gems": 100}, "items": {}}
    assert send(player_client).json()["id"] == order["id"]


def test_receipt__idempotency_key__replayed(shelf: Shelf, player_client: PlayerClient) -> None:
    first = send(player_client, idempotency_key="k")
    again = send(player_client, idempotency_key="k")

    assert (again.status_code, again["Idempotent-Replayed"]) == (202, "true")
    assert again.content == first.content
    assert again["Location"] == first["Location"]
    assert_problem(send(player_client, "t2", idempotency_key="k"), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"provider": "apple", "receipt": {"jws": "x"}}, 422, "unknown_platform"),
        ({"provider": NAME, "receipt": {}}, 422, "receipt_refused"),
        ({"provider": NAME, "receipt": "text"}, 422, "receipt_refused"),
        ({"provider": NAME}, 400, "validation_failed"),
        ({"receipt": {}}, 400, "validation_failed"),
        ({}, 400, "validation_failed"),
        ({"Store": "fake", "Payload": "ThisIsFakeReceiptData"}, 422, "unknown_platform"),
        ({"Store": "GooglePlay", "Payload": "{}"}, 422, "unknown_platform"),
    ],
)
def test_receipt__that_can_not_be_taken(
    shelf: Shelf, player_client: PlayerClient, body: Any, status: int, code: str
) -> None:
    assert_problem(player_client.post("/v1/store/receipts", body), status, code)
    assert not Order.objects.exists()


def test_receipt__of_unity__goes_to_its_platform(
    shelf: Shelf, player_client: PlayerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(UNITY_STORES, "Scripted", NAME)
    seen: list[Any] = []
    real = shelf.provider.read_receipt

    def read(receipt: Any) -> Any:
        seen.append(receipt)
        return real({"id": receipt["TransactionID"]})

    shelf.provider.read_receipt = read  # type: ignore[method-assign]  # a fake
    body = {"Store": "Scripted", "TransactionID": "t1", "Payload": {"json": "{}"}, "jws": "a.b.c"}
    answer = player_client.post("/v1/store/receipts", body)

    assert answer.status_code == 202
    assert seen == [body]


def test_orders__own_only_newest_first(
    shelf: Shelf, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    first, second = (send(player_client, name).json()["id"] for name in ("t1", "t2"))

    listed = player_client.get("/v1/store/orders?limit=1").json()

    assert [order["id"] for order in listed["results"]] == [second]
    rest = player_client.get(f"/v1/store/orders?cursor={listed['next']}").json()
    assert [order["id"] for order in rest["results"]] == [first]
    assert other_player_client.get("/v1/store/orders").json()["results"] == []
    assert_problem(other_player_client.get(f"/v1/store/orders/{first}"), 404, "not_found")


def test_orders__1_and_20_rows__as_many_queries(shelf: Shelf, player_client: PlayerClient) -> None:
    def count(rows: int) -> int:
        for number in range(rows):
            shelf.say(f"{rows}-{number}")
            shelf.process(shelf.submit(player_client.player_id, f"{rows}-{number}"))
        with CaptureQueriesContext(connection) as queries:
            answer = player_client.get("/v1/store/orders")
        assert answer.status_code == 200
        return len(queries)

    one = count(1)
    assert count(20) == one


def test_account_token__stays_the_same_and_differs_by_player(
    shelf: Shelf, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    token = player_client.get("/v1/store/account-token").json()["token"]

    assert player_client.get("/v1/store/account-token").json() == {"token": token}
    assert uuid.UUID(token).version == 4
    assert other_player_client.get("/v1/store/account-token").json()["token"] != token


def notify(body: Any, provider: str = NAME) -> Any:
    return ApiClient().post(f"/v1/store/notifications/{provider}", body)


def test_notification__stored_once_and_answered(shelf: Shelf) -> None:
    body = {"id": "n1", "app": shelf.app_id, "about": "t1"}

    assert [notify(body).status_code for _ in range(2)] == [200, 200]
    assert PlatformNotice.objects.get().notice_id == "n1"


def test_notification__only_refused_ones_count_against_the_limit(
    shelf: Shelf, settings: Any
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"notices_refused": (2, 60)}

    for number in range(5):
        assert notify({"id": f"n{number}", "app": shelf.app_id, "about": "t1"}).status_code == 200
    assert [notify({"id": 1}, "nobody").status_code for _ in range(3)] == [422, 422, 429]


def test_notification__that_is_not_believed(shelf: Shelf) -> None:
    body = {"id": "n1", "app": shelf.app_id, "about": "t1"}
    forged = notify({**body, "forged": True})
    assert assert_problem(forged, 401, "notification_not_trusted")["reason"] == "not_authentic"
    assert_problem(notify({**body, "malformed": True}), 422, "notification_refused")
    assert_problem(notify({**body, "later": True}), 503, "notification_not_readable")
    assert_problem(notify(body, "nobody"), 422, "unknown_platform")
    big = b'{"id": "' + b"x" * 300_000 + b'"}'
    assert_problem(notify(big), 413, "body_too_large")


# The sandbox platform


@pytest.fixture
def sandbox(shelf: Shelf) -> Shelf:
    PlatformApp.objects.create(
        game=shelf.game, provider="sandbox", app_id=shelf.game.slug, sandbox="all"
    )
    shelf.game.refresh_from_db()
    from store.models import Offer

    Offer.objects.filter(game=shelf.game, key="gems").update(products={"sandbox": "gems"})
    definitions.changed(shelf.game.pk)
    return shelf


def test_sandbox_platform__from_receipt_to_refund(
    sandbox: Shelf, player_client: PlayerClient
) -> None:
    bought = {"product": "gems", "transaction_id": "s-1", "signed_at": "2026-01-01T00:00:00Z"}
    answer = player_client.post("/v1/store/receipts", {"provider": "sandbox", "receipt": bought})
    orders.process()
    assert player_client.get(answer["Location"]).json()["status"] == "granted"
    assert balance_of(player_client.player_id, "gems") == (100, 0)

    message = {
        "id": "m-1",
        "app": sandbox.game.slug,
        "purchases": [{**bought, "revoked": 100_000, "signed_at": "2026-01-02T00:00:00Z"}],
    }
    assert notify(message, "sandbox").status_code == 200
    from store.services import notices

    assert notices.process() is True
    assert player_client.get(answer["Location"]).json()["status"] == "refunded"
    assert balance_of(player_client.player_id, "gems") == (0, 0)


def test_sandbox_platform__malformed(sandbox: Shelf, player_client: PlayerClient) -> None:
    for receipt in ({"product": "gems"}, {"product": "gems", "transaction_id": "x", "nope": 1}, ""):
        answer = player_client.post(
            "/v1/store/receipts", {"provider": "sandbox", "receipt": receipt}
        )
        assert assert_problem(answer, 422, "receipt_refused")["reason"] == "malformed"
    assert_problem(notify({"id": "x"}, "sandbox"), 422, "notification_refused")
    assert_problem(
        ApiClient().post("/v1/store/notifications/sandbox", b"\xff"), 422, "notification_refused"
    )


def test_sandbox_platform__production_has_none(
    sandbox: Shelf, player_client: PlayerClient, settings: Any
) -> None:
    settings.STORE_SANDBOX = False
    receipt = {"product": "gems", "transaction_id": "s-1"}
    answer = player_client.post("/v1/store/receipts", {"provider": "sandbox", "receipt": receipt})

    assert_problem(answer, 422, "unknown_platform")


def test_sandbox_platform__has_nothing_to_tell_and_missed_nothing(sandbox: Shelf) -> None:
    from store.providers import registry
    from store.providers.base import App
    from tests.fakes.platform import EPOCH

    provider = registry.provider("sandbox")
    line = sandbox.line()
    app = App(app_id="x")
    assert provider.look_up(app, line) == [line]
    provider.tell(app, line, consume=True)
    assert list(provider.missed(app, EPOCH, EPOCH)) == []
    with pytest.raises(registry.UnknownProvider):
        registry.provider("nobody")


def test_notification__body__is_json(shelf: Shelf) -> None:
    assert json.loads(notify({"id": 1}, "nobody").content)["provider"] == "nobody"
