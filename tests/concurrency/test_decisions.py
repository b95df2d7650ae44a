"""Races of staff who decide about one purchase at once, with their control."""

from typing import Any

import pytest

from accounts.models import Game, Player
from store.errors import NotForDecision
from store.models import PlatformPurchase, PurchaseStep
from store.providers.base import Environment
from store.services import decisions, verification
from tests.concurrency.test_orders import errors_of, player, shelf
from tests.fakes.platform import Shelf
from tests.store.conftest import balance_of
from tests.threads import Meeting, at_once

__all__ = ["player", "shelf"]
pytestmark = pytest.mark.django_db(transaction=True)
STAFF = 8


@pytest.fixture
def held(game: Game, shelf: Shelf, player: Player) -> PlatformPurchase:
    shelf.buy(player, environment=Environment.SANDBOX)
    return shelf.purchase()


def grant_and_refuse(held: PlatformPurchase) -> list[Any]:
    """Half of the staff grant, half refuse."""

    def act(number: int) -> PlatformPurchase:
        way = decisions.refuse if number % 2 else decisions.grant
        return way(purchase_id=held.pk, actor=f"staff{number}", reason="race")

    return at_once(STAFF, act)


def decided(held: PlatformPurchase) -> int:
    return PurchaseStep.objects.filter(purchase=held, cause="staff").count()


def test_grant_and_refuse__at_once__granted_once_and_never_refused_after(
    shelf: Shelf, player: Player, held: PlatformPurchase
) -> None:
    results = grant_and_refuse(held)

    # At most one refusal before the one grant; everybody else is told.
    assert {type(error) for error in errors_of(results)} == {NotForDecision}
    steps = list(
        PurchaseStep.objects.filter(purchase=held, cause="staff")
        .order_by("id")
        .values_list("after", flat=True)
    )
    assert steps in (["granted"], ["quarantined", "granted"])
    assert balance_of(player.pk, "gems") == (100, 0)
    assert PlatformPurchase.objects.get().state == "granted"
    assert list(verification.verify()) == []


def test_take_back__at_once__taken_once(shelf: Shelf, player: Player) -> None:
    shelf.buy(player)
    row = shelf.purchase()

    results = at_once(
        STAFF,
        lambda number: decisions.take_back(purchase_id=row.pk, actor=str(number), reason="race"),
    )

    assert len(errors_of(results)) == STAFF - 1
    assert (decided(row), balance_of(player.pk, "gems")) == (1, (0, 0))


def test_grant_and_refuse__control_without_the_lock__decided_again_and_again(
    shelf: Shelf, held: PlatformPurchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever only looks before deciding overwrites what others decided."""
    meeting = Meeting(STAFF)
    look = meeting.after(lambda key: PlatformPurchase.objects.get(pk=key))
    monkeypatch.setattr(decisions, "_locked", look)

    results = grant_and_refuse(held)

    assert len(errors_of(results)) < STAFF - 2
    assert decided(held) > 2
