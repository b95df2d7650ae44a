"""From a receipt to the wallet and back: the API, what workers do, and Google Play."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import LazySettings
from django.utils import timezone

from config.db import definitions
from store.models import Item, Order, PlatformApp, PlatformNotice, PlatformPurchase, Watermark
from store.providers import registry
from store.providers.base import App
from store.providers.google import GoogleProvider
from store.services import notices, orders, reconciliation, telling
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory
from tests.fakes.faults import BROKEN, TOO_MANY
from tests.fakes.play_keys import PACKAGE
from tests.fakes.play_store import PlayStore
from tests.fixtures.api import ApiClient, PlayerClient
from tests.store.conftest import balance_of, stack_of
from tests.store.providers.test_google_receipts import device_json, unity

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _sold_in_google_play(
    game: Any, garden: App, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gems and a koi are sold there; the provider is one that knows no other test's keys."""
    settings.PLATFORM_KEYS = {"garden": garden.secret}
    PlatformApp.objects.create(
        game=game, provider="google", app_id=PACKAGE, key_name="garden", options=garden.options
    )
    CurrencyFactory(game=game, key="gems")
    ItemFactory(game=game, key="koi", kind=Item.Kind.DURABLE)
    for key, contents in {
        "gems": {"currencies": {"gems": 100}},
        "koi": {"items": {"koi": 1}},
    }.items():
        OfferFactory(game=game, key=key, contents=contents, products={"google": f"{key}_product"})
    definitions.changed(game.pk)
    provider = GoogleProvider(timeout=(5, 20))
    real = registry.provider
    monkeypatch.setattr(
        registry, "provider", lambda name: provider if name == "google" else real(name)
    )


def send(player: PlayerClient, token: str) -> str:
    """What the game sends after a purchase; the path of its order."""
    answer = player.post("/v1/store/receipts", unity(device_json(token), token))
    assert answer.status_code == 202, answer.content
    path: str = answer["Location"]
    return path


def process(player: PlayerClient, path: str) -> dict[str, Any]:
    orders.process(order_id=UUID(path.rsplit("/", 1)[1]))
    order: dict[str, Any] = player.get(path).json()
    return order


def gems(player: PlayerClient) -> int:
    found = balance_of(player.player_id, "gems")
    return found[0] if found else 0


def push(anonymous: ApiClient, play: PlayStore, body: bytes) -> int:
    """Pub/Sub pushes, and a worker processes all that is due."""
    headers = {"authorization": play.push.headers()["Authorization"]}
    answer = anonymous.call(
        "POST", "/v1/store/notifications/google", body, content_type="application/json", **headers
    )
    while notices.process():
        pass
    status: int = answer.status_code
    return status


def test_gems__granted_consumed_and_refunded(
    player_client: PlayerClient, anonymous: ApiClient, play: PlayStore
) -> None:
    account = player_client.get("/v1/store/account-token").json()["token"]
    token = play.sell("gems_product", quantity=2, account=account)

    order = process(player_client, send(player_client, token))

    assert (order["status"], order["offer"], gems(player_client)) == ("granted", "gems", 200)
    assert telling.tell()
    assert "CONSUMPTION_STATE_CONSUMED" in str(play.products[token])
    row = PlatformPurchase.objects.get()
    assert (row.transaction_id, row.is_unbound, row.told) == (token, False, "done")
    assert (row.price_minor_units, row.price_currency, row.country) == (499, "EUR", "DE")

    play.refund(token, quantity=1)
    body = play.push.voided(token, row.original_id, whole=False)
    assert push(anonymous, play, body) == 200
    assert gems(player_client) == 100
    assert push(anonymous, play, body) == 200
    assert (gems(player_client), PlatformNotice.objects.count()) == (100, 1)
    # The same receipt once more changes nothing.
    assert process(player_client, send(player_client, token))["id"] == order["id"]
    assert gems(player_client) == 100


def test_koi__kept_and_acknowledged(player_client: PlayerClient, play: PlayStore) -> None:
    token = play.sell("koi_product")
    assert process(player_client, send(player_client, token))["status"] == "granted"
    assert telling.tell()
    assert stack_of(player_client.player_id, "koi") == 1
    assert play.products[token]["acknowledgementState"].endswith("_ACKNOWLEDGED")
    assert "YET_TO_BE_CONSUMED" in str(play.products[token])
    assert PlatformPurchase.objects.get().told == "done"


def test_pending__granted_when_google_says_that_it_is_paid(
    player_client: PlayerClient, anonymous: ApiClient, play: PlayStore
) -> None:
    token = play.sell("gems_product", state="PENDING")
    path = send(player_client, token)
    assert process(player_client, path)["status"] == "deferred"
    assert gems(player_client) == 0

    play.pay(token)
    assert push(anonymous, play, play.push.product(token)) == 200

    assert (player_client.get(path).json()["status"], gems(player_client)) == ("granted", 100)


def test_pending__polled_where_no_notification_comes(
    player_client: PlayerClient, play: PlayStore
) -> None:
    token = play.sell("gems_product", state="PENDING")
    path = send(player_client, token)
    process(player_client, path)
    play.pay(token)
    row = PlatformPurchase.objects.get()
    PlatformPurchase.objects.update(next_attempt_at=timezone.now())
    assert reconciliation.poll(purchase_id=row.pk)
    assert (player_client.get(path).json()["status"], gems(player_client)) == ("granted", 100)


def test_pending_subscription__paid_and_renewed(
    player_client: PlayerClient, anonymous: ApiClient, game: Any, play: PlayStore
) -> None:
    contents = {"currencies": {"gems": 7}}
    OfferFactory(game=game, key="pass", contents=contents, products={"google": "pass"})
    definitions.changed(game.pk)
    token = play.subscribe(state="PENDING")
    path = send(player_client, token)
    assert process(player_client, path)["status"] == "deferred"
    play.subscriptions[token] = play.subscriptions[play.subscribe()]
    PlatformPurchase.objects.update(next_attempt_at=timezone.now())
    assert reconciliation.poll()
    assert (player_client.get(path).json()["status"], gems(player_client)) == ("granted", 7)
    play.renew(token)
    assert push(anonymous, play, play.push.subscription(token, kind=2)) == 200
    assert gems(player_client) == 14


def test_refund_before_the_receipt__never_granted(
    player_client: PlayerClient, anonymous: ApiClient, play: PlayStore
) -> None:
    token = play.sell("gems_product")
    play.refund(token)
    assert push(anonymous, play, play.push.voided(token, "")) == 200
    order = process(player_client, send(player_client, token))
    assert (order["status"], gems(player_client)) == ("refunded", 0)


def test_missed_refund__found_in_the_list(
    player_client: PlayerClient, game: Any, play: PlayStore
) -> None:
    token = play.sell("gems_product")
    process(player_client, send(player_client, token))
    play.refund(token, is_shown=False)
    now = timezone.now()
    Watermark.objects.create(
        app=PlatformApp.objects.get(),
        kind=Watermark.Kind.RECENT,
        until=now - timedelta(hours=1),
        next_attempt_at=now,
    )
    assert reconciliation.look_back()
    while notices.process():
        pass
    assert gems(player_client) == 0
    assert PlatformPurchase.objects.get().state == "revoked"


@pytest.mark.parametrize("fault", [BROKEN, TOO_MANY], ids=["500", "429"])
def test_google_away__put_off_then_granted(
    player_client: PlayerClient, play: PlayStore, fault: Any
) -> None:
    token = play.sell("gems_product")
    play.fail(fault, on="productsv2")
    path = send(player_client, token)
    assert process(player_client, path)["status"] == "verifying"
    Order.objects.update(next_attempt_at=timezone.now())
    assert process(player_client, path)["status"] == "granted"


def test_test_purchase__grants_nothing_unless_allowed(
    player_client: PlayerClient, play: PlayStore
) -> None:
    token = play.sell("gems_product", is_test=True)
    order = process(player_client, send(player_client, token))
    assert (order["status"], order["code"]) == ("rejected", "sandbox_not_allowed")
    assert gems(player_client) == 0


def test_push__from_a_stranger__401(anonymous: ApiClient, play: PlayStore) -> None:
    token = play.push.token(aud="https://elsewhere.example/")
    answer = anonymous.call(
        "POST",
        "/v1/store/notifications/google",
        play.push.product(play.sell("gems_product")),
        content_type="application/json",
        authorization=f"Bearer {token}",
    )
    assert answer.status_code == 401
    assert not PlatformNotice.objects.exists()


def test_three_days__told_until_google_listens(
    player_client: PlayerClient, play: PlayStore
) -> None:
    """Google gives the money back after three days: an hour at most lies between two tries."""
    token = play.sell("koi_product")
    process(player_client, send(player_client, token))

    for hours in (1, 24, 71):
        at = timezone.now()
        PlatformPurchase.objects.update(
            granted_at=at - timedelta(hours=hours), next_attempt_at=at, attempts=hours
        )
        play.fail(BROKEN, on=":acknowledge")
        assert telling.tell()
        row = PlatformPurchase.objects.get()
        assert row.told == "due"
        assert row.next_attempt_at <= timezone.now() + timedelta(hours=1)

    PlatformPurchase.objects.update(next_attempt_at=timezone.now())
    assert telling.tell()
    assert play.products[token]["acknowledgementState"].endswith("_ACKNOWLEDGED")
    assert PlatformPurchase.objects.get().told == "done"


def test_three_days__google_gave_the_money_back__taken_back_and_not_told(
    player_client: PlayerClient, play: PlayStore
) -> None:
    token = play.sell("koi_product")
    process(player_client, send(player_client, token))
    play.refund(token)
    Watermark.objects.create(
        app=PlatformApp.objects.get(),
        kind=Watermark.Kind.RECENT,
        until=timezone.now() - timedelta(days=4),
    )

    assert reconciliation.look_back()
    while notices.process():
        pass

    assert stack_of(player_client.player_id, "koi") == 0
    assert telling.tell()
    assert not play.products[token]["acknowledgementState"].endswith("_ACKNOWLEDGED")
    assert PlatformPurchase.objects.get().told == "none"
