"""Grants by staff: small ones are given at once, others when a second person agrees.

What counts is what staff gave this player of a currency or item within a day, so that a large
grant can't be given in small ones. Locks: the request's row, then the player, then the ledger's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import Player, StaffUser
from config.api.problems import NotFound
from store.catalogue import catalogue
from store.errors import RequestDecided, SecondPersonNeeded
from store.models import Grant, GrantRequest, GrantThreshold, Transaction
from store.services import grants

WINDOW = timedelta(days=1)


def give(
    *,
    player: Player,
    currencies: Mapping[str, int],
    items: Mapping[str, int],
    reason: str,
    requester: StaffUser,
    token: UUID,
) -> Grant | GrantRequest:
    """Give `currencies` {key: amount} and `items` {key: quantity} to a player, or ask a second
    person to, where the game's thresholds say so. The same `token` again does nothing more.

    Raises `UnknownContent`, `BalanceLimit`, `StackLimit`, `NotFound`.
    """
    key = f"staff:{requester.pk}:{token}"
    # What is asked for is what will be given, even if a bundle changes before it is approved.
    named = items
    currencies, items = catalogue(player.game_id).open_bundles(currencies, items)
    with transaction.atomic():
        if not Player.objects.select_for_update(no_key=True).filter(pk=player.pk).exists():
            raise NotFound("There is no such player")
        asked = GrantRequest.objects.filter(token=token).first()
        if asked is not None:
            asked.is_replay = True
            return asked
        given = Transaction.objects.filter(game_id=player.game_id, key=key).exists()
        if not given and _needs_approval(player, currencies, {**named, **items}):
            now = timezone.now()
            return GrantRequest.objects.create(
                game_id=player.game_id,
                player_id=player.pk,
                currencies=dict(currencies),
                items=dict(items),
                reason=reason,
                requester=requester,
                token=token,
                expires_at=now + timedelta(days=settings.GRANT_REQUEST_DAYS),
                created_at=now,
            )
        return grants.grant(
            game_id=player.game_id,
            player_id=player.pk,
            currencies=currencies,
            items=items,
            key=key,
            reason=reason,
            source=Grant.Source.STAFF,
            actor=requester.get_username(),
            overflow="refuse",
        )


def approve(*, request_id: UUID, decider: StaffUser) -> GrantRequest:
    """Give what was asked for, once.

    Raises `SecondPersonNeeded`, `RequestDecided`, `BalanceLimit`, `StackLimit`, `NotFound`; then
    the request is as it was.
    """
    with transaction.atomic():
        request = _waiting(request_id, decider)
        grant = grants.grant(
            game_id=request.game_id,
            player_id=request.player_id,
            currencies=request.currencies,
            items=request.items,
            key=f"approved:{request.pk}",
            reason=request.reason,
            source=Grant.Source.STAFF,
            actor=request.requester.get_username(),
            overflow="refuse",
        )
        request.grant_id = grant.pk
        return _decided(request, GrantRequest.State.GIVEN, decider, "")


def refuse(*, request_id: UUID, decider: StaffUser, reason: str) -> GrantRequest:
    """Give nothing, and say why. Raises `SecondPersonNeeded`, `RequestDecided`, `NotFound`."""
    with transaction.atomic():
        request = _waiting(request_id, decider)
        return _decided(request, GrantRequest.State.REFUSED, decider, reason)


def expire() -> int:
    """Close requests that nobody decided in time; how many."""
    late = GrantRequest.objects.filter(
        state=GrantRequest.State.WAITING, expires_at__lte=timezone.now()
    )
    return late.update(state=GrantRequest.State.EXPIRED, decided_at=timezone.now())


def waiting() -> int:
    """How many requests wait for a decision."""
    return GrantRequest.objects.filter(
        state=GrantRequest.State.WAITING, expires_at__gt=timezone.now()
    ).count()


def _waiting(request_id: UUID, decider: StaffUser) -> GrantRequest:
    request = (
        GrantRequest.objects.select_for_update(of=("self",), no_key=True)
        .select_related("requester")
        .filter(pk=request_id)
        .first()
    )
    if request is None:
        raise NotFound("There is no such request")
    if request.state != GrantRequest.State.WAITING:
        raise RequestDecided(f"This request is {request.state} already")
    if request.expires_at <= timezone.now():
        raise RequestDecided("This request has expired")
    if request.requester_id == decider.pk:
        raise SecondPersonNeeded("Somebody else has to decide about your request")
    return request


def _decided(
    request: GrantRequest, state: GrantRequest.State, decider: StaffUser, decision: str
) -> GrantRequest:
    request.state = state
    request.decider = decider
    request.decision = decision
    request.decided_at = timezone.now()
    request.save(update_fields=["state", "decider", "decision", "decided_at", "grant_id"])
    return request


def _needs_approval(
    player: Player, currencies: Mapping[str, int], items: Mapping[str, int]
) -> bool:
    """Whether this is more than a threshold, with what staff gave the player within a day.

    `items` are both bundles and what is in them: a threshold may be of either.
    """
    thresholds = list(
        GrantThreshold.objects.filter(game_id=player.game_id).select_related("currency", "item")
    )
    if not thresholds:
        return False
    asked = {"currencies": currencies, "items": items}
    recent = _given_since(player, timezone.now() - WINDOW)
    for threshold in thresholds:
        kind, key = threshold.what
        before = sum(getattr(row, kind).get(key, 0) for row in recent)
        if key in asked[kind] and before + asked[kind][key] > threshold.amount:
            return True
    return False


def _given_since(player: Player, since: datetime) -> list[Grant]:
    """What staff gave the player without a second person."""
    rows = Grant.objects.filter(
        player_id=player.pk, source=Grant.Source.STAFF, created_at__gt=since
    )
    approved = GrantRequest.objects.filter(player_id=player.pk, grant_id__isnull=False)
    return list(rows.exclude(pk__in=approved.values("grant_id")))
