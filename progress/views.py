"""Endpoints of saves, stats and achievements."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.http import HttpResponse

from accounts.errors import PlayerMerged
from accounts.selectors import player_get
from config.api import problems
from config.api.callers import ApiRequest
from config.api.pagination import Page, PageQuery, decode_cursor, encode_cursor
from config.api.parsing import INT64_MAX, invalid
from config.api.preconditions import etag, require_precondition
from config.api.problems import NotFound
from config.api.views import ApiViewSet, answer, endpoint
from progress import bodies, errors, selectors
from progress import serializers as wire
from progress.services import achievements, save_history, saves, stats
from progress.services.save_rows import SaveState, Writer, version_of

WRITE_HEADERS = {
    "If-Match": 'The version that is replaced, such as `"3"`; `*` for any',
    "If-None-Match": "`*` to create the slot",
}
PUT_HEADERS = WRITE_HEADERS | {"Content-Digest": "`sha-256=:base64:` of the content, checked"}
READ_HEADERS = {"If-None-Match": "The version that the reader has: 304 if it is the latest"}
PUT_PROBLEMS = (
    problems.PreconditionRequired,
    problems.VersionConflict,
    errors.ContentDigestMismatch,
    errors.SaveServerOnly,
    errors.SaveAccessFixed,
    errors.SaveSlotsFull,
    errors.SaveSpaceFull,
)
STAT_PROBLEMS = (
    errors.UnknownStat,
    errors.StatNotWritable,
    errors.StatOutOfBounds,
    errors.StatStepTooLarge,
    errors.StatRateExceeded,
)
STAT_EXAMPLE = {"updates": [{"stat": "flowers_grown", "value": 3}]}


def _own(request: ApiRequest) -> Writer:
    caller = request.caller
    return Writer(game_id=caller.game_id, player_id=caller.player, session_id=caller.session_id)


def _put(request: ApiRequest, writer: Writer, slot: str, query: wire.SaveQuery) -> HttpResponse:
    precondition = require_precondition(request)
    content_type = bodies.media_type(request)
    body = bodies.read_save(request, settings.SAVE_MAX_BYTES)
    state = saves.put(
        writer=writer,
        slot=slot,
        body=body,
        content_type=content_type,
        precondition=precondition,
        access=query.access,
    )
    return _written(state)


def _written(state: SaveState) -> HttpResponse:
    headers = {"ETag": etag(state.version)}
    if state.replayed:
        headers["Idempotent-Replayed"] = "true"
    return answer(wire.save_out(state), status=201 if state.created else 200, headers=headers)


def _read(
    request: ApiRequest, player_id: UUID, slot: str, *, public_only: bool = False
) -> HttpResponse:
    save = selectors.save_read(
        game_id=request.caller.game_id,
        player_id=player_id,
        slot=slot,
        public_only=public_only,
        known=version_of(bodies.known_version(request)),
    )
    return bodies.save_answer(request, save)


class SaveViewSet(ApiViewSet):
    """A player's own saves."""

    @endpoint(callers=["player"], answers={200: Page[wire.Save]})
    def list(self, request: ApiRequest) -> HttpResponse:
        """List the save slots.

        All of them at once (a player has 10 unless the operator allows more), without bodies.
        """
        caller = request.caller
        rows = selectors.saves(game_id=caller.game_id, player_id=caller.player)
        return answer(wire.saves_out(rows))

    @endpoint(callers=["player"], answers={200: bytes, 304: None}, headers=READ_HEADERS)
    def retrieve(self, request: ApiRequest, slot: str) -> HttpResponse:
        """Read a save: its bytes as they were sent; `ETag` is its version."""
        return _read(request, request.caller.player, slot)

    @endpoint(
        callers=["player"],
        answers={200: wire.Save, 201: wire.Save},
        query=wire.SaveQuery,
        raw_body=bodies.MEDIA_TYPES,
        headers=PUT_HEADERS,
        problems=PUT_PROBLEMS,
    )
    def update(self, request: ApiRequest, slot: str, query: wire.SaveQuery) -> HttpResponse:
        """Write a save: 201 when this made the slot, 200 when it replaced a version.

        `If-Match` names the version that this device has seen; if another device was faster, 412
        `version_conflict` carries `current`, so that the game can ask which to keep. A repeat of
        the write that made the current version (its answer was lost) is answered as the first.
        """
        return _put(request, _own(request), slot, query)

    @endpoint(
        callers=["player"],
        answers={204: None},
        headers={"If-Match": WRITE_HEADERS["If-Match"]},
        problems=(
            problems.PreconditionRequired,
            problems.VersionConflict,
            errors.SaveServerOnly,
        ),
    )
    def destroy(self, request: ApiRequest, slot: str) -> HttpResponse:
        """Delete a save. Its versions can be restored for 30 days."""
        precondition = require_precondition(request)
        save_history.remove(writer=_own(request), slot=slot, precondition=precondition)
        return answer()


def _number(number: int) -> int:
    """A version's number from the address; one beyond 64 bits was never given to any."""
    if number > INT64_MAX:
        raise NotFound("There is no such version")
    return number


class SaveVersionViewSet(ApiViewSet):
    """The kept versions of a player's own saves."""

    @endpoint(callers=["player"], answers={200: Page[wire.SaveVersion]})
    def list(self, request: ApiRequest, slot: str) -> HttpResponse:
        """List the last 10 versions of a slot, newest first; also of one deleted lately."""
        caller = request.caller
        rows = selectors.save_versions(game_id=caller.game_id, player_id=caller.player, slot=slot)
        return answer(wire.versions_out(rows))

    @endpoint(callers=["player"], answers={200: bytes, 304: None}, headers=READ_HEADERS)
    def retrieve(self, request: ApiRequest, slot: str, number: int) -> HttpResponse:
        """Read one version of a save."""
        caller = request.caller
        save = selectors.save_version_read(
            game_id=caller.game_id, player_id=caller.player, slot=slot, version=_number(number)
        )
        return bodies.save_answer(request, save)

    @endpoint(
        callers=["player"],
        answers={200: wire.Save},
        headers={"If-Match": "Restore only over this version; not required"},
        idempotent="optional",
        problems=(
            problems.VersionConflict,
            errors.SaveServerOnly,
            errors.SaveSlotsFull,
            errors.SaveSpaceFull,
        ),
    )
    def restore(self, request: ApiRequest, slot: str, number: int) -> HttpResponse:
        """Restore a version: writes it again as a new one. A deleted slot comes back with it."""
        conditional = "HTTP_IF_MATCH" in request.META or "HTTP_IF_NONE_MATCH" in request.META
        state = save_history.restore(
            writer=_own(request),
            slot=slot,
            version=_number(number),
            precondition=require_precondition(request) if conditional else None,
        )
        return _written(state)


class PlayerSaveViewSet(ApiViewSet):
    """Another player's public saves; and any save, for a game server."""

    @endpoint(
        callers=["player", "server"],
        answers={200: bytes, 304: None},
        scope="saves:read",
        headers=READ_HEADERS,
        problems=(PlayerMerged,),
    )
    def retrieve(self, request: ApiRequest, player: UUID, slot: str) -> HttpResponse:
        """Read a player's save: a public one, one's own, or any with a server key."""
        caller = request.caller
        public_only = caller.kind == "player" and caller.player != player
        if caller.kind == "server":
            player_get(game_id=caller.game_id, player_id=player)
        return _read(request, player, slot, public_only=public_only)

    @endpoint(
        callers=["server"],
        answers={200: wire.Save, 201: wire.Save},
        scope="saves:write",
        query=wire.SaveQuery,
        raw_body=bodies.MEDIA_TYPES,
        headers=PUT_HEADERS,
        problems=(*PUT_PROBLEMS, PlayerMerged),
    )
    def update(
        self, request: ApiRequest, player: UUID, slot: str, query: wire.SaveQuery
    ) -> HttpResponse:
        """Write a player's save as the game's server. A slot made here is `server` unless told."""
        game_id = request.caller.game_id
        player_get(game_id=game_id, player_id=player)
        return _put(request, Writer(game_id=game_id, player_id=player, trusted=True), slot, query)


def _page_by_key(keys: list[str], query: PageQuery) -> tuple[list[str], str | None, str | None]:
    """A page of `keys`, which are in their list's order: (keys, next, previous)."""
    first, last = 0, len(keys)
    if query.cursor is not None:
        backward, values = decode_cursor(query.cursor, [str])
        position = _position(keys, values[0])
        if backward:
            first, last = max(0, position - query.limit), position
        else:
            first = position + 1
    chosen = keys[first : min(last, first + query.limit)]
    if not chosen:
        return [], None, None
    more = first + len(chosen) < len(keys)
    return (
        chosen,
        encode_cursor([chosen[-1]]) if more else None,
        encode_cursor([chosen[0]], backward=True) if first > 0 else None,
    )


def _position(keys: list[str], key: str) -> int:
    """Where `key` stands; a definition that is gone since sends the reader to the end."""
    return keys.index(key) if key in keys else len(keys)


def _achievement(
    rule: selectors.AchievementRule,
    states: Mapping[UUID, tuple[int, datetime | None]],
    values: Mapping[UUID, tuple[int, datetime]],
) -> wire.Achievement:
    progress, unlocked_at = states.get(rule.id, (0, None))
    if rule.stat_id is not None:
        value = values[rule.stat_id][0] if rule.stat_id in values else 0
        # For a `min` stat less is more, so its value is shown as it is.
        progress = value if rule.aggregation == "min" else min(value, rule.threshold)
    return wire.achievement_out(rule, progress, unlocked_at)


def _update_stats(
    game_id: UUID, player_id: UUID, body: wire.StatUpdates, *, trusted: bool
) -> HttpResponse:
    seen: set[str] = set()
    for index, update in enumerate(body.updates):
        if update.stat in seen:
            raise invalid(f"/updates/{index}/stat", "A batch names each stat once", "duplicate")
        seen.add(update.stat)
    done = stats.update(
        game_id=game_id,
        player_id=player_id,
        updates=[(update.stat, update.value) for update in body.updates],
        trusted=trusted,
    )
    return answer(
        wire.StatsUpdated(
            results=[wire.stat_out(change) for change in done.stats],
            unlocked=[
                wire.achievement_out(rule, rule.threshold, unlocked_at)
                for rule, unlocked_at in done.unlocked
            ],
        )
    )


class StatViewSet(ApiViewSet):
    """A player's own stats."""

    @endpoint(callers=["player"], answers={200: Page[wire.Stat]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List own stats by key; a stat that was never reported is not in it."""
        defined = selectors.content.get(request.caller.game_id).stats
        values = selectors.stat_values(player_id=request.caller.player)
        present = sorted(key for key, rule in defined.items() if rule.id in values)
        keys, following, previous = _page_by_key(present, query)
        results = [wire.stat_out(stats.StatChange(key, *values[defined[key].id])) for key in keys]
        return answer(Page(results=results, next=following, previous=previous))

    @endpoint(
        callers=["player"],
        answers={200: wire.StatsUpdated},
        body=wire.StatUpdates,
        idempotent="optional",
        problems=STAT_PROBLEMS,
        example=STAT_EXAMPLE,
    )
    def create(self, request: ApiRequest, body: wire.StatUpdates) -> HttpResponse:
        """Report stats: all of the batch or none of it.

        What a report does is in the stat's definition: add (`sum`), keep the larger or smaller
        (`max`, `min`), or replace (`last`). Send an `Idempotency-Key`, or a repeated `sum` adds
        twice. Achievements that the reports unlock are in the answer.
        """
        caller = request.caller
        return _update_stats(caller.game_id, caller.player, body, trusted=False)


class PlayerStatViewSet(ApiViewSet):
    """A player's stats, for the game's server."""

    @endpoint(
        callers=["server"],
        answers={200: wire.StatsUpdated},
        scope="stats:write",
        body=wire.StatUpdates,
        idempotent="optional",
        problems=(PlayerMerged, errors.UnknownStat, errors.StatOutOfBounds),
        example=STAT_EXAMPLE,
    )
    def create(self, request: ApiRequest, player: UUID, body: wire.StatUpdates) -> HttpResponse:
        """Report stats of a player as the game's server: every stat, in steps of any size."""
        game_id = request.caller.game_id
        player_get(game_id=game_id, player_id=player)
        return _update_stats(game_id, player, body, trusted=True)


class AchievementViewSet(ApiViewSet):
    """Achievements with the player's progress."""

    @endpoint(callers=["player"], answers={200: Page[wire.Achievement]}, query=PageQuery)
    def list(self, request: ApiRequest, query: PageQuery) -> HttpResponse:
        """List all achievements with own progress; hidden ones are masked until unlocked."""
        caller = request.caller
        defined = selectors.content.get(caller.game_id).achievements
        keys, following, previous = _page_by_key(list(defined), query)
        states = selectors.achievement_states(player_id=caller.player)
        values = selectors.stat_values(player_id=caller.player)
        results = [_achievement(defined[key], states, values) for key in keys]
        return answer(Page(results=results, next=following, previous=previous))

    @endpoint(
        callers=["player"],
        answers={200: wire.Achievement},
        body=wire.AchievementProgress,
        idempotent="optional",
        problems=(NotFound, errors.AchievementNotReportable),
        example={"progress": 2},
    )
    def report(self, request: ApiRequest, key: str, body: wire.AchievementProgress) -> HttpResponse:
        """Report how far the player has come, where the achievement's definition allows that."""
        caller = request.caller
        rule, progress, unlocked_at = achievements.report(
            game_id=caller.game_id, player_id=caller.player, key=key, progress=body.progress
        )
        return answer(wire.achievement_out(rule, progress, unlocked_at))
