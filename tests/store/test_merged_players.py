"""What comes of an absorbed player's codes and claims once the survivor, or staff, go on."""

import pytest

from accounts.models import Player
from store.errors import NotForDecision
from store.models import Balance, OwnerConflict
from store.services import campaigns, ownership, redemptions, verification
from tests.factories.accounts import PlayerFactory
from tests.factories.merging import merge
from tests.factories.store import CampaignFactory, CurrencyFactory, OfferFactory
from tests.fakes.platform import NAME, Shelf, make_shelf
from tests.store.conftest import Shop, balance_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def survivor(shop: Shop) -> Player:
    return PlayerFactory(game=shop.game)


@pytest.fixture
def absorbed(shop: Shop) -> Player:
    return PlayerFactory(game=shop.game)


@pytest.fixture
def owner(shop: Shop) -> Player:
    return PlayerFactory(game=shop.game)


@pytest.fixture
def shelf(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    OfferFactory(
        game=shop.game, key="gems", contents={"currencies": {"gems": 80}}, products={NAME: "gems"}
    )
    return make_shelf(shop.game, monkeypatch)


# Codes


def test_code_of_the_absorbed__sent_again__answers_with_the_survivors_wallet(
    shop: Shop, survivor: Player, absorbed: Player
) -> None:
    campaign = CampaignFactory(game=shop.game, contents={"currencies": {"gems": 5}})
    campaigns.set_words(campaign=campaign, words=["LOTUS"])

    def redeem(player: Player) -> redemptions.Redeemed:
        return redemptions.redeem(
            game_id=shop.game.pk, player_id=player.pk, typed="LOTUS", address="192.0.2.1"
        )

    first = redeem(absorbed)
    merge(survivor, absorbed)
    CurrencyFactory(game=shop.game, key="pearls", initial=7)

    again = redeem(survivor)

    assert (again.id, again.replayed, again.currencies) == (first.id, True, {"gems": 5})
    assert sorted(money.earned for money in again.wallet) == [5, 7, 100]
    assert not Balance.objects.filter(player=absorbed, currency__key="pearls").exists()


# Claims


def claim_of(shelf: Shelf, owner: Player, claimant: Player) -> OwnerConflict:
    """The claim of a purchase that is the owner's."""
    shelf.buy(owner)
    shelf.process(shelf.submit(claimant))
    return OwnerConflict.objects.get()


def test_claim_of_the_absorbed__reopened__is_the_survivors(
    shelf: Shelf, owner: Player, survivor: Player, absorbed: Player
) -> None:
    claim = claim_of(shelf, owner, absorbed)
    ownership.decide(conflict_id=claim.pk, move=False, actor="ann")
    merge(survivor, absorbed)

    again = ownership.reopen(conflict_id=claim.pk, actor="ann", reason="A mistake")

    assert again.claimant_id == survivor.pk
    claim.refresh_from_db()
    assert (claim.claimant_id, claim.state) == (absorbed.pk, OwnerConflict.State.KEPT)
    with pytest.raises(NotForDecision):
        ownership.reopen(conflict_id=claim.pk, actor="ann", reason="Once more")
    ownership.decide(conflict_id=again.pk, move=True, actor="ann")
    assert shelf.purchase().player_id == survivor.pk
    assert balance_of(survivor.pk, "gems") == (80, 0)
    assert list(verification.verify()) == []


def test_claim_of_who_was_merged_into_the_owner__is_not_reopened(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    claim = claim_of(shelf, survivor, absorbed)
    ownership.decide(conflict_id=claim.pk, move=False, actor="ann")
    merge(survivor, absorbed)

    with pytest.raises(NotForDecision):
        ownership.reopen(conflict_id=claim.pk, actor="ann", reason="A mistake")


def test_open_claim_of_the_absorbed__moves_to_the_survivor(
    shelf: Shelf, owner: Player, survivor: Player, absorbed: Player
) -> None:
    claim = claim_of(shelf, owner, absorbed)
    merge(survivor, absorbed)
    # One that was being made in the moment of the merge.
    OwnerConflict.objects.update(claimant=absorbed)

    ownership.decide(conflict_id=claim.pk, move=True, actor="ann")

    assert shelf.purchase().player_id == survivor.pk
    assert balance_of(survivor.pk, "gems") == (80, 0)
    claim.refresh_from_db()
    assert (claim.claimant_id, claim.state) == (survivor.pk, OwnerConflict.State.MOVED)
    assert list(verification.verify()) == []


def test_open_claim_of_who_was_merged_into_the_owner__stays_with_the_owner(
    shelf: Shelf, survivor: Player, absorbed: Player
) -> None:
    claim = claim_of(shelf, survivor, absorbed)
    merge(survivor, absorbed)
    OwnerConflict.objects.update(claimant=absorbed, state=OwnerConflict.State.OPEN)

    decided = ownership.decide(conflict_id=claim.pk, move=True, actor="ann")

    assert decided.state == OwnerConflict.State.KEPT
    assert shelf.purchase().player_id == survivor.pk
    assert balance_of(survivor.pk, "gems") == (80, 0)
