"""Gifts: what a player buys, and a friend gets.

Two postings in one transaction, with both players locked before anything is looked at: in the
order of their ids, so that two who give each other at the same moment take turns
(docs/adr/0081).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from accounts.friend_selectors import are_friends
from accounts.locks import lock_players
from accounts.models import Player, Sanction
from accounts.selectors import sanctions_in_force
from config import events
from config.api.problems import NotFound
from store.catalogue import Catalogue, Offer
from store.errors import (
    BalanceLimit,
    GiftNotPossible,
    GiftsUsedUp,
    NotFriends,
    NotGiftable,
    StackLimit,
)
from store.models import Account, Balance, Gift, Stack, Transaction
from store.services import ledger
from store.services.shoppers import Shopper

DAY = timedelta(days=1)


def lock(*, shopper: Shopper, recipient_id: UUID) -> list[Player]:
    """Who gives and who gets, locked; nobody where one of them is not there."""
    try:
        found = lock_players(game_id=shopper.game_id, ids=(shopper.player_id, recipient_id))
    except NotFound:
        return []
    return [found[shopper.player_id], found[recipient_id]]


def check(
    *,
    content: Catalogue,
    shopper: Shopper,
    offer: Offer,
    quantity: int,
    players: Sequence[Player],
) -> None:
    """Whether so many of the offer may be given now, by one of the locked players to the other.

    Testers and others never mix: neither by their access tokens nor by their rows. Raises
    `NotGiftable`, `NotFriends`, `GiftNotPossible`, `GiftsUsedUp`.
    """
    if not offer.is_giftable:
        raise NotGiftable
    if not players or not are_friends(*(player.pk for player in players)):
        raise NotFriends
    sender, recipient = players
    if len({shopper.is_tester, sender.is_tester, recipient.is_tester}) > 1:
        raise GiftNotPossible
    if _may_not_give(sender):
        raise GiftNotPossible
    # One of what is kept is enough.
    kept = [item.id for key in offer.items if (item := content.items[key]).kind == "durable"]
    if Stack.objects.filter(player=recipient, item_id__in=kept, quantity__gt=0).exists():
        raise GiftNotPossible
    if _lately(sender__in=_all_of(sender)) + quantity > settings.STORE_GIFTS_A_DAY:
        raise GiftsUsedUp
    if _lately(recipient__in=_all_of(recipient)) + quantity > settings.STORE_GIFTS_RECEIVED_A_DAY:
        raise GiftNotPossible


def _may_not_give(sender: Player) -> bool:
    """Whether the player is sanctioned (nobody is told of a shadow ban), or owes something: who
    can't spend one currency would give the others away."""
    sanctions = sanctions_in_force(sender.pk, timezone.now())
    return (
        sanctions.exclude(kind=Sanction.Kind.WARNING).exists()
        or Balance.objects.filter(player=sender, in_debt=True).exists()
    )


def _all_of(player: Player) -> "QuerySet[Player]":
    """The player and those whom the player has absorbed: a merge is no new day."""
    return Player.objects.filter(Q(pk=player.pk) | Q(merged_into=player))


def _lately(**whose: "QuerySet[Player]") -> int:
    """How many were given within a day; a gift of five is five."""
    rows = Gift.objects.filter(created_at__gt=timezone.now() - DAY, **whose)
    given: int = rows.aggregate(given=Sum("quantity", default=0))["given"]
    return given


def hand_over(
    *,
    purchase_id: UUID,
    offer: Offer,
    quantity: int,
    players: Sequence[Player],
    lines: Sequence[ledger.Line],
    stack_lines: Sequence[ledger.StackLine],
    granted: Mapping[str, Mapping[str, int]],
) -> Gift:
    """Give the friend what `purchase_id` has paid for. Raises `GiftNotPossible`."""
    sender, recipient = players
    try:
        posting = ledger.post(
            game_id=sender.game_id,
            player_id=recipient.pk,
            kind=Transaction.Kind.GIFT,
            key=f"gift:{purchase_id}",
            reason="gift",
            reference=offer.key,
            lines=lines,
            stack_lines=stack_lines,
        )
    except (BalanceLimit, StackLimit):
        raise GiftNotPossible from None
    gift = Gift.objects.create(
        id=posting.id,
        game_id=sender.game_id,
        sender=sender,
        recipient=recipient,
        purchase_id=purchase_id,
        offer_id=offer.id,
        quantity=quantity,
        currencies=granted["currencies"],
        items=granted["items"],
        created_at=posting.at,
    )
    _record(gift, offer.key)
    return gift


def _record(gift: Gift, offer: str) -> None:
    """The friend's server events; the buyer's are those of the purchase."""
    facts = [("gift", {"id": str(gift.pk), "offer": offer, "quantity": gift.quantity})]
    facts += [
        (
            "currency_source",
            {
                "currency": currency,
                "amount": amount,
                "account": Account.SOURCE_PURCHASE.value,
                "offer": offer,
            },
        )
        for currency, amount in gift.currencies.items()
    ]
    for name, props in facts:
        events.record(game_id=gift.game_id, player_id=gift.recipient_id, name=name, props=props)
