"""Warning, suspending, banning and shadow-banning players, and lifting it.

`Player.blocked_until` sums up what is in force, for sign-in. Whoever changes it holds the player's
row FOR UPDATE, which a sign-in that is under way makes wait, and which makes the next one wait
(accounts/services/sign_in.py): no session outlives a ban.
"""

from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.errors import PlayerMerged
from accounts.metrics import SANCTIONS
from accounts.models import Player, Sanction
from accounts.selectors import BLOCKING, sanctions_in_force
from accounts.services import sessions
from config import events, hooks
from config.api.parsing import invalid
from config.api.problems import NotFound

FOR_GOOD = datetime(9999, 12, 31, tzinfo=UTC)


def impose(
    *,
    game_id: UUID,
    player_id: UUID,
    kind: str,
    reason: str,
    author: str,
    ends_at: datetime | None = None,
) -> Sanction:
    """Sanction a player. A ban or suspension ends every session at once.

    A suspension needs `ends_at`; a ban without it is for good; a warning has none.
    Raises `NotFound`, `PlayerMerged`, `ValidationFailed`.
    """
    now = timezone.now()
    if kind == Sanction.Kind.SUSPENSION and ends_at is None:
        raise invalid("/ends_at", "A suspension has an end", "required")
    if kind == Sanction.Kind.WARNING and ends_at is not None:
        raise invalid("/ends_at", "A warning has no end")
    if ends_at is not None and ends_at <= now:
        raise invalid("/ends_at", "The end lies in the past")
    with transaction.atomic():
        player = _locked(game_id, player_id)
        sanction = Sanction.objects.create(
            game_id=game_id,
            player=player,
            kind=kind,
            reason=reason,
            author=author,
            ends_at=ends_at,
            created_at=now,
        )
        if kind in BLOCKING:
            _sum_up(player)
            sessions.revoke_all(player_id=player_id, reason="banned")
        events.record(
            game_id=game_id, player_id=player_id, name="player_sanctioned", props={"kind": kind}
        )
        hooks.run_after(
            "player_sanctioned",
            game_id=str(game_id),
            player_id=str(player_id),
            sanction_id=str(sanction.pk),
            kind=kind,
        )
    SANCTIONS.labels(kind).inc()
    return sanction


def lift(*, game_id: UUID, player_id: UUID, sanction_id: UUID) -> Sanction:
    """End a sanction now; lifting it twice does no harm. Raises `NotFound`."""
    with transaction.atomic():
        player = _locked(game_id, player_id)
        sanction = Sanction.objects.filter(player=player, pk=sanction_id).first()
        if sanction is None:
            raise NotFound("There is no such sanction")
        if sanction.lifted_at is None:
            sanction.lifted_at = timezone.now()
            sanction.save(update_fields=["lifted_at"])
            _sum_up(player)
    return sanction


def lift_all(*, game_id: UUID, player_id: UUID) -> int:
    """End every sanction of a player that is in force; how many there were."""
    with transaction.atomic():
        player = _locked(game_id, player_id)
        now = timezone.now()
        in_force = list(sanctions_in_force(player_id, now))
        for sanction in in_force:
            # Saved one by one, so that the audit log sees it.
            sanction.lifted_at = now
            sanction.save(update_fields=["lifted_at"])
        _sum_up(player)
    return len(in_force)


def _locked(game_id: UUID, player_id: UUID) -> Player:
    player = Player.objects.select_for_update().filter(game_id=game_id, id=player_id).first()
    if player is None:
        raise NotFound("There is no such player")
    if player.merged_into_id is not None:
        raise PlayerMerged(merged_into=str(player.merged_into_id))
    return player


def _sum_up(player: Player) -> None:
    longest = sanctions_in_force(player.pk, timezone.now()).filter(kind__in=BLOCKING).first()
    player.blocked_until = None if longest is None else longest.ends_at or FOR_GOOD
    player.save(update_fields=["blocked_until"])
