"""Refunds, whole and in part, and those that are taken back."""

import pytest

from accounts.models import Player
from store.catalogue import catalogue
from store.models import Account, Order, PurchaseStep, Transaction
from store.providers.base import WHOLE, State
from store.receipt_selectors import order_out
from store.services import inventory, ledger
from tests.fakes.platform import Shelf
from tests.store.conftest import balance_of, stack_of
from tests.store.receipts import books_are_right, player, shelf, status

__all__ = ["player", "shelf"]
pytestmark = pytest.mark.django_db


def test_refund__whole__everything_is_taken_back(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, product="pack")

    shelf.hear(at=1, product="pack", revoked=WHOLE)
    shelf.hear(at=1, product="pack", revoked=WHOLE)

    assert balance_of(player.pk, "gems") == (0, 0)
    assert stack_of(player.pk, "seeds") == 0
    assert status(order) == ("refunded", None)
    assert order_out(Order.objects.get(pk=order.pk)).granted.currencies == {}  # type: ignore[union-attr]  # or UNSET
    assert (shelf.purchase().state, shelf.purchase().reversals) == ("revoked", 1)
    assert books_are_right()


def test_refund__cancelled_by_the_platform_after_the_grant__is_a_whole_refund(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player)

    shelf.hear(at=1, state=State.CANCELLED)

    assert shelf.purchase().state == "revoked"
    assert balance_of(player.pk, "gems") == (0, 0)


def test_refund__of_what_was_spent__leaves_a_debt_and_what_is_short(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, product="pack")
    ledger.post(
        game_id=shelf.game.pk,
        player_id=player.pk,
        kind=Transaction.Kind.PURCHASE,
        key="spend",
        reason="test",
        lines=[
            ledger.Line(
                catalogue(shelf.game.pk).currencies["gems"], 7, "spend", Account.SINK_PURCHASE
            )
        ],
    )
    inventory.consume(game_id=shelf.game.pk, player_id=player.pk, item="seeds", quantity=1)

    shelf.hear(at=1, product="pack", revoked=WHOLE)

    purchase = shelf.purchase()
    assert balance_of(player.pk, "gems") == (-7, 0)
    assert stack_of(player.pk, "seeds") == 0
    assert purchase.taken == {
        "currencies": {"gems": 10},
        "items": {"seeds": 1},
        "short": {"seeds": 1},
    }
    assert PurchaseStep.objects.get(after="revoked").detail == {
        "taken": {"gems": 10, "seeds": 1},
        "short": {"seeds": 1},
        "revoked": WHOLE,
        "revoked_at": "2026-01-01T00:00:01+00:00",
    }
    shelf.hear(at=2, product="pack", revoked=0)
    assert balance_of(player.pk, "gems") == (3, 0)
    assert stack_of(player.pk, "seeds") == 1
    assert shelf.purchase().taken["short"] == {}
    assert PurchaseStep.objects.latest("id").detail == {
        "given": {"gems": 10, "seeds": 1},
        "short": {},
        "revoked": 0,
        "revoked_at": None,
    }
    assert books_are_right()


def test_refund__everything_is_used_up__recorded_without_a_movement(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, product="seeds")
    inventory.consume(game_id=shelf.game.pk, player_id=player.pk, item="seeds", quantity=4)

    shelf.hear(at=1, product="seeds", revoked=WHOLE)
    assert shelf.purchase().taken == {
        "currencies": {},
        "items": {"seeds": 0},
        "short": {"seeds": 4},
    }
    shelf.hear(at=2, product="seeds")

    assert stack_of(player.pk, "seeds") == 0
    assert (shelf.purchase().state, shelf.purchase().reversals) == ("granted", 2)
    assert books_are_right()


@pytest.mark.parametrize(
    ("shares", "left", "state"),
    [
        ([33_333], 67, "partially_revoked"),
        ([33_333, 66_666], 34, "partially_revoked"),
        ([66_666, 33_333], 67, "partially_revoked"),
        ([50_000, WHOLE], 0, "revoked"),
        ([WHOLE, 50_000], 50, "partially_revoked"),
        ([WHOLE, 0], 100, "granted"),
        ([WHOLE, 0, WHOLE, 0], 100, "granted"),
        ([1], 100, "partially_revoked"),
    ],
)
def test_refund__in_parts_and_back__the_share_is_what_is_left(
    shelf: Shelf, player: Player, shares: list[int], left: int, state: str
) -> None:
    shelf.buy(player)

    for number, share in enumerate(shares, 1):
        shelf.hear(at=number, revoked=share)

    assert balance_of(player.pk, "gems") == (left, 0)
    assert shelf.purchase().state == state
    assert books_are_right()


def test_refund__before_the_receipt__tombstone(shelf: Shelf, player: Player) -> None:
    shelf.hear(at=5, revoked=WHOLE)
    assert (shelf.purchase().state, shelf.purchase().player_id) == ("revoked", None)

    order = shelf.buy(player, at=1)

    assert status(order) == ("refunded", None)
    assert balance_of(player.pk, "gems") is None
    shelf.hear(at=6)  # the refund was reversed: it is the player's after all
    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)


def test_refund__partial_before_the_receipt__the_rest_is_left(shelf: Shelf, player: Player) -> None:
    shelf.hear(at=5, revoked=40_000)

    order = shelf.buy(player, at=1)

    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (60, 0)
    assert shelf.purchase().state == "partially_revoked"
    assert books_are_right()


def test_refund__stale_replay_after_it__stays_refunded(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, at=1)
    shelf.hear(at=5, revoked=WHOLE)

    shelf.hear(at=1)
    shelf.hear(at=4)
    shelf.hear(at=5)
    shelf.submit(player)

    assert status(order) == ("refunded", None)
    assert balance_of(player.pk, "gems") == (0, 0)


def test_refund__reversal_comes_before_the_refund__stays_granted(
    shelf: Shelf, player: Player
) -> None:
    shelf.buy(player, at=1)

    shelf.hear(at=7, revoked=0)
    shelf.hear(at=5, revoked=WHOLE)

    assert shelf.purchase().state == "granted"
    assert balance_of(player.pk, "gems") == (100, 0)


def test_refund__after_it_was_due_to_be_told__marks_nothing(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True, token="tok")
    shelf.hear(at=1, revoked=WHOLE, must_tell=True)

    assert (shelf.purchase().state, shelf.purchase().told) == ("revoked", "due")


def test_refund__item_by_item__only_what_changed_moves(shelf: Shelf, player: Player) -> None:
    """A tenth of two seeds is none; a tenth of ten gems is one."""
    shelf.buy(player, product="pack")

    shelf.hear(at=1, product="pack", revoked=10_000)

    assert (balance_of(player.pk, "gems"), stack_of(player.pk, "seeds")) == ((9, 0), 2)
    assert shelf.purchase().taken == {"currencies": {"gems": 1}, "items": {"seeds": 0}, "short": {}}
    assert books_are_right()
