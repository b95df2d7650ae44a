"""Explaining a balance: each posting with its cause, over pages, checked."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.urls import reverse

from accounts.models import Player, StaffUser
from store import balance_history
from store.models import Currency, PlatformPurchase, Wallet
from store.providers.base import WHOLE
from tests.factories.store import give
from tests.fakes.platform import Shelf
from tests.store.receipts import other, player, shelf
from tests.store.test_admin import signed_in
from tests.store.test_receipts_admin import text_of, url_of

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


def explain(player: Player, currency: str = "gems", **query: Any) -> Any:
    url = reverse("admin:store_explain", args=[player.pk, currency])
    return signed_in(StaffUser.Role.SUPPORT).get(url, query)


def test_page__every_cause_with_running_balance(shelf: Shelf, player: Player) -> None:
    shelf.buy(player)
    give(player, {"gems": 7}, reason="sorry", source="staff", actor="ann")
    shelf.hear(at=1, revoked=WHOLE)

    page = text_of(explain(player))

    for text in ("The balance equals the sum", "+100", "107", "sorry", "ann", "-100", "refund"):
        assert text in page
    assert url_of("platformpurchase_change", PlatformPurchase.objects.get()) in page
    # It is linked from where support looks.
    url = reverse("admin:store_explain", args=[player.pk, "gems"])
    client = signed_in(StaffUser.Role.SUPPORT)
    assert url in text_of(client.get(reverse("admin:accounts_player_change", args=[player.pk])))
    assert url in text_of(client.get(url_of("wallet_change", player)))


def test_pages__by_keyset__every_posting_once(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(balance_history, "PAGE", 3)
    for number in range(1, 8):
        give(player, {"gems": number})
    gems, wallet = Currency.objects.get(key="gems"), Wallet.objects.get(pk=player.pk)
    found, cursor, sizes = [], "", []
    while True:
        with django_assert_num_queries(2):
            rows, cursor = balance_history.page(wallet, gems, cursor)
        found += rows
        sizes.append(len(rows))
        if not cursor:
            break

    assert sizes == [3, 3, 1]
    assert [row.amount for row in found] == [7, 6, 5, 4, 3, 2, 1]
    assert [row.after for row in found] == [28, 21, 15, 10, 6, 3, 1]
    assert [row.follows for row in found] == [True] * 6 + [None]
    page = explain(player)
    assert "Older" in text_of(page)
    older = text_of(explain(player, before=page.context["older"].partition("=")[2]))
    assert "Newest" in older


def test_page__broken_books__says_so(shelf: Shelf, player: Player) -> None:
    give(player, {"gems": 5})
    give(player, {"gems": 5})
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE store_balance SET earned = 11 WHERE player_id = %s", [player.pk])
    assert "add up to 10, which is not" in text_of(explain(player))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE store_entry SET earned_after = earned_after + 1 WHERE player_id = %s "
            "AND earned_after = 5",
            [player.pk],
        )
    page = text_of(explain(player))
    assert "does not follow" in page
    assert "DOES NOT FOLLOW" in page


def test_page__nonsense__no_page(shelf: Shelf, player: Player) -> None:
    assert explain(player, "nothing").status_code == 404
    assert explain(Player(pk=uuid4())).status_code == 404
    assert explain(player, before="nonsense").status_code == 302


def test_check__too_many_to_add_up__leaves_it_to_the_daily_check(
    shelf: Shelf, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance_history, "SUM_SQL", "SELECT pg_sleep(1), %s::uuid, %s")
    monkeypatch.setattr(balance_history, "TIMEOUT_MS", 5)
    assert "too many postings" in text_of(explain(player))
