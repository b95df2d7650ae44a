"""Subscriptions in both platforms' stores, from the first month to the end: the API, what workers
do, and real servers that answer as Apple and Google do."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from accounts.models import Game
from config.db import definitions
from store import tasks
from store.models import Order, PlatformApp, PlatformNotice
from store.models import Subscription as Row
from store.providers import registry
from store.providers.base import App
from store.providers.google import GoogleProvider
from store.services import orders, telling, verification
from tests.factories.store import CurrencyFactory, OfferFactory
from tests.fakes.app_store import AppStore
from tests.fakes.apple_sales import ACTIVE, EXPIRED, GRACE, RETRYING, ms
from tests.fakes.faults import BROKEN
from tests.fakes.platform import EPOCH
from tests.fakes.play_keys import PACKAGE
from tests.fakes.play_store import PlayStore
from tests.fixtures.api import ApiClient, PlayerClient
from tests.store.conftest import balance_of
from tests.store.providers import test_apple_flow as apple_flow
from tests.store.providers import test_google_flow as google_flow

pytestmark = pytest.mark.django_db
MONTH, WEEK = timedelta(days=30), timedelta(days=7)


@pytest.fixture(autouse=True)
def club(game: Game) -> None:
    """10 gems a month, or 200 a year."""
    CurrencyFactory(game=game, key="gems")
    for key, count in (("club_month", 10), ("club_year", 200)):
        OfferFactory(
            game=game,
            key=key,
            contents={"currencies": {"gems": count}},
            products={"apple": key, "google": key},
            entitlement="club",
        )


@pytest.fixture
def apple_sells(game: Game, app_store: AppStore, settings: Any) -> None:
    settings.PLATFORM_KEYS = {"apple": app_store.secret}
    PlatformApp.objects.create(
        game=game,
        provider="apple",
        app_id=app_store.bundle_id,
        key_name="apple",
        options=app_store.options,
    )
    definitions.changed(game.pk)


@pytest.fixture
def google_sells(game: Game, garden: App, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PLATFORM_KEYS = {"garden": garden.secret}
    PlatformApp.objects.create(
        game=game, provider="google", app_id=PACKAGE, key_name="garden", options=garden.options
    )
    definitions.changed(game.pk)
    provider, real = GoogleProvider(timeout=(5, 20)), registry.provider
    monkeypatch.setattr(
        registry, "provider", lambda name: provider if name == "google" else real(name)
    )


def seen(client: PlayerClient) -> tuple[str, bool, bool]:
    """(state, entitled, renews) of the newest subscription."""
    found = client.get("/v1/store/subscriptions").json()["results"][0]
    return found["state"], found["is_entitled"], found["renews"]


def gems(client: PlayerClient) -> int:
    found = balance_of(client.player_id, "gems")
    return found[0] if found else 0


def job() -> int:
    Row.objects.update(next_attempt_at=EPOCH)
    return tasks.ask_about_subscriptions()


def test_app_store__a_life(
    apple_sells: None,
    app_store: AppStore,
    player_client: PlayerClient,
    other_player_client: PlayerClient,
) -> None:
    first = app_store.subscribe("club_month")
    order = apple_flow.send(player_client, {"jws": app_store.jws(first)})
    assert (order["status"], order["offer"], gems(player_client)) == ("granted", "club_month", 10)
    assert seen(player_client) == ("active", True, True)

    # Renewed, told twice; then renewed and not told at all.
    renewed = app_store.notify("DID_RENEW", app_store.renew(first))
    assert [apple_flow.notify(renewed).status_code for _ in range(2)] == [200, 200]
    app_store.renew(first)
    app_store.fail(BROKEN, on="subscriptions")
    assert job() == 1
    assert (gems(player_client), Row.objects.get().attempts) == (20, 1)
    assert job() == 1
    assert gems(player_client) == 30

    # The payment fails: grace, hold, paid after all.
    latest = app_store.series[first].transactions[-1]
    grace = ms(timezone.now() + WEEK)
    app_store.become(first, GRACE, gracePeriodExpiresDate=grace)
    apple_flow.notify(app_store.notify("DID_FAIL_TO_RENEW", latest, "GRACE_PERIOD"))
    assert seen(player_client) == ("grace", True, True)
    app_store.become(first, RETRYING)
    apple_flow.notify(app_store.notify("GRACE_PERIOD_EXPIRED", latest))
    assert seen(player_client) == ("hold", False, True)
    app_store.become(first, ACTIVE, gracePeriodExpiresDate=None)
    latest = app_store.renew(first)
    apple_flow.notify(app_store.notify("DID_RENEW", latest, "BILLING_RECOVERY"))
    assert (seen(player_client), gems(player_client)) == (("active", True, True), 40)

    # A year at the next renewal; no, at once.
    app_store.become(first, ACTIVE, autoRenewProductId="club_year")
    apple_flow.notify(app_store.notify("DID_CHANGE_RENEWAL_PREF", latest, "DOWNGRADE"))
    (found,) = player_client.get("/v1/store/subscriptions").json()["results"]
    assert (found["product"], found["renewal_product"]) == ("club_month", "club_year")
    year = app_store.upgrade(first, "club_year")
    apple_flow.notify(app_store.notify("DID_CHANGE_RENEWAL_PREF", year, "UPGRADE"))
    (found,) = player_client.get("/v1/store/subscriptions").json()["results"]
    assert (found["product"], found["is_entitled"], "renewal_product" in found) == (
        "club_year",
        True,
        False,
    )
    assert gems(player_client) == 240

    # The renewal of a month ago, told again and late, changes nothing.
    PlatformNotice.objects.all().delete()
    apple_flow.notify(renewed)
    assert (seen(player_client)[1], gems(player_client)) == (True, 240)

    # Another player's phone has it, too.
    stolen = apple_flow.send(other_player_client, {"jws": app_store.jws(year)})
    assert (stolen["status"], stolen["code"]) == ("rejected", "owned_by_another")

    # Cancelled, and over; only the job hears of the end.
    app_store.become(first, ACTIVE, autoRenewStatus=0)
    apple_flow.notify(app_store.notify("DID_CHANGE_RENEWAL_STATUS", year, "AUTO_RENEW_DISABLED"))
    assert seen(player_client) == ("cancelled", True, False)
    app_store.become(first, EXPIRED)
    assert job() == 1
    assert seen(player_client) == ("expired", False, False)

    # Resumed, and refunded.
    again = app_store.renew(first)
    apple_flow.notify(app_store.notify("SUBSCRIBED", again, "RESUBSCRIBE"))
    assert (seen(player_client)[1], gems(player_client)) == (True, 440)
    apple_flow.notify(app_store.refund(again))
    assert (seen(player_client)[:2], gems(player_client)) == (("revoked", False), 240)
    assert list(verification.verify()) == []


def test_google_play__a_life(
    google_sells: None,
    play: PlayStore,
    player_client: PlayerClient,
    other_player_client: PlayerClient,
    anonymous: ApiClient,
) -> None:
    sent = iter(range(1, 99))

    def push(token: str, kind: int) -> None:
        body = play.push.body(
            f"m-{next(sent)}",
            subscriptionNotification={
                "version": "1.0",
                "notificationType": kind,
                "purchaseToken": token,
            },
        )
        assert google_flow.push(anonymous, play, body) == 200

    token = play.subscribe("club_month")
    order = google_flow.process(player_client, google_flow.send(player_client, token))
    assert (order["status"], gems(player_client)) == ("granted", 10)
    assert seen(player_client) == ("active", True, True)
    assert telling.tell()
    assert play.subscriptions[token]["acknowledgementState"].endswith("_ACKNOWLEDGED")

    # Renewed, told twice; then renewed and not told at all.
    play.renew(token)
    push(token, 2)
    push(token, 2)
    play.renew(token)
    assert job() == 1
    assert gems(player_client) == 30

    # The payment fails: grace, hold, paid after all.
    play.become(token, "IN_GRACE_PERIOD", ends=WEEK)
    push(token, 6)
    assert seen(player_client) == ("grace", True, True)
    play.become(token, "ON_HOLD", ends=-WEEK)
    push(token, 5)
    assert seen(player_client) == ("hold", False, True)
    play.renew(token)
    play.become(token, "ACTIVE")
    push(token, 1)
    assert (seen(player_client), gems(player_client)) == (("active", True, True), 40)

    # Paused, and resumed.
    play.become(token, "PAUSED", ends=-WEEK)
    push(token, 10)
    assert seen(player_client)[:2] == ("paused", False)
    play.renew(token)
    play.become(token, "ACTIVE")
    push(token, 1)
    assert (seen(player_client)[1], gems(player_client)) == (True, 50)

    # A year at the next renewal; no, at once: that is another token, which nobody sends us.
    play.become(token, "ACTIVE", then="club_year")
    push(token, 17)
    (found,) = player_client.get("/v1/store/subscriptions").json()["results"]
    assert found["renewal_product"] == "club_year"
    year = play.subscribe("club_year", replaces=token)
    play.become(token, "EXPIRED", ends=-timedelta(seconds=1))
    push(year, 4)
    push(token, 13)
    new, old = player_client.get("/v1/store/subscriptions").json()["results"]
    assert (new["product"], new["is_entitled"], old["state"]) == ("club_year", True, "replaced")
    assert gems(player_client) == 250
    stolen = google_flow.process(other_player_client, google_flow.send(other_player_client, year))
    assert (stolen["status"], stolen["code"]) == ("rejected", "owned_by_another")

    # Cancelled, and over; only the job hears of the end.
    play.become(year, "CANCELED", renews=False)
    push(year, 3)
    assert seen(player_client) == ("cancelled", True, False)
    play.become(year, "EXPIRED", ends=-timedelta(seconds=1), renews=False)
    assert job() == 1
    assert seen(player_client) == ("expired", False, False)

    # Bought again, and revoked with its money.
    last = play.subscribe("club_month")
    google_flow.process(player_client, google_flow.send(player_client, last))
    assert (seen(player_client)[1], gems(player_client)) == (True, 260)
    order_id = play.subscriptions[last]["lineItems"][0]["latestSuccessfulOrderId"]
    play.refund_order(order_id)
    play.become(last, "EXPIRED", ends=-timedelta(seconds=1), renews=False)
    push(last, 12)
    assert (seen(player_client)[:2], gems(player_client)) == (("revoked", False), 250)
    # Google's answer lags behind: what was taken back stays so.
    play.orders[order_id]["state"] = "PROCESSED"
    play.become(last, "ACTIVE")
    push(last, 4)
    assert gems(player_client) == 250
    assert list(verification.verify()) == []


def test_app_store__restored_on_another_device__granted_once(
    apple_sells: None, app_store: AppStore, player_client: PlayerClient
) -> None:
    first = app_store.subscribe("club_month")
    renewal = app_store.renew(first)
    receipts = [
        {"provider": "apple", "receipt": {"jws": app_store.jws(number)}}
        for number in (first, renewal)
    ]
    for _ in range(2):
        answer = player_client.post("/v1/store/restorations", {"receipts": receipts})
        assert answer.status_code == 202
        Order.objects.update(next_attempt_at=EPOCH)
        while orders.process():
            pass
    listed = player_client.post("/v1/store/restorations", {"receipts": receipts}).json()["results"]
    assert [one["order"]["status"] for one in listed] == ["granted"] * 2
    assert (gems(player_client), seen(player_client)[1]) == (20, True)
    assert {UUID(one["order"]["id"]) for one in listed} == set(
        Order.objects.values_list("pk", flat=True)
    )
