"""Redeeming promotion codes.

Locks are taken in one order: the code (where it is used once), the campaign's count (where it has
a limit), the player, and then what the ledger locks. Words and unlimited campaigns lock nothing
that players share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.models import Player
from config import events
from config.api import gate
from config.api.problems import NotFound, Problem
from store.errors import CodeExpired, CodeInvalid, CodeUsed, LimitReached, NotEligible
from store.metrics import REDEMPTIONS
from store.models import Campaign, CampaignUse, Code, Grant, Redemption
from store.services import campaigns, grants, ledger


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What a code gave, now or (`replayed`) before; `wallet` is what the player has now."""

    id: UUID
    campaign: str
    currencies: Mapping[str, int]
    items: Mapping[str, int]
    wallet: tuple[ledger.Money, ...]
    replayed: bool


def redeem(
    *, game_id: UUID, player_id: UUID, typed: str, address: str, session_id: UUID | None = None
) -> Redeemed:
    """Give the player what a code's campaign holds; once for each player and code.

    Codes that do not exist count against the limits of the player and of `address`, so that
    nobody finds one by trying. Raises `CodeInvalid`, `CodeExpired`, `CodeUsed`, `NotEligible`,
    `LimitReached`, `BalanceLimit`, `StackLimit`, `RateLimited`; then nothing has changed.
    """
    counted = (("code_misses", str(player_id)), ("code_misses_address", address))
    with gate.count_misses(*counted, is_miss=_is_miss):
        try:
            redeemed = _redeem(game_id, player_id, typed, session_id)
        except Problem as refusal:
            REDEMPTIONS.labels(refusal.code).inc()
            raise
        REDEMPTIONS.labels("replayed" if redeemed.replayed else "redeemed").inc()
    return redeemed


def _is_miss(error: Exception) -> bool:
    """Whatever else a code was refused for, it exists; of what broke off, nobody knows."""
    return isinstance(error, CodeInvalid) or not isinstance(error, Problem)


def _redeem(game_id: UUID, player_id: UUID, typed: str, session_id: UUID | None) -> Redeemed:
    code = campaigns.find(game_id=game_id, typed=typed)
    if code is None:
        raise CodeInvalid
    with transaction.atomic():
        if not code.word:
            code = _locked(code.pk)
        campaign = code.campaign
        use = _locked_use(campaign)
        player = (
            Player.objects.select_for_update(no_key=True)
            .only("country", "created_at")
            .filter(game_id=game_id, pk=player_id)
            .first()
        )
        if player is None:
            raise NotFound("There is no such player")
        first = Redemption.objects.filter(code=code, player_id=player_id).first()
        if first is not None:
            # The grant stays with who got it: perhaps a player whom this one has absorbed.
            given = Grant.objects.get(pk=first.pk)
            return _redeemed(given, campaign, player_id, replayed=True)
        _check(code, campaign, use, player, timezone.now())
        grant = grants.grant(
            game_id=game_id,
            player_id=player_id,
            currencies=campaign.contents.get("currencies", {}),
            items=campaign.contents.get("items", {}),
            key=f"code:{code.pk}:{player_id}",
            reason="code",
            reference=campaign.key,
            source=Grant.Source.CODE,
            overflow="refuse",
        )
        Redemption.objects.create(
            id=grant.pk,
            game_id=game_id,
            player_id=player_id,
            campaign=campaign,
            code=code,
            is_single=not code.word,
            created_at=grant.created_at,
        )
        if not code.word:
            code.state = Code.State.USED
            code.save(update_fields=["state"])
        if use is not None:
            use.redemptions += 1
            use.save(update_fields=["redemptions"])
        events.record(
            game_id=game_id,
            player_id=player_id,
            name="redemption",
            props={"id": str(grant.pk), "campaign": campaign.key},
            session_id=session_id,
        )
        return _redeemed(grant, campaign, player_id, replayed=False)


def _locked(code_id: int) -> Code:
    return (
        Code.objects.select_for_update(of=("self",), no_key=True)
        .select_related("campaign")
        .get(pk=code_id)
    )


def _locked_use(campaign: Campaign) -> CampaignUse | None:
    """How often a campaign with a limit was redeemed, locked."""
    if campaign.max_redemptions is None:
        return None
    rows = CampaignUse.objects.select_for_update(no_key=True)
    found = rows.filter(pk=campaign.pk).first()
    if found is None:
        # The limit is new. Whoever comes second waits here for the first, and takes its count.
        so_far = Redemption.objects.filter(campaign=campaign).count()
        fresh = CampaignUse(campaign=campaign, redemptions=so_far)
        CampaignUse.objects.bulk_create([fresh], ignore_conflicts=True)
        found = rows.get(pk=campaign.pk)
    return found


def _check(
    code: Code, campaign: Campaign, use: CampaignUse | None, player: Player, now: datetime
) -> None:
    """Whether this player may redeem this code now, under the locks that make it exact."""
    if code.state == Code.State.VOID or (campaign.starts_at and now < campaign.starts_at):
        raise CodeInvalid
    if code.state == Code.State.USED:
        raise CodeUsed
    if not campaign.is_active or (campaign.ends_at and campaign.ends_at <= now):
        raise CodeExpired
    if campaign.countries and player.country not in campaign.countries:
        raise NotEligible
    days = campaign.new_player_days
    if days is not None and player.created_at < now - timedelta(days=days):
        raise NotEligible
    redeemed = Redemption.objects.filter(player_id=player.pk, campaign=campaign).count()
    if redeemed >= campaign.limit_per_player:
        raise LimitReached("You have redeemed all that this campaign gives one player", left=0)
    if use is not None and use.redemptions >= (campaign.max_redemptions or 0):
        raise LimitReached("All of this campaign has been redeemed", left=0)


def _redeemed(grant: Grant, campaign: Campaign, player_id: UUID, *, replayed: bool) -> Redeemed:
    return Redeemed(
        id=grant.pk,
        campaign=campaign.key,
        currencies=grant.currencies,
        items=grant.items,
        wallet=ledger.open_wallet(game_id=grant.game_id, player_id=player_id),
        replayed=replayed,
    )
