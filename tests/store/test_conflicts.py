"""Claims of purchases that are another player's: decided, and brought back."""

from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from django.utils import timezone

from accounts.models import Player, StaffUser
from config.api.problems import NotFound
from store.errors import NotForDecision, RequestDecided
from store.models import Order, OwnerConflict, PurchaseStep
from store.services import orders, ownership
from store.services.ownership import CLAIMS_REST
from tests.factories.accounts import PlayerFactory
from tests.fakes.platform import Shelf, new_id
from tests.store.conftest import balance_of, stack_of
from tests.store.receipts import STAFF, books_are_right, other, player, shelf, status
from tests.store.test_admin import signed_in
from tests.store.test_receipts_admin import text_of, url_of

__all__ = ["other", "player", "shelf"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def claim(shelf: Shelf, player: Player, other: Player) -> Order:
    """The receipt of `other` for what `player` has bought; staff have left it there."""
    shelf.buy(player)
    order = shelf.process(shelf.submit(other))
    keep(OwnerConflict.objects.get())
    return order


def keep(conflict: OwnerConflict) -> None:
    ownership.decide(conflict_id=conflict.pk, move=False, actor="ann")


def decided_ago(ago: timedelta) -> None:
    OwnerConflict.objects.update(decided_at=timezone.now() - ago)


def open_claims() -> int:
    return OwnerConflict.objects.filter(state="open").count()


def send_again(shelf: Shelf, claim: Order) -> bool:
    """The client sends its receipt once more; whether it was verified again."""
    asked = len(shelf.provider.asked)
    order = shelf.submit(claim.player_id)
    shelf.process(order)
    assert (order.pk, status(order)) == (claim.pk, ("rejected", "owned_by_another"))
    return len(shelf.provider.asked) > asked


def test_conflict__moved__value_goes_with_it(shelf: Shelf, player: Player, other: Player) -> None:
    first = shelf.buy(player, product="pack")
    claim = shelf.process(shelf.submit(other))
    conflict = OwnerConflict.objects.get()

    ownership.decide(conflict_id=conflict.pk, move=True, actor="ann")

    assert (balance_of(player.pk, "gems"), stack_of(player.pk, "seeds")) == ((0, 0), 0)
    assert (balance_of(other.pk, "gems"), stack_of(other.pk, "seeds")) == ((10, 0), 2)
    assert shelf.purchase().player_id == other.pk
    assert status(claim) == ("granted", None)
    assert status(first) == ("rejected", "owned_by_another")
    conflict.refresh_from_db()
    assert (conflict.state, conflict.decided_by) == ("moved", "ann")
    assert books_are_right()
    with pytest.raises(RequestDecided):
        ownership.decide(conflict_id=conflict.pk, move=False, actor="bob")


def test_conflict__moved_before_anything_was_granted__only_the_owner_changes(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.buy(player, product="new")
    claim = shelf.process(shelf.submit(other))

    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=True, actor="ann")

    assert shelf.purchase().player_id == other.pk
    assert status(claim)[0] == "rejected"
    with pytest.raises(NotFound):
        ownership.decide(conflict_id=claim.pk, move=True, actor="ann")


def test_conflict__kept__nothing_moves(shelf: Shelf, player: Player, other: Player) -> None:
    shelf.buy(player)
    shelf.process(shelf.submit(other))

    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=False, actor="ann")

    assert shelf.purchase().player_id == player.pk
    assert balance_of(player.pk, "gems") == (100, 0)


def test_conflict__moved_while_the_claim_is_verified_again__the_order_ends_by_itself(
    shelf: Shelf, player: Player, other: Player
) -> None:
    shelf.buy(player)
    claim = shelf.process(shelf.submit(other))
    orders.again(order_id=claim.pk, cause=STAFF)

    ownership.decide(conflict_id=OwnerConflict.objects.get().pk, move=True, actor="ann")

    assert status(claim) == ("verifying", None)
    assert status(shelf.process(claim)) == ("granted", None)
    assert balance_of(other.pk, "gems") == (100, 0)
    assert books_are_right()


# Brought back


def test_claim__sent_again_soon__not_looked_at(shelf: Shelf, claim: Order) -> None:
    for _ in range(3):
        assert not send_again(shelf, claim)
    # Not by another proof either, nor where staff have the receipt verified again.
    shelf.process(shelf.submit(claim.player_id, proof="another"))
    orders.again(order_id=claim.pk, cause=STAFF)
    shelf.process(claim)

    assert OwnerConflict.objects.count() == 1


def test_claim__sent_again_when_it_has_rested__open_once_more(shelf: Shelf, claim: Order) -> None:
    decided_ago(CLAIMS_REST)

    assert send_again(shelf, claim)
    # It waits for staff: sending it once more asks nobody and adds nothing.
    assert not send_again(shelf, claim)

    assert list(OwnerConflict.objects.order_by("id").values_list("state", flat=True)) == [
        "kept",
        "open",
    ]


def test_claim__kept_again__rests_twice_as_long(shelf: Shelf, claim: Order) -> None:
    decided_ago(CLAIMS_REST)
    send_again(shelf, claim)
    keep(OwnerConflict.objects.get(state="open"))

    decided_ago(CLAIMS_REST)
    assert not send_again(shelf, claim)
    decided_ago(2 * CLAIMS_REST)
    assert send_again(shelf, claim)
    assert open_claims() == 1


def test_claim__purchase_moved_to_a_third__open_at_once(shelf: Shelf, claim: Order) -> None:
    third = PlayerFactory(game=shelf.game)
    shelf.process(shelf.submit(third))
    moved = OwnerConflict.objects.get(state="open")
    ownership.decide(conflict_id=moved.pk, move=True, actor="ann")

    assert send_again(shelf, claim)

    assert OwnerConflict.objects.get(state="open").claimant_id == claim.player_id


def test_receipt__rejected_for_anything_else__stays_rejected(shelf: Shelf, claim: Order) -> None:
    decided_ago(CLAIMS_REST)
    Order.objects.filter(pk=claim.pk).update(code="no_purchase")

    assert shelf.submit(claim.player_id).state == "rejected"


def test_reopen__decided_once_more_with_its_history(
    shelf: Shelf, claim: Order, other: Player
) -> None:
    kept = OwnerConflict.objects.get()
    client = signed_in(StaffUser.Role.SUPPORT)
    url = url_of("ownerconflict_reopen", kept)
    page = text_of(client.get(url_of("ownerconflict_change", kept)))
    assert "Decide it again" in page
    assert "Move it to the claimant" not in page
    assert client.get(url).status_code == 200
    assert open_claims() == 0

    assert client.post(url, {"reason": "a ticket"}).status_code == 302

    again = OwnerConflict.objects.get(state="open")
    assert (again.claimant_id, again.order_id) == (other.pk, claim.pk)
    page = text_of(client.get(url_of("platformpurchase_change", shelf.purchase())))
    for text in ("Claim to be decided again", "a ticket", "kept with its owner"):
        assert text in page
    assert LogEntry.objects.filter(object_pk=str(again.pk)).exists()
    assert PurchaseStep.objects.filter(detail__reopened_claim_of=str(other.pk)).exists()
    # Whoever clicks second is told.
    assert "open already" in text_of(client.post(url, {"reason": "a ticket"}))

    ownership.decide(conflict_id=again.pk, move=True, actor="ann")
    assert balance_of(other.pk, "gems") == (100, 0)
    assert status(claim) == ("granted", None)
    kept.refresh_from_db()
    assert (kept.state, kept.decided_by) == ("kept", "ann")


def test_reopen__what_is_not_kept_or_the_claimants_by_now__refused(
    shelf: Shelf, claim: Order
) -> None:
    kept = OwnerConflict.objects.get()
    again = ownership.reopen(conflict_id=kept.pk, actor="ann", reason="a ticket")
    ownership.decide(conflict_id=again.pk, move=True, actor="ann")
    for conflict in (kept, again):
        with pytest.raises(NotForDecision):
            ownership.reopen(conflict_id=conflict.pk, actor="ann", reason="a ticket")
    with pytest.raises(NotFound):
        ownership.reopen(conflict_id=claim.pk, actor="ann", reason=new_id())


@pytest.mark.parametrize("role", [StaffUser.Role.ANALYST, StaffUser.Role.DESIGNER])
def test_reopen__other_roles__forbidden(claim: Order, role: StaffUser.Role) -> None:
    url = url_of("ownerconflict_reopen", OwnerConflict.objects.get())
    client = signed_in(role)
    assert client.get(url).status_code == 403
    assert client.post(url, {"reason": "x"}).status_code == 403
    assert open_claims() == 0
