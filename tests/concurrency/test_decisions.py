"""Races of staff who decide about one purchase at once, also against its platform's news, with
their controls."""

from typing import Any

import pytest

from accounts.models import Game, Player
from store.errors import NotForDecision
from store.models import PlatformPurchase, PurchaseStep
from store.providers.base import WHOLE, Environment
from store.services import decisions, granting, verification
from tests.concurrency.test_orders import errors_of, player, shelf
from tests.fakes.platform import NOTICE, Shelf
from tests.store.conftest import balance_of, stack_of
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


def without_lock(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Staff and the platform's news only look at the purchase, all before anyone acts."""
    meeting = Meeting(threads)
    look = meeting.after(lambda key: PlatformPurchase.objects.get(pk=key))
    hear = meeting.after(
        lambda _, line: PlatformPurchase.objects.get(transaction_id=line.transaction_id)
    )
    monkeypatch.setattr(decisions, "_locked", look)
    monkeypatch.setattr(granting, "_locked", hear)


def test_take_back__control_without_the_lock__taken_again_and_again(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's key still keeps the value right; what is noted of it is wrong."""
    shelf.buy(player)
    row = shelf.purchase()
    without_lock(monkeypatch, STAFF)

    results = at_once(
        STAFF,
        lambda number: decisions.take_back(purchase_id=row.pk, actor=str(number), reason="race"),
    )

    assert len(errors_of(results)) < STAFF - 1
    assert decided(row) > 1


def take_back_and_refund(shelf: Shelf, threads: int) -> list[Any]:
    """Half of the threads are staff who take the purchase back, half bring the news that the
    platform has refunded half of it."""
    row, platform = shelf.purchase(), shelf.platform

    def act(number: int) -> object:
        if number % 2:
            line = shelf.line(at=number, revoked=WHOLE // 2)
            return granting.apply(platform=platform, line=line, cause=NOTICE)
        return decisions.take_back(purchase_id=row.pk, actor=str(number), reason="race")

    return at_once(threads, act)


def both_are_known(shelf: Shelf) -> bool:
    row = shelf.purchase()
    return (row.state, row.decision, row.revoked) == ("revoked", "refund", WHOLE // 2)


def test_take_back_and_refund__at_once__taken_once_and_both_are_known(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player)

    results = take_back_and_refund(shelf, 2 * STAFF)

    assert [type(error) for error in errors_of(results)] == [NotForDecision] * (STAFF - 1)
    assert both_are_known(shelf)
    assert (balance_of(player.pk, "gems"), stack_of(player.pk, "seeds")) == ((0, 0), 0)
    # What the platform refunded stays refunded.
    decisions.give_back(purchase_id=shelf.purchase().pk, actor="ann", reason="a mistake")
    assert (balance_of(player.pk, "gems"), stack_of(player.pk, "seeds")) == ((50, 0), 3)
    assert list(verification.verify()) == []


def test_take_back_and_refund__control_without_the_lock__one_is_forgotten(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes last writes what the other did not know of."""
    shelf.buy(player)
    without_lock(monkeypatch, 2)

    assert errors_of(take_back_and_refund(shelf, 2)) == []

    assert not both_are_known(shelf)


def test_grant_and_refuse__control_without_the_lock__decided_again_and_again(
    shelf: Shelf, held: PlatformPurchase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever only looks before deciding overwrites what others decided."""
    without_lock(monkeypatch, STAFF)

    results = grant_and_refuse(held)

    assert len(errors_of(results)) < STAFF - 2
    assert decided(held) > 2
