"""A game that sells in both platforms' stores, and what its players do there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from accounts.models import Game
from config.db import definitions
from config.db.ids import uuid7
from store import tasks
from store.models import Item, Order, PlatformApp, PlatformPurchase
from store.providers import registry
from store.providers.apple import AppleProvider
from store.providers.google import GoogleProvider
from store.services import orders
from tests.factories.accounts import PlayerFactory
from tests.factories.store import CurrencyFactory, ItemFactory, OfferFactory
from tests.fakes.app_store import AppStore
from tests.fakes.play_keys import AUDIENCE, PACKAGE, PUSH_EMAIL
from tests.fakes.play_store import PlayStore
from tests.fixtures.api import ApiClient, PlayerClient
from tests.leaderboards.conftest import sign_in
from tests.store.providers.apple_setup import app_store_at
from tests.store.providers.test_google_receipts import device_json, unity

OFFERS: dict[str, dict[str, dict[str, int]]] = {
    "gems": {"currencies": {"gems": 100}, "items": {"seeds": 5}},
    "koi": {"items": {"koi": 1}},
}


@dataclass
class Sale:
    """What a player of its own bought for one step: `gems` (consumed) or a `koi` (kept) at Google
    Play, gems at the App Store (`apple`: the receipt is signed; `apple_id`: it is a number).

    key      the platform's id of it
    notice   the platform's id of the notification of its refund
    """

    step: str
    sold: str
    player: PlayerClient
    key: str
    notice: str = field(default_factory=lambda: str(uuid4()))

    @property
    def is_apples(self) -> bool:
        return self.sold.startswith("apple")

    @property
    def notice_id(self) -> str:
        """What the game knows the notification by."""
        return self.notice if self.is_apples else f"{PACKAGE}:{self.notice}"

    def fill(self, template: str) -> str:
        return template.format(
            key=self.key, notice=self.notice_id, player=f"NEW.player_id = '{self.player.player_id}'"
        )


class Market:
    """`environment` is what workers need to find these stores."""

    def __init__(self, game: Game, play: PlayStore, apple: AppStore, root: str) -> None:
        self.game, self.play, self.apple = game, play, apple
        self.environment = {
            "GOOGLE_PLAY_URL": play.url,
            "GOOGLE_TOKEN_URL": f"{play.url}/token",
            "GOOGLE_CERTS_URL": f"{play.url}/certs",
            "APPLE_STORE_URL": f"{apple.url}/production",
            "APPLE_SANDBOX_URL": f"{apple.url}/sandbox",
            "APPLE_ROOT_CERTIFICATES": root,
            "PLATFORM_KEY_GARDEN": play.service_account(),
            "PLATFORM_KEY_ORCHARD": apple.secret,
        }

    def sell(self, step: str, sold: str = "gems") -> Sale:
        """Money is taken, and the game does not know yet."""
        if sold.startswith("apple"):
            key = self.apple.buy("gems_100")
        else:
            key = self.play.sell(f"{sold}_product", token=f"{step}-{uuid7().hex}")
        return Sale(step, sold, sign_in(PlayerFactory.create(game=self.game)), key)

    def submit(self, sale: Sale) -> None:
        """The game sends the receipt, and the answer is immediate."""
        receipt: Any = unity(device_json(sale.key, productId=f"{sale.sold}_product"), sale.key)
        if sale.sold == "apple":
            receipt = {"provider": "apple", "receipt": {"jws": self.apple.jws(sale.key)}}
        elif sale.sold == "apple_id":
            receipt = {"provider": "apple", "receipt": {"transaction_id": sale.key}}
        answer = sale.player.post("/v1/store/receipts", receipt)
        assert answer.status_code == 202, answer.content

    def process(self, sale: Sale) -> None:
        """A worker that nobody kills has it; the platform is not told yet."""
        with broker_away():
            self.submit(sale)
        assert orders.process(order_id=Order.objects.get(player_id=sale.player.player_id).pk)

    def refund(self, sale: Sale) -> None:
        """The platform takes the money back, and says so."""
        if sale.is_apples:
            self.apple.refund(sale.key)
            payload = self.apple.notify("REFUND", sale.key, notificationUUID=sale.notice)
            answer = ApiClient().post("/v1/store/notifications/apple", {"signedPayload": payload})
        else:
            self.play.refund(sale.key)
            told = {"version": "1.0", "notificationType": 2, "purchaseToken": sale.key}
            body = self.play.push.body(
                sale.notice, oneTimeProductNotification=told | {"sku": f"{sale.sold}_product"}
            )
            answer = ApiClient().call(
                "POST",
                "/v1/store/notifications/google",
                body,
                content_type="application/json",
                authorization=self.play.push.headers()["Authorization"],
            )
        assert answer.status_code == 200, answer.content

    # What was done before the worker under test began

    def submit_unheard(self, sale: Sale) -> None:
        """No task was sent: the broker was away."""
        with broker_away():
            self.submit(sale)

    def grant(self, sale: Sale) -> None:
        """It was granted, and the platform needs not be told."""
        self.process(sale)
        PlatformPurchase.objects.filter(transaction_id=sale.key).update(told="none")

    def refund_unheard(self, sale: Sale) -> None:
        """It was granted, and the notification of its refund was stored."""
        self.grant(sale)
        with broker_away():
            self.refund(sale)

    def refund_unsaid(self, sale: Sale) -> None:
        """It was granted and refunded, and the notification never came."""
        self.grant(sale)
        self.play.refund(sale.key)

    def wait_for_money(self, sale: Sale) -> None:
        """It was pending, and now it is paid."""
        self.play.products[sale.key]["purchaseStateContext"] = {"purchaseState": "PENDING"}
        self.process(sale)
        self.play.pay(sale.key)
        due = PlatformPurchase.objects.filter(transaction_id=sale.key, state="pending")
        assert due.update(next_attempt_at=timezone.now())


@contextmanager
def broker_away() -> Iterator[None]:
    def lost(*_: Any) -> None:
        raise ConnectionError("The broker is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.process_order, "delay", lost)
        patch.setattr(tasks.process_notice, "delay", lost)
        yield


@contextmanager
def open_market(game: Game, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """Within: both stores serve, and this process knows them as workers do."""
    CurrencyFactory(game=game, key="gems")
    ItemFactory(game=game, key="seeds")
    ItemFactory(game=game, key="koi", kind=Item.Kind.DURABLE)
    products = {"gems": {"google": "gems_product", "apple": "gems_100"}}
    products["koi"] = {"google": "koi_product"}
    for key, contents in OFFERS.items():
        OfferFactory(game=game, key=key, contents=contents, products=products[key])
    with PlayStore() as play, app_store_at(folder) as apple:
        market = Market(game, play, apple, str(settings.APPLE_ROOT_CERTIFICATES[0]))
        options = {"notification_audience": AUDIENCE, "notification_email": PUSH_EMAIL}
        for provider, app_id, key_name, more in (
            ("google", PACKAGE, "garden", options),
            ("apple", apple.bundle_id, "orchard", apple.options),
        ):
            PlatformApp.objects.create(
                game=game, provider=provider, app_id=app_id, key_name=key_name, options=more
            )
        definitions.changed(game.pk)
        mine = override_settings(
            GOOGLE_PLAY_URL=play.url,
            GOOGLE_TOKEN_URL=f"{play.url}/token",
            GOOGLE_CERTS_URL=f"{play.url}/certs",
            PLATFORM_KEYS={"garden": play.service_account(), "orchard": apple.secret},
            RATE_LIMITS=settings.RATE_LIMITS
            | dict.fromkeys(("address", "player", "notices_refused"), (100_000, 60)),
        )
        # Providers that know no other test's keys.
        made = {"google": GoogleProvider(), "apple": AppleProvider()}
        real = registry.provider
        monkeypatch.setattr(registry, "provider", lambda name: made.get(name) or real(name))
        with mine:
            yield market
