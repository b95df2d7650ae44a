"""Two players become one, and staff can undo it.

Both players' rows are locked FOR UPDATE, in the order of their ids, after the locks of the apps'
parts (accounts/merging.py): no sign-in, posting or new row of either is under way then. What
touches no such lock and was on its way to the absorbed player is brought over by `settle_due`, once
no request of then can be running any more.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.core import signing
from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from psycopg.errors import DeadlockDetected

from accounts.errors import (
    MergeNotUndoable,
    MergeRefused,
    MergeTokenInvalid,
    PlayerMerged,
    TooManyMerges,
)
from accounts.merging import Json, Pair, parts
from accounts.metrics import MERGES
from accounts.models import Identity, Merge, Player
from accounts.selectors import BLOCKING, sanctions_in_force
from accounts.services import sessions
from config import events, hooks
from config.api.problems import NotFound
from config.db.ids import uuid7
from config.db.sweeper import backoff, claim

log = structlog.get_logger(__name__)
T = TypeVar("T")
SALT = "accounts.merge"
ATTEMPTS = 3
YEAR = timedelta(days=365)
LEASE = timedelta(minutes=5)


def make_token(*, survivor_id: UUID, identity: Identity) -> str:
    """What lets `survivor_id` absorb the owner of an identity whose secret it has just shown."""
    return signing.dumps(
        [str(survivor_id), str(identity.pk), str(identity.player_id), _secret_of(identity)],
        salt=SALT,
        compress=True,
    )


def _secret_of(identity: Identity) -> str:
    """Changes with the identity's secret, so that a token ends with it."""
    return salted_hmac(SALT, identity.secret, algorithm="sha256").hexdigest()[:16]


def merge(
    *,
    game_id: UUID,
    player_id: UUID,
    token: str,
    choices: Mapping[str, Any],
    preview: bool = False,
) -> tuple[Merge, bool]:
    """The merge of the token's player into this one, and whether it had been done before.

    A `preview` does all of it and takes it back: its `outcome` says what the merge would do.
    Raises `MergeTokenInvalid`, `MergeRefused`, `TooManyMerges`, and what a part refuses with.
    """
    identity_id, absorbed_id, secret = _read_token(player_id, token)

    def attempt() -> tuple[Merge, bool]:
        with transaction.atomic():
            done = Merge.objects.filter(
                game_id=game_id, survivor_id=player_id, absorbed_id=absorbed_id
            ).exclude(state=Merge.State.UNDONE)
            if first := done.first():
                return first, True
            pair = _locked(game_id, player_id, absorbed_id)
            if first := done.first():  # made while this one waited
                return first, True
            identity = Identity.objects.filter(pk=identity_id, player=pair.absorbed).first()
            knows = identity and constant_time_compare(secret, _secret_of(identity))
            if not knows or _undone_lately(pair):
                raise MergeTokenInvalid
            _check(pair)
            made = _merge(pair, choices)
            transaction.set_rollback(preview)
        return made, False

    made, replayed = _retried(attempt)
    if not preview and not replayed:
        MERGES.labels("merged").inc()
        log.info("players_merged", merge=str(made.pk))
    return made, replayed


def holdings(player: Player) -> Json:
    """What a player has, by part."""
    return {part.name: part.holds(player) for part in parts()}


def the_other(*, game_id: UUID, player_id: UUID, token: str) -> Player:
    """The player whom the token lets `player_id` absorb. Raises `MergeTokenInvalid`."""
    _, absorbed_id, _ = _read_token(player_id, token)
    other = Player.objects.filter(game_id=game_id, pk=absorbed_id).first()
    if other is None:
        raise MergeTokenInvalid
    return other


def _read_token(player_id: UUID, token: str) -> tuple[UUID, UUID, str]:
    """(the identity, its owner, what its secret was) of a token that was made for this player."""
    try:
        survivor, identity, absorbed, secret = signing.loads(
            token, salt=SALT, max_age=settings.MERGE_TOKEN_SECONDS
        )
    except (signing.BadSignature, ValueError):
        raise MergeTokenInvalid from None
    if survivor != str(player_id):
        raise MergeTokenInvalid
    return UUID(identity), UUID(absorbed), secret


def _retried(work: Callable[[], T]) -> T:
    """`work`, once more where PostgreSQL chose it to end a deadlock: a posting that holds other
    rows may have come in between."""
    for _ in range(ATTEMPTS - 1):
        try:
            return work()
        except OperationalError as error:
            if not isinstance(error.__cause__, DeadlockDetected):
                raise
    return work()


def _locked(
    game_id: UUID, survivor_id: UUID, absorbed_id: UUID, merge_id: UUID | None = None
) -> Pair:
    ids = sorted((survivor_id, absorbed_id))
    for part in parts():
        part.lock(ids)
    rows = Player.objects.select_for_update().filter(game_id=game_id, pk__in=ids).order_by("pk")
    found = {row.pk: row for row in rows}
    if len(found) != 2:
        raise NotFound("There is no such player")
    return Pair(merge_id or uuid7(), found[survivor_id], found[absorbed_id])


def _undone_lately(pair: Pair) -> bool:
    """Whether staff have undone this very merge since a token that is valid still may be of."""
    since = timezone.now() - timedelta(seconds=settings.MERGE_TOKEN_SECONDS)
    undone = Merge.objects.filter(survivor=pair.survivor, absorbed=pair.absorbed)
    return undone.filter(undone_at__gt=since).exists()


def _check(pair: Pair) -> None:
    """Whether staff would have to look at this merge first."""
    for player in (pair.survivor, pair.absorbed):
        if player.merged_into_id is not None:
            raise PlayerMerged(merged_into=str(player.merged_into_id))
    if pair.survivor.is_tester != pair.absorbed.is_tester:
        raise MergeRefused("A tester and a player can't be merged")
    now = timezone.now()
    # A shadow ban goes along: a refusal would tell of it.
    if sanctions_in_force(pair.absorbed.pk, now).filter(kind__in=BLOCKING).exists():
        raise MergeRefused("The other player is banned")
    # All that either has become of: else a chain of merges would know no bound.
    lately = Merge.objects.filter(
        absorbed__merged_into__in=[pair.survivor, pair.absorbed], created_at__gt=now - YEAR
    ).exclude(state=Merge.State.UNDONE)
    if lately.count() >= settings.MERGES_A_YEAR:
        raise TooManyMerges(f"A player may be merged {settings.MERGES_A_YEAR} times a year")


def _merge(pair: Pair, choices: Mapping[str, Any]) -> Merge:
    now = timezone.now()
    journal: Json = {}
    told: Json = {}
    for part in parts():
        journal[part.name], told[part.name] = part.merge(pair, choices)
    made = Merge.objects.create(
        id=pair.merge_id,
        game_id=pair.game_id,
        survivor=pair.survivor,
        absorbed=pair.absorbed,
        choices=dict(choices),
        journal=journal,
        outcome={"merged": told},
        created_at=now,
        next_attempt_at=now + timedelta(seconds=settings.MERGE_SETTLE_SECONDS),
    )
    # Only now: nothing is posted to a player who was merged.
    pair.absorbed.merged_into = pair.survivor
    pair.absorbed.save(update_fields=["merged_into"])
    sessions.revoke_all(player_id=pair.absorbed.pk, reason="merged")
    events.record(game_id=pair.game_id, player_id=pair.survivor.pk, name="players_merged", props={})
    hooks.run_after(
        "players_merged",
        game_id=str(pair.game_id),
        survivor_id=str(pair.survivor.pk),
        absorbed_id=str(pair.absorbed.pk),
    )
    return made


def settle_due(*, limit: int = 100) -> int:
    """Bring over what was on its way to players while they were absorbed; how many are settled."""
    settled = 0
    settling = Merge.objects.filter(state=Merge.State.SETTLING)
    # First into whom has been merged meanwhile: what comes over now has to come over once more.
    due = settling.exclude(Exists(settling.filter(survivor=OuterRef("absorbed"))))
    for row in claim(due, limit=limit, lease=LEASE):
        try:
            _retried(partial(_settle, row.pk))
        except Exception as error:
            Merge.objects.filter(pk=row.pk).update(
                last_error=f"{type(error).__name__}: {error}"[:500],
                next_attempt_at=timezone.now() + backoff(row.attempts),
            )
            log.error("merge_not_settled", merge=str(row.pk), exc_info=error)
        else:
            settled += 1
    return settled


def _settle(merge_id: UUID) -> None:
    with transaction.atomic():
        row, pair = _locked_merge(merge_id)
        if row.state != Merge.State.SETTLING:
            return
        for part in parts():
            row.journal[part.name] = part.settle(pair, row.journal.get(part.name, {}))
        row.state, row.last_error = Merge.State.DONE, ""
        row.save(update_fields=["journal", "state", "last_error"])


def _locked_merge(merge_id: UUID) -> tuple[Merge, Pair]:
    """A merge and its players, locked; the players first, as in a merge."""
    named = Merge.objects.filter(pk=merge_id).first()
    if named is None:
        raise NotFound("There is no such merge")
    pair = _locked(named.game_id, named.survivor_id, named.absorbed_id, merge_id)
    return Merge.objects.select_for_update(of=("self",)).get(pk=merge_id), pair


def undo(*, merge_id: UUID, actor: str, reason: str, preview: bool = False) -> Merge:
    """Make two players of one again. What the survivor has used up since stays used up: `outcome`
    says under "undone" what came back and what is short. The survivor is signed out everywhere.

    A `preview` does all of it and takes it back. Raises `NotFound`, `MergeNotUndoable`.
    """

    def attempt() -> Merge:
        with transaction.atomic():
            row, pair = _locked_merge(merge_id)
            _check_undo(row, pair)
            pair.absorbed.merged_into = None
            pair.absorbed.save(update_fields=["merged_into"])
            row.outcome["undone"] = {
                part.name: part.undo(pair, row.journal.get(part.name, {}))
                for part in reversed(parts())
            }
            if not all(player.identities.exists() for player in (pair.survivor, pair.absorbed)):
                raise MergeNotUndoable("A player would be left without a way to sign in")
            sessions.revoke_all(player_id=pair.survivor.pk, reason="merge_undone")
            row.state = Merge.State.UNDONE
            row.undone_at, row.undone_by, row.reason = timezone.now(), actor, reason
            row.save()
            transaction.set_rollback(preview)
        return row

    row = _retried(attempt)
    if not preview:
        MERGES.labels("undone").inc()
    return row


def _check_undo(row: Merge, pair: Pair) -> None:
    if row.state == Merge.State.UNDONE:
        raise MergeNotUndoable("It was undone already")
    if row.created_at < timezone.now() - timedelta(days=settings.MERGE_UNDO_DAYS):
        raise MergeNotUndoable(f"A merge can be undone for {settings.MERGE_UNDO_DAYS} days")
    if pair.survivor.merged_into_id is not None:
        raise MergeNotUndoable("The player was merged into another one since: undo that first")
