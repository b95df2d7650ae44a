"""News of one purchase: pending, paid and cancelled, later and at the same moment."""

from itertools import combinations_with_replacement, permutations
from typing import Any

import pytest
from django.db import transaction

from accounts.models import Player
from store.providers.base import WHOLE, Environment, State
from store.services import granting, ownership
from tests.fakes.platform import ORDER, Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import player, shelf, status

__all__ = ["player", "shelf"]
pytestmark = pytest.mark.django_db


def test_pending__never_grants_until_it_is_paid(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)
    assert status(order) == ("deferred", None)
    assert balance_of(player.pk, "gems") is None

    shelf.hear(at=1)

    assert status(order) == ("granted", None)
    assert balance_of(player.pk, "gems") == (100, 0)


def test_pending__cancelled__rejected(shelf: Shelf, player: Player) -> None:
    order = shelf.buy(player, state=State.PENDING)

    shelf.hear(at=1, state=State.CANCELLED)

    assert status(order) == ("rejected", "cancelled")
    assert shelf.purchase().state == "cancelled"
    assert status(shelf.buy(player, "t2", state=State.CANCELLED)) == ("rejected", "cancelled")


def test_pending__old_news_after_the_grant__changes_nothing(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, at=5)

    shelf.hear(at=1, state=State.PENDING)
    shelf.hear(at=9, state=State.PENDING)

    assert shelf.purchase().state == "granted"
    assert balance_of(player.pk, "gems") == (100, 0)


# At the same moment

NEWS: dict[str, dict[str, Any]] = {
    "pending": {"state": State.PENDING},
    "paid": {"state": State.PURCHASED},
    "cancelled": {"state": State.CANCELLED},
    "half": {"state": State.PURCHASED, "revoked": WHOLE // 2},
}


class Undone(Exception):  # noqa: N818 (it is no mistake)
    """What an order of events did is to be forgotten."""


def end_of(shelf: Shelf, player: Player, names: tuple[str, ...], **more: Any) -> list[Any]:
    """(state, revoked, gems) after these news, and after the player's receipt; all of it is
    undone."""
    ends: list[Any] = []
    order = shelf.submit(player)
    try:
        with transaction.atomic():
            for number, name in enumerate((*names, names[-1])):
                granting.apply(
                    platform=shelf.platform,
                    line=shelf.line(**NEWS[name], **more),
                    cause=ORDER,
                    order=order if number == len(names) else None,
                )
                row = shelf.purchase()
                ends.append((row.state, row.revoked, balance_of(player.pk, "gems") or (0, 0)))
            raise Undone
    except Undone:
        return ends[-2:]


@pytest.mark.parametrize("whose", ["nobody's", "the player's", "held back"])
def test_same_moment__any_order__the_same_end(shelf: Shelf, player: Player, whose: str) -> None:
    more: dict[str, Any] = {}
    if whose != "nobody's":
        more["account"] = ownership.account_token(player_id=player.pk)
    if whose == "held back":
        more["environment"] = Environment.SANDBOX
    for news in combinations_with_replacement(NEWS, 3):
        orders = sorted(set(permutations(news)))
        ends = [end_of(shelf, player, names, **more) for names in orders]
        assert ends == [ends[0]] * len(ends), orders


@pytest.mark.parametrize(
    ("news", "state", "gems"),
    [
        (("pending", "paid"), "granted", 100),
        (("pending", "cancelled"), "cancelled", 0),
        (("paid", "cancelled"), "revoked", 0),
        (("pending", "half"), "partially_revoked", 50),
    ],
)
def test_same_moment__two_words__what_was_paid_counts_and_what_was_taken_back(
    shelf: Shelf, player: Player, news: tuple[str, str], state: str, gems: int
) -> None:
    token = ownership.account_token(player_id=player.pk)
    for names in permutations(news):
        (found, _, balance), _ = end_of(shelf, player, names, account=token)
        assert (found, balance) == (state, (gems, 0))
