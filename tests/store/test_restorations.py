"""Restoring what was bought, on another device."""

from typing import Any

import pytest

from accounts.models import Player
from store import tasks
from store.models import Order, OwnerConflict
from store.models import Subscription as Row
from store.providers.base import Kind, RejectedError, Subscription
from store.providers.base import Phase as Said
from store.services import ownership, verification
from tests.fakes.platform import NAME, Shelf
from tests.fixtures.api import PlayerClient, assert_problem
from tests.store.conftest import balance_of, stack_of
from tests.store.receipts import shelf

__all__ = ["shelf"]
pytestmark = pytest.mark.django_db
URL = "/v1/store/restorations"


def receipt(transaction_id: str, **more: Any) -> dict[str, Any]:
    return {"provider": NAME, "receipt": {"id": transaction_id, **more}}


def restore(client: PlayerClient, *receipts: Any, **headers: str) -> list[dict[str, Any]]:
    """What a restoration answers, after workers have done what it began."""
    answer = client.post(URL, {"receipts": list(receipts)}, **headers)
    assert answer.status_code == 202, answer.content
    tasks.sweep_orders()
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def owner_of(client: PlayerClient) -> Player:
    return Player.objects.get(pk=client.player_id)


def gems(client: PlayerClient) -> int:
    found = balance_of(client.player_id, "gems")
    return found[0] if found else 0


def test_restore__what_was_bought_before__granted_once(
    shelf: Shelf, player_client: PlayerClient
) -> None:
    bought = shelf.buy(owner_of(player_client), "t1", product="koi")
    shelf.say("t2")

    first, second = restore(player_client, receipt("t1"), receipt("t2"))

    assert (first["order"]["id"], first["order"]["status"]) == (str(bought.pk), "granted")
    assert second["order"]["status"] == "received"
    for _ in range(2):
        again = restore(player_client, receipt("t2"), receipt("t1", proof="of this device"))
        assert [one["order"]["status"] for one in again] == ["granted"] * 2
    assert (stack_of(player_client.player_id, "koi"), gems(player_client)) == (1, 100)
    assert list(verification.verify()) == []


def test_restore__what_another_player_bought__conflict_that_staff_decide_once(
    shelf: Shelf, player_client: PlayerClient, other_player_client: PlayerClient
) -> None:
    shelf.buy(owner_of(player_client), "t1", product="koi")

    (claim,) = restore(other_player_client, receipt("t1"))
    (claim,) = restore(other_player_client, receipt("t1"))

    assert (claim["order"]["status"], claim["order"]["code"]) == ("rejected", "owned_by_another")
    assert "granted" not in claim["order"]
    conflict = OwnerConflict.objects.get()
    assert conflict.claimant_id == other_player_client.player_id
    ownership.decide(conflict_id=conflict.pk, move=True, actor="ann")
    (moved,) = restore(other_player_client, receipt("t1"))
    (lost,) = restore(player_client, receipt("t1"))
    assert (moved["order"]["status"], lost["order"]["code"]) == ("granted", "owned_by_another")
    assert stack_of(player_client.player_id, "koi") == 0
    assert stack_of(other_player_client.player_id, "koi") == 1


def test_restore__one_that_can_not_be_read__does_not_keep_the_others(
    shelf: Shelf, player_client: PlayerClient
) -> None:
    shelf.say("t1")

    found = restore(
        player_client,
        {"provider": "apple", "receipt": {"jws": "x"}},
        {"Store": "fake", "Payload": "ThisIsFakeReceiptData"},
        {"provider": NAME, "receipt": {}},
        receipt("t1"),
    )

    assert [one.get("code") for one in found] == [
        "unknown_platform",
        "unknown_platform",
        "receipt_refused",
        None,
    ]
    assert found[2]["reason"] == "malformed_receipt"
    assert gems(player_client) == 100


@pytest.mark.parametrize(
    ("receipts", "pointer"),
    [
        ([], "/receipts"),
        ([receipt("t")] * 51, "/receipts"),
        ([receipt("t"), {"provider": NAME}], "/receipts/1/receipt"),
        ([receipt("t"), receipt("t"), {}], "/receipts/2/provider"),
    ],
)
def test_restore__body_that_is_wrong__says_where(
    shelf: Shelf, player_client: PlayerClient, receipts: list[Any], pointer: str
) -> None:
    answer = player_client.post(URL, {"receipts": receipts})

    assert_problem(answer, 400, "validation_failed")
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert not Order.objects.exists()


def test_restore__subscription__asked_about_anew(shelf: Shelf, player_client: PlayerClient) -> None:
    line: dict[str, Any] = {"kind": Kind.SUBSCRIPTION, "original_id": "s1"}
    line["subscription"] = _state(Said.ACTIVE)
    shelf.buy(owner_of(player_client), "s1", **line)
    shelf.say("s1", 1, **line | {"subscription": _state(Said.HOLD)})

    restore(player_client, receipt("s1"))
    tasks.ask_about_subscriptions_of(str(player_client.player_id))

    assert Row.objects.get().phase == "hold"
    assert tasks.ask_about_subscriptions() == 0
    shelf.provider.says["s1"] = RejectedError("gone")
    restore(player_client, receipt("s1"))
    tasks.ask_about_subscriptions_of(str(player_client.player_id))
    assert Row.objects.get().phase == "expired"


def test_restore__with_a_key__replayed_and_limited(
    shelf: Shelf, player_client: PlayerClient, settings: Any
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"restorations": (2, 600)}
    body = {"receipts": [receipt("t1")]}
    first, again, limited = (player_client.post(URL, body, idempotency_key="k") for _ in range(3))

    assert again["Idempotent-Replayed"] == "true"
    assert again.content == first.content
    assert_problem(limited, 429, "rate_limited")


def _state(phase: Said) -> Subscription:
    return Subscription(phase=phase, expires_at=None, renews=True)
