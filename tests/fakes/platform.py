"""A platform's store in this process that says what a test tells it to."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from accounts.models import Game, Player
from config.db import definitions
from config.db.ids import uuid7
from store.models import Order, PlatformApp, PlatformNotice, PlatformPurchase, PurchaseStep
from store.platforms import Platform, platform_of
from store.providers import registry
from store.providers.base import (
    App,
    Environment,
    Notice,
    Receipt,
    RejectedError,
    TryAgainError,
    Verified,
)
from store.services import granting, orders
from store.services.steps import Cause

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "scripted"
ORDER = Cause(PurchaseStep.Cause.ORDER, "test")
NOTICE = Cause(PurchaseStep.Cause.NOTICE, "test")


class ScriptedProvider:
    """`says` is what it answers about a transaction: lines, or an error to raise."""

    name = NAME

    def __init__(self) -> None:
        self.says: dict[str, list[Verified] | Exception] = {}
        self.misses: list[Verified | Notice] | Exception = []
        self.tell_error: Exception | None = None
        self.told: list[tuple[str, bool]] = []
        self.asked: list[str] = []
        self.asked_since: list[tuple[datetime, datetime]] = []

    def read_receipt(self, receipt: Any) -> Receipt:
        if not isinstance(receipt, dict) or "id" not in receipt:
            raise RejectedError("malformed_receipt", "There is no id")
        return Receipt(identity=receipt["id"], data=receipt, product=receipt.get("product", ""))

    def _answer(self, transaction_id: str) -> list[Verified]:
        self.asked.append(transaction_id)
        said = self.says[transaction_id]
        if isinstance(said, Exception):
            raise said
        return said

    def verify(self, app: App, receipt: Receipt) -> list[Verified]:
        return self._answer(receipt.data["id"])

    def look_up(self, app: App, known: Verified) -> list[Verified]:
        return self._answer(known.transaction_id)

    def tell(self, app: App, known: Verified, *, consume: bool) -> None:
        if self.tell_error is not None:
            raise self.tell_error
        self.told.append((known.token, consume))

    def read_notice(self, headers: Mapping[str, str], body: bytes) -> Notice:
        data = msgspec.json.decode(body)
        if data.get("forged"):
            raise RejectedError("not_authentic")
        if data.get("malformed"):
            raise RejectedError("malformed_notification")
        if data.get("later"):
            raise TryAgainError("platform_unavailable")
        return Notice(data["id"], "CHANGED", data["app"], EPOCH, {"about": data["about"]})

    def resolve(self, app: App, notice: Notice) -> list[Verified]:
        return self._answer(notice.data["about"])

    def missed(self, app: App, since: datetime, until: datetime) -> Iterator[Verified | Notice]:
        self.asked_since.append((since, until))
        if isinstance(self.misses, Exception):
            raise self.misses
        yield from self.misses


class Shelf:
    """A game that sells through the scripted platform, and shorthands for what is done with it."""

    def __init__(self, game: Game, provider: ScriptedProvider) -> None:
        self.game = game
        self.provider = provider
        self.app_id = f"com.example.{game.slug}"

    @property
    def platform(self) -> Platform:
        found = platform_of(self.game.pk, NAME)
        assert found is not None
        return found

    def set_sandbox(self, policy: str) -> None:
        PlatformApp.objects.filter(game=self.game, provider=NAME).update(sandbox=policy)
        definitions.changed(self.game.pk)

    def line(self, transaction_id: str = "t1", at: float = 0, **fields: Any) -> Verified:
        """What the platform says `at` seconds after the beginning."""
        return Verified(
            **{
                "environment": Environment.PRODUCTION,
                "app_id": self.app_id,
                "transaction_id": transaction_id,
                "product": "gems",
                "signed_at": EPOCH + timedelta(seconds=at),
                **fields,
            }
        )

    def say(self, transaction_id: str = "t1", at: float = 0, **fields: Any) -> None:
        """From now on the platform says this of the transaction."""
        self.provider.says[transaction_id] = [self.line(transaction_id, at, **fields)]

    def submit(self, player: Player | UUID, transaction_id: str = "t1", **more: Any) -> Order:
        player_id = player.pk if isinstance(player, Player) else player
        order, _ = orders.submit(
            game_id=self.game.pk,
            player_id=player_id,
            provider=NAME,
            receipt={"id": transaction_id, **more},
        )
        return order

    def process(self, order: Order) -> Order:
        """Process it now, whenever it would be due."""
        Order.objects.filter(pk=order.pk).update(next_attempt_at=EPOCH)
        orders.process(order_id=order.pk)
        return Order.objects.get(pk=order.pk)

    def buy(
        self, player: Player, transaction_id: str = "t1", at: float = 0, **fields: Any
    ) -> Order:
        """The platform says it was bought, and the player's client sends the receipt."""
        self.say(transaction_id, at, **fields)
        return self.process(self.submit(player, transaction_id))

    def hear(self, transaction_id: str = "t1", at: float = 0, **fields: Any) -> granting.Outcome:
        """News without a receipt, as notifications bring them."""
        return granting.apply(
            platform=self.platform, line=self.line(transaction_id, at, **fields), cause=NOTICE
        )

    def purchase(self, transaction_id: str = "t1") -> PlatformPurchase:
        return PlatformPurchase.objects.get(transaction_id=transaction_id)

    def notice(self, notice_id: str = "n1", about: str = "t1") -> PlatformNotice:
        return PlatformNotice.objects.create(
            provider=NAME,
            notice_id=notice_id,
            kind="CHANGED",
            app_id=self.app_id,
            data={"about": about},
            signed_at=EPOCH,
        )


def make_shelf(game: Game, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """The scripted platform is a platform until the test ends, and `game` has an app there."""
    provider = ScriptedProvider()
    monkeypatch.setitem(registry.PROVIDERS, NAME, "tests.fakes.platform.none")
    made = registry._made
    monkeypatch.setattr(registry, "_made", lambda name: provider if name == NAME else made(name))
    shelf = Shelf(game, provider)
    PlatformApp.objects.create(game=game, provider=NAME, app_id=shelf.app_id)
    definitions.changed(game.pk)
    return shelf


def new_id() -> str:
    return str(uuid7())
