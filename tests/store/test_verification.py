"""`verify_ledger` finds what was tampered with, whatever it was."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Player
from config.db.ids import uuid7
from store import metrics, tasks
from store.services import purchases, verification
from tests.factories.accounts import PlayerFactory, befriend
from tests.factories.store import CurrencyFactory, OfferFactory, give
from tests.store.conftest import Shop

pytestmark = pytest.mark.django_db


@pytest.fixture
def history(shop: Shop, player: Player) -> Player:
    """A player with a little of everything."""
    give(player, {"gems": 10}, {"seeds": 3})
    give(player, {"gems": 5})
    purchases.purchase(
        game_id=shop.game.pk, player_id=player.pk, offer="seeds", quantity=2, key=str(uuid7())
    )
    friend = PlayerFactory(game=shop.game)
    befriend(player, friend)
    OfferFactory(
        game=shop.game,
        key="basket",
        contents={"items": {"seeds": 1}},
        price={"petals": 1},
        is_giftable=True,
    )
    purchases.purchase(
        game_id=shop.game.pk,
        player_id=player.pk,
        offer="basket",
        quantity=1,
        key=str(uuid7()),
        gift_to=friend.pk,
    )
    check_now()
    return player


def check_now() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def tamper(*statements: str) -> None:
    """What an intruder with all rights might do: no triggers."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = 'replica'")
        for sql in statements:
            cursor.execute(sql)
        cursor.execute("SET LOCAL session_replication_role = 'origin'")


def test_untouched_books__no_difference(history: Player, capsys: Any) -> None:
    out, err = StringIO(), StringIO()
    call_command("verify_ledger", stdout=out, stderr=err)
    assert out.getvalue() == "The books are right.\n"
    assert "balances are sums of entries" in err.getvalue()


@pytest.mark.parametrize(
    ("sql", "check"),
    [
        ("UPDATE store_balance SET earned = earned + 1", "balances are sums of entries"),
        ("UPDATE store_balance SET updated_at = now()", "balances are sums of entries"),
        ("DELETE FROM store_balance", "balances are sums of entries"),
        ("UPDATE store_entry SET earned = earned + 1", "transactions balance"),
        ("UPDATE store_entry SET earned = 2 * earned", "balances are sums of entries"),
        (
            "UPDATE store_entry SET earned_after = 7 WHERE account = 'wallet'",
            "balances are sums of entries",
        ),
        ("DELETE FROM store_entry WHERE account = 'wallet'", "balances are sums of entries"),
        ("DELETE FROM store_entry", "balances are sums of entries"),
        ("DELETE FROM store_transaction", "transactions balance"),
        ("UPDATE store_stack SET quantity = 1", "stacks are sums of movements"),
        ("DELETE FROM store_stack", "stacks are sums of movements"),
        ("UPDATE store_stackmovement SET quantity = 1", "stacks are sums of movements"),
        ("UPDATE store_offeruse SET quantity = 1", "limits count purchases"),
        ("UPDATE store_offeruse SET period_quantity = 99", "limits count purchases"),
        ("UPDATE store_offeruse SET last_at = '2020-01-01'", "limits count purchases"),
        ("DELETE FROM store_purchase", "limits count purchases"),
        ("UPDATE store_purchase SET price = '{\"petals\": 1}'", "purchases are in the ledger"),
        ("UPDATE store_purchase SET id = gen_random_uuid()", "purchases are in the ledger"),
        ("UPDATE store_purchase SET granted = '{}'", "purchases are in the ledger"),
        ("UPDATE store_grant SET currencies = '{\"gems\": 9}'", "grants are in the ledger"),
        ("UPDATE store_grant SET items = '{}'", "grants are in the ledger"),
        ("UPDATE store_gift SET items = '{}'", "gifts are in the ledger"),
        ("UPDATE store_gift SET id = gen_random_uuid()", "gifts are in the ledger"),
        ("UPDATE store_gift SET recipient_id = sender_id", "gifts are in the ledger"),
        ("UPDATE store_gift SET sender_id = recipient_id", "gifts were bought"),
        ("UPDATE store_gift SET quantity = 9", "gifts were bought"),
        ("UPDATE store_gift SET purchase_id = gen_random_uuid()", "gifts were bought"),
    ],
)
def test_tampered_books__found_and_named(history: Player, sql: str, check: str) -> None:
    tamper(sql)
    out = StringIO()
    with pytest.raises(CommandError, match="differences") as failure:
        call_command("verify_ledger", stdout=out, stderr=StringIO())
    assert failure.value.returncode == 1
    assert check in out.getvalue()


def test_many_slices__all_are_looked_at(
    history: Player, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "ROWS_AT_ONCE", 2)
    players = [PlayerFactory(game=shop.game) for _ in range(7)]
    for player in players:
        give(player, {"gems": 1, "petals": 1}, {"seeds": 1})
    check_now()
    told: list[tuple[str, int]] = []
    assert list(verification.verify(progress=lambda *seen: told.append(seen))) == []
    assert max(number for check, number in told if check.startswith("balances")) > 3
    tamper(f"UPDATE store_balance SET earned = 0 WHERE player_id = '{players[6].pk}'")
    found = list(verification.verify())
    assert len(found) == 2
    assert all(str(players[6].pk) in difference.subject for difference in found)


def test_one_game__others_are_left_out(history: Player, shop: Shop, other_game: Any) -> None:
    CurrencyFactory(game=other_game, key="gems")
    give(PlayerFactory(game=other_game), {"gems": 1})
    check_now()
    tamper(f"UPDATE store_balance SET earned = 0 WHERE player_id <> '{history.pk}'")
    call_command("verify_ledger", game=shop.game.slug, stdout=StringIO(), stderr=StringIO())
    with pytest.raises(CommandError):
        call_command("verify_ledger", game=other_game.slug, stdout=StringIO(), stderr=StringIO())
    with pytest.raises(CommandError, match="There is no game") as failure:
        call_command("verify_ledger", game="nothing", stdout=StringIO(), stderr=StringIO())
    assert failure.value.returncode == 2


def test_task__counts_in_a_metric_and_logs(history: Player, caplog: Any) -> None:
    assert tasks.verify_ledger() == 0
    assert metrics.LEDGER_DIFFERENCES._value.get() == 0
    tamper("UPDATE store_grant SET items = '{}'")
    assert tasks.verify_ledger() == 1
    assert metrics.LEDGER_DIFFERENCES._value.get() == 1
    assert metrics.LEDGER_CHECKED._value.get() > 0
    assert "ledger_difference" in json.dumps(caplog.messages)
