"""What staff decide about purchases: once, for good, by role, and in the audit log."""

from typing import Any

import pytest
from auditlog.models import LogEntry

from accounts.models import Player, StaffUser
from store.errors import NotForDecision
from store.models import Order, OwnerConflict, PlatformPurchase, PurchaseStep, Transaction
from store.providers.base import WHOLE, Environment, MisconfiguredError
from store.services import decisions
from tests.factories.store import OfferFactory
from tests.fakes.platform import NAME, Shelf
from tests.store.conftest import balance_of
from tests.store.receipts import books_are_right, other, player, shelf, status
from tests.store.test_admin import signed_in
from tests.store.test_receipts_admin import text_of, url_of

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db
ROLES = StaffUser.Role
BY = {"actor": "ann", "reason": "a ticket"}


@pytest.fixture
def held(shelf: Shelf, player: Player) -> PlatformPurchase:
    """Bought in the sandbox, which this app grants to nobody."""
    shelf.buy(player, environment=Environment.SANDBOX, must_tell=True)
    return shelf.purchase()


def decide(what: str, row: PlatformPurchase, role: StaffUser.Role = ROLES.SUPPORT) -> Any:
    """The answer to a click on a decision, with a reason."""
    return signed_in(role).post(url_of(f"platformpurchase_{what}", row), {"reason": "a ticket"})


def test_grant__held_back__granted_told_and_accepted(
    shelf: Shelf, player: Player, held: PlatformPurchase
) -> None:
    assert (held.state, balance_of(player.pk, "gems")) == ("quarantined", None)

    assert decide("grant", held).status_code == 302

    now = shelf.purchase()
    assert (now.state, now.decision, now.told) == ("granted", "grant", "due")
    assert balance_of(player.pk, "gems") == (100, 0)
    assert status(Order.objects.get()) == ("granted", None)
    step = PurchaseStep.objects.get(purchase=held, after="granted")
    assert (step.cause, step.detail["reason"]) == ("staff", "a ticket")
    changes = LogEntry.objects.get(object_pk=str(held.pk)).changes
    assert changes == {"decision": ["", "grant"], "reason": ["", "a ticket"]}
    assert books_are_right()


def test_grant__again__says_so_and_gives_nothing(
    shelf: Shelf, player: Player, held: PlatformPurchase
) -> None:
    decide("grant", held)

    assert "does not wait for a decision" in text_of(decide("grant", held))

    assert balance_of(player.pk, "gems") == (100, 0)
    assert LogEntry.objects.filter(object_pk=str(held.pk)).count() == 1


def test_grant__outlives_news(shelf: Shelf, player: Player, held: PlatformPurchase) -> None:
    decisions.grant(purchase_id=held.pk, **BY)

    shelf.hear(at=1, environment=Environment.SANDBOX)

    assert (shelf.purchase().state, balance_of(player.pk, "gems")) == ("granted", (100, 0))


def test_grant__product_known_at_last__granted(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, product="new")
    row = shelf.purchase()
    with pytest.raises(NotForDecision):
        decisions.grant(purchase_id=row.pk, **BY)
    OfferFactory(
        game=shelf.game, key="n", contents={"currencies": {"gems": 7}}, products={NAME: "new"}
    )

    decisions.grant(purchase_id=row.pk, **BY)

    assert balance_of(player.pk, "gems") == (7, 0)
    assert status(Order.objects.get()) == ("granted", None)


def test_grant__nobodys__not_for_decision(shelf: Shelf) -> None:
    shelf.hear(environment=Environment.SANDBOX)
    with pytest.raises(NotForDecision):
        decisions.grant(purchase_id=shelf.purchase().pk, **BY)


def test_refuse__outlives_news_until_granted(
    shelf: Shelf, player: Player, held: PlatformPurchase
) -> None:
    decide("refuse", held)
    shelf.set_sandbox("all")
    shelf.hear(at=1, environment=Environment.SANDBOX)
    row = shelf.purchase()
    assert (row.state, row.code, row.decision) == ("quarantined", "refused_by_staff", "refuse")

    decide("grant", held)

    assert balance_of(player.pk, "gems") == (100, 0)


def test_take_back__outlives_news_and_is_no_refund(shelf: Shelf, player: Player) -> None:
    shelf.buy(player)
    row = shelf.purchase()

    decide("take_back", row)
    shelf.hear(at=1)

    row = shelf.purchase()
    assert (row.state, row.decision) == ("revoked", "refund")
    # The platform kept the money.
    assert (row.revoked, row.revoked_at) == (0, None)
    assert balance_of(player.pk, "gems") == (0, 0)
    assert books_are_right()


def test_give_back__what_the_platform_left(shelf: Shelf, player: Player) -> None:
    shelf.buy(player)
    row = shelf.purchase()
    decide("take_back", row)
    shelf.hear(at=1, revoked=WHOLE // 4)

    decide("give_back", row)

    row = shelf.purchase()
    assert (row.state, row.decision) == ("partially_revoked", "")
    assert balance_of(player.pk, "gems") == (75, 0)
    assert books_are_right()


def test_retry__everything_that_waits(shelf: Shelf, player: Player) -> None:
    shelf.buy(player, must_tell=True)
    PlatformPurchase.objects.update(told="failed")
    Order.objects.update(state="dead")
    row = shelf.purchase()

    page = decide("retry", row)

    assert page.status_code == 302
    assert (shelf.purchase().told, Order.objects.get().state) == ("due", "retry")
    assert PurchaseStep.objects.filter(detail__tried_again=["order", "telling"]).exists()
    shelf.process(Order.objects.get())
    assert balance_of(player.pk, "gems") == (100, 0)


@pytest.mark.parametrize("role", [ROLES.ANALYST, ROLES.DESIGNER])
@pytest.mark.parametrize("what", ["retry", "grant", "refuse", "take_back", "give_back", "move"])
def test_decisions__other_roles__forbidden(
    held: PlatformPurchase, role: StaffUser.Role, what: str
) -> None:
    client = signed_in(role)
    assert client.get(url_of("platformpurchase_change", held)).status_code == 200
    assert client.get(url_of(f"platformpurchase_{what}", held)).status_code == 403
    assert client.post(url_of(f"platformpurchase_{what}", held), {"reason": "x"}).status_code == 403
    assert PlatformPurchase.objects.get().decision == ""


def test_decision__without_a_reason__asked_for(held: PlatformPurchase) -> None:
    client = signed_in(ROLES.SUPPORT)
    answer = client.post(url_of("platformpurchase_grant", held), {"reason": ""})
    assert "required" in text_of(answer)
    assert PlatformPurchase.objects.get().state == "quarantined"


@pytest.mark.parametrize(("way", "owner"), [("keep", "player"), ("move", "other")])
def test_claim__decided_on_the_purchases_page(
    shelf: Shelf, player: Player, other: Player, way: str, owner: str
) -> None:
    shelf.buy(player)
    shelf.process(shelf.submit(other))
    row = shelf.purchase()
    page = text_of(signed_in(ROLES.SUPPORT).get(url_of("platformpurchase_change", row)))
    assert "Two players claim it." in page
    assert "Move to the claimant" in page

    decide(way, row)

    assert OwnerConflict.objects.get().state == {"keep": "kept", "move": "moved"}[way]
    winner = {"player": player, "other": other}[owner]
    assert balance_of(winner.pk, "gems") == (100, 0)
    assert PurchaseStep.objects.filter(purchase=row, detail__reason="a ticket").exists()
    assert LogEntry.objects.filter(object_pk=str(row.pk)).exists()
    # Whoever clicks second is told, and nothing moves.
    assert decide("move", row).status_code == 302
    assert balance_of(winner.pk, "gems") == (100, 0)


def test_page__tells_the_story_with_links(
    shelf: Shelf, player: Player, django_assert_max_num_queries: Any
) -> None:
    shelf.buy(player, must_tell=True, price_minor_units=1050, price_currency="EUR")
    shelf.hear(at=1, revoked=WHOLE // 2)
    shelf.hear(at=2)
    row = shelf.purchase()
    client = signed_in(ROLES.SUPPORT)
    with django_assert_max_num_queries(25):
        page = text_of(client.get(url_of("platformpurchase_change", row)))
    for text in (
        "It was granted, and nothing was taken back.",
        "Receipt received",
        "Refunded in part",
        "taken 50 gems",
        "Refund taken back",
        "10.50 EUR",
        "+100 gems",
        "-50 gems",
        "+50 gems",
        "Take back",
    ):
        assert text in page
    for one in Transaction.objects.filter(player_id=player.pk):
        assert url_of("transaction_change", one) in page
    assert url_of("platformpurchase_refuse", row) not in page


def test_players_page__shows_receipts_that_nothing_came_of(shelf: Shelf, player: Player) -> None:
    shelf.provider.says["t1"] = MisconfiguredError("platform_misconfigured")
    order = shelf.process(shelf.submit(player))
    client = signed_in(ROLES.SUPPORT)
    page = text_of(client.get(f"/admin/accounts/player/{player.pk}/change/"))
    assert "The platform refuses our key or settings." in page
    assert url_of("order_change", order) in page
    assert "An operator has to mend" in text_of(client.get(url_of("order_change", order)))
