"""Whose a purchase is."""

import pytest

from accounts.models import Player
from config.api.wire import UNSET
from store.models import OwnerConflict
from store.providers.base import Kind
from store.receipt_selectors import order_out
from store.services import orders, ownership
from tests.factories.accounts import PlayerFactory
from tests.fakes.platform import Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import STAFF, other, player, shelf, status

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


def test_owner__account_token_of_the_player__bound(shelf: Shelf, player: Player) -> None:
    token = ownership.account_token(player_id=player.pk)
    assert ownership.account_token(player_id=player.pk) == token

    shelf.buy(player, account=token)

    assert (shelf.purchase().player_id, shelf.purchase().is_unbound) == (player.pk, False)


def test_owner__account_token_of_another__conflict_and_the_other_gets_it(
    shelf: Shelf, player: Player, other: Player
) -> None:
    order = shelf.buy(player, account=ownership.account_token(player_id=other.pk))

    assert status(order) == ("rejected", "owned_by_another")
    assert order_out(order).granted is UNSET
    assert balance_of(player.pk, "gems") is None
    assert balance_of(other.pk, "gems") == (100, 0)
    conflict = OwnerConflict.objects.get()
    assert (conflict.claimant_id, conflict.order_id) == (player.pk, order.pk)


def test_owner__account_token_of_another_game__counts_for_nothing(
    shelf: Shelf, player: Player
) -> None:
    stranger = PlayerFactory()
    shelf.buy(player, account=ownership.account_token(player_id=stranger.pk))

    assert (shelf.purchase().player_id, shelf.purchase().is_unbound) == (player.pk, True)


def test_owner__second_claimant__conflict_once_and_nothing_moves(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.buy(player)
    second = shelf.process(shelf.submit(other))
    orders.again(order_id=second.pk, cause=STAFF)
    shelf.process(second)

    assert status(second) == ("rejected", "owned_by_another")
    assert OwnerConflict.objects.count() == 1
    assert balance_of(other.pk, "gems") is None


def test_owner__notification_before_the_receipt__first_sender_claims_it(
    shelf: Shelf, player: Player
) -> None:
    outcome = shelf.hear()
    assert (outcome.purchase.state, outcome.purchase.player_id) == ("verified", None)

    assert status(shelf.buy(player)) == ("granted", None)
    assert shelf.purchase().is_unbound


def test_owner__notification_with_a_token__granted_without_a_receipt(
    shelf: Shelf, player: Player
) -> None:
    shelf.hear(account=ownership.account_token(player_id=player.pk))

    assert balance_of(player.pk, "gems") == (100, 0)
    assert status(shelf.buy(player)) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)


def test_owner__renewal__of_whoever_has_the_subscription(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "s1", kind=Kind.SUBSCRIPTION, original_id="s1")

    shelf.hear("s2", 1, kind=Kind.SUBSCRIPTION, original_id="s1")
    shelf.hear("s3", 1, kind=Kind.SUBSCRIPTION, original_id="s3")
    shelf.hear("s4", 1, kind=Kind.SUBSCRIPTION)

    assert shelf.purchase("s2").player_id == player.pk
    assert shelf.purchase("s3").player_id is None
    assert balance_of(player.pk, "gems") == (200, 0)
