"""Dead letters: listed by what they are, and tried again once."""

from typing import Any

import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import Player, StaffUser
from store.models import Export, Order, PlatformNotice, PlatformPurchase
from store.providers.base import Environment, MisconfiguredError
from tests.factories.accounts import StaffUserFactory
from tests.fakes.platform import Shelf
from tests.store.receipts import other, player, shelf
from tests.store.test_admin import signed_in
from tests.store.test_receipts_admin import text_of

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db
ROLES = StaffUser.Role


@pytest.fixture
def stuck(shelf: Shelf, player: Player, other: Player) -> Order:
    """One of each kind."""
    shelf.provider.says["t1"] = MisconfiguredError("platform_misconfigured")
    order = shelf.process(shelf.submit(player))
    shelf.notice()
    PlatformNotice.objects.update(state="dead", last_error="unknown_product")
    shelf.buy(player, "t2", must_tell=True)
    shelf.process(shelf.submit(other, "t2"))
    PlatformPurchase.objects.update(told="failed")
    return order


def test_page__lists_each_kind(stuck: Order, django_assert_max_num_queries: Any) -> None:
    client = signed_in(ROLES.ANALYST)
    with django_assert_max_num_queries(16):
        page = text_of(client.get(reverse("admin:store_stuck")))
    for text in (
        "could not be verified or granted (1)",
        "The platform refuses our key or settings.",
        "two players claim (1)",
        "could not be told (1)",
        "could not be processed (1)",
    ):
        assert text in page
    # Whoever may not try again has no buttons.
    assert "Try all again" not in page
    post = client.post(reverse("admin:store_stuck"), {"kind": "orders"})
    assert post.status_code == 403


def test_page__held_back__only_what_was_paid_for(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, "t3")
    PlatformPurchase.objects.update(state="quarantined", code="quantity_out_of_bounds")
    shelf.buy(player, "t4", environment=Environment.SANDBOX)
    page = text_of(signed_in(ROLES.SUPPORT).get(reverse("admin:store_stuck")))
    assert "held back (1)" in page
    assert "more than the books can hold" in page


@pytest.mark.parametrize(
    ("kind", "model", "after"),
    [
        ("orders", Order, {"state": "retry"}),
        ("notices", PlatformNotice, {"state": "received"}),
        ("untold", PlatformPurchase, {"told": "due"}),
    ],
)
@pytest.mark.parametrize("all_of_them", [True, False])
def test_try_again__due_now_and_audited_once(
    stuck: Order, kind: str, model: Any, after: dict[str, str], all_of_them: bool
) -> None:
    row = {
        "orders": Order.objects.filter(state="dead"),
        "notices": PlatformNotice.objects.all(),
        "untold": PlatformPurchase.objects.filter(told="failed"),
    }[kind].get()
    said = {"kind": kind} if all_of_them else {"kind": kind, "key": str(row.pk)}
    client = signed_in(ROLES.SUPPORT)

    for _ in range(2):
        assert client.post(reverse("admin:store_stuck"), said).status_code == 302

    assert model.objects.filter(pk=row.pk, **after).exists()
    logged = LogEntry.objects.filter(object_pk=str(row.pk), changes__has_key="tried_again")
    assert logged.count() == 1


@pytest.mark.parametrize("said", [{"kind": "nonsense"}, {"kind": "orders", "key": "x"}, {}])
def test_try_again__nonsense__nothing_happens(stuck: Order, said: dict[str, str]) -> None:
    answer = signed_in(ROLES.SUPPORT).post(reverse("admin:store_stuck"), said)
    assert answer.status_code == 302
    assert Order.objects.get(pk=stuck.pk).state == "dead"


def test_empty__says_so(shelf: Shelf) -> None:
    assert "Nothing is stuck." in text_of(signed_in().get(reverse("admin:store_stuck")))


LISTS = ["order", "platformpurchase", "platformnotice", "ownerconflict", "export"]


@pytest.mark.parametrize("model", LISTS)
def test_lists__queries_do_not_grow(
    shelf: Shelf, player: Player, other: Player, model: str
) -> None:
    """As many queries with one row as with six."""
    client = signed_in()
    counts = []
    for number in range(6):
        shelf.buy(player, f"t{number}")
        shelf.process(shelf.submit(other, f"t{number}"))
        shelf.notice(f"n{number}")
        Export.objects.create(
            title="x", query={}, author=StaffUserFactory(), expires_at=timezone.now()
        )
        if number in (0, 5):
            with CaptureQueriesContext(connection) as captured:
                text_of(client.get(reverse(f"admin:store_{model}_changelist")))
            counts.append(len(captured))
    assert counts[0] == counts[1]
